"""The site port: an app's HTTP actions, and its `web/` folder where no action's route matches.

Source: DESIGN 2; wire-protocol 8.4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send


class HttpActions(Protocol):
    """The app's HTTP router, seen from outside."""

    @property
    def is_empty(self) -> bool:
        """Whether the app has no HTTP actions at all."""

    def find(self, method: str, path: str) -> ASGIApp | None:
        """What serves this request, which must have a path that starts with a slash."""


class NoHttpActions:
    """An app without `http.py`."""

    is_empty = True

    def find(self, method: str, path: str) -> ASGIApp | None:
        return None


class Site:
    """ASGI app of the site port.

    Args:
        web_folder: may be missing, and may appear while the server runs; None: there is none to serve.
    """

    def __init__(self, http_actions: HttpActions, web_folder: Path | None) -> None:
        self._http_actions = http_actions
        self._web_folder = web_folder
        self._files = None if web_folder is None else StaticFiles(directory=web_folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"  # mounted below /http on the API port
        app = self._http_actions.find(scope["method"], path)
        if app is not None:
            await app(scope, receive, send)
            return
        if self._web_folder is not None and self._files is not None and self._web_folder.is_dir():
            try:
                await self._files(scope, receive, send)
            except HTTPException as error:
                if error.status_code not in (404, 405):
                    raise
            else:
                return
        await PlainTextResponse(self._not_found(), 404)(scope, receive, send)

    def _not_found(self) -> str:
        if self._http_actions.is_empty:
            return "This Convex deployment does not have HTTP actions enabled."
        return "No matching routes found"


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
