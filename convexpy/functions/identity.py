"""Who is calling: `ctx.auth.get_user_identity()`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

# What an identity provider may say in the standard's own words (wire-protocol 9.3); anything else is a custom claim.
STANDARD_ATTRIBUTES = frozenset(
    {"name", "givenName", "familyName", "nickname", "preferredUsername", "profileUrl", "pictureUrl", "websiteUrl"}
    | {"email", "emailVerified", "gender", "birthday", "timezone", "language", "phoneNumber", "phoneNumberVerified"}
    | {"address", "updatedAt"}
)


class UserIdentity(dict[str, Any]):
    """The user's identity with the wire's keys (`tokenIdentifier`, `subject`, …), also as snake_case attributes.

    `token_identifier`, `issuer` and `subject` are always there; `token_identifier` is the key to store users by. A
    standard attribute that the provider left out is None as an attribute (`identity.email`), and missing as a key.
    Custom claims have their own names, in both ways.
    """

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        wire_name = re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)
        if wire_name in self:
            return self[wire_name]
        if wire_name in STANDARD_ATTRIBUTES:
            return None
        raise AttributeError(f"This identity has no {wire_name!r}. It has: {', '.join(sorted(self))}.")


class Auth:
    """`ctx.auth` of any function. Inside a component nobody is known."""

    def __init__(self, note_read: Callable[[], None], identity: Callable[[], Mapping[str, Any] | None]) -> None:
        self._note_read = note_read
        self._identity = identity

    def get_user_identity(self) -> UserIdentity | None:
        """The caller's identity, or None for an anonymous caller, a scheduled function, a component."""
        self._note_read()
        identity = self._identity()
        return None if identity is None else UserIdentity(identity)
