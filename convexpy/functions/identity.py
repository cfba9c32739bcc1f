"""Who is calling: `ctx.auth.get_user_identity()`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


class UserIdentity(dict[str, Any]):
    """The user's identity with the wire's keys (`tokenIdentifier`, `subject`, …), also as snake_case attributes."""

    def __getattr__(self, name: str) -> Any:
        wire_name = re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)
        if wire_name in self:
            return self[wire_name]
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
