"""What the processes of a test have said, for the report of its failure: a log must tell alone what went wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Protocol

LINES_MAX = 200  # of one pipe: the last ones, since what broke a test was said near its end


class Pipe(Protocol):
    """What a process writes, read as it comes."""

    def so_far(self) -> str:
        """Everything up to now."""
        ...


class _Transcript:
    def __init__(self, name: str, process: subprocess.Popen[str], pipes: dict[str, Pipe]) -> None:
        self._name, self._process, self._pipes = name, process, pipes
        self._passed_chars = dict.fromkeys(pipes, 0)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def pass_over(self) -> None:
        """What it has said up to now belongs to tests before."""
        self._passed_chars = {name: len(pipe.so_far()) for name, pipe in self._pipes.items()}

    def sections(self) -> Iterator[tuple[str, str]]:
        status = self._process.poll()
        state = "running" if status is None else f"ended with status {status}"
        for name, pipe in self._pipes.items():
            lines = pipe.so_far()[self._passed_chars[name] :].splitlines()
            if cut := max(0, len(lines) - LINES_MAX):
                lines = [f"({cut} lines before)", *lines[cut:]]
            yield f"{name} of {self._name}, process {self._process.pid}, {state}", "\n".join(lines) or "(nothing)"


_transcripts: list[_Transcript] = []


def keep(name: str, process: subprocess.Popen[str], **pipes: Pipe) -> None:
    """Tell of this process when a test fails during which it ran."""
    _transcripts.append(_Transcript(name, process, dict(pipes)))


def begin_test() -> None:
    """Forget processes that have ended, and what the others have said."""
    _transcripts[:] = [transcript for transcript in _transcripts if not transcript.has_ended]
    for transcript in _transcripts:
        transcript.pass_over()


def sections() -> Iterator[tuple[str, str]]:
    """Heading and text for each pipe of each process that ran during this test, and how busy the machine is."""
    for transcript in _transcripts:
        yield from transcript.sections()
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    yield "the machine", f"load {load} on {len(os.sched_getaffinity(0))} of {os.cpu_count()} processors"
