"""Where a worker's process begins: forked from a template that has the app, or fresh where forking is unsafe."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Iterable
from typing import Any

import msgspec

from convexpy.processes.action_worker import run_action_worker
from convexpy.processes.child import close_descriptors, enter_child, leave
from convexpy.processes.frames import pack_frame
from convexpy.processes.function_worker import run_function_worker
from convexpy.processes.host import WorkerHost, limits_of, load_host
from convexpy.processes.launch import start_python
from convexpy.processes.messages import Fork, Load, StartFailed
from convexpy.processes.progress import ProgressPage


def fork_worker(
    order: Fork, load: Load, host: WorkerHost, sock: int, page: int, template_descriptors: Iterable[int]
) -> int:
    """Fork a worker; returns its pid. The child never returns from here.

    Args:
        sock, page: descriptors of the worker's socket and progress page.
        template_descriptors: what belongs to the template alone and is closed in the child.
    """
    parent_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            close_descriptors(template_descriptors)
            _be_worker(order, load, host, sock, page, parent_pid)
        except BaseException:
            traceback.print_exc()
            leave(1)
        leave(0)
    return pid


def spawn_worker(order: Fork, load: Load, sock: int, page: int) -> Any:
    """Start a worker that imports the app by itself; returns its Popen object."""
    settings = {
        "order": msgspec.to_builtins(order),
        "load": msgspec.to_builtins(load),
        "socket": sock,
        "page": page,
    }
    return start_python(__name__, settings, (sock, page))


def main(settings: dict[str, Any]) -> None:
    """Entry of a spawned worker."""
    order, load = msgspec.convert(settings["order"], Fork), msgspec.convert(settings["load"], Load)
    enter_child(f"cvx-{order.role}", settings["parent_pid"])
    try:
        host = load_host(load)
    except BaseException as error:
        traceback.print_exc()
        with socket.socket(fileno=settings["socket"]) as sock:
            sock.sendall(pack_frame(StartFailed(f"{type(error).__name__}: {error}")))
        leave(1)
    _be_worker(order, load, host, settings["socket"], settings["page"], settings["parent_pid"])
    leave(0)  # threads that the app's import started would keep it alive


def _be_worker(order: Fork, load: Load, host: WorkerHost, sock: int, page: int, parent_pid: int) -> None:
    enter_child(f"cvx-{order.role}", parent_pid)
    progress = ProgressPage(page)
    os.close(page)
    if order.role == "function":
        run_function_worker(socket.socket(fileno=sock), progress, host, limits_of(load))
    else:
        run_action_worker(socket.socket(fileno=sock), host, limits_of(load))
