"""Reads a JWT without believing it, and judges its times. Strict where parsers differ, so that no two can disagree.

Source: wire-protocol 9.2; RFC 7515, 7519, 8725.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any, NamedTuple

from convexpy.errors import Unauthenticated
from convexpy.limits import AUTH_LEEWAY_SECONDS, AUTH_TOKEN_CHARS_MAX, SAFE_INTEGER_MAX

INSTANT_SECONDS_MAX = 253_402_300_799  # the end of the year 9999; no token lives longer, and arithmetic stays finite


class UnverifiedToken(NamedTuple):
    """What a token claims. Nothing of it is known to be true."""

    text: str
    header: dict[str, Any]
    claims: dict[str, Any]
    issuer: str
    audiences: list[str]

    @property
    def algorithm(self) -> str:
        return str(self.header.get("alg"))

    @property
    def key_id(self) -> str | None:
        kid = self.header.get("kid")
        return kid if isinstance(kid, str) else None


def parse_token(text: str) -> UnverifiedToken:
    """Take a compact JWS apart.

    Raises:
        Unauthenticated: `InvalidAuthHeader`; it is malformed, or nobody says to have issued it.
    """
    if len(text) > AUTH_TOKEN_CHARS_MAX:
        raise _malformed(f"It has {len(text)} characters; at most {AUTH_TOKEN_CHARS_MAX} are read.")
    parts = text.split(".")
    if len(parts) != 3:
        raise _malformed(f"It has {len(parts)} {'part' if len(parts) == 1 else 'parts'}.")
    header, claims = (_json_object(part, name) for part, name in zip(parts, ("header", "payload"), strict=False))
    decode_base64url(parts[2], "signature")
    if "crit" in header:
        raise _malformed('Its header has "crit", and no extension of JWS is understood here.')
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise Unauthenticated(
            "Missing issuer claim ('iss') in JWT payload. A token must name who issued it, as one of the providers in "
            "auth_config.py.",
            "InvalidAuthHeader",
        )
    audience = claims.get("aud", [])
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        raise _malformed("Its audience ('aud') is neither a string nor a list of strings.")
    return UnverifiedToken(text, header, claims, issuer, audiences)


def check_times(claims: dict[str, Any], now_seconds: float) -> float:
    """Check `exp`, which must be there, `nbf` and `iat`; returns the instant (epoch seconds) at which it expires.

    Raises:
        ValueError: one of them forbids the token's use now; the text says which.
    """
    expires_at = _instant(claims, "exp")
    if expires_at is None:
        raise ValueError("It has no expiry ('exp').")
    if now_seconds >= expires_at + AUTH_LEEWAY_SECONDS:
        raise ValueError("It has expired ('exp').")
    for claim, what in (("nbf", "is not valid yet"), ("iat", "was issued in the future")):
        instant = _instant(claims, claim)
        if instant is not None and instant > now_seconds + AUTH_LEEWAY_SECONDS:
            raise ValueError(f"It {what} ('{claim}').")
    return expires_at + AUTH_LEEWAY_SECONDS


def decode_base64url(text: str, what: str) -> bytes:
    """Decode the one spelling that RFC 7515 knows: no padding, no other alphabet, no bits left over.

    Raises:
        Unauthenticated: it is another.
    """
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _malformed(f"Its {what} is no base64url.") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise _malformed(f"Its {what} is no base64url.")
    return data


def _json_object(part: str, what: str) -> dict[str, Any]:
    data = decode_base64url(part, what)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_read_integer,
            parse_float=_read_float,
        )
    except (ValueError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, _Ambiguous) else ""
        raise _malformed(f"Its {what} is no JSON{reason}.") from None
    if not isinstance(value, dict):
        raise _malformed(f"Its {what} is no JSON object.")
    return value


class _Ambiguous(ValueError):
    """JSON that two parsers may read differently."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Ambiguous("an object names a key twice")
    return result


def _refuse_constant(name: str) -> Any:
    raise _Ambiguous(f"{name} is not in JSON")


def _read_integer(text: str) -> int | float:
    """As every other JSON reader has it: beyond 2**53 a float, so that functions can return what they are given."""
    value = _read_float(text)
    return value if abs(value) > SAFE_INTEGER_MAX else int(value)


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Ambiguous("a number is too large")
    return value


def _instant(claims: dict[str, Any], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0 <= value <= INSTANT_SECONDS_MAX:
        raise ValueError(f"Its '{claim}' is no number of seconds since 1970.")
    return float(value)


def _malformed(reason: str) -> Unauthenticated:
    return Unauthenticated(
        f"Could not parse JWT payload. A token is a JWT: three parts in base64url, with dots between. {reason}",
        "InvalidAuthHeader",
    )
