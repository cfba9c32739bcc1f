"""How long tests wait for what is certain to come, and clients that wait so long.

A deadline here is no assertion of speed: it turns a hang into a failure that says what was waited for. A slow machine
that does everything at once must never meet it, so it is far above what anything takes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx2
from websockets.asyncio import client as websockets_client

PATIENCE_SECONDS = 60.0

# The functions of httpx2, whose own patience is five seconds.
get = partial(httpx2.get, timeout=PATIENCE_SECONDS)
head = partial(httpx2.head, timeout=PATIENCE_SECONDS)
options = partial(httpx2.options, timeout=PATIENCE_SECONDS)
post = partial(httpx2.post, timeout=PATIENCE_SECONDS)
stream = partial(httpx2.stream, timeout=PATIENCE_SECONDS)


def connect(url: str, **settings: Any) -> websockets_client.connect:
    """A WebSocket that has time for its handshake and does not give up on a peer that is busy."""
    return websockets_client.connect(url, open_timeout=PATIENCE_SECONDS, ping_interval=None, **settings)
