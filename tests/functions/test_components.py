"""Components are installed under names that code can say, with the variables that they declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from convexpy.errors import DefinitionError
from convexpy.functions.components import define_app, define_component
from convexpy.values import v


def test_one_component_may_be_installed_several_times() -> None:
    app, counter = define_app(), define_component("counter", functions="counter.component")

    app.use(counter)
    app.use(counter, name="votes", http_prefix="/votes")

    assert [(use.name, use.component, use.http_prefix) for use in app.uses] == [
        ("counter", counter, None),
        ("votes", counter, "/votes/"),
    ]


def test_names_of_siblings_differ() -> None:
    app, counter = define_app(), define_component("counter", functions="counter.component")
    app.use(counter)

    with pytest.raises(DefinitionError, match="Two components are named 'counter'"):
        app.use(counter)


def test_prefixes_of_siblings_differ() -> None:
    app, counter = define_app(), define_component("counter", functions="counter.component")
    app.use(counter, http_prefix="/count")

    with pytest.raises(DefinitionError, match="Two components have http_prefix='/count/'"):
        app.use(counter, name="other", http_prefix="/count/")


COUNTER = define_component("counter", functions="counter.component")


@pytest.mark.parametrize(
    "make",
    [
        lambda: define_component("with-dash", functions="a.b"),
        lambda: define_component("", functions="a.b"),
        lambda: define_component("counter", functions=""),
        lambda: define_component(None, functions="a.b"),  # type: ignore[arg-type]
        lambda: define_app().use(COUNTER, name="with.dot"),
        lambda: define_app().use(COUNTER, name=5),  # type: ignore[arg-type]
        lambda: define_app().use(COUNTER, http_prefix="count/"),
        lambda: define_app().use(define_app()),
        lambda: define_app().use("counter"),  # type: ignore[arg-type]
        lambda: define_app(env={"PORT": v.number()}),
        lambda: define_app(env={"MODE": v.union(v.literal("a"), v.literal(1))}),
        lambda: define_app(env={"my-key": v.string()}),
    ],
)
def test_what_cannot_be(make: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError):
        make()


@pytest.mark.parametrize(
    ("env", "text"),
    [({}, "needs the environment variable KEY"), ({"KEY": "1", "OTHER": "2"}, "declares no .* 'OTHER'")],
)
def test_declared_variables_are_bound(env: dict[str, Any], text: str) -> None:
    mailer = define_component(
        "mailer",
        functions="mailer.component",
        env={"KEY": v.string(), "MODE": v.optional(v.literals("live", "test"))},
    )

    with pytest.raises(DefinitionError, match=text):
        define_app().use(mailer, env=env)

    assert define_app().use(mailer, env={"KEY": "1"}).env == {"KEY": "1"}
