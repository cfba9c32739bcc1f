"""The engine and its model agree; an engine that is broken in one place does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis.stateful import run_state_machine_as_test

from convexpy.functions.query_builder import Query
from tests.model.comparing import Difference
from tests.model.machine import Machine
from tests.model.mutants import MUTANTS, Change, run_mutated
from tests.model.run import examples_settings, run

SEED = 1
EXAMPLES = 150
# What hypothesis draws from a seed depends on the constants of every module that is loaded, so a change anywhere may
# make one seed miss a mutant; the rarest is missed by every fifth.
SEEDS_MAX = 20


def test_the_engine_does_what_the_model_does() -> None:
    run_state_machine_as_test(Machine, settings=examples_settings(60))


def test_a_long_run_says_how_far_it_is() -> None:
    """And that it compared as much as it was asked to."""
    lines: list[str] = []

    assert run(300, SEED, lines.append)

    assert lines[-1].endswith("no difference") and int(lines[-1].split()[0]) >= 300


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant: str) -> None:
    """By comparing: an engine or a harness that merely crashes raises something else, which is no catch."""
    with pytest.raises(Difference):
        for seed in range(SEED, SEED + SEEDS_MAX):
            run_mutated(MUTANTS[mutant], seed, EXAMPLES)


def test_a_crash_is_no_catch() -> None:
    """So a mutant that does not fit the engine any more fails its test instead of passing it."""

    def broken(*args: Any) -> Any:
        raise TypeError("the harness does not fit the engine")

    with pytest.raises(TypeError, match="does not fit"):
        run_mutated([Change(Query, "collect", broken)], SEED, EXAMPLES)
