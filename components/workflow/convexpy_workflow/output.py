"""What a handler prints and logs: kept aside while it runs, so that a replay can drop it.

A handler lives longer than the call in which it began, and it runs in a context of its own. So its output is caught
here, goes as lines into the journal (`take_lines`), and is written again by the wave, in the wave's own call (`write`):
each line once in both, however often the handler is replayed.
"""

from __future__ import annotations

import io
import logging
import sys
from types import TracebackType

LINE_CHARS_MAX = 8192  # of a line in the journal; its end is cut
_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}  # the platform's names of them
_log = logging.getLogger("convexpy_workflow")
_plain = logging.Formatter()

Item = str | logging.LogRecord


class _Catcher(logging.Handler):
    def __init__(self, output: HandlerOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        self._output.add(record)


class _Stream(io.StringIO):
    def __init__(self, output: HandlerOutput) -> None:
        super().__init__()
        self._output = output

    def write(self, text: str) -> int:
        self._output.add(text)
        return len(text)


class _Catching:
    """Puts a stream and a log handler in the place of the process's own for the body. On the path of every step."""

    __slots__ = ("_before", "_catcher", "_stream")

    def __init__(self, stream: _Stream, catcher: _Catcher) -> None:
        self._stream, self._catcher = stream, catcher

    def __enter__(self) -> None:
        root = logging.root
        self._before = (sys.stdout, sys.stderr, root.handlers)
        sys.stdout = sys.stderr = self._stream
        root.handlers = [self._catcher]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout, sys.stderr, logging.root.handlers = self._before


class HandlerOutput:
    """Printed text and log records of one run, in order."""

    def __init__(self) -> None:
        self._to_write: list[Item] = []
        self._lines: list[str] = []
        self._partial = ""
        self._stream = _Stream(self)
        self._catcher = _Catcher(self)

    def catching(self) -> _Catching:
        """Catch what the body prints and logs."""
        return _Catching(self._stream, self._catcher)

    def add(self, item: Item) -> None:
        """Take printed text or a log record."""
        self._to_write.append(item)
        if isinstance(item, str):
            *ended, self._partial = (self._partial + item).split("\n")
            for text in ended:
                self._add_line("LOG", text)
        else:
            self._add_line(_LEVELS.get(item.levelname, item.levelname), _plain.format(item))

    def warn(self, warnings: list[str]) -> None:
        """Take warnings of the engine, and empty their list."""
        for text in warnings:
            self.add(_log.makeRecord(_log.name, logging.WARNING, __file__, 0, text, (), None))
        warnings.clear()

    def take_lines(self) -> list[str]:
        """Take the lines since the last time, as the journal keeps them: "[LEVEL] text". An unfinished one is ended."""
        if self._partial:
            self._add_line("LOG", self._partial)
            self._partial = ""
        lines, self._lines = self._lines, []
        return lines

    def drop(self) -> None:
        """Forget what was caught: it was written when it was live."""
        self._to_write.clear()
        self._lines.clear()
        self._partial = ""

    def write(self) -> None:
        """Write what was caught to the present call's own output."""
        items, self._to_write = self._to_write, []
        for item in items:
            if isinstance(item, str):
                print(item, end="")
            else:
                logging.getLogger(item.name).handle(item)

    def _add_line(self, level: str, text: str) -> None:
        # A lone surrogate is no text that a document can hold.
        valid = text[:LINE_CHARS_MAX].encode("utf-8", "backslashreplace").decode()
        self._lines.append(f"[{level}] {valid}{' (cut)' if len(text) > LINE_CHARS_MAX else ''}")
