"""What a session's state machine asks of its transport, as data."""

from __future__ import annotations

from msgspec import Struct

from convexpy.runtime.interface import FunctionRequest


class RunMutation(Struct, frozen=True):
    """Effect: run it, then call `mutation_ended`. The next one is asked for only then."""

    request_id: int
    request: FunctionRequest
    session: tuple[str, int] | None


class RunAction(Struct, frozen=True):
    """Effect: run it beside whatever else runs, then call `action_ended`."""

    request_id: int
    request: FunctionRequest


class RunTogether(Struct, frozen=True):
    """Effect: run all of them at one snapshot, then call `ran_together`."""

    requests: list[FunctionRequest]


class VerifyToken(Struct, frozen=True):
    """Effect: verify a user's token, then call `token_verified` or `token_refused`, before the next client message."""

    token: str


Effect = RunMutation | RunAction | RunTogether | VerifyToken


class Close(Struct, frozen=True):
    """How the socket is to be closed, once everything outgoing is sent."""

    code: int
    reason: str = ""


INTERNAL_ERROR = Close(1011, "InternalServerError")
