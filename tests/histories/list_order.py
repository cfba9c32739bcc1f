"""What a history of lists says about the order of its transactions.

Elements are never removed and every appended value is new, so the longest list that anyone has read of a key is the
order of its versions, and every other list must be a beginning of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tests.histories.graph import RW, WR, WW, Graph
from tests.histories.history import Record

Fault = tuple[str, str, tuple[int, ...]]  # anomaly, text, numbers of records


class _Read(NamedTuple):
    """A list as others left it: without the reader's own elements."""

    reader: int
    elements: list[Any]


class _Key:
    """All that the history tells of one list."""

    def __init__(self) -> None:
        self.writers: dict[Any, int] = {}
        self.aborted: dict[Any, int] = {}
        self.followed_by: dict[Any, Any] = {}  # an element, and the next one that the same transaction appended
        self.reads: list[_Read] = []
        self.longest: list[Any] = []
        self.longest_reader = -1


def infer_from_lists(records: Sequence[Record], graph: Graph) -> list[Fault]:
    """Add edges of all `append` and list-valued `r` operations; what is wrong without a cycle comes back."""
    faults: list[Fault] = []
    keys: defaultdict[str, _Key] = defaultdict(_Key)
    for number, record in enumerate(records):
        _take_appends(number, record, keys)
    for number, record in enumerate(records):
        if record.status == "ok":
            faults += _take_reads(number, record, keys)
    for name, key in keys.items():
        faults += _check_elements(name, key)
        _add_edges(name, key, records, graph)
    return faults


def _take_appends(number: int, record: Record, keys: defaultdict[str, _Key]) -> None:
    last: dict[str, Any] = {}
    for operation in record.operations:
        if operation[0] != "append":
            continue
        _, name, value = operation
        key = keys[name]
        if record.status == "fail":
            key.aborted[value] = number
        else:
            key.writers[value] = number
        if name in last:
            key.followed_by[last[name]] = value
        last[name] = value


def _take_reads(number: int, record: Record, keys: defaultdict[str, _Key]) -> list[Fault]:
    faults: list[Fault] = []
    own: defaultdict[str, list[Any]] = defaultdict(list)
    seen: dict[str, list[Any]] = {}
    for operation in record.operations:
        if operation[0] == "append":
            own[operation[1]].append(operation[2])
        elif operation[0] == "r" and type(operation[2]) is list:
            _, name, elements = operation
            mine = own[name]
            foreign = elements[: len(elements) - len(mine)]
            if elements[len(foreign) :] != mine or foreign != seen.get(name, foreign):
                text = f"T{number} reads {elements} of {name} after {seen.get(name)} and its own {mine}"
                faults.append(("internal", text, (number,)))
                continue
            key = keys[name]
            if name not in seen:
                seen[name] = foreign
                key.reads.append(_Read(number, foreign))
            if len(elements) > len(key.longest):
                key.longest, key.longest_reader = elements, number
    return faults


def _check_elements(name: str, key: _Key) -> list[Fault]:
    faults: list[Fault] = []
    if len(set(key.longest)) < len(key.longest):
        faults.append(("duplicate-elements", f"{name} is {key.longest}", (key.longest_reader,)))
    for read in key.reads:
        if read.elements != key.longest[: len(read.elements)]:
            text = f"{name} is {read.elements} to T{read.reader}, {key.longest} to T{key.longest_reader}"
            faults.append(("incompatible-order", text, (read.reader, key.longest_reader)))
        for value in read.elements:
            if value in key.aborted and value not in key.writers:
                writer = key.aborted[value]
                text = f"T{read.reader} reads {value} of {name}, which T{writer} took back"
                faults.append(("G1a", text, (writer, read.reader)))
            elif value not in key.writers:
                faults.append(("garbage-read", f"T{read.reader} reads {value} of {name}: nobody's", (read.reader,)))
        if read.elements and (last := read.elements[-1]) in key.followed_by:
            writer = key.writers.get(last, key.aborted.get(last, read.reader))
            if writer != read.reader:
                text = f"T{read.reader} reads {name} up to {last}, after which T{writer} appended more"
                faults.append(("G1b", text, (writer, read.reader)))
    return faults


def _add_edges(name: str, key: _Key, records: Sequence[Record], graph: Graph) -> None:
    writers = key.writers
    known = [value for value in dict.fromkeys(key.longest) if value in writers]
    for before, after in pairwise(known):
        graph.add(writers[before], writers[after], WW, name)
    follower = dict(pairwise(known))
    # What nobody has seen came after everything that was seen, in an order that nobody knows.
    seen = set(known)
    unseen = sorted({n for value, n in writers.items() if value not in seen and records[n].status == "ok"})
    if known:
        for writer in unseen:
            graph.add(writers[known[-1]], writer, WW, name)
    for read in key.reads:
        last = next((value for value in reversed(read.elements) if value in writers), None)
        if last is not None:
            graph.add(writers[last], read.reader, WR, name)
        following = follower.get(last) if last is not None else (known[0] if known else None)
        # The reader's own elements are no news to it.
        while following is not None and writers[following] == read.reader:
            following = follower.get(following)
        if following is not None:
            graph.add(read.reader, writers[following], RW, name)
        else:
            for writer in unseen:
                graph.add(read.reader, writer, RW, name)
