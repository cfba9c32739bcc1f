"""What a push means for runs: before the switch their journals are replayed on the new code, after it stuck ones look.

The look is bounded: of each workflow its oldest runs, which have come furthest, and no journal that would take a large
part of a function's second. What is not looked at is counted in what is shown.
"""

from __future__ import annotations

from typing import Any

from convexpy import ConvexpyError, MutationCtx, QueryCtx, internal_mutation, internal_query
from convexpy_workflow.changes import describe_change
from convexpy_workflow.component.rows import find_run
from convexpy_workflow.definition import replayer_name

RUNS_CHECKED_PER_WORKFLOW = 20
RUNS_CHECKED_MAX = 400  # in one push
ROWS_CHECKED_PER_RUN = 2_000  # a longer journal is not looked at
BYTES_CHECKED_PER_RUN = 4 * 1024 * 1024  # nor a larger one
RUNS_CHECKED_PER_QUERY = 5  # each query has a second of its own,
ROWS_CHECKED_PER_QUERY = 500  # which handlers may need for themselves
RUNS_SHOWN_PER_WORKFLOW = 3
CHANGES_SHOWN_PER_RUN = 6
RESUMED_PER_PUSH = 900  # one mutation may schedule 1000; others look again by themselves within five minutes

Row = dict[str, Any]
_THEN: Row = {"then": "pushes:resume_stuck"}
_FATES = {
    "stuck": "will be stuck until code that fits is pushed, or they are restarted or ended",
    "refuse": "would be stuck",
    "fail": "will fail",
}


@internal_query
def before_push(ctx: QueryCtx, look: Any = None, checked: int = 0) -> Row:
    """Replay runs on the new code, some of one workflow a call. See `define_component` for the answer.

    Args:
        look: what the calls before have found of this workflow, and what they have left.
        checked: how many runs they have looked at in all.
    """
    if look is None or not look["ids"]:
        try:
            look = _begin_look(ctx, None if look is None else look["name"], RUNS_CHECKED_MAX - checked)
        except ConvexpyError as error:
            if "backfilling" not in str(error):
                raise
            return _THEN  # this push brings the index, so there is no look but after it
        if look is None:
            return _THEN
    before = look["checked"]
    rows = 0
    for _ in range(RUNS_CHECKED_PER_QUERY):
        if not look["ids"] or rows >= ROWS_CHECKED_PER_QUERY:
            break
        rows += _check(ctx, look, look["ids"].pop(0))
    more = {"look": look, "checked": checked + look["checked"] - before}
    if look["ids"]:
        return _THEN | {"more": more}
    return _THEN | {"findings": _findings(look), "refuse": look["refuses"], "more": more}


@internal_mutation
def resume_stuck(ctx: MutationCtx) -> None:
    """Let stuck runs try the code that has been pushed, each in a transaction of its own."""
    stuck = ctx.db.query("workflows").with_index("by_state", state="stuck")
    for run in stuck.take(RESUMED_PER_PUSH):
        ctx.scheduler.run_after(0, try_again, {"workflowId": run["_id"]})


@internal_mutation
def try_again(ctx: MutationCtx, workflowId: str) -> None:  # noqa: N803
    """Let one stuck run try the code of now."""
    run = find_run(ctx, workflowId)
    if run is not None and run["state"] == "stuck":
        ctx.run_mutation(run["handler"], {"poll": {"workflowId": run["_id"], "epoch": run["epoch"], "isWake": False}})


def _begin_look(ctx: QueryCtx, after: str | None, runs_left: int) -> Row | None:
    """Choose runs of the next workflow, by name, that has any: stuck ones first, as they are what a push is to mend."""
    firsts = [ctx.db.query("workflows").with_index("by_state", _behind(state, after)).first() for state in _STATES]
    name = min((row["name"] for row in firsts if row is not None), default=None)
    if name is None:
        return None
    runs_max = max(min(RUNS_CHECKED_PER_WORKFLOW, runs_left), 0)
    ids: list[str] = []
    not_checked = 0
    for state in _STATES:
        for run in ctx.db.query("workflows").with_index("by_state", state=state, name=name).take(runs_max + 1):
            bytes_ = run["journal_bytes"] + run.get("large_bytes", 0) + run.get("log_bytes", 0)
            is_long = run["journal_rows"] > ROWS_CHECKED_PER_RUN or bytes_ > BYTES_CHECKED_PER_RUN
            if len(ids) >= runs_max or is_long:
                not_checked += 1
            else:
                ids.append(run["_id"])
    return {
        "name": name,
        "ids": ids,
        "notChecked": not_checked,
        "checked": 0,
        "fitting": 0,  # stuck ones that will not be; one that waits for nothing fits, but will not go on
        "misfits": 0,
        "fate": "",
        "lines": [],
        "problem": None,
        "refuses": False,
    }


_STATES = ("stuck", "running")


def _behind(state: str, name: str | None) -> Any:
    return lambda q: q.eq("state", state) if name is None else q.eq("state", state).gt("name", name)


def _check(ctx: QueryCtx, look: Row, workflow_id: str) -> int:
    """Replay one run and note what comes of it; tells how long its journal is."""
    run = find_run(ctx, workflow_id)
    if run is None or run["state"] == "done" or look["problem"] is not None:
        return 0
    look["checked"] += 1
    handle, _, name = run["handler"].rpartition(":")
    try:
        answer = ctx.run_query(f"{handle}:{replayer_name(name)}", {"workflowId": run["_id"]})
    except ConvexpyError as error:
        look["problem"] = str(error).partition("\n")[0]
        return 0
    if answer is None:
        return 0
    if answer["fits"]:
        look["fitting"] += run["state"] == "stuck" and run["stuck"]["kind"] != "StalledError"
    else:
        look["misfits"] += 1
        look["fate"] = answer["onMismatch"]
        look["refuses"] = look["refuses"] or (answer["onMismatch"] == "refuse" and run["state"] == "running")
        if look["misfits"] <= RUNS_SHOWN_PER_WORKFLOW:
            look["lines"] += _describe_misfit(run["_id"], answer["stuck"])
    return int(run["journal_rows"])


def _describe_misfit(workflow_id: str, stuck: Row) -> list[str]:
    changes = stuck.get("changes", [])[:CHANGES_SHOWN_PER_RUN]
    text = stuck["text"].partition("\n")[0]
    return [f"  {workflow_id}: {text}", *(f"    {describe_change(change)}" for change in changes)]


def _findings(look: Row) -> list[str]:
    """Say it to who pushes."""
    name, checked = look["name"], look["checked"]
    lines = []
    if look["problem"] is not None:
        lines.append(
            f"{name}: it has runs that this code cannot go on with, and that wait for code that can, unless they are "
            f"ended: {look['problem']}"
        )
    if look["fitting"]:
        lines.append(f"{name}: {_count(look['fitting'], 'stuck run')} will go on with this code.")
    if look["misfits"]:
        fate = _FATES[look["fate"]]
        does = "does" if look["misfits"] == 1 else "do"
        of_runs = f"{look['misfits']:g} of {checked:g} runs checked"
        lines.append(f"{name}: {of_runs} {does} not fit this code and {fate}:")
        lines += look["lines"]
    if lines and look["notChecked"]:
        lines.append(f"{name}: {look['notChecked']:g} or more other runs were not checked.")
    return lines


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"
