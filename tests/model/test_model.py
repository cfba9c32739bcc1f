"""The engine and its model agree; an engine that is broken in one place does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from convexpy.transactions import transaction as transacting
from convexpy.transactions.transaction import Transaction
from convexpy.transactions.write_set import WriteSet
from tests.model.machine import Machine
from tests.model.run import examples_settings


def test_the_engine_does_what_the_model_does() -> None:
    run_state_machine_as_test(Machine, settings=examples_settings(60))


def _unmerged(stored: Iterator[bytes], own: list[bytes], descending: bool) -> Iterator[bytes]:
    yield from stored
    yield from own


def _unordered_group(self: Transaction, table: Any, index: Any, entries: Any, bounds: Any, descending: bool) -> Any:
    for entry in entries:
        document = self._document_of_entry(table, index, entry)
        if document is not None:
            yield document


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "rollback keeps writes": (WriteSet, "rollback", lambda self, savepoint: None),
    "own writes come after stored ones": (transacting, "_merge", _unmerged),
    "cut keys are not put in order": (Transaction, "_cut_group", _unordered_group),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str) -> None:
    with patch.object(*MUTANTS[mutant]), pytest.raises(Exception) as caught:
        run_state_machine_as_test(
            seed(1)(type("Broken", (Machine,), {})),
            settings=settings(examples_settings(150), phases=[Phase.generate], suppress_health_check=list(HealthCheck)),
        )
    print(f"{mutant}: {caught.value!r:.300}")
