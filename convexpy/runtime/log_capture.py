"""What a call prints and logs, as log lines: `[LEVEL] text`, at most `LOG_LINES_MAX` of them.

`print` is level LOG; `logging` keeps its levels. The sink of the running call is held per thread and per asyncio task,
so lines of actions that run side by side stay apart. Outside a call everything goes where it always went.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from convexpy.limits import KEPT_LOG_BYTES_MAX, LOG_LINE_CHARS_MAX, LOG_LINES_MAX

_LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR", "CRITICAL": "ERROR"}


def valid_unicode(text: str) -> str:
    """The text as it can be sent: a lone surrogate, which file names and cut emoji bring, becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class LogSink:
    """The lines of one call, nested calls included."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._partial = ""
        self._absorbed = 0

    def write(self, text: str) -> None:
        """Take what `print` writes; a line ends at a newline."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self.add("LOG", line)

    def add(self, level: str, text: str) -> None:
        """Keep one line, cut at `LOG_LINE_CHARS_MAX`; those past `LOG_LINES_MAX` are counted by one last line."""
        own = len(self.lines) - self._absorbed
        if own < LOG_LINES_MAX:
            if len(text) > LOG_LINE_CHARS_MAX:
                text = text[:LOG_LINE_CHARS_MAX] + " (truncated due to length)"
            self.lines.append(f"[{level}] {valid_unicode(text)}")
        elif own == LOG_LINES_MAX:
            self.lines.append(f"[ERROR] Log overflow (maximum {LOG_LINES_MAX}). Remaining log lines omitted.")

    def add_of_platform(self, level: str, text: str) -> None:
        """Keep a line of the platform's own, however many lines the call has."""
        self.lines.append(f"[{level}] {text}")

    def absorb(self, other: LogSink) -> None:
        """Take the lines of a part of the call that has bounds of its own; they do not count against this one's."""
        self.finish()
        self.lines += other.finish()
        self._absorbed += len(other.lines)

    def finish(self) -> list[str]:
        """All lines; an unfinished one is ended."""
        if self._partial:
            self.add("LOG", self._partial)
            self._partial = ""
        return self.lines


def lines_to_keep(lines: list[str]) -> list[str]:
    """The first lines of a call, as far as `KEPT_LOG_BYTES_MAX` goes; one last line says how many are missing."""
    left = KEPT_LOG_BYTES_MAX
    for count, line in enumerate(lines):
        left -= len(line.encode())
        if left < 0:
            omitted = len(lines) - count
            return [*lines[:count], f"[ERROR] Log too large to be kept. Remaining log lines omitted: {omitted}."]
    return list(lines)


_current: ContextVar[LogSink | None] = ContextVar("convexpy_log_sink", default=None)


@contextmanager
def capturing(sink: LogSink) -> Iterator[None]:
    """Send what the body prints and logs to `sink`."""
    token = _current.set(sink)
    try:
        yield
    finally:
        _current.reset(token)


class _RoutedStream(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: writes to the running call's sink, else to the real stream."""

    def __init__(self, real: io.TextIOBase) -> None:
        self._real = real

    def write(self, text: str) -> int:
        sink = _current.get()
        if sink is None:
            return self._real.write(text)
        sink.write(text)
        return len(text)

    def flush(self) -> None:
        self._real.flush()

    def fileno(self) -> int:
        return self._real.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class _RoutedHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sink = _current.get()
        if sink is not None:
            sink.add(_LEVELS.get(record.levelname, "INFO"), self.format(record))


def install() -> None:
    """Route this process's standard output and root logger; once a worker process, never in the server."""
    if not isinstance(sys.stdout, _RoutedStream):
        _route()


@contextmanager
def installed() -> Iterator[None]:
    """Route them for the body only, in a process that has other things to print."""
    stream, root = sys.stdout, logging.getLogger()
    level = root.level
    handler = _route()
    try:
        yield
    finally:
        sys.stdout = stream
        root.removeHandler(handler)
        root.setLevel(level)


def _route() -> logging.Handler:
    sys.stdout = _RoutedStream(sys.stdout)  # type: ignore[arg-type]
    root = logging.getLogger()
    handler = _RoutedHandler()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    return handler
