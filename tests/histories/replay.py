"""Judges a history by the order that the database itself claims: its commit timestamps.

All transactions are replayed in that order, one at a time, against `model`; every answer must be the model's, range
reads included, so a phantom shows as well. It is linear, independent of `anomalies`, and complete for the claimed
order; that this order agrees with real time is checked apart.

A read whose timestamp nobody told must fit somewhere between the last commit that was over when it began, and the last
one that had begun when it was over.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.histories.anomalies import Anomaly
from tests.histories.history import Record
from tests.histories.model import Model

_COMMIT, _READ = 0, 1


def replay(records: Sequence[Record], model: Model) -> list[Anomaly]:
    """What does not fit; `model` goes on from its state to the one after the history.

    Names: `timestamp-reuse`, `timestamp-missing`, `timestamp-realtime`, `replay`.
    """
    known = [
        record for record in records if record.status != "fail" and not (record.status == "info" and not record.ts)
    ]
    found: list[Anomaly] = []
    events: list[tuple[int, int, int, int, Record]] = []  # when, what, until, which
    for number, (record, low, high) in enumerate(_bounds(known)):
        if record.writes and record.ts is None:
            found.append(Anomaly("timestamp-missing", f"no commit is known of {record}", (record,)))
        elif record.writes:
            assert record.ts is not None
            if record.ts <= low:
                text = f"committed at {record.ts}, although {low} was over when it began"
                found.append(Anomaly("timestamp-realtime", text, (record,)))
            events.append((record.ts, _COMMIT, record.ts, number, record))
        elif record.ts is not None:
            if record.ts < low:
                text = f"read at {record.ts}, although {low} was over when it began"
                found.append(Anomaly("timestamp-realtime", text, (record,)))
            events.append((record.ts, _READ, record.ts, number, record))
        else:
            events.append((low, _READ, max(low, high), number, record))
    events.sort(key=lambda event: event[:4])
    return found + _replay(events, model)


def _bounds(records: Sequence[Record]) -> list[tuple[Record, int, int]]:
    """With each record the latest timestamp that was over when it began, and the latest that began before its end."""
    lows: dict[int, int] = {}
    highs: dict[int, int] = {}
    over = begun = 0
    # At one instant begins come first: then nothing there is before anything else.
    events = sorted(
        event
        for number, record in enumerate(records)
        for event in ((record.invoked, 0, number), (record.completed, 1, number))
    )
    for _, is_end, number in events:
        ts = records[number].ts or 0
        if is_end:
            highs[number] = begun
            over = max(over, ts)
        else:
            lows[number] = over
            begun = max(begun, ts)
    return [(record, lows[number], highs[number]) for number, record in enumerate(records)]


def _replay(events: list[tuple[int, int, int, int, Record]], model: Model) -> list[Anomaly]:
    found: list[Anomaly] = []
    unsettled: list[tuple[int, Record]] = []  # reads that have not fitted yet, and until when they may
    last_commit: tuple[int, Record] | None = None
    for when, what, until, _, record in events:
        if what == _COMMIT:
            unsettled = _drop_late(unsettled, when, found)
            if last_commit is not None and last_commit[0] == when:
                found.append(Anomaly("timestamp-reuse", f"two commits at {when}", (last_commit[1], record)))
            last_commit = when, record
            if (difference := model.first_difference(record)) is not None:
                found.append(Anomaly("replay", f"at {when} {difference}", (record,)))
            unsettled = [(limit, read) for limit, read in unsettled if not model.agrees(read)]
        elif when < until:
            if not model.agrees(record):
                unsettled.append((until, record))
        elif (difference := model.first_difference(record)) is not None:
            found.append(Anomaly("replay", f"at {when} {difference}", (record,)))
    found += [_misfit(read) for _, read in unsettled]
    return found


def _drop_late(unsettled: list[tuple[int, Record]], now: int, found: list[Anomaly]) -> list[tuple[int, Record]]:
    found += [_misfit(read) for until, read in unsettled if until < now]
    return [(until, read) for until, read in unsettled if until >= now]


def _misfit(read: Record) -> Anomaly:
    return Anomaly("replay", f"at no moment while it ran the answers were {read.operations}", (read,))
