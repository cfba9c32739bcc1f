"""Who sent a request: the `Authorization` header, or `?adminKey=` where there is none. Source: wire-protocol 8, 9.4."""

from __future__ import annotations

from starlette.requests import Request

from convexpy.errors import Unauthenticated
from convexpy.runtime.identity import ANONYMOUS, Authenticator, Caller, bad_deploy_key, split_acting_as


async def caller_of(request: Request, authenticator: Authenticator) -> Caller:
    """Find out on whose behalf the request is made.

    Raises:
        Unauthenticated: credentials are given and are not good.
    """
    header = request.headers.get("authorization")
    if header is None:
        key = request.query_params.get("adminKey")
        return ANONYMOUS if key is None else authenticator.admin(*split_acting_as(key))
    scheme, _, credential = header.partition(" ")
    if len(header) >= 7:
        match scheme.lower():
            case "bearer":
                return await authenticator.user(credential.strip())
            case "convex":
                return authenticator.admin(*split_acting_as(credential.strip()))
    raise Unauthenticated(
        "The Authorization header must be `Bearer <token>` or `Convex <admin key>`.", "InvalidHeaderFailure", 400
    )


async def require_admin(request: Request, authenticator: Authenticator) -> Caller:
    """Like `caller_of`, for what only the operator may do.

    Raises:
        Unauthenticated: anybody else, or wrong credentials.
    """
    caller = await caller_of(request, authenticator)
    if not caller.is_admin:
        raise bad_deploy_key()
    return caller
