"""The `convexpy` command: `dev`, `serve`, `run`, `admin-key`, `doctor`, and what components bring.

Heavy imports wait until a command needs them, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from convexpy.cli.component_commands import CommandGroup
from convexpy.errors import ConvexpyError

app = typer.Typer(
    cls=CommandGroup,
    name="convexpy",
    help="A reactive backend in Python: functions in a folder, live queries over WebSockets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, typer.Argument(help="The folder that holds your functions.")]
Port = Annotated[int | None, typer.Option(help="Port of API and sync. [default: 3210]")]
SitePort = Annotated[int | None, typer.Option(help="Port of HTTP actions and web/. [default: the other one + 1]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Data = Annotated[Path | None, typer.Option(help="Data folder. [default: DIR/.convexpy]")]
Workers = Annotated[int | None, typer.Option(min=1, help="Function workers. [default: one a processor, 2 to 4]")]
Durability = Annotated[str | None, typer.Option(help="full: survives power loss; relaxed: may lose the last 50 ms.")]
Limit = Annotated[list[str] | None, typer.Option(help="NAME=VALUE overrides a limit; may be repeated.")]
NoWatch = Annotated[bool, typer.Option("--no-watch", help="Do not push when a file changes.")]


@app.command()
def dev(
    folder: Folder = Path(),
    port: Port = None,
    site_port: SitePort = None,
    host: Host = None,
    data: Data = None,
    workers: Workers = None,
    durability: Durability = None,
    limit: Limit = None,
    no_watch: NoWatch = False,
) -> None:
    """Serve a project while you work on it: reloads on every change, shows errors and logs in full."""
    options = _options(port, site_port, host, data, workers, durability, limit)
    _serve(folder, options, is_production=False, is_watching=not no_watch)


@app.command()
def serve(
    folder: Folder = Path(),
    port: Port = None,
    site_port: SitePort = None,
    host: Host = None,
    data: Data = None,
    workers: Workers = None,
    durability: Durability = None,
    limit: Limit = None,
    no_watch: NoWatch = False,
) -> None:
    """Serve a project in production: no reloads; clients see no error texts but those of ConvexError."""
    options = _options(port, site_port, host, data, workers, durability, limit)
    _serve(folder, options, is_production=True, is_watching=False)


@app.command()
def run(
    path: Annotated[str, typer.Argument(help="A function: module:name.")],
    args: Annotated[str, typer.Argument(help="Its arguments, a JSON object.")] = "{}",
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:3210",
    component: Annotated[str, typer.Option(help="Path of a component; the app itself if left out.")] = "",
    admin_key: Annotated[str | None, typer.Option(envvar="CONVEX_SELF_HOSTED_ADMIN_KEY", help="Admin key.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder to read the admin key from.")] = None,
) -> None:
    """Call a function of a running server and print its result; internal ones need the admin key."""
    from convexpy.cli.calls import call_function, read_admin_key

    try:
        if admin_key is None and data is not None:
            admin_key = read_admin_key(data)
        result = call_function(url, path, args, component, admin_key)
    except ConvexpyError as error:
        _fail(error)
    print(result)


@app.command("admin-key")
def admin_key_command(
    folder: Folder = Path(),
    data: Data = None,
) -> None:
    """Print the admin key of a project's data folder."""
    from convexpy.cli.calls import read_admin_key

    try:
        print(read_admin_key(data or folder / ".convexpy"))
    except ConvexpyError as error:
        _fail(error)


@app.command()
def doctor(
    folder: Folder = Path(),
    data: Data = None,
    compact: Annotated[bool, typer.Option("--compact", help="Give free space in the file back to the disk.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Examine the database of a stopped server: every index against its documents, sizes, the log."""
    from convexpy.cli.doctor import examine

    try:
        is_healthy = examine(data or folder / ".convexpy", is_compacting=compact, as_json=as_json)
    except ConvexpyError as error:
        _fail(error)
    if not is_healthy:
        raise typer.Exit(1)


def _options(
    port: int | None,
    site_port: int | None,
    host: str | None,
    data: Path | None,
    workers: int | None,
    durability: str | None,
    limit: list[str] | None,
) -> dict[str, Any]:
    limits = None
    if limit:
        limits = dict(_limit(text) for text in limit)
    return {
        "port": port,
        "site-port": site_port,
        "host": host,
        "data": data,
        "workers": workers,
        "durability": durability,
        "limits": limits,
    }


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        _fail(ConvexpyError(f"--limit takes NAME=NUMBER, not {text!r}."))


def _serve(folder: Path, options: dict[str, Any], *, is_production: bool, is_watching: bool) -> None:
    import asyncio

    import uvloop

    from convexpy.serving.server_run import run_server
    from convexpy.serving.settings import read_settings

    try:
        settings = read_settings(folder, options, is_redacted=is_production)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_server(settings, is_watching=is_watching, show_calls=not is_production))
    except ConvexpyError as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    print(f"convexpy: {error}", file=sys.stderr)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
