"""The function workers of one generation: who is fed, whose time is up, what a dead worker leaves behind.

One frame of calls is with a worker at a time. Invariants:
  1. every job is in exactly one place: among those that wait, in a worker's frame, or answered;
  2. a call that a worker was inside of when it died counts as run once; the calls beside it do not;
  3. a call that is killed at the hard limit is answered, not run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

import msgspec

from convexpy.errors import FunctionTimedOut, WorkerLost
from convexpy.limits import (
    PREFERRED_WORKER_PATIENCE_SECONDS,
    WORKER_DEATHS_PER_CALL_MAX,
    WORKER_RESTART_CALLS,
    WORKER_RUNS_MAX,
)
from convexpy.processes.frames import pack_frame
from convexpy.processes.jobs import Job
from convexpy.processes.messages import Answers, Ready, Retire, Run, StartFailed
from convexpy.processes.progress import Progress
from convexpy.processes.template_process import TemplateProcess
from convexpy.processes.waiting_jobs import WaitingJobs
from convexpy.processes.worker_slot import WorkerSlot
from convexpy.runtime.messages import Call

_from_worker = msgspec.msgpack.Decoder(Ready | StartFailed | Retire | Answers)
_FIRST_CALL_SECONDS = 0.0005  # until calls have been measured
_AVERAGE_WEIGHT = 0.1


class GroupOwner(Protocol):
    """The pool, as its groups see it."""

    def requeue(self, jobs: list[Job]) -> None:
        """Jobs that a group which takes no more calls has left."""

    def group_drained(self, group: FunctionGroup) -> None:
        """A group that was to end has ended."""

    def report(self, text: str) -> None:
        """A sentence for the server's log."""


class _Frame:
    """Calls that a worker has."""

    def __init__(self, jobs: list[Job]) -> None:
        self.unanswered = {call_id: job for job in jobs for call_id in job.calls}
        self.calls_count = len(self.unanswered)
        self.sent_at = self.heard_at = time.monotonic()
        self.limit_seconds_min = min(job.limit_seconds for job in jobs)
        self.killed_call_id: int | None = None
        self.retire_reason = ""


