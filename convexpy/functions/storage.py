"""`ctx.storage`: rows of `_storage` from queries and mutations; in actions also the bytes of files.

Row: `namespace`, `uuid` (the file's name, and what its URL is made of), `sha256` (base64), `size` in bytes,
`contentType`. A row is written once its file is whole on disk, and deleted before the file is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Protocol

from convexpy.errors import InvalidId, InvalidRequest
from convexpy.limits import UPLOAD_TOKEN_SECONDS
from convexpy.transactions.index_keys import IndexBounds
from convexpy.transactions.system_tables import STORAGE
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_id, index_key

Row = dict[str, Any]


class StorageHost(Protocol):
    """What a run offers to its storage."""

    transaction: Transaction
    namespace: int
    cursor_secret: bytes
    now_ms: int

    @property
    def api_origin(self) -> str: ...

    def draw_nonce(self) -> str:
        """Random text that no other call draws."""

    def note_deleted_file(self, uuid: str) -> None:
        """A file that nothing may name any more, once this run has committed."""


class StorageReader:
    """`ctx.storage` of queries."""

    def __init__(self, host: StorageHost) -> None:
        self._host = host

    def get_url(self, storage_id: str) -> str | None:
        """Where the file is served to whoever knows the URL, until it is deleted; None if there is none."""
        row = self._row(storage_id, "get_url")
        return None if row is None else f"{self._host.api_origin}/api/storage/{row['uuid']}"

    def _row(self, storage_id: Any, operation: str) -> Row | None:
        try:
            number, internal_id = decode_id(storage_id)
        except (InvalidId, TypeError, AttributeError):
            number, internal_id = -1, b""
        if number != STORAGE.number:
            raise InvalidId(
                f"Invalid argument `storageId` for `storage.{operation}`: expected the id of a file, got "
                f"{storage_id!r}."
            )
        row = self._host.transaction.get(STORAGE, internal_id)
        return row if row is not None and row["namespace"] == self._host.namespace else None


class StorageWriter(StorageReader):
    """`ctx.storage` of mutations."""

    def generate_upload_url(self) -> str:
        """A URL that takes one or more files by POST for an hour; each upload answers `{"storageId": …}`."""
        host = self._host
        expires_ms = host.now_ms + UPLOAD_TOKEN_SECONDS * 1000
        token = sign_upload(host.cursor_secret, host.namespace, expires_ms, host.draw_nonce())
        return f"{host.api_origin}/api/storage/upload?token={token}"

    def delete(self, storage_id: str) -> None:
        """Delete a file with this transaction; its URL is 404 from then on.

        Raises:
            InvalidRequest: there is no such file.
        """
        row = self._row(storage_id, "delete")
        if row is None:
            raise InvalidRequest(f"storage id {storage_id} not found")
        self._host.transaction.delete(STORAGE, decode_id(storage_id)[1])
        self._host.note_deleted_file(row["uuid"])


class Blob:
    """A stored file in an `async def` action. Its bytes are read when asked for."""

    def __init__(self, row: Row, read: Callable[[], Any]) -> None:
        self.size: int = row["size"]
        self.content_type: str | None = row.get("contentType")
        self.sha256: str = row["sha256"]
        self._read = read

    async def bytes(self) -> bytes:
        """The whole file; it must fit into memory."""
        content: bytes = await self._read()
        return content

    async def text(self) -> str:
        """The whole file as UTF-8."""
        return (await self.bytes()).decode()


class BlockingBlob(Blob):
    """A stored file in a `def` action."""

    def bytes(self) -> bytes:  # type: ignore[override]
        """The whole file; it must fit into memory."""
        content: bytes = self._read()
        return content

    def text(self) -> str:  # type: ignore[override]
        """The whole file as UTF-8."""
        return self.bytes().decode()


class ActionStorage:
    """`ctx.storage` of actions; awaited in `async def` ones. Each call takes effect at once."""

    def __init__(self, perform: Callable[[str, Any, dict[str, Any]], Any]) -> None:
        self._perform = perform

    def generate_upload_url(self) -> Any:
        """See `StorageWriter.generate_upload_url`."""
        return self._perform("storage.upload_url", None, {})

    def get_url(self, storage_id: str) -> Any:
        """See `StorageReader.get_url`."""
        return self._perform("storage.url", None, {"id": storage_id})

    def get_metadata(self, storage_id: str) -> Any:
        """`{storageId, sha256, size, contentType}` with the digest in hexadecimal, as older apps have it; or None."""
        return self._perform("storage.metadata", None, {"id": storage_id})

    def delete(self, storage_id: str) -> Any:
        """See `StorageWriter.delete`."""
        return self._perform("storage.delete", None, {"id": storage_id})

    def store(self, data: Any, content_type: str | None = None, sha256: str | None = None) -> Any:
        """Store bytes as a file; gives its id.

        Args:
            data: bytes, or in an `async def` action an async iterator of bytes, such as `request.stream()`.
            sha256: base64; if given, other bytes are refused.
        """
        return self._perform("storage.store", data, {"content_type": content_type, "sha256": sha256})

    def get(self, storage_id: str) -> Any:
        """The file as a `Blob`, or None if there is none."""
        return self._perform("storage.get", None, {"id": storage_id})


def find_by_uuid(transaction: Transaction, uuid: str) -> Row | None:
    """The row of a file by the name in its URL."""
    key = index_key([uuid])
    rows = transaction.scan(STORAGE, STORAGE.indexes["by_uuid"], IndexBounds(key, key + b"\xff"))
    return next(iter(rows), None)


def sign_upload(secret: bytes, namespace: int, expires_ms: int, nonce: str) -> str:
    """A token that allows uploads into a namespace."""
    text = f"{namespace}.{expires_ms}.{nonce}"
    return f"{text}.{_signature(secret, text)}"


def upload_namespace(secret: bytes, token: str, now_ms: int) -> int | str:
    """The namespace that a token is for, or the code of what is wrong with it."""
    text, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(secret, text).encode()):
        return "StorageTokenInvalid"
    namespace, expires_ms, _ = text.split(".")
    return int(namespace) if now_ms < int(expires_ms) else "StorageTokenExpired"


def _signature(secret: bytes, text: str) -> str:
    digest = hmac.new(secret, b"upload\0" + text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
