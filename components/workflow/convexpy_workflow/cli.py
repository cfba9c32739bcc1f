"""`convexpy workflow …`: look at the runs of a running server, steer them, and replay them on the code at hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from convexpy import AdminCalls, ConvexpyError, encode_json
from convexpy_workflow import cli_output

app = typer.Typer(name="workflow", help="Look at workflow runs, steer them, replay them.", no_args_is_help=True)

Run = Annotated[str, typer.Argument(metavar="ID", help="The run's id.")]
Url = Annotated[str, typer.Option(help="The server.")]
AdminKey = Annotated[str | None, typer.Option(envvar="CONVEX_SELF_HOSTED_ADMIN_KEY", help="Admin key.")]
Data = Annotated[Path | None, typer.Option(help="Data folder to read the admin key from. [default: ./.convexpy]")]
Component = Annotated[str, typer.Option(help="Path of the installed workflow component.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path, typer.Option(help="The app's folder, with the code to replay on.")]

DEFAULT_URL = "http://127.0.0.1:3210"
RUNS_CHECKED_MAX = 1_000
_STATES = ("running", "stuck", "completed", "failed", "canceled")


@dataclass
class Server:
    """The workflow component of a running server."""

    url: str
    admin_key: str | None
    data: Path | None
    component: str

    def call(self, path: str, args: dict[str, Any]) -> Any:
        """Call one of the component's functions."""
        try:
            return AdminCalls(self.url, self.admin_key, self.data).call(path, args, self.component)
        except ConvexpyError as error:
            if "Could not find" in str(error) or "Child component" in str(error):
                raise ConvexpyError(
                    f"The app at {self.url} has no workflow component {self.component!r}. Install it with "
                    f"app.use(workflow) in convex_config.py, or name another with --component."
                ) from None
            raise

    def show(self, run: str) -> dict[str, Any]:
        """All about a run, with all of its steps."""
        found = self._found(run, self.call("console:show", {"workflowId": run}))
        steps = found["stepPage"]["page"]
        while not found["stepPage"]["isDone"]:
            args = {"workflowId": run, "cursor": found["stepPage"]["continueCursor"]}
            found["stepPage"] = self._found(run, self.call("console:show", args))["stepPage"]
            steps += found["stepPage"]["page"]
        del found["stepPage"]
        return {**found, "steps": steps}

    def export(self, run: str) -> dict[str, Any]:
        """A run's journal."""
        journal = self._found(run, self.call("console:export_journal", {"workflowId": run}))
        following = journal.pop("next")
        while following is not None:
            page = self.call("console:export_journal", {"workflowId": run, "position": following})
            journal["steps"] += page["steps"]
            following = page["next"]
        return dict(journal)

    def _found(self, run: str, answer: Any) -> Any:
        if answer is None:
            raise ConvexpyError(
                f"{self.component!r} has no run {run!r}. `convexpy workflow list` shows those that it has."
            )
        return answer


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATES)}.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the workflow: module:name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    with _errors():
        if state is not None and state not in _STATES:
            raise ConvexpyError(f"{state!r} is no state of a run. Runs are {', '.join(_STATES)}.")
        args = {"limit": limit} | {key: value for key, value in {"state": state, "name": name}.items() if value}
        runs = Server(url, admin_key, data, component).call("console:list_runs", args)
    if as_json:
        cli_output.print_json(runs)
    else:
        cli_output.print_runs(runs)


@app.command()
def show(
    run: Run,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
    as_json: AsJson = False,
) -> None:
    """Show a run: its state, its result, why it is stuck, its steps."""
    with _errors():
        found = Server(url, admin_key, data, component).show(run)
    if as_json:
        cli_output.print_json(found)
    else:
        cli_output.print_run(found)


@app.command()
def cancel(
    run: Run, url: Url = DEFAULT_URL, admin_key: AdminKey = None, data: Data = None, component: Component = "workflow"
) -> None:
    """End a run as canceled."""
    _steer(Server(url, admin_key, data, component), run, "lifecycle:cancel", {}, ("running", "stuck"))


@app.command()
def fail(
    run: Run,
    error: Annotated[str, typer.Option(help="The failure's text.")] = "Failed by the operator.",
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
) -> None:
    """End a run as failed."""
    _steer(Server(url, admin_key, data, component), run, "lifecycle:fail", {"error": error}, ("running", "stuck"))


