"""Isolation anomalies of a history, by name, from nothing but what clients asked and were told.

From the values of lists and registers it is inferred which transaction must come before which; a cycle is an anomaly.
How it is named depends on how often a transaction did *not* see another's write (`rw`):

    G0              no rw, only overwriting            G-single        one rw
    G1c             no rw, some reading                G-nonadjacent   several, no two in a row
    G1a, G1b        read what was aborted, or          G2-item         several
                    overwritten within its transaction

`-process` and `-realtime`: the cycle needs the order of one client's transactions, or the order of transactions of
which one was over before the other began. What no order of events explains has names of its own: `internal`,
`duplicate-elements`, `incompatible-order`, `garbage-read`.

Source: A. Adya, Weak consistency, 1999; K. Kingsbury and P. Alvaro, Elle, VLDB 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from tests.histories.graph import DATA, PROCESS, REALTIME, RELATIONS, RW, WR, WW, Graph
from tests.histories.history import Record
from tests.histories.list_order import infer_from_lists
from tests.histories.register_order import infer_from_registers

STARTS_MAX = 40  # edges of one component at which cycles are looked for; a shorter one beyond them goes unnoticed


class Anomaly(Struct, frozen=True):
    """What is wrong, and the transactions that show it: a shortest cycle, its first one not repeated."""

    name: str
    text: str
    witness: tuple[Record, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def find_anomalies(records: Sequence[Record]) -> list[Anomaly]:
    """All kinds of anomalies of a history, each component of the graph with one witness a name.

    Costs time in proportion to the history, as long as it is clean.
    """
    graph, found = infer(records)
    for component in graph.components():
        found += _name_cycles(graph, component, records)
    return found


def infer(records: Sequence[Record]) -> tuple[Graph, list[Anomaly]]:
    """The graph of a history, nodes numbered as the records are; and what is wrong without any cycle."""
    graph = Graph(len(records))
    faults = [*infer_from_lists(records, graph), *infer_from_registers(records, graph)]
    latest: dict[int, int] = {}
    for number in sorted(range(len(records)), key=lambda number: records[number].invoked):
        record = records[number]
        if record.status == "ok":
            if record.process in latest:
                graph.add(latest[record.process], number, PROCESS)
            latest[record.process] = number
    graph.add_realtime(
        (number, record.invoked, record.completed) for number, record in enumerate(records) if record.status != "fail"
    )
    return graph, [Anomaly(name, text, tuple(records[number] for number in numbers)) for name, text, numbers in faults]


def _name_cycles(graph: Graph, component: set[int], records: Sequence[Record]) -> list[Anomaly]:
    """At least one anomaly. Cycles of data alone say most; only without them the clock is called as a witness."""
    for order in (0, PROCESS, PROCESS | REALTIME):
        shortest: dict[str, tuple[int, list[int], int]] = {}
        for cycle, allowed in _cycles(graph, component, order):
            name = _name(graph, cycle, allowed)
            length = sum(node < graph.size for node in cycle)
            if name not in shortest or length < shortest[name][0]:
                shortest[name] = (length, cycle, allowed)
        if shortest:
            return [
                Anomaly(name, _tell(graph, cycle, allowed), tuple(records[node] for node in cycle if node < graph.size))
                for name, (_, cycle, allowed) in shortest.items()
            ]
    raise AssertionError(f"a component without a cycle: {sorted(component)}")


def _cycles(graph: Graph, component: set[int], order: int) -> list[tuple[list[int], int]]:
    """Candidates, strongest anomaly first, each with the relations that its search went by."""
    found: list[tuple[list[int], int]] = []
    searches = (
        (WW, WW | order, False),
        (WR, WW | WR | order, False),
        (RW, WW | WR | order, False),
        (RW, DATA | order, True),
        (RW, DATA | order, False),
    )
    for first, rest, is_apart in searches:
        starts = graph.edges_within(component, first)
        step = max(1, len(starts) // STARTS_MAX)
        for before, after in starts[::step]:
            path = graph.shortest_path(after, before, rest, component, is_apart=is_apart)
            if path is not None and len(set(path)) == len(path):
                found.append((path, rest | first))
    return found


def _steps(graph: Graph, cycle: list[int], allowed: int) -> list[int]:
    """The relation of each step of a cycle; of several the one that accuses most."""
    return [
        next(kind for kind in (WW, WR, PROCESS, REALTIME, RW) if graph.relations(before, after) & allowed & kind)
        for before, after in pairwise([*cycle, cycle[0]])
    ]


def _name(graph: Graph, cycle: list[int], allowed: int) -> str:
    steps = _steps(graph, cycle, allowed)
    unseen = steps.count(RW)
    if unseen == 0:
        name = "G1c" if WR in steps else "G0"
    elif unseen == 1:
        name = "G-single"
    elif any(step == following == RW for step, following in pairwise([*steps, steps[0]])):
        name = "G2-item"
    else:
        name = "G-nonadjacent"
    return f"{name}-realtime" if REALTIME in steps else f"{name}-process" if PROCESS in steps else name


def _tell(graph: Graph, cycle: list[int], allowed: int) -> str:
    """The cycle as a sentence; instants between transactions are left out."""
    text = ""
    for node, following, kind in zip(cycle, [*cycle[1:], cycle[0]], _steps(graph, cycle, allowed), strict=True):
        if node >= graph.size:
            continue
        key = graph.key_of(node, following, kind)
        text += f"T{node} –{RELATIONS[kind]}{f' ({key})' if key else ''}→ "
    first = next(node for node in cycle if node < graph.size)
    return f"{text}T{first}"
