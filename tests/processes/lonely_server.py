"""A server that is killed: starts everything, prints all pids, keeps every worker busy, and waits for its end.

Run as `python -m tests.processes.lonely_server DATA_FOLDER`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from convexpy.limits import FunctionLimits
from convexpy.processes.action_pool import ActionPool
from convexpy.processes.pool import FunctionPool
from convexpy.processes.supervisor import Supervisor
from convexpy.runtime.messages import Call
from tests.processes.rig import call, small_load


async def main(folder: Path) -> None:
    begun = asyncio.Event()

    async def handle(call: Call, kind: str, payload: bytes) -> bytes:
        begun.set()
        return b""

    supervisor = Supervisor(
        folder,
        on_batch=lambda _: None,
        on_fatal=print,
        on_output=print,
        report=print,
        committer_parts="tests.processes.small_committer:open_parts",
    )
    functions = FunctionPool(FunctionLimits(), print, workers=2, hard_after_seconds=1000)
    actions = ActionPool(FunctionLimits(), handle, print)
    supervisor.adopt(functions, actions)
    await supervisor.start()
    template, _ = await supervisor.load(small_load())
    for pool in (functions, actions):
        await pool.stage(template)
        pool.switch()
    waiting = [functions.submit(call("hang")), functions.submit(call("hang")), actions.submit(call("hang"))]
    await begun.wait()
    print(json.dumps([supervisor.committer_pid, template.pid, *functions.pids, *actions.pids]), flush=True)
    await asyncio.gather(*waiting)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
