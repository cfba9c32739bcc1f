"""The one place where transactions are let in: conflict check and commit timestamp, then one append a batch.

For each request in order: does a commit after its `begin_ts`, earlier ones of the same batch included, touch what it
read? Then it is a conflict; else it gets the next timestamp. What got one is appended to the commit log as one batch,
so the outcomes may be told only after `commit` has returned.

Invariants:
  1. timestamps only rise, across restarts too: the log knows the last one;
  2. an outcome `Committed` is durable, and every earlier commit with it;
  3. a failed append leaves nothing of its batch behind, in the database or in the write log.
"""

from __future__ import annotations

from convexpy.environment import Environment
from convexpy.limits import (
    SPACE_FREEING_GROWTH_BYTES_MAX,
    WRITE_LOG_KEYS_MAX,
    WRITE_LOG_SECONDS_MAX,
    FunctionLimits,
)
from convexpy.transactions.backlog import backlog_change
from convexpy.transactions.commit_log import Batch, CommitLog, LoggedCommit, OutOfSpace
from convexpy.transactions.commit_messages import CommitRequest, Committed, Conflicted, Refused
from convexpy.transactions.write_log import WriteLog

Outcome = Committed | Conflicted | Refused


class Committer:
    """Validates commit requests and appends those that hold. One exists a commit log.

    Its memory of recent writes begins empty: what began before it did is a conflict, and runs again.

    Args:
        backlog_max: scheduled functions that may be unfinished; what would raise their number above it is refused.
    """

    def __init__(
        self, log: CommitLog, environment: Environment, *, backlog_max: int = FunctionLimits.functions_pending
    ) -> None:
        self._log = log
        self._environment = environment
        self._generation: int | None = None
        self._backlog_max = backlog_max
        self._backlog = log.backlog
        self.last_ts = log.last_ts
        self._write_log = WriteLog(self.last_ts, WRITE_LOG_KEYS_MAX)

    def commit(self, requests: list[tuple[int, CommitRequest]]) -> list[Outcome]:
        """Commit one batch; durable when this returns.

        Returns:
            One outcome a request, in order; those of commits have rising timestamps.
        """
        outcomes: list[Outcome] = []
        batch: Batch = []
        before = self.last_ts
        generation = self._generation
        try:
            for request_id, request in requests:
                lost = self._validate(request_id, request) or self._find_room(request_id, request)
                outcomes.append(lost or self._take(request_id, request, batch))
            self._log.append(before, batch, frees_space=all(_frees_space(request) for _, request in requests))
        except Exception as error:
            self._generation = generation
            self.last_ts, self._backlog = before, self._log.backlog
            # The log holds keys of commits that never were; forgetting all of it is safe, it only costs retries.
            self._write_log = WriteLog(before, WRITE_LOG_KEYS_MAX)
            if not isinstance(error, OutOfSpace):
                raise
            if len(requests) > 1:
                # One that is too large must not take along those for which there is room.
                return [outcome for request in requests for outcome in self.commit([request])]
            text = f"{error}. Nothing of this mutation was stored. Delete something, or free space."
            return [Refused(request_id, text) for request_id, _ in requests]
        self._write_log.forget_before(self._environment.now_ns() - WRITE_LOG_SECONDS_MAX * 10**9)
        return outcomes

    def _validate(self, request_id: int, request: CommitRequest) -> Conflicted | None:
        if request.new_generation is not None:
            # A push may follow only the generation it was computed on; see `generation` of its call.
            if self._generation is not None and request.new_generation <= self._generation:
                return Conflicted(request_id, 0, b"", "a newer push")
        elif request.generation >= 0 and request.generation != self._generation and self._generation is not None:
            return Conflicted(request_id, 0, b"", "a push of new code")
        if request.begin_ts < self._write_log.floor_ts:
            return Conflicted(request_id, 0, b"", "commits older than the write log keeps")
        overlap = self._write_log.first_overlap(request.reads, request.begin_ts)
        if overlap is not None:
            return Conflicted(request_id, overlap.ts, overlap.key, overlap.written_by)
        return None

    def _find_room(self, request_id: int, request: CommitRequest) -> Refused | None:
        """Count the scheduled functions of a request that is taken, if there is room for them."""
        change = backlog_change(request)
        backlog = self._backlog + change
        if change > 0 and backlog > self._backlog_max:
            text = (
                f"Too many scheduled functions pending (limit: {self._backlog_max}): {backlog - change} are, and this "
                f"mutation schedules {change} more than it completes. Nothing of it was stored. Let some of them run, "
                f"cancel some, or raise limits.functions_pending in the deployment's settings."
            )
            return Refused(request_id, text, is_beyond_bound=True)
        self._backlog = backlog
        return None

    def _take(self, request_id: int, request: CommitRequest, batch: Batch) -> Committed:
        """Give a request its timestamp and its place in the batch, and let those after it see what it wrote."""
        ts = self.last_ts = max(self.last_ts + 1, self._environment.now_ns())
        if request.new_generation is not None:
            self._generation = request.new_generation
        keys = [write.key for write in request.documents]
        keys += request.index_puts
        keys += request.index_deletes
        keys += request.index_touches
        self._write_log.append(ts, keys, request.function)
        puts = request.index_puts
        if request.unread_puts:
            puts = puts + request.unread_puts
        commit = LoggedCommit(
            request.function, request.documents, puts, request.index_deletes, request.is_catalog_change
        )
        batch.append((ts, commit))
        return Committed(request_id, ts, keys)


def _frees_space(request: CommitRequest) -> bool:
    """Whether it deletes more than it adds; a small row beside that, as the session's record, does not count."""
    added = removed = growth_bytes = 0
    for write in request.documents:
        added += write.old is None
        removed += write.new is None
        growth_bytes += len(write.new or b"") - len(write.old or b"")
    return removed > 0 and removed >= added and growth_bytes <= SPACE_FREEING_GROWTH_BYTES_MAX
