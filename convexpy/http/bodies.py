"""Request bodies: bounded, JSON, decoded as far as the server needs to look. Arguments stay bytes.

Source: wire-protocol 5.3, 8.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from msgspec import Raw, Struct
from starlette.requests import Request

from convexpy.errors import InvalidRequest
from convexpy.http.errors import HttpRefusal
from convexpy.limits import HTTP_BODY_BYTES_MAX
from convexpy.runtime.client_version import ClientVersionError, client_version
from convexpy.runtime.function_path import canonical_path
from convexpy.runtime.messages import Format
from convexpy.runtime.timestamps import decode_ts

BodyT = TypeVar("BodyT")

_FORMATS: dict[str, Format] = {
    "convex_encoded_json": "convex_encoded_json",
    "convex_json": "convex_encoded_json",
    "json": "json",
    "convex_clean_json": "json",
    "export_json": "export_json",
}
_raw_list = msgspec.json.Decoder(list[Raw])


class FunctionBody(Struct):
    """What `/api/query`, `/api/mutation` and `/api/action` are sent."""

    path: str
    args: Raw = Raw(b"{}")
    format: str | None = None


class FunctionAtBody(Struct):
    """What `/api/query_at_ts` is sent."""

    path: str
    ts: str
    args: Raw = Raw(b"{}")
    format: str | None = None


class ComponentFunctionBody(Struct):
    """What `/api/function` is sent."""

    path: str
    args: Raw = Raw(b"{}")
    format: str | None = None
    componentPath: str | None = None  # noqa: N815 - the wire's spelling


class RunBody(Struct):
    """What `/api/run/…` is sent; the path is in the URL."""

    args: Raw = Raw(b"{}")
    format: str | None = None


class BatchBody(Struct):
    """What `/api/query_batch` is sent."""

    queries: list[FunctionBody]


async def read_body(request: Request, bytes_max: int = HTTP_BODY_BYTES_MAX) -> bytes:
    """Read the whole body.

    Raises:
        HttpRefusal: 413, it is larger; what is beyond the bound is not read.
    """
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise HttpRefusal(413, "BodyTooLarge", f"The body has more than {bytes_max} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_json(request: Request, shape: type[BodyT]) -> BodyT:
    """Read a JSON body of the given shape; unknown fields are ignored.

    Raises:
        HttpRefusal: 400 for another content type or shape, 413 for too large a body.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HttpRefusal(400, "BadJsonBody", "The body must be JSON, sent with `Content-Type: application/json`.")
    body = await read_body(request)
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise HttpRefusal(400, "BadJsonBody", f"The body is not what this route takes: {error}") from None


def arguments(args: Raw) -> bytes:
    """The arguments' one object, whether it came bare or as the only element of a list."""
    raw = bytes(args).strip()
    if not raw.startswith(b"["):
        return raw
    elements = _raw_list.decode(raw)
    # Of another length: no object, so the function's worker refuses it with a text.
    return bytes(elements[0]) if len(elements) == 1 else raw


def function_path(text: str) -> str:
    """Raises: HttpRefusal: 400, `text` can name no function."""
    try:
        return canonical_path(text)
    except InvalidRequest as error:
        raise HttpRefusal(400, "BadConvexFunctionIdentifier", str(error)) from None


def output_format(request: Request, asked: str | None) -> Format:
    """The format of results: as asked for, else the one that this client expects.

    Raises:
        HttpRefusal: 400, there is no such format, or the client's version cannot be read or is too old.
    """
    try:
        client = client_version(request.headers.get("convex-client"))
    except ClientVersionError as error:
        raise HttpRefusal(400, "InvalidClientVersion", str(error)) from None
    if not client.is_supported:
        raise HttpRefusal(400, "ClientVersionUnsupported", client.unsupported_text)
    if asked is not None:
        if asked not in _FORMATS:
            raise HttpRefusal(400, "BadFormat", f"There is no format {asked!r}. Formats: {', '.join(_FORMATS)}.")
        return _FORMATS[asked]
    return "convex_encoded_json" if client.wants_encoded_json else "json"


def timestamp(text: str) -> int:
    """Raises: HttpRefusal: 400, `text` is no timestamp."""
    try:
        return decode_ts(text)
    except ValueError as error:
        raise HttpRefusal(400, "BadTimestamp", str(error)) from None
