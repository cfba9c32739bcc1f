"""`convexpy dev` and `convexpy serve` from start to end: a deployment, its ports, the watcher, and signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convexpy.errors import ConvexpyError, PushSuperseded
from convexpy.http.http_actions import AppHttpActions
from convexpy.http.storage_routes import StorageRoutes
from convexpy.http.table_routes import TableRoutes
from convexpy.processes.garbage import settle_collector
from convexpy.runtime.deployment import Pushed
from convexpy.runtime.messages import Reply
from convexpy.server import ServerSettings, create_api_app, create_site_app
from convexpy.serving.deployment import Deployment
from convexpy.serving.settings import DeploymentSettings
from convexpy.serving.sockets import PortServer, bind, listen
from convexpy.serving.watching import ProjectWatcher


def say(text: str) -> None:
    """A line for the operator, at once."""
    print(text, flush=True)


def complain(text: str) -> None:
    """A line about something that went wrong, at once."""
    print(text, file=sys.stderr, flush=True)


def show_call(kind: str, path: str, caller: str, reply: Reply) -> None:
    """The log lines and the failure of one run, as `dev` shows them."""
    letter = {"query": "Q", "mutation": "M", "action": "A", "job": "S", "httpAction": "H"}.get(kind, "?")
    for line in reply.log_lines:
        say(f"[{letter}({path})] {line}")
    if not reply.is_ok:
        complain(f"[{letter}({path})] {reply.error.rstrip()}")


async def run_server(settings: DeploymentSettings, *, is_watching: bool, show_calls: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises:
        ConvexpyError: it cannot start, or cannot go on.
    """
    api_socket = bind(settings.host, settings.port)
    site_socket = bind(settings.host, settings.site_port)
    ending: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def end(reason: str) -> None:
        if not ending.done():
            ending.set_result(reason)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, "")
    deployment = Deployment(
        settings,
        report=complain,
        report_call=show_call if show_calls else _show_nothing,
        on_fatal=end,
    )
    watcher = ProjectWatcher(settings.project_folder) if is_watching else None
    try:
        if watcher is not None:
            await watcher.start()
        starting = loop.create_task(deployment.start())
        await asyncio.wait((starting, ending), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        else:
            pushed = starting.result()
            await _serve(deployment, (api_socket, site_socket), pushed, ending, watcher)
    finally:
        if watcher is not None:
            await watcher.stop()
        await deployment.stop()
    if reason := ending.result():
        raise ConvexpyError(reason)


def _show_nothing(kind: str, path: str, caller: str, reply: Reply) -> None:
    """Production keeps function logs to itself."""


async def _serve(
    deployment: Deployment,
    sockets: tuple[socket.socket, socket.socket],
    pushed: Pushed,
    ending: asyncio.Future[str],
    watcher: ProjectWatcher | None,
) -> None:
    settings = deployment.settings
    apps = ServerSettings(
        deployment_name=deployment.folder.deployment,
        authenticator=deployment.authenticator,
        web_folder=settings.project_folder / "web",
    )
    apps = replace(apps, http_actions=AppHttpActions(deployment.backend, apps.authenticator))
    files = StorageRoutes(deployment.backend, deployment.folder.path / "files")
    tables = TableRoutes(deployment, apps.authenticator)
    apps = replace(apps, extra_routes=(*apps.extra_routes, *files.routes(), *tables.routes()))
    servers = [
        PortServer(create_api_app(deployment.backend, apps), sockets[0]),
        PortServer(create_site_app(apps), sockets[1]),
    ]
    for sock in sockets:
        listen(sock)  # now, not when uvicorn gets to it: who reads the last line below may connect
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = [loop.create_task(server.serve_port()) for server in servers]
    if watcher is not None:
        tasks.append(loop.create_task(_follow(watcher, deployment, complain)))
    say(pushed.describe())
    settle_collector()
    say(f"convexpy is serving {settings.url_of(settings.port)} (site {settings.url_of(settings.site_port)})")
    try:
        waiting: list[asyncio.Future[Any]] = [ending, *tasks]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        if watcher is not None:
            await watcher.stop()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        if not ending.done():
            ending.set_result("")


async def _follow(watcher: ProjectWatcher, deployment: Deployment, report: Callable[[str], None]) -> None:
    """Push again at every change of the project's Python files; a failed push leaves the running code as it is.

    A push that is still under way at the next change, because it checks or indexes many documents, gives way.
    """
    async with asyncio.TaskGroup() as pushes:
        tasks: list[asyncio.Task[None]] = []
        async for _ in watcher.changes():
            tasks = [task for task in tasks if not task.done()]
            tasks.append(pushes.create_task(_push_again(deployment, report)))
        for task in tasks:
            task.cancel()


async def _push_again(deployment: Deployment, report: Callable[[str], None]) -> None:
    started = asyncio.get_running_loop().time()
    try:
        pushed = await deployment.push()
    except PushSuperseded:
        return
    except (ConvexpyError, OSError) as error:  # OSError: the machine has no process or descriptor left for it
        report(f"This change is not live, the code before it goes on serving: {error}")
    else:
        seconds = asyncio.get_running_loop().time() - started
        say(f"Reloaded in {seconds:.2f} s: {pushed.describe()}")