class FunctionGroup:
    """N slots and the jobs that wait for them; see the module."""

    def __init__(self, template: TemplateProcess, workers: int, timeout_seconds: float, owner: GroupOwner) -> None:
        assert template.load_message is not None, "a template forks workers when it has loaded the app"
        self.template = template
        self.generation = template.load_message.generation
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting = WaitingJobs(workers)
        self._frames: list[_Frame | None] = [None] * workers
        self._timers: list[asyncio.TimerHandle | None] = [None] * workers
        self._calls_run = [0] * workers
        self._patience: asyncio.TimerHandle | None = None
        self._call_seconds = _FIRST_CALL_SECONDS
        self._is_ending = self._is_stopping = False
        self._closed_slots = 0
        self._broken = ""
        self._slots = [WorkerSlot("function", index, template, self) for index in range(workers)]

    # -- what waits

    @property
    def waiting_count(self) -> int:
        """Jobs that no worker has yet."""
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        """Of the workers by slot; 0 where one is being started."""
        return [slot.pid for slot in self._slots]

    @property
    def fork_seconds(self) -> list[float]:
        """What starting each present worker took in the template."""
        return [slot.fork_seconds for slot in self._slots]

    def put(self, job: Job, is_urgent: bool = False) -> None:
        """Queue a job, or hand it to an idle worker at once; `is_urgent`: before all others."""
        if self._broken:
            job.fail_all(self._broken, "died")
            return
        if job.prefer is not None and not is_urgent:
            index = job.prefer % len(self._slots)
            if self._slots[index].is_ready:
                self._waiting.put_preferring(job, index)
                if self._frames[index] is None:
                    self._feed(index)
                elif self._patience is None:
                    self._patience = self._loop.call_later(PREFERRED_WORKER_PATIENCE_SECONDS, self._lose_patience)
                return
        self._waiting.put(job, is_urgent)
        self._feed_idle()

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Queue jobs that a worker had, before all others, in their order."""
        self._waiting.put_back(jobs)
        self._feed_idle()

    def _lose_patience(self) -> None:
        self._patience = None
        self._feed_idle()
        if self._waiting.has_preferring:
            self._patience = self._loop.call_later(PREFERRED_WORKER_PATIENCE_SECONDS, self._lose_patience)

    def _fail_waiting(self, reason: str) -> None:
        for job in self._waiting.take_all():
            job.fail_all(reason, "died")

    # -- handing out

    def _feed_idle(self) -> None:
        for index, slot in enumerate(self._slots):
            if slot.is_ready and self._frames[index] is None:
                self._feed(index)

    def _feed(self, index: int) -> None:
        """Give an idle worker its next frame, if anything waits."""
        jobs = self._waiting.take_frame(index, self._call_seconds)
        if not jobs:
            return
        frame = _Frame(jobs)
        self._frames[index] = frame
        calls: list[Call] = [call for job in jobs for call in job.calls.values()]
        for call in calls:
            call.generation = self.generation
        self._slots[index].send(pack_frame(Run(jobs[0].is_together, calls)))
        self._check_after(index, frame.limit_seconds_min)

    # -- what workers say

    def slot_frame(self, slot: WorkerSlot, frame: bytes) -> None:
        """Called by a slot."""
        match _from_worker.decode(frame):
            case Answers(replies):
                run = self._frames[slot.index]
                if run is None:
                    return
                run.heard_at = time.monotonic()
                for reply in replies:
                    run.unanswered.pop(reply.id).answer(reply)
                if not run.unanswered:
                    self._frame_done(slot, run)
            case Ready(pid):
                slot.mark_ready(pid)
                self._calls_run[slot.index] = 0
                self._check_ready()
                if not self._is_ending:
                    self._feed(slot.index)
            case Retire(reason):
                if (run := self._frames[slot.index]) is not None:
                    run.retire_reason = reason
            case StartFailed(text):
                slot.kill(f"could not start: {text}")

    def _check_ready(self) -> None:
        """Ready: every worker is, or has failed so often that the others begin without it."""
        slots = self._slots
        if not self.ready.done() and all(each.is_ready or each.is_failing for each in slots):
            self.ready.set_result(None)

    def _frame_done(self, slot: WorkerSlot, frame: _Frame) -> None:
        index = slot.index
        self._frames[index] = None
        seconds = (frame.heard_at - frame.sent_at) / frame.calls_count
        self._call_seconds += _AVERAGE_WEIGHT * (seconds - self._call_seconds)
        self._calls_run[index] += frame.calls_count
        if self._is_ending:
            slot.close()
        elif frame.retire_reason or self._calls_run[index] >= WORKER_RESTART_CALLS:
            if frame.retire_reason:
                self._owner.report(f"Function worker {index} is replaced: {frame.retire_reason}.")
            slot.replace()
        elif slot.is_ready:
            self._feed(index)

    # -- limits and deaths

    def _check_after(self, index: int, seconds: float) -> None:
        """Have `_check_time` called no later than in `seconds`; a timer that is early enough is left as it is."""
        timer, due = self._timers[index], self._loop.time() + seconds
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[index] = self._loop.call_later(seconds, self._check_time, index)

    def _check_time(self, index: int) -> None:
        """Kill a worker whose call is past its hard limit, or look again when that may be."""
        self._timers[index] = None
        frame = self._frames[index]
        if frame is None or frame.killed_call_id is not None:
            return
        call_id, job = next(iter(frame.unanswered.items()))
        began = frame.heard_at
        progress = self._slots[index].progress()
        if progress is not None and progress.call_id in frame.unanswered:
            call_id, job = progress.call_id, frame.unanswered[progress.call_id]
            began = progress.started_ns / 1e9
        left_seconds = began + job.limit_seconds - time.monotonic()
        if left_seconds > 0:
            # Calls behind this one may have shorter limits, and begin without a word.
            self._check_after(index, min(left_seconds + 0.001, frame.limit_seconds_min))
            return
        frame.killed_call_id = call_id
        self._slots[index].kill("was killed at the hard time limit")

    def slot_lost(self, slot: WorkerSlot, reason: str, progress: Progress | None) -> None:
        """Called by a slot."""
        frame, self._frames[slot.index] = self._frames[slot.index], None
        if (timer := self._timers[slot.index]) is not None:
            timer.cancel()
            self._timers[slot.index] = None
        if frame is not None:
            self._bury(slot, frame, reason, progress)
        elif slot.last_failure and not self._is_ending:
            self._owner.report(f"Function worker {slot.index} {reason}.")
        if self._is_ending:
            return
        # What preferred this worker need not wait for its successor.
        self._waiting.share(slot.index)
        if all(each.is_failing for each in self._slots):
            self.give_up(f"Function workers of this generation do not start: the last one {slot.last_failure}.")
        else:
            self._check_ready()
        self._feed_idle()

    def _bury(self, slot: WorkerSlot, frame: _Frame, reason: str, progress: Progress | None) -> None:
        """Answer the call that is to blame, if it may not run again; queue everything else again."""
        culprit_id = frame.killed_call_id
        if culprit_id is None and progress is not None and progress.call_id in frame.unanswered:
            culprit_id = progress.call_id
        jobs = list(dict.fromkeys(frame.unanswered.values()))
        if culprit_id is None or self._is_stopping:
            self._owner.report(f"Function worker {slot.index} {reason}.")
        else:
            culprit = frame.unanswered[culprit_id]
            call = culprit.calls[culprit_id]
            self._owner.report(f"Function worker {slot.index} {reason} while it ran {call.path or call.kind}.")
            if frame.killed_call_id is not None:
                text = str(FunctionTimedOut(self._timeout_seconds))
                culprit.fail(culprit_id, text, "killed")
            else:
                culprit.deaths += 1
                if culprit.deaths > WORKER_DEATHS_PER_CALL_MAX:
                    # Its own doing, then: who runs failed calls again for good must not feed it worker after worker.
                    culprit.fail(culprit_id, f"The process that ran {call.path or call.kind} {reason}.", "killed")
        back = []
        for job in jobs:
            job.runs += 1
            if job.runs >= WORKER_RUNS_MAX:
                job.fail_all(f"The process that was to run this call {reason}.", "died")
            elif job.calls and not job.is_canceled:
                job.restart()
                back.append(job)
        if self._is_ending:
            self._owner.requeue(back)
        else:
            self.put_back(back)

    # -- the group's own end

    def use_template(self, template: TemplateProcess) -> None:
        """Fork from another template of the same generation from now on."""
        self.template = template
        self._broken = ""
        for slot in self._slots:
            slot.use_template(template)

    def give_up(self, reason: str) -> None:
        """Answer everything with this error until a worker starts again."""
        if not self.ready.done():
            self.ready.set_exception(WorkerLost(reason))
            self.ready.exception()  # marked as seen: it concerns only who waits for it
        self._owner.report(reason)
        self._fail_waiting(reason)

    def break_down(self, reason: str) -> None:
        """Answer everything with this error until `use_template`: there is nothing to start workers from."""
        self._broken = reason
        self.give_up(reason)

    def drain(self) -> None:
        """Take no new call, close each worker when it has answered."""
        self._is_ending = True
        if self._patience is not None:
            self._patience.cancel()
        if not self.ready.done():
            self.ready.cancel()
        self._owner.requeue(self._waiting.take_all())
        for index, slot in enumerate(self._slots):
            if self._frames[index] is None:
                slot.close()

    def stop(self, reason: str) -> None:
        """Kill what still runs; its calls go back to the pool."""
        self._is_stopping = True
        self.drain()
        for index, slot in enumerate(self._slots):
            slot.close()
            if self._frames[index] is not None:
                slot.kill(reason)

    def slot_closed(self, slot: WorkerSlot) -> None:
        """Called by a slot."""
        self._closed_slots += 1
        if self._closed_slots == len(self._slots):
            self._owner.group_drained(self)
