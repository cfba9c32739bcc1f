"""What the processes of a running server take: memory and processor time, by what each process is there for."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

SERVER = "server"
ROLES = {  # by the names that processes give themselves
    "cvx-committer": "committer",
    "cvx-template": "template",
    "cvx-function": "function workers",
    "cvx-action": "action workers",
}


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory_kib(pid: int) -> Counter[str]:
    """Proportional set size of a server's processes by role, without mapped files.

    Pages that processes share are counted once; those of the mapped database belong to the page cache.
    """
    memory: Counter[str] = Counter()
    for member in family(pid):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                memory[_role(member, pid)] += int(line.split()[1])
    return memory


def memory_mib(pid: int) -> float:
    """The same of all of them together."""
    return memory_kib(pid).total() / 1024


def busy_ns(pid: int) -> Counter[str]:
    """Nanoseconds that the processes of a server have run so far, by role."""
    busy: Counter[str] = Counter()
    for member in family(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            busy[_role(member, pid)] += int((task / "schedstat").read_text().split()[0])
    return busy


async def busy_percent_of_core(pid: int, seconds: float) -> float:
    """How busy a server's processes are while nothing is asked of them, in per cent of a core."""
    before = _ticks(pid)
    await asyncio.sleep(seconds)
    return 100 * (_ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / seconds


def _role(member: int, server_pid: int) -> str:
    if member == server_pid:
        return SERVER
    name = Path(f"/proc/{member}/comm").read_text().strip()
    return ROLES.get(name, name)


def _ticks(pid: int) -> int:
    """User and system time of all processes so far."""
    total = 0
    for member in family(pid):
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total
