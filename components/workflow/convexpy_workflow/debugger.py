"""Stops a handler that is replayed at its first line, in the debugger that `breakpoint()` would start."""

from __future__ import annotations

import bdb
import functools
import os
import pdb
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Handler = Callable[..., Awaitable[Any]]
# `step` goes from one line of the user's code to the next; what lies between is ours and asyncio's.
_SKIPPED = ["convexpy_workflow.*", "convexpy.*", "asyncio.*", "contextlib", "contextvars", "functools"]


def stopping(handler: Handler) -> Handler:
    """Give a handler that stops before its first line and then does what this one does."""

    @functools.wraps(handler)
    async def stopped(step: Any, **args: Any) -> Any:
        code: Any = getattr(handler, "__code__", None)
        if os.environ.get("PYTHONBREAKPOINT") or code is None:
            breakpoint()  # one step leads into the handler
        else:
            debugger = pdb.Pdb(skip=_SKIPPED)
            debugger.reset()
            lines = sorted({line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno})
            debugger.set_break(code.co_filename, lines[0] if lines else code.co_firstlineno, temporary=True)
            debugger.set_continue()
            sys.settrace(debugger.trace_dispatch)
        return await handler(step, **args)

    return stopped


def stop_tracing() -> None:
    """End the debugger's tracing of this thread, if it is one of Python's own."""
    if isinstance(getattr(sys.gettrace(), "__self__", None), bdb.Bdb):
        sys.settrace(None)
