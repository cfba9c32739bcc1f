"""Stored files: rows and bytes together, through the test backend and a real server with real clients."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from convexpy.errors import CalledFunctionFailed, InvalidRequest
from convexpy.functions.application import Application, load_application
from convexpy.functions.storage import sign_upload, upload_namespace
from convexpy.limits import MIB
from convexpy.runtime.stored_files import FileWriter, StorageFull
from convexpy.storage.lmdb_store import LmdbStore
from convexpy.testing import TestBackend
from tests import patience
from tests.clients.server import Server

APP = Path(__file__).parent / "files_app"
CLIENTS = Path(__file__).parents[1] / "clients"


def sha256_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture(scope="module")
def application() -> Application:
    return load_application(APP)


@pytest.fixture
def backend(application: Application) -> Iterator[TestBackend]:
    with TestBackend(application) as backend:
        yield backend


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(APP, tmp_path_factory.mktemp("data"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(APP, tmp_path)
    server.start()
    yield server
    server.stop()


def files_of(backend: TestBackend) -> list[Path]:
    return sorted((backend.store.folder / "files").iterdir())


@pytest.mark.parametrize("store", ["files:store", "files:store_blocking"])
def test_an_action_stores_and_reads(backend: TestBackend, store: str) -> None:
    stored = backend.action(store, {"text": "hello"})

    row = backend.query("files:show", {"file": stored["file"]})["row"]
    assert stored["text"] == "hello"
    assert (row["sha256"], row["size"]) == (sha256_of(b"hello"), 5)
    assert "uuid" not in row and "namespace" not in row
    assert [file.read_bytes() for file in files_of(backend)] == [b"hello"]


def test_a_delete_takes_the_file_and_a_delete_that_is_undone_does_not(backend: TestBackend) -> None:
    file = {"file": backend.action("files:store", {"text": "x"})["file"]}

    with pytest.raises(CalledFunctionFailed, match="changed my mind"):
        backend.mutation("files:delete_and_throw", file)
    backend.mutation("files:delete_in_vain", file)
    backend.advance()
    assert len(files_of(backend)) == 1

    backend.mutation("files:delete", file)
    backend.advance()
    assert files_of(backend) == []
    assert backend.query("files:show", file) == {"row": None, "url": None}
    with pytest.raises(CalledFunctionFailed, match="not found"):
        backend.mutation("files:delete", file)


def test_a_start_sweeps_what_a_crash_has_left(backend: TestBackend) -> None:
    """A file without a row, and one that was not finished; what has a row stays."""
    backend.action("files:store", {"text": "stays"})
    folder = backend.store.folder / "files"
    (folder / "00000000-0000-4000-8000-000000000000").write_text("no row")
    (folder / "00000000-0000-4000-8000-000000000001.uploading").write_text("half")

    backend.restart()

    assert [file.read_text() for file in files_of(backend)] == ["stays"]


def test_tokens_are_signed_and_expire() -> None:
    token = sign_upload(b"secret", 7, 1000, "n")

    assert upload_namespace(b"secret", token, 999) == 7
    assert upload_namespace(b"secret", token, 1000) == "StorageTokenExpired"
    assert upload_namespace(b"other", token, 999) == "StorageTokenInvalid"
    assert upload_namespace(b"secret", token.replace("7.", "8.", 1), 999) == "StorageTokenInvalid"
    assert upload_namespace(b"secret", "", 999) == "StorageTokenInvalid"


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """/dev/full refuses every write as a full disk does."""
    writer = FileWriter(tmp_path, "00000000-0000-4000-8000-000000000000")
    writer._file.close()
    writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - the writer closes it

    with pytest.raises(StorageFull, match="no room on the disk"):
        writer.write(b"x")

    assert list(tmp_path.iterdir()) == []


def call(server: Server, kind: str, path: str, args: dict[str, Any] | None = None) -> Any:
    body = {"path": path, "args": args or {}, "format": "json"}
    answer = patience.post(f"{server.url}/api/{kind}", json=body).json()
    assert answer["status"] == "success", answer
    return answer["value"]


def upload(server: Server, data: Any, **headers: str) -> httpx2.Response:
    return patience.post(call(server, "mutation", "files:upload_url"), content=data, headers=headers)


def test_an_upload_is_served_with_ranges_and_an_etag(server: Server) -> None:
    data = bytes(range(256)) * 10
    file = upload(server, data, **{"Content-Type": "image/png", "Digest": f"sha-256={sha256_of(data)}"}).json()
    shown = call(server, "query", "files:show", {"file": file["storageId"]})
    url = shown["url"]

    whole = patience.get(url)
    assert whole.content == data
    assert whole.headers["content-type"] == "image/png"
    assert whole.headers["digest"] == f"sha-256={sha256_of(data)}"
    assert whole.headers["cache-control"] == "private, max-age=2592000"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert (shown["row"]["contentType"], shown["row"]["size"]) == ("image/png", 2560)
    for asked, start, end in [("0-9", 0, 10), ("2550-", 2550, 2560), ("-5", 2555, 2560), ("5-9999", 5, 2560)]:
        part = patience.get(url, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/2560"
    for asked in ("2560-", "0-1,3-4", "5-2", "-0"):
        assert patience.get(url, headers={"Range": f"bytes={asked}"}).status_code == 416
    assert patience.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    head = patience.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", "2560")

    call(server, "mutation", "files:delete", {"file": file["storageId"]})
    gone = patience.get(url)
    assert (gone.status_code, gone.json()["code"]) == (404, "FileNotFound")


def expired_token(server: Server) -> str:
    """One of the deployment's own, whose hour ended a moment ago."""
    store = LmdbStore(server.data, readonly=True)
    with store.snapshot() as snapshot:
        token = sign_upload(snapshot.instance_secret(), 0, int(time.time() * 1000) - 1, "nonce")
    store.close()
    return token


