"""Timestamps as clients see them: padded base64 of 8 little-endian bytes. Source: wire-protocol 3.1."""

from __future__ import annotations

import base64
import binascii

TS_MAX = 2**63 - 1


def encode_ts(ts: int) -> str:
    return base64.b64encode(ts.to_bytes(8, "little")).decode()


def decode_ts(text: str) -> int:
    """Read a timestamp.

    Raises:
        ValueError: not base64 of 8 bytes, or beyond int64.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text!r} is no timestamp: it must be base64") from None
    ts = int.from_bytes(raw, "little")
    if len(raw) != 8 or ts > TS_MAX:
        raise ValueError(f"{text!r} is no timestamp: it must be 8 bytes, at most {TS_MAX}")
    return ts
