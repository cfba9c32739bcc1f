"""Who is calling: admin keys and user tokens turned into the identity that functions see.

Sync and HTTP ask an `Authenticator`; neither looks into a key or a token itself.

Source: wire-protocol 9.3, 9.4.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Hashable
from hmac import compare_digest
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from convexpy.errors import Unauthenticated


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
        identity: dict[str, Any] = msgspec.json.decode(attributes, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Unauthenticated("The identity to act as must be a JSON object.", "BadIdentity", 400) from None
    token_identifier, issuer, subject = (identity.get(key) for key in ("tokenIdentifier", "issuer", "subject"))
    if isinstance(token_identifier, str):
        issued_by, bar, who = token_identifier.rpartition("|")
        if bar:
            identity.setdefault("issuer", issued_by)
        identity.setdefault("subject", who)
    elif isinstance(issuer, str) and isinstance(subject, str):
        identity["tokenIdentifier"] = f"{issuer}|{subject}"
    else:
        raise Unauthenticated(
            "The identity to act as needs `tokenIdentifier`, or `issuer` and `subject`.", "BadIdentity", 400
        )
    return msgspec.json.encode(identity, order="sorted")


def _split_key(key: str) -> tuple[str, str]:
    """Deployment name without its cosmetic `<type>:` prefix, and the secret."""
    head, _, secret = key.partition("|")
    return head.rpartition(":")[2], secret


def _is_name_cosmetic(key: str) -> bool:
    return key.startswith(("preview:", "project:"))
