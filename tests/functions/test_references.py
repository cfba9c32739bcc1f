"""References of every form say what they name, and junk is told from them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from convexpy.errors import InvalidRequest
from convexpy.functions.definitions import query
from convexpy.functions.references import Reference, api, components, function_name, internal, resolve_name


@query
def listed(ctx: Any) -> None:
    """A function that a reference can be."""


@pytest.mark.parametrize(
    ("reference", "kind", "component", "path"),
    [
        (api.messages.send, "own", "", "messages:send"),
        (internal.folder.file.fn, "own", "", "folder/file:fn"),
        (components.workflow.lib.start, "child", "workflow", "lib:start"),
        (components.workflow.folder.lib.start, "child", "workflow", "folder/lib:start"),
        ("messages:send", "own", "", "messages:send"),
        ("folder/messages.js:send", "own", "", "folder/messages:send"),
        ("messages", "own", "", "messages:default"),
        ("messages.js", "own", "", "messages:default"),
        ("function://7/folder/messages:send", "handle", "7", "folder/messages:send"),
        (listed, "object", "", "listed"),
    ],
)
def test_references_name_functions(reference: Any, kind: str, component: str, path: str) -> None:
    address = resolve_name(reference)

    assert (address.kind, address.component, address.path) == (kind, component, path)
    assert address.function is (reference if kind == "object" else None)


@pytest.mark.parametrize(
    "junk",
    [
        *("", "a b:c", "messages:", ":send", "a/:b", "/a:b", "a::b", "a.py:b", "a:1b"),
        *("function://", "function://7", "function:///a:b", "function://7/a b"),
        *(None, 3, {}, print, api, api.messages, internal, components.workflow, components.workflow.lib),
    ],
)
def test_what_names_no_function_is_refused_with_what_to_write_instead(junk: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"(Write|write|Pass|Get) .*\."):
        resolve_name(junk)


@pytest.mark.parametrize("name", ["address", "names", "root", "_names", "_root", "kind", "path", "items"])
def test_every_name_of_a_module_or_function_is_reachable(name: str) -> None:
    """A reference has no attributes of its own that a user's name could collide with."""
    assert resolve_name(getattr(api.users, name)).path == f"users:{name}"
    assert resolve_name(getattr(api, name).get).path == f"{name}:get"


def test_references_are_values() -> None:
    one = components.workflow.lib.start

    assert repr(one) == "components.workflow.lib.start"
    assert one == components.workflow.lib.start
    assert one != components.workflow.lib.stop
    assert api.a.b != internal.a.b
    assert {one: 1}[components.workflow.lib.start] == 1
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert isinstance(copy.copy(one), Reference)


def test_protocols_are_not_answered_with_references() -> None:
    for name in ("__len__", "__array__", "__wrapped__", "__html__"):
        assert not hasattr(api.messages.send, name)


def test_function_name_can_be_used_as_a_reference_again() -> None:
    for reference in (api.a.b, components.workflow.lib.start, "function://7/a:b", "a.js:b"):
        name = function_name(reference)

        assert resolve_name(name) == resolve_name(reference)
    assert function_name(listed) == "listed"
