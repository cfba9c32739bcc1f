"""Commits while all is recorded, then opens what the power may have left and holds it against what was promised."""

from __future__ import annotations

import faulthandler
import itertools
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from convexpy.storage.lmdb_store import LmdbStore, StoreError
from convexpy.transactions.catalog import load_catalog
from convexpy.transactions.checkup import Checkup
from convexpy.transactions.commit_log import LmdbCommitLog
from convexpy.transactions.committer import Committer
from convexpy.transactions.transaction import Transaction
from tests.manual_environment import ManualEnvironment
from tests.power_loss.images import Image, images
from tests.power_loss.recording import Recorder, Sync, Write
from tests.transactions.rig import LIMITS, Database, id_of, insert

MAP_BYTES = 64 * 1024 * 1024
ROWS_A_COMMIT = 3
RELAXED_SYNC_EVERY = 7  # commits; the committer's timer in the place of time


class Engine(NamedTuple):
    """How commits are made durable.

    Args:
        is_relaxed: acknowledged commits may go, the latest first.
        is_acknowledging_early: a mutant that answers before the commit.
        sync: False: a mutant that never syncs.
    """

    is_relaxed: bool = False
    is_acknowledging_early: bool = False
    sync: bool = True


class Report(NamedTuple):
    """What was tried, and every image that was not what it had to be."""

    commits: int
    writes: int
    syncs: int
    images: int
    faults: list[str]

    def __str__(self) -> str:
        return (
            f"{self.commits:,} commits, {self.writes:,} writes and {self.syncs:,} syncs recorded; "
            f"{self.images:,} images, {len(self.faults)} of them wrong"
        )


def lose_power(commits: int, count: int, seed: int, engine: Engine, say: Callable[[str], object]) -> Report:
    """Record `commits` commits, then try `count` images."""
    say(f"seed {seed}")
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="convexpy-power-") as name:
        folder = Path(name)
        recorder = Recorder(folder / "data.mdb")
        with recorder.recording():
            states = _work(folder, commits, engine, recorder, random)
        made = sum(isinstance(event, Write) for event in recorder.events)
        syncs = sum(isinstance(event, Sync) for event in recorder.events)
        faults = []
        tried = 0
        for image in images(recorder.events, count, random):
            tried += 1
            if fault := _fault_in_a_process(image, states):
                faults.append(f"{image.description}: {fault}")
        return Report(commits, made, syncs, tried, faults)


def _work(folder: Path, commits: int, engine: Engine, recorder: Recorder, random: Random) -> list[Counter[int]]:
    """Each commit writes a few rows of one number, or takes all of a number away; the rows after each."""
    database = Database(
        folder, MAP_BYTES, seed=random.getrandbits(32), sync=engine.sync, metasync=not engine.is_relaxed
    )
    recorder.acknowledged(0)
    table = database.create_table("rows", by_n=["n"])
    alive: dict[int, list[bytes]] = {}
    states: list[Counter[int]] = [Counter()]
    for n in range(1, commits + 1):
        transaction = database.begin()
        if len(alive) > 5 and random.random() < 0.4:
            for row in alive.pop(random.choice(list(alive))):
                transaction.delete(table, row)
        else:
            text = "x" * random.choice((10, 500, 9_000))
            alive[n] = [insert(transaction, table, n=n, text=text) for _ in range(ROWS_A_COMMIT)]
        if engine.is_acknowledging_early:
            recorder.acknowledged(n)
        database.committed(transaction)
        states.append(Counter({n: len(rows) for n, rows in alive.items()}))
        if engine.is_relaxed and n % RELAXED_SYNC_EVERY == 0:
            database.store.sync()
            recorder.acknowledged(n)
        elif not engine.is_relaxed:
            recorder.acknowledged(n)
    database.close()
    return states


def _fault_in_a_process(image: Image, states: list[Counter[int]]) -> str:
    """`_fault_of` in a child: a broken map may kill whoever reads it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        faulthandler.disable()  # that a broken image kills is a result, and shown as one
        try:
            text = _fault_of(image, states)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode()[:4096])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"it killed the process that opened it: {signal.Signals(os.WTERMSIG(status)).name}"
    return text


def _fault_of(image: Image, states: list[Counter[int]]) -> str:
    """What is wrong with a disk's content, "" if nothing is.

    It must open, hold the state after some commit no earlier than the last one acknowledged, have every index agree
    with its documents, and take another commit.
    """
    with tempfile.TemporaryDirectory(prefix="convexpy-image-") as name:
        folder = Path(name)
        (folder / "data.mdb").write_bytes(image.content)
        try:
            store = LmdbStore(folder, readonly=False, sync=False, map_bytes=MAP_BYTES)
        except StoreError as error:
            return f"it does not open: {error}" if image.acknowledged else ""
        try:
            environment = ManualEnvironment()
            log = LmdbCommitLog(store, environment)
            if problems := [problem.text for problem in Checkup(store).problems()]:
                return problems[0]
            rows = _rows(store)
            if not any(rows == state for state in itertools.islice(states, image.acknowledged, None)):
                return f"{image.acknowledged} commits were acknowledged, and it holds {dict(rows)}"
            return _fault_of_writing(store, Committer(log, environment))
        except StoreError as error:
            return f"it cannot be read: {error}"
        finally:
            store.close()


def _rows(store: LmdbStore) -> Counter[int]:
    with store.snapshot() as snapshot:
        catalog = load_catalog(snapshot)
        table = catalog.by_name.get((0, "rows"))
        if table is None:
            return Counter()
        transaction = Transaction(snapshot, catalog, LIMITS, b"", 0)
        transaction.is_unlimited = True
        return Counter(row["n"] for row in transaction.scan_by_id(table, b"", b"\xff" * 17))


def _fault_of_writing(store: LmdbStore, committer: Committer) -> str:
    with store.snapshot() as snapshot:
        catalog = load_catalog(snapshot)
        table = catalog.by_name.get((0, "rows"))
        if table is None:
            return ""
        transaction = Transaction(snapshot, catalog, LIMITS, b"s" * 16, 0)
        for row in list(transaction.scan_by_id(table, b"", b"\xff" * 17)):
            transaction.delete(table, id_of(row["_id"]))
        insert(transaction, table, n=-1, text="after")
        request = transaction.commit_request("after", -1)
    assert request is not None
    committer.commit([(0, request)])
    if problems := [problem.text for problem in Checkup(store).problems()]:
        return f"after another commit: {problems[0]}"
    return "" if _rows(store) == Counter({-1: 1}) else "another commit was not as it should be"
