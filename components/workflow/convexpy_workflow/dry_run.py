"""A run's journal replayed on the code of now, with nothing written: does it fit, and if not, what has changed?

Before a push this runs on the new code, as a query of the app beside each workflow (see `manager`): the handler must
see the app's own references, and the component cannot.
"""

from __future__ import annotations

from typing import Any

from convexpy import QueryCtx
from convexpy_workflow.changes import find_changes
from convexpy_workflow.definition import Definition
from convexpy_workflow.errors import DeadlockError, DeterminismError
from convexpy_workflow.large_replay import LargeValues, large_values_of
from convexpy_workflow.records import describe_stuck, journal_from_rows
from convexpy_workflow.replay import replay

# A replay of so many takes about a quarter of a function's second; comparing takes twice that.
ROWS_COMPARED_MAX = 2_000
LARGE_BYTES_COMPARED_MAX = 4 * 1024 * 1024

Fields = dict[str, Any]


def check_run(ctx: QueryCtx, definition: Definition, workflow_id: str) -> Fields | None:
    """Replay one run.

    Returns:
        `{"fits": True, "patches": answers by name}`, or `{"fits": False, "onMismatch", "stuck": {"kind", "text",
        "diff"?, "changes"?}}`; None if the run has ended or has nothing to be replayed.
    """
    loaded = ctx.run_query(definition.component.journal.load, {"workflowId": workflow_id})
    if loaded is None or loaded["journal"] is None or not loaded["run"]["wave"]:
        return None
    run, journal = loaded["run"], loaded["journal"]
    load = definition.component.large_values.load_packed
    values = large_values_of(journal["steps"], lambda ids: list(ctx.run_query(load, {"ids": ids})))
    engine, _ = definition.new_engine(run["_id"], journal["args"], run)
    try:
        replay(engine, journal_from_rows(int(run["started_ms"]), journal["steps"], journal["timers"], values))
    except (DeterminismError, DeadlockError) as error:
        reason = describe_misfit(definition, run, journal, values, error)
        return {"fits": False, "onMismatch": definition.on_mismatch, "stuck": reason}
    engine.close()
    return {"fits": True, "patches": engine.patches.answers}


def describe_misfit(
    definition: Definition,
    run: Fields,
    journal: Fields | None,
    values: LargeValues | None,
    error: DeterminismError | DeadlockError,
) -> Fields:
    """Give the reason of a stuck run as a value, with what has changed in all of its journal.

    Args:
        journal: as `component/journal.py` loads it, None if it was not loaded.
        values: its large values.
    """
    fields = describe_stuck(error)
    if isinstance(error, DeterminismError) and journal is not None and values is not None and _is_short(run):
        rows = journal_from_rows(int(run["started_ms"]), journal["steps"], journal["timers"], values)
        engine, _ = definition.new_engine(run["_id"], journal["args"], run)
        fields["changes"] = find_changes(engine, rows)
    return fields


def _is_short(run: Fields) -> bool:
    return bool(run["journal_rows"] <= ROWS_COMPARED_MAX and run.get("large_bytes", 0) <= LARGE_BYTES_COMPARED_MAX)
