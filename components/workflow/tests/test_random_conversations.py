"""Random families of runs that are sent random events, canceled and evicted: nothing is lost, and replay is the same.

A failing seed is printed; CONVERSATION_SEED=… plays it alone.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment

NAMES = ("a", "b")
BLOCKS, SEEDS_PER_BLOCK, ACTS = 4, 3, 25
SLOW_SEEDS = range(1000, 1100)
ROUNDS_TO_THE_END_MAX = 200


def random_program(rng: random.Random, depth: int) -> dict[str, Any]:
    kinds = ["event"] * 3 + ["add"] + (["child", "child", "all", "race", "turn"] if depth else [])
    kind = rng.choice(kinds)
    parts = {"child": 1, "all": 3, "race": 2, "turn": 3}.get(kind, 0)
    return {
        "kind": kind,
        "name": rng.choice(NAMES),
        "limit": rng.choice([None, None, 3, 20]),
        "end": rng.choice(["cancel", "cancel", "abandon"]),
        "parts": [random_program(rng, depth - 1) for _ in range(parts)],
    }


class Conversation:
    """One root run and what is done to its family; the acts depend on the seed only, not on the mode."""

    def __init__(self, deployment: FlowDeployment, seed: int, mode: str) -> None:
        self.deployment = deployment
        self.rng = random.Random(f"conversation {seed}")
        self.eviction = random.Random(f"eviction {seed}")
        self.mode = mode
        self.sent = 0
        parts = [random_program(self.rng, 3) for _ in range(3)]
        program = {"kind": "turn", "name": "", "limit": None, "end": "cancel", "parts": parts}
        self.root = deployment.start_path("conversations:converse", {"program": program})

    def play(self) -> None:
        for _ in range(ACTS):
            self.act()
            self.evict()
            self.check()
        for _ in range(ROUNDS_TO_THE_END_MAX):
            waiting = [row for row in self.deployment.rows("events") if row["state"] == "waiting"]
            if not waiting and all(run["state"] == "done" for run in self.runs()):
                return
            for event in waiting:
                self.send({"run": event["workflow"], "name": event["name"]})
            self.deployment.advance(1)
            self.evict()
            self.check()
        raise AssertionError(f"the family does not come to its end: {self.runs()}")

    def act(self) -> None:
        choice = self.rng.choice(["send"] * 5 + ["advance"] * 4 + ["create", "cancel"])
        run = self.rng.choice(self.runs())
        name = self.rng.choice(NAMES)
        if choice == "advance":
            self.deployment.advance(self.rng.choice([0, 0, 1, 5]))
        elif run["state"] == "done":
            return
        elif choice == "send":
            self.send({"run": run["_id"], "name": name})
        elif choice == "create":
            event = self.deployment.mutation("talks:create", {"name": name, "run": run["_id"]})
            self.send({}, event)
        elif run["_id"] != self.root:
            self.deployment.mutation("flows:cancel", {"run": run["_id"]})

    def send(self, options: dict[str, Any], event: str | None = None) -> None:
        self.sent += 1
        content = {"error": "no"} if self.rng.random() < 0.1 else {"value": self.sent}
        args: dict[str, Any] = {"options": options | content}
        self.deployment.mutation("talks:send", args | ({} if event is None else {"event": event}))

    def evict(self) -> None:
        if self.mode == "cold" or (self.mode == "mixed" and self.eviction.random() < 0.5):
            warm_runs.clear()

    def runs(self) -> list[dict[str, Any]]:
        return sorted(self.deployment.rows("workflows"), key=lambda row: (row["_creationTime"], row["_id"]))

    def check(self) -> None:
        """The invariants that README.md and component/events.py state."""
        runs = {row["_id"]: row for row in self.runs()}
        steps = self.deployment.rows("steps")
        events = self.deployment.rows("events")
        pending = [step for step in steps if step["state"] == "pending"]
        for run in runs.values():
            own = [step for step in steps if step["workflow"] == run["_id"]]
            timers = [row["resolution"] for row in self.deployment.rows("timers") if row["workflow"] == run["_id"]]
            numbers = sorted([step["resolved"] for step in own if "resolved" in step] + timers)
            assert numbers == list(range(1, int(run["wave"]))), "every resolution once"
            assert sorted(step["position"] for step in own) == list(range(len(own))), "positions are dense"
            is_pending = any(step["workflow"] == run["_id"] for step in pending)
            assert run["state"] != "stuck"
            if run["state"] == "done":
                assert not is_pending, "what has ended waits for nothing"
            else:
                assert run["wave"] == 0 or is_pending or "wake_job" in run, "what runs has something to wake it"
        awaited = {event["_id"]: event for event in events if event["state"] in ("waiting", "delivered")}
        assert awaited.keys() == {step["event"] for step in pending if step["kind"] == "event"}
        for step in pending:
            if step["kind"] == "event":
                assert awaited[step["event"]]["position"] == step["position"]
        by_name = Counter((e["workflow"], e["name"]) for e in events if e["state"] == "waiting")
        is_sent = {(e["workflow"], e["name"]) for e in events if e["state"] == "sent"}
        assert not by_name.keys() & is_sent, "nobody waits for a name that was sent"
        for step in steps:
            if "child" in step and step["state"] == "canceled" and runs[step["child"]]["state"] != "done":
                assert step.get("on_parent_cancel") == "abandon", "what was given up does not go on"

    def journal(self) -> list[Any]:
        """All that happened, without ids, which tell nothing."""
        names = ("position", "kind", "name", "state", "issued", "resolved", "withdrawn", "outcome", "started_ms")
        numbers = {run["_id"]: number for number, run in enumerate(self.runs())}
        told = [
            [numbers[step["workflow"]], *(step.get(name) for name in names), numbers.get(step.get("child", ""))]
            for step in self.deployment.rows("steps")
        ]
        ends = [[number, run["result"], run["wave"]] for number, run in enumerate(self.runs())]
        events = Counter((numbers[e["workflow"]], e["name"], e["state"]) for e in self.deployment.rows("events"))
        return [sorted(told, key=lambda row: row[:2]), ends, sorted(events.items())]


def play(seed: int, mode: str) -> list[Any]:
    warm_runs.clear()
    with FlowDeployment() as deployment:
        conversation = Conversation(deployment, seed, mode)
        conversation.play()
        journal = conversation.journal()
    warm_runs.clear()
    return journal


@pytest.mark.parametrize("block", range(BLOCKS))
def test_warm_cold_and_mixed_families_are_equal(block: int) -> None:
    one = os.environ.get("CONVERSATION_SEED")
    seeds = [int(one)] if one else range(block * SEEDS_PER_BLOCK, (block + 1) * SEEDS_PER_BLOCK)
    for seed in seeds:
        compare_modes(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW_SEEDS)
def test_more_families_are_equal(seed: int) -> None:
    """The same, with as many seeds as patience allows."""
    compare_modes(seed)


def compare_modes(seed: int) -> None:
    print("CONVERSATION_SEED", seed)
    warm = play(seed, "warm")
    assert warm == play(seed, "cold") == play(seed, "mixed")


def test_the_conversations_meet_what_they_are_about() -> None:
    """The equality above proves something only if the runs do it."""
    seen: Counter[str] = Counter()
    for seed in range(8):
        steps, _, events = play(seed, "warm")
        seen.update(f"{step[2]} {step[4]}" for step in steps)
        seen.update(state for (_, _, state), _ in events)
    for what in ("event done", "event canceled", "workflow done", "workflow canceled", "consumed", "sent"):
        assert seen[what] > 2, seen
