"""For tests and tools of apps with workflows: journals of real runs, replayed on the code in a folder.

    def test_orders_of_last_week_still_fit() -> None:
        replay_journal("app", "tests/journals/order.json").assert_fits()

`convexpy workflow export ID > order.json` writes such a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from convexpy import decode_json, function_name
from convexpy.testing import load_functions as load_functions
from convexpy_workflow.app_values import AppHost
from convexpy_workflow.changes import Place, describe_change, find_changes, place_of_step
from convexpy_workflow.commands import Canceled, Failure, Outcome, Resolution, StartStep, StepResolved, Success
from convexpy_workflow.debugger import stop_tracing
from convexpy_workflow.definition import Definition, Handler, definition_of
from convexpy_workflow.engine import Engine
from convexpy_workflow.errors import DeterminismError, WorkflowError
from convexpy_workflow.large_replay import LargeValues
from convexpy_workflow.records import journal_from_rows, outcome_from_fields
from convexpy_workflow.replay import is_same_value
from convexpy_workflow.replay import replay as replay_steps

_HANDLE_PREFIX = "function://"
_OTHER_HASHES = (
    " Servers hash texts with the seed 0, and this process with another: a handler that goes through a set of texts "
    "does it in another order here. Run this with PYTHONHASHSEED=0 to rule that out."
)

Functions = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class ReplayEvent:
    """Something that happened to the handler, in order.

    Args:
        kind: "asked": the handler asked for `step`, at `place`. "took": it was given `resolution`. "ended": `outcome`.
        now_ms: the handler's clock then.
    """

    kind: Literal["asked", "took", "ended"]
    now_ms: int
    step: StartStep | None = None
    place: Place | None = None
    resolution: Resolution | None = None
    outcome: Outcome | None = None


@dataclass
class ReplayReport:
    """What replaying a journal has shown.

    Args:
        error: the first mismatch, "" if there is none.
        changes: what has changed in the whole journal, a line each.
        patches: the answers of `step.patched`, by name.
    """

    name: str
    workflow_id: str
    events: list[ReplayEvent] = field(default_factory=list)
    outcome: Outcome | None = None
    error: str = ""
    changes: list[str] = field(default_factory=list)
    patches: dict[str, bool] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether the code did what the journal says."""
        return not self.error

    def assert_fits(self) -> None:
        """Fail the test with the mismatch if there is one.

        Raises:
            AssertionError
        """
        if self.error:
            raise AssertionError("\n".join([f"{self.name} ({self.workflow_id}): {self.error}", *self.changes]))


def replay_journal(
    project: Path | str | Functions,
    journal: Path | str | dict[str, Any],
    *,
    on_event: Callable[[ReplayEvent], None] | None = None,
    wrap: Callable[[Handler], Handler] | None = None,
    is_debugged: bool = False,
) -> ReplayReport:
    """Run a workflow's handler over a journal: nothing is called, nothing has an effect.

    Args:
        project: the app's folder, or what `convexpy.testing.load_functions` gave for it.
        journal: an exported journal, or the path of a file with one.
        on_event: takes each event as it happens.
        wrap: replaces the handler by another one, which calls it.
        is_debugged: what the handler prints is not caught, and files are not refused: a debugger needs them.

    Raises:
        WorkflowError: it is no journal, or the project has no such workflow.
        DefinitionError: the project cannot be loaded.
    """
    functions = project if isinstance(project, dict) else load_functions(project)
    document = journal if isinstance(journal, dict) else read_journal(Path(journal))
    definition = _definition_of(functions, document["run"])
    if wrap is not None:
        old = {version: (wrap(handler), contract) for version, (handler, contract) in definition.old_versions.items()}
        definition = replace(definition, handler=wrap(definition.handler), old_versions=old)
    return _Replay(definition, document, on_event).run(is_debugged)


def read_journal(path: Path) -> dict[str, Any]:
    """Read an exported journal.

    Raises:
        WorkflowError: there is none.
    """
    try:
        document = decode_json(path.read_bytes())
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:
        raise WorkflowError(f"{path} is no exported journal: {error}") from error
    if not isinstance(document, dict) or document.get("format") != "convexpy-workflow-journal/1":
        raise WorkflowError(f"{path} is no exported journal. `convexpy workflow export ID > {path.name}` writes one.")
    return document


def _definition_of(functions: Functions, run: dict[str, Any]) -> Definition:
    for part in functions.values():  # the app itself comes first
        definition = definition_of(part.get(run["name"]))
        if definition is not None:
            return definition
    known = [path for part in functions.values() for path in part if definition_of(part[path]) is not None]
    raise WorkflowError(
        f"The project has no workflow {run['name']!r}. It has: {', '.join(sorted(known)) or 'none at all'}. "
        f"--folder is the folder that `convexpy dev` serves."
    )


