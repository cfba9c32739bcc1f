"""Document ids in Convex's own format: Crockford base32 of varint(table number) ‖ 16 bytes ‖ checksum.

Source: wire-protocol 6, with its test vectors.
"""

from __future__ import annotations

import re
from operator import mul

from convexpy.errors import InvalidId
from convexpy.limits import DECODED_IDS_KEPT_MAX

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TO_BASE_32 = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # the digits that int() knows
_ID = re.compile(f"[{_ALPHABET}]+\\Z")
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_LENGTHS = {31: 19, 32: 20, 34: 21, 36: 22, 37: 23}  # characters → bytes
_WEIGHTS = range(32, 0, -1)
_DAY_MS = 24 * 3600 * 1000
_decoded: dict[str, tuple[int, bytes]] = {}  # a call meets the same few ids again and again, and what it has made
INTERNAL_ID_BYTES = 16


def new_internal_id(random_bytes: bytes, now_ms: int) -> bytes:
    """A fresh internal id: 6 bytes of time, 8 random ones, and the day as in Convex's own ids.

    The time comes first so that documents which are made together lie together on disk.
    """
    return now_ms.to_bytes(6, "big") + random_bytes + (now_ms // _DAY_MS & 0xFFFF).to_bytes(2, "big")


def encode_id(table_number: int, internal_id: bytes) -> str:
    """The id that users see.

    Args:
        table_number: 1 to 2^32 - 1.
        internal_id: 16 bytes.
    """
    assert 0 < table_number < 2**32 and len(internal_id) == INTERNAL_ID_BYTES, (table_number, internal_id)
    body = _varint(table_number) + internal_id
    raw = body + _checksum(body)
    bits = len(raw) * 8
    padding = -bits % 5
    number = int.from_bytes(raw, "big") << padding
    letters = (bits + padding) // 5
    text = ""
    if letters % 2:
        text = _ALPHABET[number >> (letters - 1) * 5]
        letters -= 1
    text += "".join([_PAIRS[number >> shift & 1023] for shift in range((letters - 2) * 5, -1, -10)])
    _keep(text, (table_number, internal_id))
    return text


def _keep(text: str, decoded: tuple[int, bytes]) -> None:
    if len(_decoded) >= DECODED_IDS_KEPT_MAX:
        _decoded.clear()
    _decoded[text] = decoded


def decode_id(text: str) -> tuple[int, bytes]:
    """Table number and internal id.

    Raises:
        InvalidId: anything that `encode_id` does not write.
    """
    if type(text) is str and (known := _decoded.get(text)) is not None:
        return known
    size = _LENGTHS.get(len(text))
    if size is None:
        raise InvalidId(f"{_shown(text)} is not a document id: it has {len(text)} characters, ids have 31 to 37.")
    if not _ID.match(text):
        letter = next(letter for letter in text if letter not in _ALPHABET)
        raise InvalidId(f"{_shown(text)} is not a document id: {letter!r} does not occur in ids.")
    number = int(text.translate(_TO_BASE_32), 32)
    padding = len(text) * 5 - size * 8
    if number & ((1 << padding) - 1):
        raise InvalidId(f"{_shown(text)} is not a document id: its last character is wrong.")
    raw = (number >> padding).to_bytes(size, "big")
    body = raw[:-2]
    if _checksum(body) != raw[-2:]:
        raise InvalidId(f"{_shown(text)} is not a document id: its checksum is wrong.")
    varint, internal_id = body[:-INTERNAL_ID_BYTES], body[-INTERNAL_ID_BYTES:]
    table_number = sum((byte & 127) << 7 * position for position, byte in enumerate(varint))
    if not 0 < table_number < 2**32 or _varint(table_number) != varint:
        raise InvalidId(f"{_shown(text)} is not a document id: its table number is malformed.")
    _keep(text, (table_number, internal_id))
    return table_number, internal_id


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _checksum(body: bytes) -> bytes:
    """Two running sums, modulo 256."""
    # The second sum adds up the first one after each byte, so the first byte counts len(body) times, the last once.
    return bytes((sum(body) & 255, sum(map(mul, body, _WEIGHTS[-len(body) :])) & 255))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:64] + "…")
