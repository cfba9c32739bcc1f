"""Sessions from the protocol's grammar with anything at all in their fields, for hypothesis to invent and to shrink."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.corpus import Session
from tests.fuzz.mutate import STRANGE_NUMBERS, STRANGE_OBJECTS, STRANGE_TEXTS

PATHS = (
    "counters:read",
    "counters:add",
    "messages:echo",
    "messages:bodies",
    "tasks:add_twice",
    "problems:refuse",
    "no:where",
)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(STRANGE_OBJECTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
numbers = st.integers(0, 4) | st.sampled_from(STRANGE_NUMBERS)
texts = st.sampled_from(STRANGE_TEXTS) | st.text(max_size=20)
paths = st.sampled_from(PATHS) | texts
arguments = st.lists(
    st.fixed_dictionaries({"name": texts}) | st.fixed_dictionaries({"value": json_values}) | json_values,
    max_size=2,
)


def anything_or(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there, most of the time."""
    return st.integers(0, 9).flatmap(lambda roll: json_values if roll == 0 else strategy)


def message(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just(kind)}, optional={name: anything_or(field) for name, field in fields.items()}
    )


additions = message(
    "Add", queryId=numbers, udfPath=paths, args=arguments, journal=st.none() | texts, componentPath=st.none() | texts
)
removals = message("Remove", queryId=numbers)
messages = st.one_of(
    message("Connect", sessionId=texts, connectionCount=numbers, maxObservedTimestamp=texts, clientTs=numbers),
    message(
        "ModifyQuerySet",
        baseVersion=numbers,
        newVersion=numbers,
        modifications=st.lists(additions | removals, max_size=3),
    ),
    message("Mutation", requestId=numbers, udfPath=paths, args=arguments, componentPath=st.none() | texts),
    message("Action", requestId=numbers, udfPath=paths, args=arguments),
    message(
        "Authenticate",
        baseVersion=numbers,
        tokenType=st.sampled_from(["User", "Admin", "None", "x"]),
        value=texts,
    ),
    message("Event", eventType=texts, event=json_values),
    message("TransitionChunk", chunk=texts),
)
sessions = st.builds(
    Session,
    path=st.sampled_from(["/api/1.48.0/sync", "/api/sync"]),
    client=st.none() | st.sampled_from(["python-0.8.1", "npm-1.48.0", "nonsense"]),
    frames=st.lists(messages.map(lambda content: json.dumps(content, default=str)), min_size=1, max_size=6),
)
