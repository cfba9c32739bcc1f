"""A committer without a database, for tests of what is around it: it notes the batches that it gets."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convexpy.processes.committer_process import CommitterParts, Outcomes, Requests
from convexpy.transactions.commit_messages import Committed, Conflicted, Refused


def open_parts(settings: Mapping[str, Any]) -> CommitterParts:
    """The function's name of a request says what becomes of it."""
    folder = Path(settings["data_folder"])
    if (folder / "damaged").exists():
        raise OSError("data.mdb is damaged")
    journal = (folder / "batches").open("a", buffering=1)
    ts = 0

    def commit(requests: Requests) -> Outcomes:
        nonlocal ts
        print(json.dumps([request.function for _, request in requests]), file=journal)
        outcomes: Outcomes = []
        for request_id, request in requests:
            match request.function:
                case "hold":
                    (folder / "begun").write_text("begun")
                    (folder / "release").read_text()
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
            if request.function == "conflict":
                outcomes.append(Conflicted(request_id, ts, b"key", "other"))
            elif request.function == "refuse":
                outcomes.append(Refused(request_id, "disk full"))
            else:
                ts += 1
                outcomes.append(Committed(request_id, ts, [b"key"]))
        return outcomes

    def sync() -> None:
        (folder / "synced").write_text(str(ts))

    return CommitterParts(commit, sync if settings["is_relaxed"] else None)
