"""Turns the claims of a verified token into the identity that functions see.

What changes with every refresh of a token is left out, so that a user's identity, and with it cached queries, stay the
same.

Source: wire-protocol 9.3; OpenID Connect Core 1.0 section 5.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from convexpy.auth.tokens import INSTANT_SECONDS_MAX

_TEXTS = {
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile": "profileUrl",
    "picture": "pictureUrl",
    "website": "websiteUrl",
    "email": "email",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phoneNumber",
}
_FLAGS = {"email_verified": "emailVerified", "phone_number_verified": "phoneNumberVerified"}
_OF_THE_TOKEN = {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "fva"}
_OF_THE_LOGIN = {"auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash"}  # OpenID Connect Core 2, 3.3.2.11


def subject_of(claims: dict[str, Any]) -> str:
    """The token's `sub`.

    Raises:
        ValueError: there is none.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise ValueError("It names no user ('sub').")
    return subject


def oidc_identity(claims: dict[str, Any]) -> dict[str, Any]:
    """Standard claims under Convex's names, others under their own.

    Raises:
        ValueError: there is no `sub`, or a standard claim is of another type than the standard's.
    """
    identity = {
        name: value
        for name, value in claims.items()
        if name not in _OF_THE_TOKEN | _OF_THE_LOGIN | _TEXTS.keys() | _FLAGS.keys() | {"address", "updated_at"}
    }
    identity |= _standard_attributes(claims)
    return _with_subject(identity, claims)


def custom_identity(claims: dict[str, Any]) -> dict[str, Any]:
    """All claims under their own names; those of a nested object as `outer.inner`.

    Raises:
        ValueError: there is no `sub`.
    """
    return _with_subject(dict(_flattened(claims, _OF_THE_TOKEN)), claims)


def _with_subject(identity: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """Last, so that no claim of the user's choosing can stand in for who the user is."""
    subject = subject_of(claims)
    issuer = claims["iss"]
    return {**identity, "issuer": issuer, "subject": subject, "tokenIdentifier": f"{issuer}|{subject}"}


def _standard_attributes(claims: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for claim, attribute in _TEXTS.items():
        value = claims.get(claim)
        if value is not None:
            found[attribute] = _checked(claim, value, str)
    for claim, attribute in _FLAGS.items():
        value = claims.get(claim)
        if value is not None:
            # A string would be true in a condition whatever it says; some providers write booleans so.
            found[attribute] = _checked(claim, {"true": True, "false": False}.get(str(value), value), bool)
    address = claims.get("address")
    if isinstance(address, dict) and isinstance(address.get("formatted"), str):
        found["address"] = address["formatted"]
    updated_at = claims.get("updated_at")
    if updated_at is not None:
        found["updatedAt"] = _instant_text(updated_at)
    return found


def _checked(claim: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"Its '{claim}' is no {'string' if kind is str else 'boolean'}.")
    return value


def _instant_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= INSTANT_SECONDS_MAX:
        raise ValueError("Its 'updated_at' is no number of seconds since 1970.")
    return datetime.fromtimestamp(value, UTC).isoformat()


def _flattened(claims: dict[str, Any], left_out: set[str] | frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Depth is bounded by the JSON parser's own."""
    for name, value in claims.items():
        if name in left_out:
            continue
        if isinstance(value, dict):
            for inner, inner_value in _flattened(value, frozenset()):
                yield f"{name}.{inner}", inner_value
        else:
            yield name, value
