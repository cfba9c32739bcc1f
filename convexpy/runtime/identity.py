"""Who is calling: admin keys and user tokens turned into the identity that functions see.

Sync and HTTP ask an `Authenticator`; neither looks into a key or a token itself.

Source: wire-protocol 9.3, 9.4.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Hashable
from hmac import compare_digest
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from convexpy.errors import Unauthenticated
from convexpy.limits import SAFE_INTEGER_MAX


class Caller(Struct, frozen=True):
    """On whose behalf functions run."""

    identity: bytes | None = None  # JSON object, keys sorted; None: no user
    is_admin: bool = False
    expires_ns: int | None = None  # of the token; None: never
    vouched_by: Hashable = None  # the provider, as its authenticator knows it; None: nobody needs to

    def is_expired(self, now_ns: int) -> bool:
        return self.expires_ns is not None and now_ns >= self.expires_ns


ANONYMOUS = Caller()


class Authenticator(Protocol):
    """Judges keys and tokens."""

    async def user(self, token: str) -> Caller:
        """Verify a user's token.

        Raises:
            Unauthenticated: forged, expired, or from nobody we trust.
        """

    def admin(self, key: str, acting_as: bytes | None = None) -> Caller:
        """Check an admin key.

        Args:
            acting_as: JSON object of identity attributes: the admin calls as this user.

        Raises:
            Unauthenticated: another key, or attributes that name no user.
        """

    def trusts(self, caller: Caller) -> bool:
        """Whether a judgement of before still stands: new code may trust other providers."""


class AdminKeyAuthenticator:
    """Knows the deployment's admin key and no auth provider.

    Args:
        admin_key: `[<type>:]<deployment name>|<secret>`.
    """

    def __init__(self, admin_key: str) -> None:
        self._name, self._secret = _split_key(admin_key)

    async def user(self, token: str) -> Caller:
        raise Unauthenticated("No auth provider found matching the given token", "NoAuthProvider")

    def admin(self, key: str, acting_as: bytes | None = None) -> Caller:
        name, secret = _split_key(key)
        # Both are compared, whatever the first says: time must not tell which part was wrong.
        is_name_right = compare_digest(name.encode(), self._name.encode()) or _is_name_cosmetic(key)
        is_secret_right = compare_digest(secret.encode(), self._secret.encode())
        if not (is_name_right and is_secret_right):
            raise bad_deploy_key()
        return Caller(None if acting_as is None else identity_json(acting_as), is_admin=True)

    def trusts(self, caller: Caller) -> bool:
        return True


def bad_deploy_key() -> Unauthenticated:
    """The answer to a wrong admin key, and to no admin key where one is needed."""
    return Unauthenticated(
        "The provided admin key is not one of this deployment. `convexpy` prints the right one, and the data folder "
        "holds it in `admin_key`.",
        "BadDeployKey",
        403,
    )


def split_acting_as(credential: str) -> tuple[str, bytes | None]:
    """Part `<key>[:<base64 of JSON attributes>]` as it stands in an `Authorization: Convex` header.

    Raises:
        Unauthenticated: what follows the key is no base64.
    """
    head, bar, rest = credential.partition("|")
    secret, colon, attributes = rest.partition(":")
    if not colon:
        return credential, None
    try:
        # The official clients pad; curl users often do not.
        decoded = base64.b64decode(attributes + "=" * (-len(attributes) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Unauthenticated(
            "The attributes after the admin key are no base64.", "BadAdminKeyAttributes", 400
        ) from None
    return head + bar + secret, decoded


def identity_json(attributes: bytes) -> bytes:
    """Complete the identity that an admin wants to act as; equal identities give equal bytes.

    Raises:
        Unauthenticated: neither `tokenIdentifier` nor `issuer` and `subject` are given, as strings.
    """
    try:
        read = _read_number
        identity = json.loads(attributes.decode(), parse_int=read, parse_float=read, parse_constant=read)
        encoded = msgspec.json.encode(_completed(identity), order="sorted")
    except (ValueError, RecursionError):
        raise Unauthenticated("The identity to act as must be a JSON object.", "BadIdentity", 400) from None
    return encoded


def _completed(identity: Any) -> dict[str, Any]:
    """Raises: ValueError: it is no object. Unauthenticated: it says of nobody who that is."""
    if not isinstance(identity, dict):
        raise ValueError
    given = {name: identity.pop(name, None) for name in ("tokenIdentifier", "issuer", "subject")}
    named = {name: value for name, value in given.items() if value is not None}  # some clients spell absent as null
    if ("tokenIdentifier" not in named and len(named) < 2) or not all(isinstance(each, str) for each in named.values()):
        raise Unauthenticated(
            "The identity to act as needs `tokenIdentifier`, or `issuer` and `subject`, and all of them are strings.",
            "BadIdentity",
            400,
        )
    if "tokenIdentifier" not in named:
        named["tokenIdentifier"] = f"{named['issuer']}|{named['subject']}"
    issuer, bar, subject = named["tokenIdentifier"].rpartition("|")
    return {**identity, **({"issuer": issuer} if bar else {}), "subject": subject, **named}


def _read_number(text: str) -> int | float:
    """As in tokens: beyond 2**53 a float, so that functions can return what they are given.

    Raises:
        ValueError: it is no finite number.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if text.lstrip("-").isdigit() and abs(value) <= SAFE_INTEGER_MAX else value


def _split_key(key: str) -> tuple[str, str]:
    """Deployment name without its cosmetic `<type>:` prefix, and the secret."""
    head, _, secret = key.partition("|")
    return head.rpartition(":")[2], secret


def _is_name_cosmetic(key: str) -> bool:
    return key.startswith(("preview:", "project:"))
