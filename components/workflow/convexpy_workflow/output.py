"""What a handler prints and logs: kept aside while it runs, so that a replay can drop it.

A handler lives longer than the call in which it began, and it runs in a context of its own. So its output is caught
here and written again by the wave, in the wave's own call: each line once, however often the handler is replayed.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Catcher(logging.Handler):
    def __init__(self, items: list[str | logging.LogRecord]) -> None:
        super().__init__()
        self._items = items

    def emit(self, record: logging.LogRecord) -> None:
        self._items.append(record)


class _Stream(io.StringIO):
    def __init__(self, items: list[str | logging.LogRecord]) -> None:
        super().__init__()
        self._items = items

    def write(self, text: str) -> int:
        self._items.append(text)
        return len(text)


class HandlerOutput:
    """Printed text and log records of one run, in order."""

    def __init__(self) -> None:
        self._items: list[str | logging.LogRecord] = []
        self._stream = _Stream(self._items)
        self._catcher = _Catcher(self._items)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Catch what the body prints and logs."""
        root = logging.getLogger()
        handlers, root.handlers = root.handlers, [self._catcher]
        try:
            with contextlib.redirect_stdout(self._stream), contextlib.redirect_stderr(self._stream):
                yield
        finally:
            root.handlers = handlers

    def drop(self) -> None:
        """Forget what was caught: it was written when it was live."""
        self._items.clear()

    def write(self) -> None:
        """Write what was caught to the present call's own output."""
        items = list(self._items)
        self._items.clear()
        for item in items:
            if isinstance(item, str):
                print(item, end="")
            else:
                logging.getLogger(item.name).handle(item)
