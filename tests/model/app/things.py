"""A mutation whose body is the test's, so that it can be a sub-transaction."""

from convexpy import MutationCtx, mutation
from tests.model.nested import next_body


@mutation(args={})
def nested(ctx: MutationCtx) -> None:
    next_body.pop()(ctx)