@app.command()
def resume(
    run: Run, url: Url = DEFAULT_URL, admin_key: AdminKey = None, data: Data = None, component: Component = "workflow"
) -> None:
    """Let a stuck run try the code of now."""
    _steer(Server(url, admin_key, data, component), run, "lifecycle:resume", {}, ("running", "stuck"))


@app.command()
def restart(
    run: Run,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP", help="Number or name of the first step to be deleted. [default: none]"),
    ] = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
) -> None:
    """Let a finished or stuck run go on from one of its steps."""
    args: dict[str, Any] = {}
    if from_ is not None:
        args["fromStep"] = int(from_) if from_.lstrip("-").isdecimal() else from_
    ended = ("stuck", "completed", "failed", "canceled")
    _steer(Server(url, admin_key, data, component), run, "restarts:restart", args, ended)


@app.command()
def export(
    run: Run, url: Url = DEFAULT_URL, admin_key: AdminKey = None, data: Data = None, component: Component = "workflow"
) -> None:
    """Print a run's journal, for `replay --from-file` and for tests."""
    with _errors():
        journal = Server(url, admin_key, data, component).export(run)
    print(json.dumps(json.loads(encode_json(journal)), indent=1, ensure_ascii=False))


@app.command()
def replay(
    run: Annotated[str | None, typer.Argument(metavar="[ID]", help="The run's id.")] = None,
    from_file: Annotated[Path | None, typer.Option("--from-file", help="An exported journal instead.")] = None,
    folder: Folder = Path(),
    break_: Annotated[bool, typer.Option("--break", help="Stop in the debugger at the handler's first line.")] = False,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
    as_json: AsJson = False,
) -> None:
    """Run a workflow's handler from this folder over a run's journal, and compare. Nothing is called.

    `breakpoint()` works in it. The exit status is 1 where the code does not fit.
    """
    from convexpy_workflow.debugger import stopping
    from convexpy_workflow.testing import read_journal, replay_journal

    with _errors():
        if (run is None) == (from_file is None):
            raise ConvexpyError("Give the id of a run, or --from-file with an exported journal.")
        if from_file is not None:
            journal = read_journal(from_file)
        else:
            journal = Server(url, admin_key, data, component).export(str(run))
        show_event: Callable[[Any], None] | None = None
        if not as_json:
            show_event = cli_output.event_printer(journal)
        report = replay_journal(
            _folder(folder), journal, on_event=show_event, wrap=stopping if break_ else None, is_debugged=True
        )
    if as_json:
        cli_output.print_json(cli_output.report_fields(report))
    else:
        cli_output.print_report(report)
    if not report.fits:
        raise typer.Exit(1)


@app.command()
def check(
    folder: Folder = Path(),
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data: Data = None,
    component: Component = "workflow",
    as_json: AsJson = False,
) -> None:
    """Replay all running and stuck runs of a server on the code in this folder, before it is deployed.

    The exit status is 1 where a run does not fit. Says also which patches and versions runs still need.
    """
    from convexpy_workflow.testing import load_functions, replay_journal

    with _errors():
        server = Server(url, admin_key, data, component)
        functions = load_functions(_folder(folder))
        reports = []
        versions: list[tuple[str, float]] = []
        for state in ("stuck", "running"):
            for found in server.call("console:list_runs", {"state": state, "limit": RUNS_CHECKED_MAX}):
                journal = server.export(found["workflowId"])
                versions.append((found["name"], journal["run"].get("version", 1)))
                reports.append(replay_journal(functions, journal))
    if as_json:
        cli_output.print_json([cli_output.report_fields(report) for report in reports])
    else:
        cli_output.print_check(reports, versions)
    if not all(report.fits for report in reports):
        raise typer.Exit(1)


def _steer(server: Server, run: str, function: str, args: dict[str, Any], states: tuple[str, ...]) -> None:
    with _errors():
        state = server.show(run)["state"]
        if state not in states:
            command = function.partition(":")[2]
            raise ConvexpyError(f"The run is {state}; `{command}` is for runs that are {' or '.join(states)}.")
        server.call(function, {"workflowId": run, **args})
        after = server.show(run)["state"]
    print(f"{run} was {state}, and is {after} now.")


def _folder(folder: Path) -> Path:
    return folder.resolve()  # "." has no name that a package could have


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        from convexpy_workflow.errors import WorkflowError

        if not isinstance(error, (ConvexpyError, WorkflowError)):
            raise
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    print(f"convexpy workflow: {cli_output.readable(str(error))}", file=sys.stderr)
    raise typer.Exit(1)
