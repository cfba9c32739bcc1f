"""Contents of a disk that the power may have left, at any point of a record.

What was synced is there. Of the rest anything may be: each write whole, not at all, or in part, sector by sector,
whatever the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from tests.power_loss.recording import Acknowledged, Event, Sync, Write

SECTOR_BYTES = 512  # what a disk writes whole or not at all
PAGE_BYTES = 4096  # what a file system does


class Image(NamedTuple):
    """A file's content, and how many commits somebody counted on when the power went."""

    content: bytes
    acknowledged: int
    description: str


def images(events: list[Event], count: int, random: Random) -> Iterator[Image]:
    """About `count` images, at points spread over the whole record: of each point all kinds."""
    points = sorted(random.sample(range(len(events) + 1), min(len(events) + 1, max(1, count // len(KINDS)))))
    durable = bytearray()
    pending: list[Write] = []
    acknowledged = 0
    done = 0
    for point in points:
        for event in events[done:point]:
            match event:
                case Acknowledged(commits):
                    acknowledged = commits
                case Sync():
                    for write in pending:
                        _apply(durable, write)
                    pending.clear()
                case Write(is_synced=True):
                    _apply(durable, event)
                case Write():
                    pending.append(event)
        done = point
        for kind in KINDS:
            content = bytearray(durable)
            for write in _survivors(pending, kind, random):
                _apply(content, write)
            yield Image(bytes(content), acknowledged, f"{kind}, {len(pending)} unsynced writes, after event {point}")


KINDS = ("dropped", "kept", "some, in any order", "torn in pages", "torn in sectors")


def _survivors(pending: list[Write], kind: str, random: Random) -> list[Write]:
    match kind:
        case "dropped":
            return []
        case "kept":
            return list(pending)
        case "some, in any order":
            return random.sample(pending, random.randrange(len(pending) + 1))
    size = PAGE_BYTES if kind == "torn in pages" else SECTOR_BYTES
    parts = [
        Write(write.offset + start, write.data[start : start + size], False)
        for write in pending
        for start in range(0, len(write.data), size)
    ]
    return random.sample(parts, random.randrange(len(parts) + 1))


def _apply(content: bytearray, write: Write) -> None:
    end = write.offset + len(write.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[write.offset : end] = write.data
