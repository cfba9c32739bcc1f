"""Engines that are broken in one place each, and what it takes to run the machine on one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from convexpy.functions import index_range_builder, pagination
from convexpy.functions.database import DatabaseWriter
from convexpy.functions.filter_expressions import Expression, FilterBuilder
from convexpy.functions.pagination import PageReader
from convexpy.functions.query_builder import Query
from convexpy.storage.lmdb_store import Snapshot
from convexpy.transactions import index_keys, transaction_reads, write_set
from convexpy.transactions.catalog_entries import IndexInfo
from convexpy.transactions.index_keys import key_of_fields
from convexpy.transactions.transaction import Transaction
from convexpy.transactions.write_set import WriteSet
from convexpy.values import UNSET, Int64, order, sort_key
from tests.model.machine import Machine
from tests.model.run import examples_settings


class Change(NamedTuple):
    """An attribute and what stands in its place."""

    owner: Any
    name: str
    replacement: Any


def wrapped(owner: Any, name: str, around: Callable[..., Any]) -> Change:
    """`around` gets what was there, then the arguments."""
    original = getattr(owner, name)

    def replacement(*args: Any, **named: Any) -> Any:
        return around(original, *args, **named)

    return Change(owner, name, replacement)


def _unmerged(stored: Iterator[bytes], own: list[bytes], descending: bool) -> Iterator[bytes]:
    yield from stored
    yield from own


def _unordered_group(self: Transaction, table: Any, index: Any, entries: Any, *_: Any) -> Any:
    for entry in entries:
        document = self._document_of_entry(table, index, entry)
        if document is not None:
            yield document


def _without_old_entries(original: Any, self: WriteSet) -> Any:
    documents, puts, _, touches = original(self)
    return documents, puts, [], touches


def _with_own_twice(self: Transaction, keys: Iterator[bytes], table: Any, begun: int) -> Iterator[bytes]:
    yield from keys


def _first_field_only(index: Any, fields: Any) -> bytes:
    return key_of_fields(IndexInfo(index.name, index.keyspace, index.fields[:1], index.state), fields)


def _missing_as_none(original: Any, value: Any) -> bytes:
    return bytes(original(None if value is UNSET else value))


def _true_as_one(original: Any, value: Any) -> bytes:
    return bytes(original(1.0 if value is True else value))


def _int64_as_float(original: Any, value: Any) -> bytes:
    return bytes(original(float(int(value)) if type(value) is Int64 else value))


def _unsigned_zero(original: Any, value: float) -> bytes:
    return bytes(original(value + 0.0))


def _without_last(original: Any, self: Snapshot, start: bytes, end: bytes, descending: bool) -> Iterator[bytes]:
    keys = list(original(self, start, end, descending))
    yield from keys[1:] if descending else keys


def _at_or_after(position: Any, other: Any, descending: bool) -> bool:
    return bool(position <= other if descending else position >= other)


def _top_level_field(self: FilterBuilder, path: str) -> Expression:
    name = path.split(".")[0]
    return Expression(lambda document: document.get(name, UNSET), 1, f"field({path!r})")


def _without_end(original: Any, self: PageReader, options: dict[str, Any], *rest: Any) -> Any:
    return original(self, {**options, "endCursor": None}, *rest)


def _one_more(original: Any, self: Query, n: int) -> Any:
    return original(self, n + 1)[:n] if n else original(self, n)


def _last_one_left_out(original: Any, self: Transaction, *bounds: Any) -> Any:
    found, last = original(self, *bounds)
    return found[:-1], last


def _merging_replace(original: Any, self: DatabaseWriter, id: str, value: Any) -> None:
    self.patch(id, value)


def _unremoving_patch(original: Any, self: DatabaseWriter, id: str, value: Any) -> None:
    original(self, id, {name: field for name, field in value.items() if field is not UNSET})


def _closed_bound(original: Any, key: bytes, last_field: str) -> bytes:
    return key


MUTANTS: dict[str, list[Change]] = {
    "rollback keeps writes": [Change(WriteSet, "rollback", lambda self, savepoint: None)],
    "own writes come after stored ones": [Change(transaction_reads, "_merge", _unmerged)],
    "own writes come beside stored ones": [Change(Transaction, "_without_pending", _with_own_twice)],
    "cut keys are not put in order": [Change(Transaction, "_cut_group", _unordered_group)],
    "old index entries stay": [wrapped(WriteSet, "changes", _without_old_entries)],
    "an index loses its second field": [Change(write_set, "key_of_fields", _first_field_only)],
    "an index takes missing for None": [wrapped(index_keys, "sort_key", _missing_as_none)],
    "a bound takes missing for None": [wrapped(index_range_builder, "sort_key", _missing_as_none)],
    "an index takes True for 1": [wrapped(index_keys, "sort_key", _true_as_one)],
    "an index takes int64 for float64": [wrapped(index_keys, "sort_key", _int64_as_float)],
    "-0.0 is 0.0": [wrapped(order, "_float_bits", _unsigned_zero)],
    "a zero byte ends a string": [Change(order, "_escaped", lambda raw: raw + b"\x00")],
    "gt is gte, lte is lt": [wrapped(index_range_builder, "_above", _closed_bound)],
    "descending misses the last row": [wrapped(Snapshot, "index_keys", _without_last)],
    "a page begins at its cursor's row": [Change(pagination, "_is_after", _at_or_after)],
    "a page that runs again has another end": [wrapped(PageReader, "read", _without_end)],
    "a filter looks at the first step of a path": [Change(FilterBuilder, "field", _top_level_field)],
    "unique gives the first of several": [Change(Query, "unique", Query.first)],
    "take reads one row more than it gives": [wrapped(Query, "take", _one_more)],
    "a new index lacks a row": [wrapped(Transaction, "stored_chunk", _last_one_left_out)],
    "replace keeps old fields": [wrapped(DatabaseWriter, "replace", _merging_replace)],
    "patch removes no field": [wrapped(DatabaseWriter, "patch", _unremoving_patch)],
}
assert sort_key(-0.0) != sort_key(0.0), "mutants are planted for a test's time only"


def run_mutated(changes: list[Change], seed_number: int, examples: int) -> None:
    """Run the machine on an engine with these changes; raises what the first failing history raised.

    Raises:
        Difference: the model noticed.
    """
    only_generated = settings(examples_settings(examples), phases=[Phase.generate], report_multiple_bugs=False)
    with ExitStack() as planted:
        for change in changes:
            planted.enter_context(patch.object(*change))
        run_state_machine_as_test(seed(seed_number)(type("Broken", (Machine,), {})), settings=only_generated)
