"""The data folder: created once, used by one server at a time, refused when it is not ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convexpy.errors import DataFolderError
from convexpy.storage.data_folder import FORMAT, open_data_folder

CREATED_NS = 1_750_000_000 * 10**9

LOCK_IT = """
import sys
from pathlib import Path
from convexpy.errors import DataFolderError
from convexpy.storage.data_folder import open_data_folder
try:
    open_data_folder(Path(sys.argv[1]), 0).lock()
except DataFolderError as error:
    print(error)
else:
    print("locked")
"""


def lock_in_another_process(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", LOCK_IT, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"

    opened = open_data_folder(folder, CREATED_NS)

    facts = json.loads((folder / "convexpy.json").read_text())
    assert (facts["format"], facts["created_ms"]) == (FORMAT, 1_750_000_000_000)
    assert facts["deployment"] == opened.deployment
    assert re.fullmatch(r"local-[0-9a-f]{8}\|[0-9a-f]{64}", opened.admin_key)
    assert opened.admin_key.startswith(f"{opened.deployment}|")
    assert (folder / "files").is_dir()
    assert not list(folder.glob("*.draft"))


def test_opening_again_gives_the_same_deployment_and_key(tmp_path: Path) -> None:
    first, second = open_data_folder(tmp_path, CREATED_NS), open_data_folder(tmp_path, CREATED_NS + 1)
    assert (first.deployment, first.admin_key) == (second.deployment, second.admin_key)


def test_the_admin_key_is_for_its_owner_only(tmp_path: Path) -> None:
    open_data_folder(tmp_path, CREATED_NS)
    assert (tmp_path / "admin_key").stat().st_mode & 0o777 == 0o600


def test_a_lost_admin_key_is_made_anew(tmp_path: Path) -> None:
    first = open_data_folder(tmp_path, CREATED_NS)
    (tmp_path / "admin_key").unlink()
    second = open_data_folder(tmp_path, CREATED_NS)
    assert second.deployment == first.deployment
    assert second.admin_key != first.admin_key
    assert (tmp_path / "admin_key").stat().st_mode & 0o777 == 0o600


def test_a_second_server_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path, CREATED_NS)
    folder.lock()

    assert lock_in_another_process(tmp_path) == (
        f"The data folder {tmp_path} is in use by another convexpy server (process {os.getpid()}). "
        f"Stop that server, or give this one a folder of its own with --data DIR."
    )

    folder.unlock()
    assert lock_in_another_process(tmp_path) == "locked"


def test_the_lock_of_a_dead_server_is_gone(tmp_path: Path) -> None:
    assert lock_in_another_process(tmp_path) == "locked"
    folder = open_data_folder(tmp_path, CREATED_NS)
    folder.lock()
    folder.unlock()
    folder.unlock()


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    open_data_folder(tmp_path, CREATED_NS)
    facts = json.loads((tmp_path / "convexpy.json").read_text())
    (tmp_path / "convexpy.json").write_text(json.dumps({**facts, "format": 99}))

    with pytest.raises(DataFolderError) as refused:
        open_data_folder(tmp_path, CREATED_NS)

    assert str(refused.value) == (
        f"The data folder {tmp_path} has format 99; this convexpy knows format {FORMAT}. "
        f"Use the version of convexpy that wrote it, or export there and import here."
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '"text"', "\xff"])
def test_facts_that_cannot_be_read_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "convexpy.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataFolderError, match=r"convexpy\.json cannot be read: .* Restore it from a backup\.$"):
        open_data_folder(tmp_path, CREATED_NS)


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"somebody's")
    with pytest.raises(DataFolderError, match=r"holds a data\.mdb but no convexpy\.json"):
        open_data_folder(tmp_path, CREATED_NS)
    assert [path.name for path in tmp_path.iterdir()] == ["data.mdb"]


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match=r"cannot be created: Not a directory\.$"):
        open_data_folder(tmp_path / "file" / "data", CREATED_NS)
