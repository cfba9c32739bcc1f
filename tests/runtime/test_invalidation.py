"""The index of readers finds exactly whom a look at every single reader would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convexpy.runtime.invalidation import InvalidationIndex
from convexpy.transactions.commit_messages import Reads

# Few letters, so that prefixes are shared and ends meet; keyspaces of 4 bytes come first, as in stored keys.
keyspaces = st.sampled_from([b"\0\0\0\1", b"\0\0\0\2", b"\0\0\1\0"])
tails = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff"]), max_size=4).map(b"".join)
keys = st.builds(bytes.__add__, keyspaces, tails)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A half-open range within one keyspace, as every scan has."""
    keyspace, ends = draw(keyspaces), sorted((draw(tails), draw(tails)))
    end = draw(st.sampled_from([ends[1], ends[1] + b"\xff", b"\xff" * 5]))
    return keyspace + ends[0], keyspace + end


reads = st.builds(Reads, st.lists(keys, max_size=4, unique=True), st.lists(ranges(), max_size=4))
steps = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), reads)), max_size=20)


def is_touched(found: Reads, written: list[bytes]) -> bool:
    return any(key in found.points or any(start <= key < end for start, end in found.ranges) for key in written)


@given(steps, st.lists(keys, max_size=6))
def test_the_index_agrees_with_a_look_at_every_reader(
    steps: list[tuple[int, Reads | None]], written: list[bytes]
) -> None:
    """Readers are put, put again and removed in any order."""
    index: InvalidationIndex[int] = InvalidationIndex()
    model: dict[int, Reads] = {}
    for reader, found in steps:
        if found is None:
            index.remove(reader)
            model.pop(reader, None)
        else:
            index.put(reader, found)
            model[reader] = found

    found_readers = index.touched(written)
    assert set(found_readers) == {reader for reader, found in model.items() if is_touched(found, written)}
    assert len(found_readers) == len(set(found_readers))
    assert len(index) == len(model)


@given(st.lists(reads, max_size=8))
def test_nothing_stays_behind_when_all_readers_are_gone(all_reads: list[Reads]) -> None:
    index: InvalidationIndex[int] = InvalidationIndex()
    for number, found in enumerate(all_reads):
        index.put(number, found)
    for number in range(len(all_reads)):
        index.remove(number)

    assert {name: value for name, value in vars(index).items() if value} in ({}, {"_next_number": len(all_reads)})
