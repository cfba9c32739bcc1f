"""Random transactions: short lists of operations on few keys, so that they meet; one seed, one sequence.

Lists and registers are for `anomalies`, and last for one window of the history; rows by rank (phantoms, moves, ends of
ranges) and banks are for `replay`, and last.
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

from tests.histories.history import ROLLED_BACK_PROCESSES, WRITING, Operation, Record, Status

KINDS = "leri"  # of the keys in use: lists of both kinds, registers; see tests/histories/app
WRITES_PER_KEY = 16
GROUPS, RANKS = 3, 12
BANKS, ACCOUNTS = 2, 5
READ_ONLY = 0.45  # share of all transactions
QUERIES = 0.7  # of these; the others are mutations, which no cache stands before
NESTED = 0.15  # of the operations of those that write
ABORTED = 0.05


def decode(text: str | bytes) -> Any:
    """Read JSON of the server, in which every number has a fraction; here all are whole."""
    return json.loads(text, parse_float=lambda digits: int(float(digits)))


class Plan(NamedTuple):
    """A transaction to run; `steps` is what the app gets, answers are None."""

    mark: str | None  # None: it only reads
    steps: list[Any]

    is_query: bool = False

    @property
    def path(self) -> str:
        """The function of the app."""
        return "transactions:look" if self.is_query else "transactions:run"

    @property
    def arguments(self) -> dict[str, Any]:
        """Of the function."""
        return {"steps": self.steps} if self.is_query else {"steps": self.steps, "mark": self.mark}

    def record(
        self, process: int, invoked: int, completed: int, status: Status, steps: list[Any] | None, ts: int | None = None
    ) -> list[Record]:
        """What came of it: the transaction, and each part that was undone as a failed one of its own.

        Args:
            steps: with answers; None where there is none to know.
        """
        done: list[Operation] = []
        undone: list[Operation] = []
        for step in self.steps if steps is None else steps:
            parts = step[1] if step[0] in ("try", "call") else [step]
            for part in parts:
                if part[0] != "abort":
                    (undone if step[0] == "try" and part[0] in WRITING else done).append(part)
        main = Record(
            process=process,
            invoked=invoked,
            completed=completed,
            status=status,
            operations=done,
            ts=ts,
            mark=self.mark or "",
        )
        if not undone:
            return [main]
        gone = Record(
            process=process + ROLLED_BACK_PROCESSES,
            invoked=invoked,
            completed=completed,
            status="fail",
            operations=undone,
        )
        return [main, gone]


class Workload:
    """Makes up transactions.

    Args:
        name: of all that it uses, so that two of them in one database do not meet.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._random = random.Random(seed)
        self._name = name
        self._values = 0
        self._transactions = 0
        self._window = 0
        self._keys: list[list[Any]] = []

    def begin_window(self) -> None:
        """Go over to lists and registers that nobody has used."""
        self._window += 1
        self._keys = [[kind, 0, 0] for kind in KINDS]
        for slot in range(len(self._keys)):
            self._renew(slot)

    def next(self) -> Plan:
        """The next transaction."""
        chance = self._random
        self._transactions += 1
        if chance.random() < READ_ONLY:
            steps = [self._reading() for _ in range(chance.randint(1, 4))]
            return Plan(None, steps, is_query=chance.random() < QUERIES)
        steps = []
        for _ in range(chance.randint(1, 4)):
            operation = self._reading() if chance.random() < 0.5 else self._writing()
            if chance.random() >= NESTED:
                steps.append(operation)
            elif operation[0] in WRITING and chance.random() < 0.5:
                steps.append(["call", [operation]])
            else:
                steps.append(["try", [self._reading(), self._blind_writing()]])
        if not any(part[0] in WRITING for part in _lasting(steps)):
            steps.append(self._writing())
        if chance.random() < ABORTED:
            steps.append(["abort"])
        return Plan(f"{self._name}.{self._transactions}", steps)

    def _value(self) -> int:
        self._values += 1
        return self._values

    def _renew(self, slot: int) -> None:
        kind, count, _ = self._keys[slot]
        self._keys[slot] = [kind, count + 1, 0]

    def _key(self, slot: int) -> str:
        kind, count, _ = self._keys[slot]
        return f"{kind}.{self._name}.{self._window}.{slot}.{count}"

    def _slot(self) -> int:
        return self._random.randrange(len(self._keys))

    def _group(self) -> str:
        return f"{self._name}.{self._random.randrange(GROUPS)}"

    def _reading(self) -> Operation:
        chance = self._random
        kind = chance.random()
        if kind < 0.5:
            return ["r", self._key(self._slot()), None]
        if kind < 0.9:
            low, high = sorted(chance.sample(range(RANKS + 1), 2))
            limit = chance.choice([None, None, 1, 1, 2, 3])
            return ["range", self._group(), low, high, chance.choice(["asc", "desc"]), limit, None]
        return ["balances", f"{self._name}.{chance.randrange(BANKS)}", None]

    def _blind_writing(self) -> Operation:
        """A write without an answer: what it would tell of a part that is undone is nobody's."""
        kind = self._random.random()
        if kind < 0.6:
            slot = self._slot()
            key = self._key(slot)
            self._keys[slot][2] += 1
            if self._keys[slot][2] >= WRITES_PER_KEY:
                self._renew(slot)
            return ["w" if key[0] in "ri" else "append", key, self._value()]
        return ["put", self._group(), self._random.randrange(RANKS), self._value()]

    def _writing(self) -> Operation:
        chance = self._random
        kind = chance.random()
        if kind < 0.6:
            return self._blind_writing()
        if kind < 0.75:
            return ["delete", self._group(), chance.randrange(RANKS), None]
        if kind < 0.9:
            source, target = chance.sample(range(RANKS), 2)
            return ["move", self._group(), source, target, None]
        source, target = chance.sample(range(ACCOUNTS), 2)
        return ["transfer", f"{self._name}.{chance.randrange(BANKS)}", source, target, chance.randint(1, 60), None]


def _lasting(steps: list[Any]) -> list[Operation]:
    return [part for step in steps if step[0] != "try" for part in (step[1] if step[0] == "call" else [step])]
