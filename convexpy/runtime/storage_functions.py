"""System functions of file storage: what HTTP routes and actions ask of the rows of `_storage`."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any

from convexpy.functions.storage import StorageReader, StorageWriter, find_by_uuid, upload_namespace
from convexpy.runtime.execution import Run
from convexpy.transactions.system_tables import STORAGE

Payload = dict[str, Any]


class _Place:
    """See `functions.storage.StorageHost`: a component's storage, without a function that runs."""

    def __init__(self, run: Run, component: str) -> None:
        self._run = run
        self.transaction, self.now_ms, self.cursor_secret = run.transaction, run.now_ms, run.cursor_secret
        self.namespace = run.resolver.namespace_of(component)

    @property
    def api_origin(self) -> str:
        return self._run.generation.api_origin

    def draw_nonce(self) -> str:
        return self._run.next_stream().hex()

    def note_deleted_file(self, uuid: str) -> None:
        self._run.deleted_files.append(uuid)


def _upload_url(run: Run, payload: Payload) -> str:
    return StorageWriter(_Place(run, payload["component"])).generate_upload_url()


def _url(run: Run, payload: Payload) -> str | None:
    return StorageReader(_Place(run, payload["component"])).get_url(payload["id"])


def _delete(run: Run, payload: Payload) -> None:
    StorageWriter(_Place(run, payload["component"])).delete(payload["id"])


def _get(run: Run, payload: Payload) -> Payload | None:
    return StorageReader(_Place(run, payload["component"]))._row(payload["id"], "get")


def _metadata(run: Run, payload: Payload) -> Payload | None:
    row = _get(run, payload)
    if row is None:
        return None
    found = {"storageId": row["_id"], "sha256": base64.b64decode(row["sha256"]).hex(), "size": row["size"]}
    return {**found, "contentType": row.get("contentType")}


def _add(run: Run, payload: Payload) -> str:
    """A row for a file that is whole on disk: `component` or `namespace`, and the row's fields."""
    namespace = payload.get("namespace")
    if namespace is None:
        namespace = run.resolver.namespace_of(payload["component"])
    row = {"namespace": namespace, **{name: payload[name] for name in ("uuid", "sha256", "size")}}
    if payload["contentType"] is not None:
        row["contentType"] = payload["contentType"]
    return run.transaction.insert(STORAGE, row)


def _new_name(run: Run, payload: Payload) -> str:
    return str(uuid.UUID(bytes=run.call.seed, version=4))


def _begin_upload(run: Run, payload: Payload) -> Payload:
    """`token` → `namespace` and a `uuid` for the file, or the `refusal`'s code."""
    found = upload_namespace(run.cursor_secret, payload["token"], run.now_ms)
    return {"refusal": found} if isinstance(found, str) else {"namespace": found, "uuid": _new_name(run, {})}


def _by_uuid(run: Run, payload: Payload) -> Payload | None:
    return find_by_uuid(run.transaction, payload["uuid"])


def _known(run: Run, payload: Payload) -> list[str]:
    """Those of `uuids` that have a row."""
    return [each for each in payload["uuids"] if find_by_uuid(run.transaction, each) is not None]


STORAGE_FUNCTIONS: dict[str, Callable[[Run, Payload], Any]] = {
    "storage.upload_url": _upload_url,
    "storage.url": _url,
    "storage.delete": _delete,
    "storage.get": _get,
    "storage.metadata": _metadata,
    "storage.add": _add,
    "storage.new_name": _new_name,
    "storage.begin_upload": _begin_upload,
    "storage.by_uuid": _by_uuid,
    "storage.known": _known,
}
