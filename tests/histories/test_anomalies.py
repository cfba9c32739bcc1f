"""The judges themselves: histories made by hand, each with one thing wrong, and clean ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.histories.anomalies import find_anomalies
from tests.histories.history import NEVER, Record, Status, from_json_lines, to_json_lines
from tests.histories.model import Model
from tests.histories.replay import replay


def txn(
    process: int, *operations: list[Any], at: tuple[int, int] = (0, 100), status: Status = "ok", ts: int | None = None
) -> Record:
    """A transaction; all overlap unless `at` says otherwise."""
    return Record(
        process=process,
        invoked=at[0],
        completed=NEVER if status == "info" else at[1],
        status=status,
        operations=list(operations),
        ts=ts,
    )


def append(key: str, value: int) -> list[Any]:
    return ["append", key, value]


def read(key: str, answer: Any) -> list[Any]:
    return ["r", key, answer]


def write(key: str, value: int) -> list[Any]:
    return ["w", key, value]


PLANTED: dict[str, tuple[str, list[Record]]] = {
    "lists: overwritten by each other": (
        "G0",
        [
            txn(0, append("lx", 1), append("ly", 1)),
            txn(1, append("lx", 2), append("ly", 2)),
            txn(2, read("lx", [1, 2])),
            txn(3, read("ly", [2, 1])),
        ],
    ),
    "lists: aborted read": ("G1a", [txn(0, append("lx", 1), status="fail"), txn(1, read("lx", [1]))]),
    "lists: intermediate read": ("G1b", [txn(0, append("lx", 1), append("lx", 2)), txn(1, read("lx", [1]))]),
    "lists: each has read the other": (
        "G1c",
        [txn(0, append("lx", 1), read("ly", [1])), txn(1, append("ly", 1), read("lx", [1]))],
    ),
    "lists: read skew": (
        "G-single",
        [txn(0, append("lx", 1), append("ly", 1)), txn(1, read("lx", []), read("ly", [1]))],
    ),
    "lists: long fork": (
        "G-nonadjacent",
        [
            txn(0, append("lx", 1)),
            txn(1, append("ly", 1)),
            txn(2, read("lx", [1]), read("ly", [])),
            txn(3, read("lx", []), read("ly", [1])),
        ],
    ),
    "lists: write skew": (
        "G2-item",
        [
            txn(0, read("lx", []), append("ly", 1)),
            txn(1, read("ly", []), append("lx", 1)),
            txn(2, read("lx", [1]), read("ly", [1])),
        ],
    ),
    "lists: write skew that nobody looked at": (
        "G2-item",
        [txn(0, read("lx", []), append("ly", 1)), txn(1, read("ly", []), append("lx", 1))],
    ),
    "lists: not seen though it was over": (
        "G-single-realtime",
        [txn(0, append("lx", 1), at=(0, 1)), txn(1, read("lx", []), at=(2, 3)), txn(2, read("lx", [1]), at=(4, 5))],
    ),
    "lists: lost though it was over": (
        "G-single-realtime",
        [txn(0, append("lx", 1), at=(0, 1)), txn(1, read("lx", []), at=(2, 3))],
    ),
    "lists: seen before it began": (
        "G1c-realtime",
        [txn(0, read("lx", [1]), at=(0, 1)), txn(1, append("lx", 1), at=(2, 3))],
    ),
    "lists: order of writes against the clock": (
        "G0-realtime",
        [
            txn(0, append("lx", 1), at=(0, 1)),
            txn(1, append("lx", 2), at=(2, 3)),
            txn(2, read("lx", [2, 1]), at=(4, 5)),
        ],
    ),
    "lists: a client goes back": (
        "G-single-process",
        [txn(0, append("lx", 1), at=(0, 9)), txn(1, read("lx", [1]), at=(1, 2)), txn(1, read("lx", []), at=(3, 4))],
    ),
    "lists: seen though its fate is unknown, then not": (
        "G-single-process",
        [txn(0, append("lx", 1), status="info"), txn(1, read("lx", [1]), at=(1, 2)), txn(1, read("lx", []), at=(3, 4))],
    ),
    "lists: forgets its own element": ("internal", [txn(0, append("lx", 1), read("lx", []))]),
    "lists: changes within a transaction": (
        "internal",
        [txn(0, append("lx", 1)), txn(1, read("lx", []), read("lx", [1]))],
    ),
    "lists: twice the same": ("duplicate-elements", [txn(0, append("lx", 1)), txn(1, read("lx", [1, 1]))]),
    "lists: two orders": (
        "incompatible-order",
        [
            txn(0, append("lx", 1)),
            txn(1, append("lx", 2)),
            txn(2, read("lx", [1, 2])),
            txn(3, read("lx", [2])),
        ],
    ),
    "lists: nobody's": ("garbage-read", [txn(0, append("lx", 1)), txn(1, read("lx", [7]))]),
    "registers: timestamps against what was read": (
        "G0",
        [txn(0, read("rx", 2), write("rx", 1), ts=1), txn(1, write("rx", 2), ts=2)],
    ),
    "registers: aborted read": ("G1a", [txn(0, write("rx", 1), status="fail"), txn(1, read("rx", 1))]),
    "registers: intermediate read": ("G1b", [txn(0, write("rx", 1), write("rx", 2)), txn(1, read("rx", 1))]),
    "registers: each has read the other": (
        "G1c",
        [txn(0, write("rx", 1), read("ry", 1)), txn(1, write("ry", 1), read("rx", 1))],
    ),
    "registers: read skew": (
        "G-single",
        [txn(0, write("rx", 1), write("ry", 1)), txn(1, read("rx", None), read("ry", 1))],
    ),
    "registers: lost update": (
        "G2-item",
        [
            txn(0, write("rx", 1)),
            txn(1, read("rx", 1), write("rx", 2)),
            txn(2, read("rx", 1), write("rx", 3)),
        ],
    ),
    "registers: long fork": (
        "G-nonadjacent",
        [
            txn(0, write("rx", 1)),
            txn(1, write("ry", 1)),
            txn(2, read("rx", 1), read("ry", None)),
            txn(3, read("rx", None), read("ry", 1)),
        ],
    ),
    "registers: write skew": (
        "G2-item",
        [txn(0, read("rx", None), write("ry", 1)), txn(1, read("ry", None), write("rx", 1))],
    ),
    "registers: stale though it was over": (
        "G-single-realtime",
        [txn(0, write("rx", 1), at=(0, 1)), txn(1, read("rx", None), at=(2, 3))],
    ),
    "registers: forgets its own value": ("internal", [txn(0, write("rx", 1), read("rx", 2)), txn(1, write("rx", 2))]),
    "registers: nobody's": ("garbage-read", [txn(0, write("rx", 1)), txn(1, read("rx", 7))]),
}

CLEAN: dict[str, list[Record]] = {
    "nothing": [],
    "one after the other": [
        txn(0, append("lx", 1), at=(0, 1)),
        txn(0, read("lx", [1]), append("lx", 2), read("lx", [1, 2]), at=(2, 3)),
        txn(1, read("lx", [1, 2]), at=(4, 5)),
    ],
    "at once, in either order": [
        txn(0, append("lx", 1), write("rx", 1)),
        txn(1, read("lx", []), read("rx", None)),
        txn(2, read("lx", [1]), read("rx", 1)),
    ],
    "two appends in one transaction": [txn(0, append("lx", 1), append("lx", 2)), txn(1, read("lx", [1, 2]))],
    "a failed write that nobody sees": [txn(0, append("lx", 1), status="fail"), txn(1, read("lx", []), at=(200, 201))],
    "an unknown write that nobody sees": [txn(0, append("lx", 1), status="info"), txn(1, read("lx", []), at=(9, 10))],
    "an unknown write that comes late": [
        txn(0, append("lx", 1), status="info"),
        txn(1, read("lx", []), at=(1, 2)),
        txn(1, read("lx", [1]), at=(3, 4)),
    ],
    "a chain of updates": [
        txn(0, write("rx", 1), ts=1),
        txn(1, read("rx", 1), write("rx", 2), ts=2),
        txn(2, read("rx", 2), write("rx", 3), read("rx", 3), ts=3),
        txn(3, read("rx", 2)),
    ],
    "ends touch": [txn(0, append("lx", 1), at=(0, 2)), txn(1, read("lx", []), at=(2, 3))],
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_anomaly_is_found_and_named(planted: str) -> None:
    name, records = PLANTED[planted]

    found = find_anomalies(records)

    assert name in {anomaly.name for anomaly in found}, [str(anomaly) for anomaly in found]


@pytest.mark.parametrize("clean", CLEAN)
def test_a_clean_history_passes(clean: str) -> None:
    assert [str(anomaly) for anomaly in find_anomalies(CLEAN[clean])] == []


@pytest.mark.parametrize("planted", [name for name, (anomaly, _) in PLANTED.items() if anomaly == "G-single"])
def test_read_skew_gets_no_other_name(planted: str) -> None:
    assert {anomaly.name for anomaly in find_anomalies(PLANTED[planted][1])} == {"G-single"}


def test_the_witness_is_a_shortest_cycle() -> None:
    """A long cycle of reads and a short one share transactions; the short one is shown, with its keys."""
    ring = [txn(n, append(f"l{n}", 1), read(f"l{(n + 1) % 5}", [1])) for n in range(5)]
    ring[0].operations.append(append("lz", 1))
    ring[1].operations += [append("ly", 1), read("lz", [1])]
    ring[0].operations.append(read("ly", [1]))

    (found,) = find_anomalies(ring)

    assert (found.name, len(found.witness)) == ("G1c", 2)
    assert {record.process for record in found.witness} == {0, 1}
    assert "read by" in found.text


def test_time_order_needs_few_edges() -> None:
    """Thousands of transactions one after the other would have millions of pairs."""
    records = [txn(n, append("lx", n), at=(2 * n, 2 * n + 1)) for n in range(5_000)]
    records.append(txn(0, read("lx", list(range(5_000))), at=(20_000, 20_001)))

    assert find_anomalies(records) == []


def test_histories_survive_json() -> None:
    records = [
        txn(0, append("lx", 1), ["range", "g", 0, 5, "asc", None, []], at=(0, 5), ts=9),
        txn(1, read("lx", [1]), at=(1, 4)),
        txn(2, append("lx", 2), at=(2, 3), status="fail"),
        txn(3, ["balances", "b", []], at=(6, 7)),
    ]
    lines = list(to_json_lines(records))

    assert [json.loads(line)["type"] for line in lines] == ["invoke", "invoke", "invoke", "fail", "ok", "ok"]
    assert json.loads(lines[1])["value"] == [["r", "lx", None]]
    back = from_json_lines(lines)
    assert [(r.status, r.operations, r.invoked, r.completed, r.ts) for r in back] == [
        ("ok", [append("lx", 1)], 0, 5, 9),
        ("ok", [read("lx", [1])], 1, 4, None),
        ("fail", [append("lx", 2)], 2, 3, None),
    ]


# --- the replay


def ranged(*rows: list[int]) -> list[Any]:
    return ["range", "g", 0, 10, "asc", None, list(rows)]


def put(rank: int, value: int) -> list[Any]:
    return ["put", "g", rank, value]


MISREPLAYED: dict[str, tuple[str, list[Record]]] = {
    "phantom": ("replay", [txn(0, put(1, 1), ts=1), txn(1, ranged(), put(2, 2), ts=2)]),
    "phantom in a snapshot": ("replay", [txn(0, put(1, 1), ts=1), txn(1, ranged(), ts=1)]),
    "a deleted row": (
        "replay",
        [txn(0, put(1, 1), ts=1), txn(1, ["delete", "g", 1, True], ts=2), txn(2, ranged([1, 1]), ts=2)],
    ),
    "half a move": (
        "replay",
        [txn(0, put(1, 1), ts=1), txn(1, ["move", "g", 1, 2, True], ts=2), txn(2, ranged([1, 1], [2, 1]), ts=2)],
    ),
    "money from nowhere": (
        "replay",
        [txn(0, ["transfer", "b", 0, 1, 10, True], ts=1), txn(1, ["balances", "b", [[0, 100], [1, 110]]], ts=1)],
    ),
    "a lost update": (
        "replay",
        [txn(0, read("lx", []), append("lx", 1), ts=1), txn(1, read("lx", []), append("lx", 2), ts=2)],
    ),
    "a read that fits nowhere": (
        "replay",
        [txn(0, put(1, 1), ts=1), txn(1, put(2, 2), ts=2), txn(2, ranged([2, 2]))],
    ),
    "a read that fits too early": (
        "replay",
        [txn(0, put(1, 1), at=(0, 1), ts=1), txn(1, ranged(), at=(2, 3))],
    ),
    "a read that fits too late": (
        "replay",
        [txn(0, ranged([1, 1]), at=(0, 1)), txn(1, put(1, 1), at=(2, 3), ts=1)],
    ),
    "two at once": ("timestamp-reuse", [txn(0, put(1, 1), ts=1), txn(1, put(2, 2), ts=1)]),
    "a commit that nobody knows": ("timestamp-missing", [txn(0, put(1, 1))]),
    "commits against the clock": (
        "timestamp-realtime",
        [txn(0, put(1, 1), at=(0, 1), ts=2), txn(1, put(2, 2), at=(2, 3), ts=1)],
    ),
    "an old snapshot": (
        "timestamp-realtime",
        [txn(0, put(1, 1), at=(0, 1), ts=2), txn(1, ranged(), at=(2, 3), ts=1)],
    ),
}


@pytest.mark.parametrize("planted", MISREPLAYED)
def test_the_replay_finds_what_does_not_fit(planted: str) -> None:
    name, records = MISREPLAYED[planted]

    assert name in {anomaly.name for anomaly in replay(records, Model())}


def test_the_replay_passes_what_fits() -> None:
    """Reads without a timestamp fit before, between or after the commits that they overlap."""
    records = [
        txn(0, put(1, 1), put(5, 5), at=(0, 1), ts=1),
        txn(1, put(2, 2), at=(2, 9), ts=2),
        txn(2, ["move", "g", 1, 3, True], ranged([2, 2], [3, 1], [5, 5]), at=(2, 9), ts=3),
        txn(3, ranged([1, 1], [5, 5]), at=(3, 4)),
        txn(4, ranged([1, 1], [2, 2], [5, 5]), at=(3, 4)),
        txn(5, ranged([2, 2], [3, 1], [5, 5]), at=(3, 4)),
        txn(6, ["range", "g", 0, 5, "desc", 1, [[3, 1]]], at=(10, 11)),
        txn(6, ["delete", "g", 9, False], ["transfer", "b", 0, 1, 101, False], at=(12, 13), ts=4),
        txn(7, put(7, 7), status="fail"),
        txn(8, put(8, 8), status="info"),
    ]

    assert [str(anomaly) for anomaly in replay(records, Model())] == []


def test_the_model_goes_on() -> None:
    model = Model()
    replay([txn(0, put(1, 1), append("lx", 1), ts=1)], model)
    model.forget_keys()

    assert replay([txn(0, ranged([1, 1]), read("lx", []), ts=1)], model) == []
