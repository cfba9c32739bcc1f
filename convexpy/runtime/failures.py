"""From an exception to what the caller is told.

In development: `[Request ID: …] Server Error`, the message, the user's own frames. In production only the first line;
the data of a `ConvexError` passes in both. The platform's own errors have complete texts and no `Uncaught`.
Source: wire-protocol 4.1.
"""

from __future__ import annotations

import linecache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec

from convexpy.errors import ConvexError, FunctionTimedOut, InvalidRequest, InvalidValue, LimitExceeded
from convexpy.functions.pagination import InvalidCursor
from convexpy.limits import ERROR_TEXT_CHARS_MAX, FunctionLimits
from convexpy.runtime.log_capture import valid_unicode
from convexpy.runtime.messages import Format
from convexpy.values import Int64, encode_as, size_beyond

_PACKAGE = str(Path(__file__).resolve().parent.parent) + "/"


class Failure(NamedTuple):
    """A failed call: the message without frame or request id, the user's frames, and a ConvexError's data."""

    message: str
    frames: str
    data: Any
    has_data: bool

    def client_text(self, request_id: str, is_redacted: bool) -> str:
        """The text that goes to the client."""
        head = f"[Request ID: {request_id}] Server Error"
        return head if is_redacted else f"{head}\n{self.message}\n{self.frames}"

    def log_text(self) -> str:
        """Message and frames, for the operator and for stored outcomes."""
        return f"{self.message}\n{self.frames}".rstrip("\n")

    def encoded_data(self, format: Format) -> bytes | None:
        """The data as JSON, only for a ConvexError."""
        return encode_as(self.data, format) if self.has_data else None


def failure_of(error: BaseException, limits: FunctionLimits) -> Failure:
    """Describe an exception that a function, or the platform on its behalf, has raised.

    Its text and its frames are cut at `ERROR_TEXT_CHARS_MAX` each. The data of a `ConvexError` is never cut: beyond
    `limits.result_bytes` the failure is that it is too large.
    """
    failure = _describe(error, limits)
    return failure._replace(message=valid_unicode(_cut(failure.message)), frames=valid_unicode(_cut(failure.frames)))


def _cut(text: str) -> str:
    """Both ends of a text that is too long: an error's says at its begin what it is, frames at their end where."""
    if len(text) <= ERROR_TEXT_CHARS_MAX:
        return text
    half = ERROR_TEXT_CHARS_MAX // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters are left out here) … {text[-half:]}"


def _describe(error: BaseException, limits: FunctionLimits) -> Failure:
    frames = user_frames(error.__traceback__)
    if isinstance(error, FunctionTimedOut):
        return Failure(str(error), frames, None, False)
    if isinstance(error, MemoryError):
        return Failure("Python execution ran out of memory", frames, None, False)
    if isinstance(error, ConvexError):
        try:
            encode_as(error.data, "convex_encoded_json")
        except InvalidValue as invalid:
            return Failure(
                f"Uncaught {type(error).__name__} with data that is no value: {invalid}", frames, None, False
            )
        most = limits.result_bytes
        if (size := size_beyond(error.data, most)) is not None:
            refusal = too_large(f"Uncaught {type(error).__name__} with data that is", size, most)
            return Failure(str(refusal), frames, None, False)
        message = str(error) if isinstance(error, InvalidCursor) else f"Uncaught {type(error).__name__}: {_data(error)}"
        return Failure(message, frames, error.data, True)
    if isinstance(error, InvalidRequest):
        return Failure(str(error), frames, None, False)
    if isinstance(error, RecursionError):
        return Failure(f"Uncaught RecursionError: {error}", frames[:4000], None, False)
    name = type(error).__name__
    try:
        text = str(error)
    except Exception as broken:  # a __str__ of the user's
        text = f"<its text cannot be had: {type(broken).__name__}>"
    return Failure(f"Uncaught {name}: {text}" if text else f"Uncaught {name}", frames, None, False)


def too_large(what: str, actual: int, limit: int) -> LimitExceeded:
    """Arguments or a result over their bound; `what` is a subject and its verb."""
    return LimitExceeded(f"{what} too large (actual: {actual} bytes, limit: {limit} bytes)")


def user_frames(trace: TracebackType | None) -> str:
    """The frames of user code, outermost first: file, line, function and source line; ours are left out."""
    lines = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith((_PACKAGE, "<")):
            source = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            lines.append(f"    at {code.co_qualname} ({_short(code.co_filename)}:{trace.tb_lineno})\n")
            if source:
                lines.append(f"        {source}\n")
        trace = trace.tb_next
    return "".join(lines)


def _short(file: str) -> str:
    path = Path(file)
    return str(Path(*path.parts[-2:])) if len(path.parts) > 2 else file


def _data(error: ConvexError) -> str:
    data = error.data
    if isinstance(data, str):
        return data
    return msgspec.json.encode(_with_bigint_texts(data)).decode()


def _with_bigint_texts(value: Any) -> Any:
    if isinstance(value, Int64):
        return f"{int(value)}n"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_with_bigint_texts(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_bigint_texts(item) for name, item in value.items()}
    return value
