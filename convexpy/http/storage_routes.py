"""Uploads and downloads of stored files, streamed.

Source: wire-protocol 8.2.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from convexpy.errors import InvalidRequest
from convexpy.http.errors import HttpRefusal
from convexpy.limits import FILE_CHUNK_BYTES, UPLOAD_SECONDS_MAX
from convexpy.runtime.stored_files import DigestMismatch, FileWriter, StorageFull, checked_content_type, is_uuid

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_OFFSET_DIGITS_MAX = 19  # no file has 10**18 bytes, and Python reads no number of thousands of digits
_CACHE_CONTROL = "private, max-age=2592000"


class SystemCalls(Protocol):
    """See `backend.RuntimeBackend`."""

    async def run_system(self, name: str, payload: dict[str, Any]) -> Any: ...


class StorageRoutes:
    """`/api/storage/…`. Args: folder: `files/` of the data folder."""

    def __init__(self, backend: SystemCalls, folder: Path) -> None:
        self._backend, self._folder = backend, folder

    def routes(self) -> list[Route]:
        return [
            Route("/api/storage/upload", self._upload, methods=["POST"]),
            Route("/api/storage/{uuid}", self._download, methods=["GET"]),
        ]

    async def _upload(self, request: Request) -> Response:
        begun = await self._backend.run_system("storage.begin_upload", {"token": request.query_params.get("token", "")})
        if "refusal" in begun:
            expired = begun["refusal"] == "StorageTokenExpired"
            text = "has expired" if expired else "is not one of this deployment"
            raise HttpRefusal(401, begun["refusal"], f"The upload URL {text}. Generate another.")
        promised = _promised_digest(request)
        try:
            content_type = checked_content_type(request.headers.get("content-type"))
        except InvalidRequest as error:
            raise HttpRefusal(400, "BadContentType", str(error)) from None
        try:
            async with asyncio.timeout(UPLOAD_SECONDS_MAX):
                writer = await asyncio.to_thread(FileWriter, self._folder, begun["uuid"])
                sha256 = await _receive(request, writer, promised)
        except DigestMismatch as error:
            raise HttpRefusal(400, "BadDigest", str(error)) from None
        except StorageFull as error:
            raise HttpRefusal(507, "StorageFull", str(error)) from None
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        row = {"uuid": writer.uuid, "sha256": sha256, "size": writer.size, "contentType": content_type}
        try:
            storage_id = await self._backend.run_system("storage.add", {"namespace": begun["namespace"], **row})
        except InvalidRequest:
            await asyncio.to_thread(writer.discard)
            raise
        return JSONResponse({"storageId": storage_id})

    async def _download(self, request: Request) -> Response:
        uuid = request.path_params["uuid"]
        if not is_uuid(uuid):
            raise HttpRefusal(400, "InvalidStoragePath", "The URL of a file is /api/storage/<uuid>.")
        row = await self._backend.run_system("storage.by_uuid", {"uuid": uuid})
        missing = HttpRefusal(404, "FileNotFound", "There is no such file, or it has been deleted.")
        if row is None:
            raise missing
        size, etag = int(row["size"]), f'"{row["sha256"]}"'
        headers = {
            "Content-Type": row.get("contentType") or "application/octet-stream",
            "Digest": f"sha-256={row['sha256']}",
            "Cache-Control": _CACHE_CONTROL,
            "Accept-Ranges": "bytes",
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",  # what was uploaded as text is not run as a page
        }
        asked = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if etag in asked or "*" in asked:
            return Response(status_code=304, headers={name: headers[name] for name in ("Cache-Control", "ETag")})
        start, end, status = 0, size, 200
        asks_for_bytes = request.headers.get("range", "").lstrip().startswith("bytes=")  # other units mean nothing
        if asks_for_bytes and request.headers.get("if-range", etag) == etag:
            span = _span(request.headers["range"], size)
            if span is None:
                return Response(status_code=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
            (start, end), status = span, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        headers["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        try:
            file = await asyncio.to_thread((self._folder / uuid).open, "rb")
        except FileNotFoundError:
            raise missing from None
        return StreamingResponse(_chunks(file, start, end), status, headers)


async def _receive(request: Request, writer: FileWriter, promised: str | None) -> str:
    """Write the body, as much at a time as FILE_CHUNK_BYTES; whatever goes wrong, nothing is left."""
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= FILE_CHUNK_BYTES:
                await asyncio.to_thread(writer.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(writer.write, bytes(waiting))
        return await asyncio.to_thread(writer.finish, promised)
    except BaseException:
        writer.discard()
        raise


async def _chunks(file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(start)
        while start < end:
            chunk = await asyncio.to_thread(partial(file.read, min(FILE_CHUNK_BYTES, end - start)))
            if not chunk:
                return
            start += len(chunk)
            yield chunk


def _promised_digest(request: Request) -> str | None:
    for part in request.headers.get("digest", "").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "sha-256":
            return value
    return None


def _span(header: str, size: int) -> tuple[int, int] | None:
    """The one range that is asked for, half open; None if there are several, or none of the file."""
    match = _RANGE.match(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        count = _offset(last) if last else 0
        return (max(0, size - count), size) if count and size else None
    start, end = _offset(first), min(_offset(last) + 1, size) if last else size
    return (start, end) if start < end else None


def _offset(digits: str) -> int:
    """A number of bytes as a client writes it. One beyond any file is cut short and still beyond any file."""
    return int(digits.lstrip("0")[:_OFFSET_DIGITS_MAX] or "0")
