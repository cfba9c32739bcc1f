"""The server under fire: sends it inputs, and is the judge of how it takes them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from convexpy.runtime.stored_files import UNFINISHED
from tests.clients.server import Server
from tests.faults.convex_client import http, sync_client
from tests.faults.processes import processes_of
from tests.fuzz.corpus import Session
from tests.patience import PATIENCE_SECONDS, connect

HTTP_PATIENCE_SECONDS = 0.02  # a request that bending has made incomplete is never answered
CLOSE_CODES = {1000, 1001, 1002, 1003, 1005, 1007, 1009, 1011, 1013}
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
FAULTS = re.compile(r"Traceback|Exception in ASGI|Task exception was never retrieved|Unhandled exception")


class Fault(AssertionError):
    """The server did what it must not; the text says what, and on which input."""


class Target:
    """A running server of the client tests' app.

    Args:
        server: started; `complaints` must be its own.
        http_seconds: how long the rest of an answer to a request is waited for.
    """

    def __init__(self, server: Server, http_seconds: float = HTTP_PATIENCE_SECONDS) -> None:
        self._server = server
        self._http_seconds = http_seconds
        self._pid = server.pid
        self._workers = self._processes()
        self._canary_value = 0
        self.frames_sent = 0
        self.requests_sent = 0

    async def take_session(self, session: Session) -> None:
        """Send all frames of a session, read what comes, and see it answer a ping or close.

        Raises:
            Fault: it did neither, or closed in a way that the protocol does not have.
        """
        headers = {} if session.client is None else {"Convex-Client": session.client}
        url = f"ws://127.0.0.1:{self._server.port}{session.path}"
        try:
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                connect(url, additional_headers=headers, max_size=None, compression=None) as socket,
            ):
                reading = asyncio.create_task(self._read(socket))
                with contextlib.suppress(ConnectionClosed):
                    for frame in session.frames:
                        self.frames_sent += 1
                        await socket.send(frame.encode("utf-8", "surrogatepass"), text=True)
                    await (await socket.ping())
                    await socket.close()
                code = await reading
        except InvalidHandshake:
            return
        except TimeoutError:
            raise Fault(f"no answer within {PATIENCE_SECONDS:g} s to {session!r}") from None
        if code not in CLOSE_CODES:
            raise Fault(f"closed with {code} after {session!r}")

    @staticmethod
    async def _read(socket: object) -> int:
        try:
            while True:
                await socket.recv(decode=False)  # type: ignore[attr-defined]
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1005

    @property
    def url(self) -> str:
        return self._server.url

    async def take_request(self, raw: bytes, *, is_to_site: bool = False) -> None:
        """Send bytes to a port as they are, and read what comes within a moment.

        Raises:
            Fault: an answer of status 500, which says that nobody expected this input.
        """
        self.requests_sent += 1
        answer = bytearray()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port + is_to_site)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                writer.write(raw)
                await writer.drain()
                while data := await asyncio.wait_for(reader.read(65536), self._http_seconds):
                    answer += data
        finally:
            writer.close()
        if b"500" in STATUS.findall(bytes(answer)):
            raise Fault(f"status 500 to {raw!r}: {bytes(answer)!r}")

    async def check(self) -> None:
        """See that it serves everybody else, in the same processes, and has nothing to say.

        Raises:
            Fault: one of these is not so.
        """
        if not self._server.is_running or self._server.pid != self._pid:
            raise Fault("the server process has ended")
        if (workers := self._processes()) != self._workers:
            raise Fault(f"its processes were {self._workers} and are now {workers}")
        async with asyncio.timeout(PATIENCE_SECONDS), http(self._server.port) as connection:
            self._canary_value += 1
            value = await connection.value("mutation", "counters:add", {"name": "canary of the fuzzer", "by": 1})
            if value != self._canary_value:
                raise Fault(f"the canary's counter is {value} and should be {self._canary_value}")
        async with asyncio.timeout(PATIENCE_SECONDS), sync_client(self._server.port) as client:
            await client.subscribe(0, "counters:read", {"name": "canary of the fuzzer"})
            await client.value(0, lambda value: value == self._canary_value)
        await self._uploads_end()
        if found := FAULTS.search(said := self._server.complaints.so_far()):
            raise Fault(f"it complained: {said[max(0, found.start() - 300) : found.end() + 8000]}")

    async def _uploads_end(self) -> None:
        """Nobody sends any more, so what was not sent whole is to go."""
        unfinished: list[str] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                while unfinished := [path.name for path in (self._server.data / "files").glob(f"*{UNFINISHED}")]:
                    await asyncio.sleep(0.05)  # between looks at a folder, which tells nobody of its changes
        if unfinished:
            raise Fault(f"uploads whose clients have gone are still there: {unfinished}")

    def memory_kib(self) -> int:
        """Private memory of all its processes; pages of the mapped database are not among them."""
        pids = [self._pid, *(pid for pids in processes_of(self._pid).values() for pid in pids)]
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
        return sum(
            int(line.split()[1]) for text in rollups for line in text.splitlines() if line.startswith("Pss_Anon:")
        )

    def _processes(self) -> dict[str, list[int]]:
        return {name: sorted(pids) for name, pids in processes_of(self._pid).items()}
