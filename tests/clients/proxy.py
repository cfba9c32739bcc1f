"""A TCP proxy between a client and the server that can lose replies and cut connections."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on. While replies are withheld, what the client sends still arrives."""

    def __init__(self, server_url: str) -> None:
        target = urlsplit(server_url)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_withholding = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def withhold_replies(self) -> None:
        """From now on nothing of the server reaches the client."""
        self._is_withholding = True

    def cut(self) -> None:
        """Break all connections, and let the next ones through whole."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._is_withholding = False
        for pair in pairs:
            for end in pair:
                _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            thread = threading.Thread(target=self._carry_both_ways, args=(client, server), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry_both_ways(self, client: socket.socket, server: socket.socket) -> None:
        up = threading.Thread(target=self._carry, args=(client, server, False), daemon=True)
        up.start()
        self._carry(server, client, True)
        up.join()
        client.close()
        server.close()

    def _carry(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        withheld = False
        try:
            while data := source.recv(65536):
                # A connection that has lost bytes stays silent: a hole in the stream would be another fault.
                withheld = withheld or (is_reply and self._is_withholding)
                if not withheld:
                    sink.sendall(data)
        except OSError:
            pass
        _shut(source)
        _shut(sink)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
