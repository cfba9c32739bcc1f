"""The action workers of one generation: which action runs where, its wall clock, and its operations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from convexpy.errors import ConvexpyError, WorkerLost
from convexpy.processes.frames import pack_frame
from convexpy.processes.messages import (
    ActionAnswer,
    CancelAction,
    Operation,
    OperationResult,
    Ready,
    Retire,
    RunAction,
    StartFailed,
)
from convexpy.processes.progress import Progress
from convexpy.processes.template_process import TemplateProcess
from convexpy.processes.worker_slot import WorkerSlot
from convexpy.runtime.messages import Call, Loss, Reply

HandleOperation = Callable[[Call, str, bytes], Awaitable[bytes]]
_from_worker = msgspec.msgpack.Decoder(Ready | StartFailed | Retire | ActionAnswer | Operation)


class ActionGroupOwner(Protocol):
    """The pool, as its groups see it."""

    handle_operation: HandleOperation
    report: Callable[[str], None]

    def requeue(self, jobs: list[ActionJob]) -> None:
        """Actions that were never begun, of a group that takes no more."""

    def group_drained(self, group: ActionGroup) -> None:
        """A group that was to end has ended."""


class ActionJob:
    """One action and the future of who waits for it."""

    def __init__(self, call: Call, future: asyncio.Future[Reply]) -> None:
        self.call = call
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.began_at = 0.0

    def answer(self, reply: Reply) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: str, loss: Loss) -> None:
        is_system_error = loss != "killed"
        self.answer(Reply(id=self.call.id, is_ok=False, error=error, is_system_error=is_system_error, loss=loss))


class _Place:
    """A slot with what runs in it. `life` counts its processes: an answer must not go to a successor."""

    def __init__(self) -> None:
        self.slot: WorkerSlot
        self.running: dict[int, ActionJob] = {}
        self.life = 0
        self.is_retiring = False
        self.is_killed = False


class ActionGroup:
    """See the module. A worker that asks to be replaced keeps its actions and gets no new ones."""

    def __init__(
        self,
        template: TemplateProcess,
        workers: int,
        limit_seconds: float,
        hard_seconds: float,
        owner: ActionGroupOwner,
    ) -> None:
        assert template.load_message is not None, "a template forks workers when it has loaded the app"
        self.template = template
        self.generation = template.load_message.generation
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._limit_seconds = limit_seconds
        self._hard_seconds = hard_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: list[ActionJob] = []
        self._places: dict[int, _Place] = {}
        self._next_index = 0
        self._operations: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._broken = ""
        for _ in range(workers):
            self._add_place()

    def _add_place(self) -> None:
        index = self._next_index
        self._next_index += 1
        place = self._places[index] = _Place()
        place.slot = WorkerSlot("action", index, self.template, self)

    @property
    def count(self) -> int:
        """Actions that wait or run here."""
        return len(self._waiting) + sum(len(place.running) for place in self._places.values())

    @property
    def pids(self) -> list[int]:
        return [place.slot.pid for place in self._places.values()]

    def put(self, job: ActionJob) -> None:
        """Begin an action on the ready worker that has the fewest, or when one is ready."""
        if self._broken:
            job.fail(self._broken, "died")
            return
        places = [place for place in self._places.values() if place.slot.is_ready and not place.is_retiring]
        if not places:
            self._waiting.append(job)
            return
        place = min(places, key=lambda each: len(each.running))
        if job.future.cancelled():
            return
        job.call.generation = self.generation
        place.running[job.call.id] = job
        place.slot.send(pack_frame(RunAction(job.call)))
        job.began_at = self._loop.time()
        job.timer = self._loop.call_later(self._hard_seconds, self._kill, place)
        job.future.add_done_callback(lambda future: self._cancel(place, job) if future.cancelled() else None)

    def _cancel(self, place: _Place, job: ActionJob) -> None:
        if job.call.id in place.running:
            place.slot.send(pack_frame(CancelAction(job.call.id)))

    def _kill(self, place: _Place) -> None:
        """The worker itself ends an action in time; as it has not, one of its actions blocks its event loop."""
        place.is_killed = True
        place.slot.kill("was killed, because an action blocked its event loop")

    def slot_frame(self, slot: WorkerSlot, frame: bytes) -> None:
        """Called by a slot."""
        place = self._places[slot.index]
        match _from_worker.decode(frame):
            case ActionAnswer(reply):
                job = place.running.pop(reply.id, None)
                if job is not None:
                    job.answer(reply)
                self._close_if_done(place)
            case Operation() as operation:
                if operation.call_id in place.running:
                    call = place.running[operation.call_id].call
                    task = self._loop.create_task(self._serve(place, place.life, call, operation))
                    self._operations.add(task)
                    task.add_done_callback(self._operations.discard)
            case Ready(pid):
                slot.mark_ready(pid)
                self._check_ready()
                waiting, self._waiting = self._waiting, []
                for job in waiting:
                    self.put(job)
            case Retire(reason):
                self._owner.report(f"Action worker {slot.index} is replaced: {reason}.")
                if not self._is_ending and not place.is_retiring:
                    place.is_retiring = True
                    self._add_place()
                self._close_if_done(place)
            case StartFailed(text):
                slot.kill(f"could not start: {text}")

    def _check_ready(self) -> None:
        """Ready: every worker is, or has failed so often that the others begin without it."""
        slots = [place.slot for place in self._places.values()]
        if not self.ready.done() and all(slot.is_ready or slot.is_failing for slot in slots):
            self.ready.set_result(None)

    async def _serve(self, place: _Place, life: int, call: Call, operation: Operation) -> None:
        try:
            payload, is_ok = await self._owner.handle_operation(call, operation.kind, operation.payload), True
        except ConvexpyError as error:
            payload, is_ok = str(error).encode(), False
        except Exception as error:
            self._owner.report(f"{operation.kind} of {call.path} failed: {type(error).__name__}: {error}")
            payload, is_ok = b"Your request couldn't be completed. Try again later.", False
        if place.life == life:
            place.slot.send(pack_frame(OperationResult(operation.id, is_ok, payload)))

    def _close_if_done(self, place: _Place) -> None:
        if not place.running and (place.is_retiring or self._is_ending):
            place.slot.close()

    def slot_lost(self, slot: WorkerSlot, reason: str, progress: Progress | None) -> None:
        """Called by a slot."""
        place = self._places[slot.index]
        place.life += 1
        running, place.running = place.running, {}
        is_killed, place.is_killed = place.is_killed, False
        if running or slot.last_failure:
            paths = ", ".join(sorted({job.call.path for job in running.values()}))
            self._owner.report(f"Action worker {slot.index} {reason}. Running in it: {paths or 'nothing'}.")
        for job in running.values():
            if is_killed and self._loop.time() - job.began_at >= self._limit_seconds:
                job.fail(f"Function execution timed out (maximum duration: {self._limit_seconds:g}s)", "killed")
            else:
                job.fail(f"The process that ran {job.call.path} {reason}.", "died")
        if self._is_ending:
            return
        if all(each.slot.is_failing for each in self._places.values()):
            self.give_up(f"Action workers of this generation do not start: the last one {slot.last_failure}.")
        else:
            self._check_ready()

    def use_template(self, template: TemplateProcess) -> None:
        """Fork from another template of the same generation from now on."""
        self.template = template
        self._broken = ""
        for place in self._places.values():
            place.slot.use_template(template)

    def give_up(self, reason: str) -> None:
        """Answer what waits with this error."""
        if not self.ready.done():
            self.ready.set_exception(WorkerLost(reason))
            self.ready.exception()  # marked as seen: it concerns only who waits for it
        self._owner.report(reason)
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            job.fail(reason, "died")

    def break_down(self, reason: str) -> None:
        """Answer everything with this error until `use_template`: there is nothing to start workers from."""
        self._broken = reason
        self.give_up(reason)

    def drain(self) -> None:
        """Begin no new action, close each worker when its last one has ended."""
        self._is_ending = True
        if not self.ready.done():
            self.ready.cancel()
        waiting, self._waiting = self._waiting, []
        self._owner.requeue(waiting)
        for place in list(self._places.values()):
            self._close_if_done(place)

    def stop(self, reason: str) -> None:
        """Kill what still runs."""
        self.drain()
        for place in list(self._places.values()):
            place.slot.close()
            if place.running:
                place.slot.kill(reason)
        for task in self._operations:
            task.cancel()

    def slot_closed(self, slot: WorkerSlot) -> None:
        """Called by a slot."""
        del self._places[slot.index]
        if self._is_ending and not self._places:
            self._owner.group_drained(self)
