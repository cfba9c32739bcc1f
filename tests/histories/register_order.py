"""What a history of registers says about the order of its transactions.

Every written value is new, so a read names its writer. The order of versions is inferred: nothing comes before nil;
what a transaction read comes before what it then wrote; and where all writers of a key know their commit timestamps
these are believed, so that a wrong one makes a cycle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tests.histories.graph import RW, WR, WW, Graph
from tests.histories.history import Record
from tests.histories.list_order import Fault

NIL = None


class _Register:
    """All that the history tells of one register. `NIL` stands for the version before all."""

    def __init__(self) -> None:
        self.writers: dict[Any, int] = {}
        self.aborted: dict[Any, int] = {}
        self.intermediate: dict[Any, int] = {}
        self.readers: defaultdict[Any, list[int]] = defaultdict(list)
        self.followers: defaultdict[Any, dict[Any, None]] = defaultdict(dict)


def infer_from_registers(records: Sequence[Record], graph: Graph) -> list[Fault]:
    """Add edges of all `w` operations and the `r` ones of their keys; what is wrong without a cycle comes back."""
    registers: defaultdict[str, _Register] = defaultdict(_Register)
    for number, record in enumerate(records):
        _take_writes(number, record, registers)
    faults: list[Fault] = []
    for number, record in enumerate(records):
        if record.status == "ok":
            faults += _take_reads(number, record, registers)
    for name, register in registers.items():
        faults += _check_values(name, register)
        _order_versions(register, records)
        _add_edges(name, register, records, graph)
    return faults


def _take_writes(number: int, record: Record, registers: defaultdict[str, _Register]) -> None:
    last: dict[str, Any] = {}
    for operation in record.operations:
        if operation[0] != "w":
            continue
        _, name, value = operation
        register = registers[name]
        if record.status == "fail":
            register.aborted[value] = number
            continue
        if name in last:
            register.intermediate[last[name]] = register.writers.pop(last[name])
        register.writers[value] = number
        last[name] = value


def _take_reads(number: int, record: Record, registers: defaultdict[str, _Register]) -> list[Fault]:
    faults: list[Fault] = []
    now: dict[str, Any] = {}
    foreign: dict[str, Any] = {}
    for operation in record.operations:
        name = operation[1]
        if operation[0] == "w":
            now[name] = operation[2]
        elif operation[0] == "r" and name in registers and type(operation[2]) is not list:
            value = operation[2]
            if name in now and now[name] != value:
                text = f"T{number} reads {value} of {name}, which to it was {now[name]}"
                faults.append(("internal", text, (number,)))
            elif name not in now:
                registers[name].readers[value].append(number)
                now[name] = foreign[name] = value
    for name, value in foreign.items():
        if now[name] != value:
            registers[name].followers[value][now[name]] = None
    return faults


def _check_values(name: str, register: _Register) -> list[Fault]:
    faults: list[Fault] = []
    for value, readers in register.readers.items():
        if value is NIL or value in register.writers:
            continue
        for reader in readers:
            if value in register.aborted:
                writer = register.aborted[value]
                text = f"T{reader} reads {value} of {name}, which T{writer} took back"
                faults.append(("G1a", text, (writer, reader)))
            elif value in register.intermediate:
                writer = register.intermediate[value]
                faults.append(
                    ("G1b", f"T{reader} reads {value} of {name}, which T{writer} wrote over", (writer, reader))
                )
            else:
                faults.append(("garbage-read", f"T{reader} reads {value} of {name}: nobody's", (reader,)))
    return faults


def _order_versions(register: _Register, records: Sequence[Record]) -> None:
    """Complete `followers`. Writes of unknown fate count only where somebody has seen them."""
    versions = [
        value
        for value, writer in register.writers.items()
        if records[writer].status == "ok" or value in register.readers
    ]
    stamps = {value: records[register.writers[value]].ts for value in versions}
    if all(ts is not None for ts in stamps.values()):
        for before, after in pairwise(sorted(versions, key=lambda value: stamps[value] or 0)):
            register.followers[before][after] = None
    preceded = {after for followers in register.followers.values() for after in followers}
    for value in versions:
        if value not in preceded:
            register.followers[NIL][value] = None


def _add_edges(name: str, register: _Register, records: Sequence[Record], graph: Graph) -> None:
    writers = register.writers
    for value, readers in register.readers.items():
        if value in writers:
            for reader in readers:
                graph.add(writers[value], reader, WR, name)
    for before, followers in register.followers.items():
        for after in followers:
            if after not in writers:
                continue
            if before in writers:
                graph.add(writers[before], writers[after], WW, name)
            for reader in register.readers.get(before, ()):
                graph.add(reader, writers[after], RW, name)
