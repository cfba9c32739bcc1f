"""Lines of a pipe, read by a thread, so that a wait for the next one can have a limit."""

from __future__ import annotations

import queue
import threading
from typing import IO


class Lines:
    """Reads a pipe to its end, whether or not anyone looks; a full pipe would stop the writer."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe = pipe
        self._all: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def next(self, seconds_max: float) -> str | None:
        """The next line without its end; None at the end of the pipe or after `seconds_max`."""
        try:
            return self._queue.get(timeout=seconds_max)
        except queue.Empty:
            return None

    def so_far(self) -> str:
        """Everything read up to now, for the text of a failure."""
        return "".join(self._all)

    def to_the_end(self) -> str:
        """Everything, once the pipe has ended; its writer must be dead."""
        self._thread.join()
        return self.so_far()

    def close(self) -> None:
        """Wait for the end of the pipe; its writer must be dead."""
        self._thread.join()
        self._pipe.close()

    def _read(self) -> None:
        for line in self._pipe:
            self._all.append(line)
            self._queue.put(line.rstrip("\n"))
        self._queue.put(None)
