"""What `convexpy workflow` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convexpy import encode_json
from convexpy_workflow.changes import describe_change

if TYPE_CHECKING:
    from convexpy_workflow.testing import ReplayEvent, ReplayReport

_COLORS = {"running": "cyan", "stuck": "yellow", "completed": "green", "failed": "red", "canceled": "dim"}
_FRAME = re.compile(r"\n    at .*", re.DOTALL)
_PREFIX = re.compile(r"^\[Request ID: \w+\] Server Error\n?")
_VALUE_CHARS_MAX = 500
PIPE_COLUMNS = 160

Row = dict[str, Any]


def readable(error: str) -> str:
    """The text of a server's error without what only helps who wrote the component."""
    text = _FRAME.sub("", _PREFIX.sub("", error)).strip()
    return re.sub(r"^(Uncaught )?\w*(NotFound|NotRunning|StillRunning|InvalidWorkflowId): ", "", text) or error


def print_json(value: Any) -> None:
    """JSON in Convex's encoding, indented."""
    print(json.dumps(json.loads(encode_json(value)), indent=2, ensure_ascii=False))


def print_runs(runs: Sequence[Row]) -> None:
    """A table of runs."""
    if not runs:
        print("No runs.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "workflow", "state", "steps", "started", "took"):
        table.add_column(name, no_wrap=True)
    table.add_column("waits for")
    for run in runs:
        waits = ", ".join(run["waitsFor"])
        if run["trouble"] is not None:
            waits = f"{_attempts(run['trouble'])}: {run['trouble']['error'].partition(chr(10))[0]}"
        steps = f"{run['steps']:g}"
        table.add_row(
            run["workflowId"], run["name"], _state(run["state"]), steps, _at(run["startedAt"]), _took(run), Text(waits)
        )
    _console().print(table)


def print_run(run: Row) -> None:
    """One run: what it is, how it stands, its steps."""
    console = _console()
    waves, took = run["waves"], _took(run)
    facts: list[tuple[str, Any]] = [
        ("workflow", run["name"]),
        ("state", _state(run["state"])),
        ("arguments", _value(run["args"])),
        ("started", f"{_at(run['startedAt'])}{took and f', and took {took}'}"),
        ("version", f"{run['version']:g}, recorded by {run['runtime']}"),
        ("waves", f"{waves['resumed']:g} resumed in memory, {waves['replayed']:g} replayed"),
    ]
    if run["patches"]:
        facts.append(("patches", ", ".join(run["patches"])))
    if run["result"] is not None:
        result = run["result"]
        text = _value(result["value"]) if result["kind"] == "success" else result.get("error", result["kind"])
        facts.append(("result", text))
        if result.get("traceback"):
            facts.append(("", result["traceback"]))
    if run["onCompleteError"] is not None:
        facts.append(("on_complete", f"failed: {run['onCompleteError']}"))
    if run["trouble"] is not None:
        facts.append(("trouble", f"{_attempts(run['trouble'])}, next {_at(run['trouble']['nextAt'])}"))
        facts.append(("", run["trouble"]["error"]))
    if run["stuck"] is not None:
        facts.append(("stuck", run["stuck"]["text"]))
        facts += [("", describe_change(change)) for change in run["stuck"].get("changes", [])]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("run", run["workflowId"])
    for name, value in facts:
        table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    console.print(table)
    if run["steps"]:
        console.print()
        console.print(_steps_table(run["steps"]))


def _attempts(trouble: Row) -> str:
    return f"failed {trouble['attempts']:g} time{'' if trouble['attempts'] == 1 else 's'}"


def _steps_table(steps: Sequence[Row]) -> Table:
    table = Table("#", "step", "kind", "began", "took", "outcome", box=None, pad_edge=False)
    for step in steps:
        result = step["runResult"]
        if result is None:
            outcome = Text("running", style="cyan")
        elif result["kind"] == "success":
            outcome = Text(_value(result["value"], 80))
        else:
            outcome = Text(result.get("error", result["kind"]), style=_COLORS.get(result["kind"], ""))
        took = "" if step["completedAt"] is None else _seconds(step["completedAt"] - step["startedAt"])
        attempts = f" ({step['attempts']:g} failed)" if step.get("attempts") else ""
        began = _at(step["startedAt"])
        table.add_row(f"{step['stepNumber']:g}", Text(step["name"] + attempts), step["kind"], began, took, outcome)
    return table


def event_printer(journal: Row) -> Callable[[ReplayEvent], None]:
    """Give what prints each event of a replay as it happens, with the time since the run's beginning."""
    from convexpy_workflow.testing import describe_event

    began_ms = journal["run"].get("started_ms", 0)
    console = _console()

    def show(event: ReplayEvent) -> None:
        at = f"+{(event.now_ms - began_ms) / 1000:.3f} s"
        line = Text(f"{at:>14} {describe_event(event)}")
        if event.place is not None:
            line.append(f"   {event.place.to_text()}", style="dim")
        console.print(line)

    return show


def print_report(report: ReplayReport) -> None:
    """The end of a replay."""
    console = _console()
    if report.fits:
        console.print(Text(f"{report.name} fits the journal of {report.workflow_id}.", style="green"))
        return
    console.print(Text(report.error, style="red"))
    for change in report.changes:
        console.print(Text(f"  {change}"))


def print_check(reports: Sequence[ReplayReport], versions: Sequence[tuple[str, float]]) -> None:
    """What checking all runs of a server has shown."""
    console = _console()
    misfits = [report for report in reports if not report.fits]
    for report in misfits:
        console.print(Text(f"{report.name} ({report.workflow_id}): {report.error}", style="red"))
        for change in report.changes:
            console.print(Text(f"  {change}"))
    console.print(f"Checked: {len(reports)}. Not fitting: {len(misfits)}.")
    answers = Counter((each.name, patch, took) for each in reports for patch, took in each.patches.items())
    for name, patch in sorted({(name, patch) for name, patch, _ in answers}):
        old = answers[name, patch, False]
        text = f"taken as before it by {old}." if old else "no run takes its old branch: use deprecate_patch."
        console.print(Text(f"{name}: patch {patch!r}: {text}"))
    for (name, version), count in sorted(Counter(versions).items()):
        console.print(Text(f"{name}: of version {version:g}: {count}."))


def report_fields(report: ReplayReport) -> Row:
    """A report as JSON has it."""
    from convexpy_workflow.testing import describe_event

    return {
        "workflowId": report.workflow_id,
        "name": report.name,
        "fits": report.fits,
        "error": report.error or None,
        "changes": report.changes,
        "patches": [{"name": name, "taken": taken} for name, taken in report.patches.items()],
        "events": [
            {
                "kind": event.kind,
                "at": event.now_ms,
                "text": describe_event(event).strip(),
                "place": None if event.place is None else event.place.to_text(),
            }
            for event in report.events
        ],
    }


def _console() -> Console:
    # Into a pipe or a file goes what a wide terminal would show.
    return Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def _state(state: str) -> Text:
    return Text(state, style=_COLORS.get(state, ""))


def _at(epoch_ms: float) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _took(run: Row) -> str:
    return "" if run["finishedAt"] is None else _seconds(run["finishedAt"] - run["startedAt"])


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86_400
    return f"{minutes:.1f} min" if minutes < 60 else f"{hours:.1f} h" if hours < 48 else f"{days:.1f} d"


def _value(value: Any, chars_max: int = _VALUE_CHARS_MAX) -> str:
    text = repr(value)
    return text if len(text) <= chars_max else f"{text[: chars_max // 2]} … {text[-chars_max // 2 :]}"
