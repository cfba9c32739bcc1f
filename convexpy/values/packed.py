"""Values as msgpack, for storage: keeps `int` and `float` apart, which JSON of the wire does not."""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.values.types import Int64

_INT64_CODE = 1


def _write_other(value: Any) -> Any:
    if isinstance(value, Int64):
        return msgspec.msgpack.Ext(_INT64_CODE, int(value).to_bytes(8, "big", signed=True))
    raise TypeError(f"{value!r} is no Convex value")


def _read_ext(code: int, data: memoryview) -> Any:
    assert code == _INT64_CODE, f"unknown extension {code} in a stored value"
    return Int64(int.from_bytes(data, "big", signed=True))


_encoder = msgspec.msgpack.Encoder(enc_hook=_write_other)
_decoder = msgspec.msgpack.Decoder(ext_hook=_read_ext)


def pack(value: Any) -> bytes:
    """Bytes of a value that `normalize` has passed; it is not checked again."""
    return _encoder.encode(value)


def unpack(raw: bytes) -> Any:
    """The value that `pack` wrote; a fresh one at every call."""
    return _decoder.decode(raw)
