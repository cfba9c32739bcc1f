"""A database for each test, and a table of messages in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convexpy.transactions.catalog_entries import TableInfo
from tests.transactions.rig import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Real LMDB and committer; only the clock and entropy are the test's."""
    opened = Database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def messages(database: Database) -> TableInfo:
    """A table with an index `by_n` on one field, and `by_author` on two."""
    return database.create_table("messages", by_n=["n"], by_author=["author", "n"])
