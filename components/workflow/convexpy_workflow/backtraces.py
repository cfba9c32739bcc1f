"""Where things went wrong, and where a handler waits: files and lines of the user's own code, ours left out."""

from __future__ import annotations

import asyncio
import linecache
import os
import re
import traceback
from pathlib import Path
from types import CoroutineType, FrameType
from typing import Any

import convexpy
from convexpy_workflow.commands import Failure

# Between a user's frames lie those of this package, of the platform, and of the tasks that asyncio makes.
_NOT_THE_USERS = tuple(
    f"{Path(str(module)).parent}{os.sep}" for module in (__file__, convexpy.__file__, asyncio.__file__)
)

# A frame as the platform writes it: two parts of its file's path, and its source line below.
_OUR_FILES = "|".join(re.escape(str(Path(*path.parts[-2:]))) for path in Path(__file__).parent.glob("**/*.py"))
_OUR_FRAMES = re.compile(rf"    at [^\n]* \((?:{_OUR_FILES}):\d+\)\n(?:        [^\n]*\n)?")


def without_our_frames(text: str) -> str:
    """An error's text as the platform gives it, without the frames of this package."""
    return _OUR_FRAMES.sub("", f"{text}\n").rstrip("\n")


def is_users_file(filename: str) -> bool:
    """Tell whether a frame of this file says something to who wrote the app."""
    return not filename.startswith((*_NOT_THE_USERS, "<"))


def describe_failure(exception: BaseException) -> Failure:
    """Turn what a handler raised into an outcome: class and message, the data of a `ConvexError`, the user's frames.

    What it was raised from is there too; under a `StepFailed` that is the frames of the step's own function.
    """
    described = traceback.TracebackException.from_exception(exception, capture_locals=False)
    _drop_our_frames(described)
    return Failure(text_of(exception), _data_of(exception), _valid("".join(described.format()).rstrip()))


def describe_function_failure(exception: BaseException) -> Failure:
    """The same for a step's function that ran inline: its frames as the platform shows those of other functions."""
    return Failure(text_of(exception), _data_of(exception), _valid(user_frames(exception)))


def text_of(exception: BaseException) -> str:
    """Class and message, as text that the journal can keep whatever the exception is."""
    name = type(exception).__name__
    try:
        message = str(exception)
    except Exception as broken:  # a __str__ of the user's
        message = f"<its text cannot be had: {type(broken).__name__}>"
    return _valid(f"{name}: {message}" if message else name)


def is_users(exception: BaseException) -> bool:
    """Tell whether an exception is what the user's code came to, and no interruption by the host, as a time limit is.

    Only an outcome that is written down ends the retries: what is taken for the host's makes the wave be tried again.
    """
    if isinstance(exception, BaseExceptionGroup):
        return all(is_users(one) for one in exception.exceptions)
    if isinstance(exception, (Exception, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)):
        return True
    return type(exception) is BaseException


def _data_of(exception: BaseException) -> Any:
    try:
        return getattr(exception, "data", None)
    except Exception:  # a property of the user's
        return None


def _valid(text: str) -> str:
    """Write lone surrogates as escapes: a stored text is Unicode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def user_frames(exception: BaseException) -> str:
    """The user's frames, outermost first: function, file and line, and the source line below."""
    lines = []
    for frame, line in traceback.walk_tb(exception.__traceback__):
        code = frame.f_code
        if is_users_file(code.co_filename):
            place = Path(*Path(code.co_filename).parts[-2:])
            lines.append(f"    at {code.co_qualname} ({place}:{line})")
            if source := linecache.getline(code.co_filename, line).strip():
                lines.append(f"        {source}")
    return "\n".join(lines)


def frames_of_wait(task: asyncio.Task[Any]) -> list[FrameType]:
    """The user's frames of a suspended task, outermost first."""
    frames: list[FrameType] = []
    awaited: Any = task.get_coro()
    while isinstance(awaited, CoroutineType):
        frame = awaited.cr_frame
        if frame is not None and is_users_file(frame.f_code.co_filename):
            frames.append(frame)
        awaited = awaited.cr_await
    return frames


def describe_wait(task: asyncio.Task[Any]) -> str:
    """Say where a task waits: its frames from the outermost await to the innermost, as `file:line function`.

    `Task.get_stack` gives one frame only for a suspended coroutine, so the chain of awaits is walked here.
    """
    places = []
    awaited: Any = task.get_coro()
    while isinstance(awaited, CoroutineType):
        frame = awaited.cr_frame
        if frame is not None and is_users_file(frame.f_code.co_filename):
            places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}")
        awaited = awaited.cr_await
    if awaited is not None:
        places.append(f"awaiting {type(awaited).__name__}")
    return f"{task.get_name()}: " + " → ".join(places)


def _drop_our_frames(described: traceback.TracebackException) -> None:
    pending = [described]
    while pending:
        one = pending.pop()
        one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if is_users_file(frame.filename)])
        pending += [linked for linked in (one.__cause__, one.__context__) if linked is not None]
        pending += one.exceptions or ()
