"""The server's side of what running actions ask for: nested calls, and scheduling."""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.errors import ConvexpyError
from convexpy.runtime.backend import RuntimeBackend
from convexpy.runtime.interface import FunctionRequest, Outcome
from convexpy.runtime.messages import Call
from convexpy.values import encode_json

_pack = msgspec.msgpack.Encoder().encode


class ActionOperations:
    """Serves operations of actions; `handle` is given to the action workers' pool."""

    def __init__(self) -> None:
        self._backend: RuntimeBackend | None = None

    def use_backend(self, backend: RuntimeBackend) -> None:
        """Whom to ask; set once, before any action runs."""
        self._backend = backend

    async def handle(self, call: Call, kind: str, payload: bytes) -> bytes:
        """One operation of a running action.

        Raises:
            ConvexpyError: the server could not do it; the text is for the action.
        """
        assert self._backend is not None, "actions run only once the backend is there"
        if kind.startswith("http."):
            return await self._backend.exchanges.handle(call.id, kind, payload)
        asked: dict[str, Any] = msgspec.msgpack.decode(payload)
        if kind in ("schedule", "cancel") or kind.startswith("storage."):
            result = await self._backend.run_system(kind, asked, job_id=call.job_id)
            return _pack({"ok": True, "value": encode_json(result)})
        request = FunctionRequest(
            component=asked["component"],
            path=asked["path"],
            args=asked["args"],
            identity=call.identity if asked["component"] == call.component else None,
            is_admin=True,
            is_nested=True,
            caller="Action",
        )
        if kind == "query":
            outcome = await self._backend.query(request)
        elif kind == "mutation":
            outcome = await self._backend.mutation(request, job_id=call.job_id)
        elif kind == "action":
            outcome = await self._backend.action(request, call.job_id)
        else:
            raise ConvexpyError(f"Actions know no operation {kind!r}.")
        return _answer(outcome)


def _answer(outcome: Outcome) -> bytes:
    if outcome.ok:
        return _pack({"ok": True, "value": outcome.value})
    text = outcome.error.partition("\n")[2].rstrip("\n") or outcome.error
    return _pack({"ok": False, "error": text, "data": outcome.error_data})
