"""The raw WebSocket beside which pushes are measured: uvicorn, websockets-sansio and starlette, and no backend.

    python -m benchmarks.raw_server PORT

A text frame comes back as it is; a JSON object is answered with the two frames that a mutation is answered with, which
are constants here; `join` enters the audience, `all` sends 500 bytes to everyone in it.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PUSH = "p" * 500
READY = "raw server is ready"
RESPONSE = (
    '{"type":"MutationResponse","requestId":1234,"success":true,"result":"m9700v9j9zq3m8e6z7x3j1k5jh7c4r2n",'
    '"ts":"AAAAAAAAAAA=","logLines":[]}'
)
TRANSITION = (
    '{"type":"Transition","startVersion":{"querySet":0,"identity":0,"ts":"AAAAAAAAAAA="},'
    '"endVersion":{"querySet":0,"identity":0,"ts":"AAAAAAAAAAA="},"modifications":[]}'
)

audience: set[WebSocket] = set()


async def endpoint(socket: WebSocket) -> None:
    """Serve one connection until it ends."""
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            if text[0] == "{":
                await socket.send_text(RESPONSE)
                await socket.send_text(TRANSITION)
            elif text == "all":
                for listener in list(audience):
                    await listener.send_text(PUSH)
            else:
                if text == "join":
                    audience.add(socket)
                await socket.send_text(text)
    except WebSocketDisconnect:
        audience.discard(socket)


class Server(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, *args: object, **options: object) -> None:
        """Listen, then say so."""
        await super().startup(*args, **options)  # type: ignore[arg-type]
        print(READY, flush=True)


def main() -> None:
    """Serve until terminated."""
    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    config = uvicorn.Config(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_level="error",
        lifespan="off",
        backlog=2048,
    )
    Server(config).run()


if __name__ == "__main__":
    main()
