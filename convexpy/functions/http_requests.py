"""The request that an HTTP action gets: starlette's, with a bound on bodies that are read whole.

`stream()` has no bound, since it holds one chunk at a time; `body()`, `json()` and `form()` have one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.types import Message, Receive, Scope

from convexpy.errors import LimitExceeded
from convexpy.limits import HTTP_ACTION_BODY_BYTES_MAX, MIB


class RequestBodyTooLarge(LimitExceeded):
    """A request body that was to be read whole is beyond `HTTP_ACTION_BODY_BYTES_MAX`."""

    def __init__(self) -> None:
        super().__init__(
            f"HttpRequestTooLarge: HTTP actions read whole bodies of up to {HTTP_ACTION_BODY_BYTES_MAX // MIB} MiB. Go "
            f"through a larger one with request.stream()."
        )


class HttpActionRequest(Request):
    """What an `async def` HTTP action gets.

    Args:
        is_gone: asks whether the client has left.
    """

    def __init__(self, scope: Scope, receive: Receive, is_gone: Callable[[], Awaitable[bool]]) -> None:
        super().__init__(scope, receive)
        self._is_gone = is_gone
        self._reads_whole = False

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            RequestBodyTooLarge: it is beyond the bound; what is beyond it is not read.
        """
        self._reads_whole = True
        return await super().body()

    async def _get_form(self, **bounds: Any) -> Any:
        self._reads_whole = True
        return await super()._get_form(**bounds)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in chunks, as they come."""
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if self._reads_whole and size > HTTP_ACTION_BODY_BYTES_MAX:
                raise RequestBodyTooLarge
            yield chunk

    async def is_disconnected(self) -> bool:
        """Whether the client has left; known once the body has been read."""
        return await self._is_gone()


class BlockingRequest(HTTPConnection):
    """What a `def` HTTP action gets: the same request, and reading its body blocks the action's thread.

    Args:
        run: carries out a coroutine in this thread, which has no event loop: the parser of forms is one.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Callable[[], Message],
        is_gone: Callable[[], bool],
        run: Callable[[Coroutine[Any, Any, FormData]], FormData],
    ) -> None:
        super().__init__(scope)
        self._run = run
        self._receive_blocking = receive
        self._is_gone = is_gone
        self._body: bytes | None = None
        self._form: FormData | None = None
        self._is_consumed = False

    @property
    def method(self) -> str:
        """`GET`, `POST`, …"""
        return str(self.scope["method"])

    def stream(self) -> Iterator[bytes]:
        """The body in chunks, as they come."""
        if self._body is not None:
            yield self._body
            return
        if self._is_consumed:
            raise RuntimeError("The body has been read already.")
        self._is_consumed = True
        is_more = True
        while is_more:
            message = self._receive_blocking()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            is_more = message["more_body"]
            if message["body"]:
                yield message["body"]

    def body(self) -> bytes:
        """The whole body; see `HttpActionRequest.body`."""
        if self._body is None:
            self._body = b"".join(self._bounded_stream())
        return self._body

    def text(self) -> str:
        """The whole body as UTF-8."""
        return self.body().decode()

    def json(self) -> Any:
        """The whole body as JSON."""
        return json.loads(self.body())

    def form(self, **bounds: Any) -> FormData:
        """The fields of a form, and its files; the bytes of a file `f` are read with `f.file.read()`.

        Args:
            bounds: `max_files`, `max_fields` and `max_part_size` (bytes), as of starlette's `Request.form`.

        Raises:
            RequestBodyTooLarge: the body is beyond the bound of `body()`.
            MultiPartException: it is no form, or beyond one of `bounds`.
        """
        if self._form is None:
            chunks = self._bounded_stream()

            async def receive() -> Message:
                chunk = next(chunks, None)
                return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

            async def parse() -> FormData:
                return await Request(self.scope, receive).form(**bounds)

            self._form = self._run(parse())
        return self._form

    def _bounded_stream(self) -> Iterator[bytes]:
        size = 0
        for chunk in self.stream():
            size += len(chunk)
            if size > HTTP_ACTION_BODY_BYTES_MAX:
                raise RequestBodyTooLarge
            yield chunk

    def is_disconnected(self) -> bool:
        """Whether the client has left; known once the body has been read."""
        return self._is_gone()

    def close(self) -> None:
        """Let go of the form's files; done for every action once its response is sent."""
        for _, value in self._form.multi_items() if self._form is not None else ():
            if isinstance(value, UploadFile):
                value.file.close()
