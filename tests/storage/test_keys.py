"""Stored keys: their byte order is the order of documents and index entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convexpy.limits import SORT_KEY_BYTES_MAX
from convexpy.storage.keys import (
    INDEX_BIT,
    decode_ts,
    document_key,
    encode_ts,
    index_entry_key,
    is_cut,
    keyspace_of,
    keyspace_prefix,
    prefix_end,
    successor,
)
from convexpy.values import index_key

keyspaces = st.integers(0, 2**32 - 2)
ids = st.binary(min_size=16, max_size=16)
sort_keys = st.tuples(st.text(st.sampled_from("a\x00b"), max_size=3), st.floats()).map(index_key)


@given(st.tuples(keyspaces, ids), st.tuples(keyspaces, ids))
def test_documents_are_ordered_by_table_and_id(a: tuple[int, bytes], b: tuple[int, bytes]) -> None:
    assert (document_key(*a) < document_key(*b)) == (a < b)
    assert keyspace_of(document_key(*a)) == a[0]


@given(st.tuples(keyspaces, sort_keys, ids), st.tuples(keyspaces, sort_keys, ids))
def test_entries_are_ordered_by_index_then_sort_key_then_id(
    a: tuple[int, bytes, bytes], b: tuple[int, bytes, bytes]
) -> None:
    keys = [index_entry_key(keyspace_prefix(keyspace), sort_key, row) for keyspace, sort_key, row in (a, b)]

    assert (keys[0] < keys[1]) == (a < b)
    assert not is_cut(keys[0])


def test_tables_and_indexes_never_meet() -> None:
    assert document_key(INDEX_BIT - 1, b"\xff" * 16) < keyspace_prefix(INDEX_BIT)


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_nothing_lies_between_a_key_and_its_successor(key: bytes, other: bytes) -> None:
    assert key < successor(key)
    assert not key < other < successor(key)


@given(st.binary(min_size=1, max_size=4).filter(lambda prefix: prefix.strip(b"\xff") != b""), st.binary(max_size=6))
def test_a_prefix_ends_right_after_its_last_key(prefix: bytes, other: bytes) -> None:
    assert prefix + other < prefix_end(prefix)
    if other >= prefix and not other.startswith(prefix):
        assert other >= prefix_end(prefix)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_timestamps_are_ordered_as_bytes(a: int, b: int) -> None:
    assert decode_ts(encode_ts(a) + b"packed document") == a
    assert (encode_ts(a) < encode_ts(b)) == (a < b)


def test_a_long_sort_key_is_cut_and_says_so() -> None:
    """One byte below the bound is known to be whole; at the bound it might have been cut."""
    prefix, row = keyspace_prefix(INDEX_BIT), b"i" * 16

    assert not is_cut(index_entry_key(prefix, b"k" * (SORT_KEY_BYTES_MAX - 1), row))
    assert is_cut(index_entry_key(prefix, b"k" * SORT_KEY_BYTES_MAX, row))
    assert index_entry_key(prefix, b"k" * 900, row) == prefix + b"k" * SORT_KEY_BYTES_MAX + row