def test_refusals(server: Server) -> None:
    before = call(server, "query", "files:count")
    forged = patience.post(f"{server.url}/api/storage/upload?token=0.99999999999999.x.y", content=b"x")
    assert (forged.status_code, forged.json()["code"]) == (401, "StorageTokenInvalid")
    late = patience.post(f"{server.url}/api/storage/upload?token={expired_token(server)}", content=b"x")
    assert (late.status_code, late.json()["code"]) == (401, "StorageTokenExpired")
    wrong = upload(server, b"x", Digest=f"sha-256={sha256_of(b'y')}")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "BadDigest")
    for path in ("admin_key", "%00", "00000000-0000-4000-8000-00000000000g"):
        answer = patience.get(f"{server.url}/api/storage/{path}")
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidStoragePath")
    assert patience.get(f"{server.url}/api/storage/..%2f..%2fadmin_key").status_code == 404
    assert call(server, "query", "files:count") == before
    assert not list((server.data / "files").glob("*.uploading"))


def test_an_empty_file_is_a_file_and_each_upload_a_new_one(server: Server) -> None:
    url = call(server, "mutation", "files:upload_url")
    first, second = (patience.post(url, content=b"").json()["storageId"] for _ in range(2))

    assert first != second
    empty = patience.get(call(server, "query", "files:show", {"file": first})["url"])
    assert (empty.status_code, empty.content) == (200, b"")


def test_the_official_client_uploads_as_its_documentation_says(server: Server) -> None:
    script = """
    import { ConvexHttpClient } from "convex/browser";
    import { anyApi as api } from "convex/server";
    const client = new ConvexHttpClient(process.argv[1], { skipConvexDeploymentUrlCheck: true, logger: false });
    const url = await client.mutation(api.files.upload_url, {});
    const sent = await fetch(url, { method: "POST", headers: { "Content-Type": "text/plain" }, body: "from node" });
    const { storageId } = await sent.json();
    await client.mutation(api.files.keep, { file: storageId });
    const shown = await client.query(api.files.show, { file: storageId });
    console.log(await (await fetch(shown.url)).text(), shown.row.contentType);
    """
    command = ["node", "--input-type=module", "-e", script, server.url]
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=patience.PATIENCE_SECONDS)

    assert done.stdout.strip() == "from node text/plain", done.stderr


def memory_of(pid: int, name: str) -> int:
    """Bytes: `VmRSS` is what a process holds, `VmHWM` the most that it has ever held."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(f"{name}:"))


@pytest.mark.parametrize("mib", [64, pytest.param(1024, marks=pytest.mark.slow)])
def test_large_files_pass_through_little_memory(own_server: Server, mib: int) -> None:
    """Peak memory of a server that has seen nothing else grows by far less than the file."""
    server = own_server
    upload(server, b"warm")
    before = memory_of(server.pid, "VmRSS")
    chunk = bytes(MIB)
    sent = upload(server, (chunk for _ in range(mib)))
    url = call(server, "query", "files:show", {"file": sent.json()["storageId"]})["url"]
    size = 0
    with patience.stream("GET", url) as response:
        for part in response.iter_bytes():
            size += len(part)

    grown = memory_of(server.pid, "VmHWM") - before
    print(f"{mib} MiB each way: peak memory of the server grew by {grown / MIB:.1f} MiB")
    assert size == mib * MIB
    assert grown < 16 * MIB


def test_files_of_a_component_are_its_own(tmp_path: Path) -> None:
    """An id means nothing outside the component whose file it is."""
    app, component = tmp_path / "keeping_app", tmp_path / "kept_things"
    app.mkdir()
    component.mkdir()
    (component / "__init__.py").write_text("")
    (component / "files.py").write_text(
        "from convexpy import action, query\n"
        "@action\nasync def store(ctx):\n    return await ctx.storage.store(b'inside')\n"
        "@query\ndef url(ctx, file: str):\n    return ctx.storage.get_url(file)\n"
    )
    (app / "convex_config.py").write_text(
        f"import sys\nsys.path.append({str(tmp_path)!r})\n"
        "from convexpy import define_app, define_component\n"
        "app = define_app()\napp.use(define_component('things', functions='kept_things'))\n"
    )

    with TestBackend(app) as backend:
        file = backend.action("files:store", component="things")

        assert backend.query("files:url", {"file": file}, component="things") is not None
        assert backend.run(lambda ctx: ctx.storage.get_url(file)) is None
        assert backend.run(lambda ctx: ctx.db.system.get(file)) is None
        with pytest.raises(InvalidRequest, match="not found"):
            backend.run(lambda ctx: ctx.storage.delete(file))
