"""A TCP proxy between a client and the server that can lose replies and cut connections."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class _Pair:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        # A connection that has lost bytes stays silent to its end: a hole in the stream would be another fault.
        self.is_silent = False

    def cut(self) -> None:
        """Nothing more comes through, also nothing that has arrived here already."""
        self.is_silent = True
        for end in (self.client, self.server):
            _shut(end)


class Proxy:
    """Passes bytes on. While replies are withheld, what the client sends still arrives."""

    def __init__(self, server_url: str) -> None:
        target = urlsplit(server_url)
        self._target = (target.hostname, target.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._is_withholding = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._threads: list[threading.Thread] = []
        self._accepting.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()  # a connection that it has accepted just now is cut with the others
        self.cut()
        for thread in self._threads:
            thread.join()

    def withhold_replies(self) -> None:
        """From now on nothing of the server reaches the client."""
        with self._lock:
            self._is_withholding = True
            for pair in self._pairs:
                pair.is_silent = True

    def cut(self) -> None:
        """Break all connections, and let the next ones through whole."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self._is_withholding = False
        for pair in pairs:
            pair.cut()

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
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.append(pair)
                pair.is_silent = self._is_withholding
            thread = threading.Thread(target=self._carry_both_ways, args=(pair,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry_both_ways(self, pair: _Pair) -> None:
        up = threading.Thread(target=self._carry, args=(pair, pair.client, pair.server), daemon=True)
        up.start()
        self._carry(pair, pair.server, pair.client)
        up.join()
        pair.client.close()
        pair.server.close()

    def _carry(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if sink is pair.server or not pair.is_silent:
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
