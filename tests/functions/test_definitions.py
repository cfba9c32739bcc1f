"""Decorators give functions of the right kind, and refuse handlers that cannot be one, with place and mend."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from convexpy.errors import ArgumentsInvalid, DefinitionError
from convexpy.functions.definitions import (
    Function,
    action,
    internal_action,
    internal_mutation,
    internal_query,
    mutation,
    query,
)
from convexpy.values import UNSET, v


@pytest.mark.parametrize(
    ("decorator", "kind", "visibility"),
    [
        (query, "query", "public"),
        (mutation, "mutation", "public"),
        (action, "action", "public"),
        (internal_query, "query", "internal"),
        (internal_mutation, "mutation", "internal"),
        (internal_action, "action", "internal"),
    ],
)
def test_each_decorator_has_its_kind(decorator: Any, kind: str, visibility: str) -> None:
    def handler(ctx: Any, request: Any) -> Any:
        """What it does."""
        return ctx, request

    handled = decorator(handler)

    assert isinstance(handled, Function)
    assert (handled.kind, handled.visibility) == (kind, visibility)
    assert (handled.name, handled.path, handled.module) == ("handler", "handler", __name__)
    assert (handled.is_async, handled.__doc__) == (False, "What it does.")
    assert handled("ctx", request="request") == ("ctx", "request")


def test_validators_may_be_given() -> None:
    @mutation(args={"body": v.string(), "from": v.optional(v.string())}, returns=v.id("messages"))
    def send(ctx: Any, body: str, **fields: Any) -> str:
        return body

    assert send.args == v.object({"body": v.string(), "from": v.optional(v.string())})
    assert send.returns == v.id("messages")
    assert repr(send) == "<public mutation send>"


def test_a_whole_validator_may_be_given() -> None:
    either = v.union(v.object({"a": v.string()}), v.object({"b": v.string()}))

    @query(args=either)
    def pick(ctx: Any, a: str = "", b: str = "") -> str:
        return a + b

    assert pick.args is either
    assert pick(None, **pick.bind({"b": "x"})) == "x"


def test_given_validators_still_convert_as_annotated() -> None:
    @query(args={"seconds": v.number(), "step": v.any()})
    def wait(ctx: Any, seconds: float, step: inspect.Signature) -> None: ...

    assert repr(wait.bind({"seconds": 3, "step": "any"})) == "{'seconds': 3.0, 'step': 'any'}"


def test_a_closure_under_another_name_is_a_function_of_that_module() -> None:
    def workflow(ctx: Any, **fields: Any) -> Any:
        return fields

    workflow.__name__, workflow.__module__ = "onboard", "app.onboarding"

    function = internal_mutation(args={"args": v.optional(v.any())})(workflow)

    assert (function.name, function.module) == ("onboard", "app.onboarding")
    assert function.bind({"args": {"user": 1}}) == {"args": {"user": 1}}


loose: Any = query  # what is passed wrongly on purpose


async def _asynchronous(ctx: Any) -> None: ...


def _required(ctx: Any, limit: int) -> None: ...


def _without_b(ctx: Any, a: Any) -> None: ...


def _yielding(ctx: Any) -> Any:
    yield 1


async def _yielding_later(ctx: Any) -> Any:
    yield 1


def _without_ctx() -> None: ...


def _starred(ctx: Any, *rest: Any) -> None: ...


def _named_only(*, ctx: Any) -> None: ...


@pytest.mark.parametrize(
    ("make", "handler", "text"),
    [
        (query, _asynchronous, r"write `def _asynchronous\(…\)` without `async`"),
        (internal_mutation, _asynchronous, "without `async`"),
        (query(args={"limit": v.optional(v.number())}), _required, "needs a default: `limit=None`"),
        (query(args={"limit": v.number(), "more": v.number()}), _required, "add `more`"),
        (query(args={}), _required, "add 'limit' to"),
        (loose(args={"limit": int}), _required, r"'limit' is <class 'int'>, not a validator"),
        (loose(args={"limit": None}), _required, "circular import"),
        (query(args={"ctx": v.any(), "limit": v.any()}), _required, "make that one positional"),
        (query(args={"$limit": v.any()}), _required, r"\$limit"),
        (query(args=v.string()), _required, "args= of _required"),
        (loose(args=[v.string()]), _required, "args= of _required"),
        (loose(returns=int), _required, "returns= of _required"),
        (query(returns=v.optional(v.string())), _required, "returns= of _required"),
        (query, _without_ctx, "ctx as its first parameter"),
        (query, _named_only, "ctx as its first parameter"),
        (query, _starred, "by name"),
        (query, _yielding, "Collect a list"),
        (internal_action, _yielding_later, "Collect a list"),
        (
            query(args=v.union(v.object({}), v.object({"limit": v.number()}))),
            _required,
            r"'limit' to v\.object\(\{\}\)",
        ),
        (query(args=v.union(v.object({"a": v.any()}), v.object({"b": v.any()}))), _without_b, "add `b`"),
        (query(args=v.union(v.union(v.object({"a": v.optional(v.any())})))), _without_b, "default: `a=None`"),
        (query, mutation(_required), "two decorators"),
    ],
)
def test_handlers_that_cannot_be_are_refused_with_their_place(
    make: Callable[[Any], Any], handler: Any, text: str
) -> None:
    with pytest.raises(DefinitionError, match=text) as caught:
        make(handler)

    code = getattr(handler, "handler", handler).__code__
    assert (caught.value.file, caught.value.line) == (__file__, code.co_firstlineno)


@pytest.mark.parametrize("handler", [3, str, "name", v.string()])
def test_only_functions_are_decorated(handler: Any) -> None:
    with pytest.raises(DefinitionError, match="is a function"):
        query(handler)


def test_async_actions_are_allowed() -> None:
    assert action(_asynchronous).is_async


def test_missing_and_unknown_arguments_are_refused_where_no_validator_did() -> None:
    @query
    def named(ctx: Any, name: str, **fields: Any) -> None: ...

    with pytest.raises(ArgumentsInvalid, match=re.escape("missing the required field `name`")):
        named.bind({"other": 1})
    with pytest.raises(ArgumentsInvalid, match=re.escape("extra field `ctx`")):
        named.bind({"name": "a", "ctx": 1})
    with pytest.raises(ArgumentsInvalid, match=re.escape("extra field `more`")):
        query(_required).bind({"limit": 1, "more": 2})


def test_a_positional_ctx_leaves_its_name_to_an_argument() -> None:
    @query
    def named(ctx: Any, /, **fields: Any) -> Any:
        return fields

    assert named("the ctx", **named.bind({"ctx": 1})) == {"ctx": 1}


def test_unset_arguments_are_not_passed() -> None:
    @query
    def recent(ctx: Any, limit: int = 50) -> int:
        return limit

    assert recent.bind({"limit": UNSET}) == {}


def test_bind_leaves_the_arguments_alone() -> None:
    args = {"limit": 5.0}

    query(_required).bind(args)

    assert repr(args) == "{'limit': 5.0}"
