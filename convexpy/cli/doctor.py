"""`convexpy doctor`: examines the database of a server that is not running, shows what it holds, and compacts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from convexpy.errors import ConvexpyError, DataFolderError
from convexpy.storage.data_folder import open_data_folder, sync_folder
from convexpy.storage.lmdb_store import LmdbStore, StoreError
from convexpy.transactions.backlog import forget_backlog
from convexpy.transactions.checkup import Checkup

DATABASE = "data.mdb"
COMPACTED = "data.mdb.compacted"
PROBLEMS_SHOWN_MAX = 1000
MIB = 1024 * 1024


def examine(data_folder: Path, *, is_compacting: bool, as_json: bool) -> bool:
    """Print a report; whether the database is healthy. Only a healthy one is compacted.

    Raises:
        ConvexpyError: it cannot be examined: a server runs, or there is no database.
    """
    if not (data_folder / DATABASE).exists():
        raise ConvexpyError(f"{data_folder} holds no database. Give the data folder: convexpy doctor --data DIR.")
    folder = open_data_folder(data_folder, 0)
    try:
        folder.lock()
    except DataFolderError as error:
        raise ConvexpyError(f"{error} Only the database of a stopped server can be examined.") from None
    try:
        report = _report(data_folder)
        if is_compacting and not report["problems"]:
            report["file_bytes_compacted"] = _compact(data_folder)
    finally:
        folder.unlock()
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report)
    return not report["problems"]


def _report(data_folder: Path) -> dict[str, Any]:
    (data_folder / COMPACTED).unlink(missing_ok=True)  # of a doctor that was killed
    try:
        store = LmdbStore(data_folder, readonly=False)
    except StoreError as error:
        raise ConvexpyError(f"{data_folder / DATABASE} is no database of convexpy's: {error}") from error
    try:
        checkup = Checkup(store)
        problems, count = [], 0
        for problem in checkup.problems():
            count += 1
            if count <= PROBLEMS_SHOWN_MAX:
                problems.append(problem.text)
        if checkup.is_backlog_wrong:
            forget_backlog(store)
        sizes = store.sizes()
        return {
            "problems": problems,
            "problem_count": count,
            "tables": [
                {"name": size.name, "rows": size.rows, "data_bytes": size.data_bytes} for size in checkup.sizes()
            ],
            "database_bytes": {name: sizes[name] for name in ("documents", "indexes", "log", "meta")},
            "file_bytes": sizes["file"],
            "free_bytes": sizes["file"] - sum(value for name, value in sizes.items() if name != "file"),
            "stale_readers_cleared": store.clear_stale_readers(),
        }
    finally:
        store.close()


def _compact(data_folder: Path) -> int:
    """Put a copy without free pages in the database's place, in one step; the new size in bytes."""
    target = data_folder / COMPACTED
    store = LmdbStore(data_folder, readonly=True)
    try:
        store.copy_compact(target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ConvexpyError(f"{target} cannot be written: {error.strerror}. Free some space, then try again.") from None
    finally:
        store.close()
    target.replace(data_folder / DATABASE)
    sync_folder(data_folder)
    return (data_folder / DATABASE).stat().st_size


def _show(report: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    table = Table("table or index", "rows", "bytes", title="What it holds")
    for row in report["tables"]:
        if row["rows"]:
            table.add_row(row["name"], f"{row['rows']:,}", f"{row['data_bytes']:,}")
    console.print(table)
    for name, value in [
        *report["database_bytes"].items(),
        ("free", report["free_bytes"]),
        ("file", report["file_bytes"]),
    ]:
        console.print(f"{name:>10} {value / MIB:10,.1f} MiB", highlight=False)
    if "file_bytes_compacted" in report:
        console.print(f" compacted {report['file_bytes_compacted'] / MIB:10,.1f} MiB", highlight=False)
    for text in report["problems"]:
        console.print(f"PROBLEM: {text}", markup=False, highlight=False)
    if report["problem_count"] > len(report["problems"]):
        console.print(f"… and {report['problem_count'] - len(report['problems'])} more")
    console.print("Healthy." if not report["problems"] else f"{report['problem_count']} problems.")
