"""A database so simple that it cannot be wrong: dicts, one operation at a time.

append key value · w key value · r key answer                    lists (l…, e…) and registers (r…, i…)
put group rank value · move group from to answer · delete group rank answer
range group low high order limit answer                          rows by rank, low ≤ rank < high
transfer bank from to amount answer · balances bank answer       money, which comes from nowhere
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.histories.app.transactions import OPENING_BALANCE
from tests.histories.history import WRITING, Operation, Record


class Model:
    """The state after the transactions so far."""

    def __init__(self) -> None:
        self._lists: defaultdict[str, list[Any]] = defaultdict(list)
        self._registers: dict[str, Any] = {}
        self._groups: defaultdict[str, dict[float, float]] = defaultdict(dict)
        self._banks: defaultdict[str, dict[float, float]] = defaultdict(dict)
        self._answers: dict[str, Callable[..., Any]] = {
            "r": self._read,
            "range": self._range,
            "balances": lambda bank: [[account, amount] for account, amount in sorted(self._banks[bank].items())],
            "move": self._move,
            "delete": lambda group, rank: self._groups[group].pop(rank, None) is not None,
            "transfer": self._transfer,
        }

    def first_difference(self, record: Record) -> str | None:
        """Run a transaction; the first of its answers that is not the model's, in words."""
        difference: str | None = None
        for operation in record.operations:
            answer = self._run(operation)
            if operation[0] in self._answers and answer != operation[-1] and difference is None:
                difference = f"{operation[:-1]} answered {operation[-1]}, not {answer}"
        return difference

    def agrees(self, record: Record) -> bool:
        """Whether this state gives a transaction that only reads its answers."""
        assert not any(operation[0] in WRITING for operation in record.operations)
        return self.first_difference(record) is None

    def forget_keys(self) -> None:
        """Drop lists and registers: the next part of the history has others."""
        self._lists.clear()
        self._registers.clear()

    def _run(self, operation: Operation) -> Any:
        name, *arguments = operation
        if name in self._answers:
            return self._answers[name](*arguments[:-1])
        if name == "append":
            self._lists[arguments[0]].append(arguments[1])
        elif name == "w":
            self._registers[arguments[0]] = arguments[1]
        elif name == "put":
            self._groups[arguments[0]][arguments[1]] = arguments[2]
        else:
            raise AssertionError(f"no such operation: {operation}")
        return None

    def _read(self, key: str) -> Any:
        if key[0] in "ri":
            return self._registers.get(key)
        return self._lists.get(key, [])

    def _range(self, group: str, low: float, high: float, order: str, limit: int | None) -> list[list[float]]:
        rows = [[rank, value] for rank, value in sorted(self._groups[group].items()) if low <= rank < high]
        return (rows if order == "asc" else rows[::-1])[:limit]

    def _move(self, group: str, source: float, target: float) -> bool:
        rows = self._groups[group]
        if source not in rows or target in rows:
            return False
        rows[target] = rows.pop(source)
        return True

    def _transfer(self, bank: str, source: float, target: float, amount: float) -> bool:
        accounts = self._banks[bank]
        if accounts.get(source, OPENING_BALANCE) < amount:
            return False
        for account, by in ((source, -amount), (target, amount)):
            accounts[account] = accounts.get(account, OPENING_BALANCE) + by
        return True
