"""Drives PyPI `convex`, by WebSocket or (second argument `http`) by HTTP, with the same JSON lines as the others.

A process of its own: the client holds the interpreter lock while a call of its blocks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from typing import Any

import convex
from convex.http_client import ConvexHttpClient


def report(event: str, of: str, **fields: Any) -> None:
    """Write one line about what happened."""
    print(json.dumps({"event": event, "of": of, **fields}, default=plain), flush=True)


def plain(value: Any) -> Any:
    """The two kinds of value that JSON has no form for, as the JavaScript drivers write them."""
    if isinstance(value, convex.ConvexInt64):
        return {"bigint": str(value.value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(f"a value of class {type(value).__name__} came out of the client")


def report_error(event: str, of: str, error: Exception) -> None:
    """Write one line about an error, with its data if an application raised it."""
    data = error.data if isinstance(error, convex.ConvexError) else None
    report(event, of, message=str(error), isConvexError=isinstance(error, convex.ConvexError), data=data)


async def watch(client: Any, command: dict[str, Any]) -> None:
    """Report every value of a subscription until the driver ends."""
    subscription = client.subscribe(command["path"], command["args"])
    while True:
        try:
            value = await anext(subscription)
        except StopAsyncIteration:
            return
        except Exception as error:
            report_error("error", command["as"], error)
        else:
            report("update", command["as"], value=value)


async def serve(url: str, kind: str) -> None:
    """Obey one command a line until the input ends."""
    client: Any = convex.ConvexClient(url) if kind == "websocket" else ConvexHttpClient(url)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    watching: dict[str, asyncio.Task[None]] = {}
    report("ready", "driver")
    while line := await lines.readline():
        command = json.loads(line)
        if command["do"] == "subscribe":
            watching[command["as"]] = asyncio.create_task(watch(client, command))
        elif command["do"] == "authenticate":
            with urllib.request.urlopen(command["url"]) as answer:
                client.set_auth(answer.read().decode())
            report("done", command["as"], value=None)
        elif command["do"] == "unsubscribe":
            watching.pop(command["as"]).cancel()
        else:
            try:
                value = getattr(client, command["do"])(command["path"], command["args"])
            except Exception as error:
                report_error("failed", command["as"], error)
            else:
                report("done", command["as"], value=value)


asyncio.run(serve(*sys.argv[1:]))