class _JournalHost(AppHost):
    """Gives functions of components the handles that the journal has for them: here nothing is installed."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        super().__init__()
        handles = [row["function"] for row in steps if str(row.get("function", "")).startswith(_HANDLE_PREFIX)]
        self._handles = {handle.removeprefix(_HANDLE_PREFIX).partition("/")[2]: handle for handle in handles}

    def function_name(self, function: Any) -> str:
        name = str(function_name(function))
        if not name.startswith("_reference/"):
            return name
        path = name.removeprefix("_reference/childComponent/").partition("/")[2]
        return str(self._handles.get(path, name))


class _Replay:
    def __init__(
        self, definition: Definition, document: dict[str, Any], on_event: Callable[[ReplayEvent], None] | None
    ) -> None:
        self._definition = definition
        self._document = document
        self._run = document["run"]
        self._on_event = on_event
        self._report = ReplayReport(self._run["name"], self._run["_id"])

    def run(self, is_debugged: bool) -> ReplayReport:
        """Replay, and compare the end."""
        report = self._report
        if not self._run["wave"]:
            return report  # it has not begun
        engine = self._engine(is_debugged)
        engine.on_step = lambda step: self._note(engine, "asked", step=step, place=place_of_step(engine))
        try:
            replay_steps(
                engine, self._journal(), lambda news: self._note(engine, "took", at_ms=news.now_ms, resolution=news)
            )
        except DeterminismError as error:
            report.error = f"{error}{_OTHER_HASHES if sys.flags.hash_randomization else ''}"
            quiet = self._engine(is_debugged=False)
            report.changes = [describe_change(change) for change in find_changes(quiet, self._journal())]
        except WorkflowError as error:
            report.error = str(error)
        report.patches, report.outcome = engine.patches.answers, engine.outcome
        if engine.outcome is not None:
            self._note(engine, "ended", outcome=engine.outcome)
        if not report.error:
            report.error = self._compare_end(engine.outcome)
        if is_debugged:
            stop_tracing()  # or it would stop where the handler is closed
        engine.close()
        return report

    def _engine(self, is_debugged: bool) -> Engine:
        host = _JournalHost(self._document["steps"])
        run, args = self._run, self._document["args"]
        engine, _ = self._definition.new_engine(run["_id"], args, run, host, is_debugged=is_debugged)
        return engine

    def _journal(self) -> Any:
        nothing_beside = LargeValues(lambda ids: [], [])
        started_ms = int(self._run["started_ms"])
        return journal_from_rows(started_ms, self._document["steps"], self._document["timers"], nothing_beside)

    def _note(
        self, engine: Engine, kind: Literal["asked", "took", "ended"], at_ms: int | None = None, **fields: Any
    ) -> None:
        event = ReplayEvent(kind, engine.now_ms if at_ms is None else at_ms, **fields)
        self._report.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def _compare_end(self, outcome: Outcome | None) -> str:
        result = self._run.get("result")
        if result is None or self._run["state"] != "done":
            return ""
        recorded = outcome_from_fields(result)
        match recorded, outcome:
            case Success(), None:
                return "The run had ended here, and the handler goes on."
            case Success(value), Success(other) if not is_same_value(value, other):
                return f"The handler returned {value!r}, and returns {other!r} now."
            case Success(), Failure(error):
                return f"The handler returned, and fails now: {error}"
            case Failure(error), Success():
                return f"The handler failed ({error}), and returns now."
        return ""


def describe_event(event: ReplayEvent) -> str:
    """One line about an event, without its time."""
    if event.kind == "asked":
        assert event.step is not None
        return f"{event.step.position:>4} → {_describe_step(event.step)}"
    if event.kind == "ended":
        return f"     ■ {_describe_outcome(event.outcome)}"
    if isinstance(event.resolution, StepResolved):
        return f"{event.resolution.position:>4} ← {_describe_outcome(event.resolution.outcome)}"
    name = type(event.resolution).__name__
    return {"Started": "     ▶ the run began", "TimerFired": "     ⏱ a timer of the handler fired"}.get(
        name, f"     {name}"
    )


def _describe_step(step: StartStep) -> str:
    if step.duration_ms is not None:
        return f"{step.name} for {step.duration_ms / 1000:g} s"
    return f"{step.kind} {step.name} {_short(step.args)}"


def _describe_outcome(outcome: Outcome | None) -> str:
    match outcome:
        case Success(value):
            return f"returned {_short(value)}"
        case Failure(error):
            return f"failed: {error}"
        case Canceled():
            return "canceled"
    return "nothing"


def _short(value: Any, chars_max: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= chars_max else f"{text[: chars_max // 2]} … {text[-chars_max // 2 :]}"
