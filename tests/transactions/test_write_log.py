"""The write log answers as a walk over all commits would."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from convexpy.limits import WRITE_LOG_FORGET_COMMITS_MAX, WRITE_LOG_FRESH_KEYS_MAX
from convexpy.transactions.commit_messages import Reads
from convexpy.transactions.write_log import WriteLog

_keys = st.binary(max_size=2)
_commits = st.lists(st.lists(_keys, max_size=4), max_size=12)
_reads = st.builds(
    Reads,
    st.lists(_keys, max_size=3),
    st.lists(st.tuples(_keys, _keys).filter(lambda pair: pair[0] < pair[1]), max_size=3),
)


def touches(reads: Reads, key: bytes) -> bool:
    return key in reads.points or any(start <= key < end for start, end in reads.ranges)


@given(
    _commits,
    st.lists(st.tuples(_reads, st.integers(0, 12)), min_size=1, max_size=6),
    st.integers(1, 20),
    st.integers(1, 12),
    st.sampled_from([1, 2, 5, 100]),
    st.sampled_from([0, 1, 100]),
    st.sampled_from([0, 3, 100]),
)
def test_it_answers_as_brute_force_does(
    commits: list[list[bytes]],
    questions: list[tuple[Reads, int]],
    keys_max: int,
    kept: int,
    segment_keys: int,
    inserted_keys_max: int,
    fresh_keys_max: int,
) -> None:
    """Questions are asked after some commits, so indexing late, sorting in segments and forgetting early all happen
    in between."""
    module = "convexpy.transactions.write_log"
    with (
        patch(f"{module}._SEGMENT_KEYS", segment_keys),
        patch(f"{module}._INSERTED_KEYS_MAX", inserted_keys_max),
        patch(f"{module}.WRITE_LOG_FRESH_KEYS_MAX", fresh_keys_max),
    ):
        _compare(commits, questions, WriteLog(0, keys_max), kept)


def _compare(commits: list[list[bytes]], questions: list[tuple[Reads, int]], log: WriteLog, kept: int) -> None:
    for ts, keys in enumerate(commits, start=1):
        log.append(ts, keys, f"f{ts}")
        log.forget_before(ts - kept)
        for reads, asked_after in questions[: ts % (len(questions) + 1)]:
            after = max(asked_after, log.floor_ts)
            hits = [
                (past_ts, key)
                for past_ts, past in enumerate(commits[:ts], start=1)
                for key in past
                if past_ts > after and touches(reads, key)
            ]
            found = log.first_overlap(reads, after)
            if found is None:
                assert hits == []
            else:
                assert (found.ts, found.key) in hits
                assert found.written_by == f"f{found.ts}"
            assert log.earliest_overlap_ts(reads, after) == min((past_ts for past_ts, _ in hits), default=None)


@given(_commits, st.integers(1, 20))
def test_it_forgets_whole_commits_oldest_first(commits: list[list[bytes]], keys_max: int) -> None:
    """Until it holds no more keys than it may, or only the newest commit."""
    log = WriteLog(0, keys_max)
    for ts, keys in enumerate(commits, start=1):
        log.append(ts, keys, "f")
        kept = commits[log.floor_ts : ts]
        assert len(kept) >= 1
        assert sum(map(len, kept)) <= keys_max or len(kept) == 1
        if log.floor_ts:
            assert sum(map(len, commits[log.floor_ts - 1 : ts])) > keys_max


@given(_commits, st.integers(0, 14))
def test_it_forgets_what_is_before_a_timestamp(commits: list[list[bytes]], ts: int) -> None:
    log = WriteLog(0, 1000)
    for commit_ts, keys in enumerate(commits, start=1):
        log.append(commit_ts, keys, "f")
    log.forget_before(ts)

    assert log.floor_ts == max(0, min(ts - 1, len(commits)))
    everything = Reads([], [(b"", b"\xff\xff\xff")])
    remaining = [commit_ts for commit_ts, keys in enumerate(commits, start=1) if keys and commit_ts >= ts]
    assert log.earliest_overlap_ts(everything, log.floor_ts) == (remaining[0] if remaining else None)


def test_after_a_burst_it_forgets_some_with_each_call() -> None:
    """Whoever writes next does not wait until all is gone."""
    log = WriteLog(0, 10**6)
    for ts in range(1, 2 * WRITE_LOG_FORGET_COMMITS_MAX + 2):
        log.append(ts, [b"key"], "f")
    floors = []
    for _ in range(4):
        log.forget_before(10**9)
        floors.append(log.floor_ts)
    some = WRITE_LOG_FORGET_COMMITS_MAX
    assert floors == [some, 2 * some, 2 * some + 1, 2 * some + 1]


class _CountedKey(bytes):
    """A key that counts how often a dictionary has looked at it."""

    looks = 0

    def __hash__(self) -> int:
        _CountedKey.looks += 1
        return super().__hash__()


def test_the_first_question_after_long_does_not_wait_for_all_commits_before_it() -> None:
    """A single writer asks nothing; whoever joins it then, every commit behind that question included, would wait."""
    log = WriteLog(0, 10**6)
    for ts in range(1, 5 * WRITE_LOG_FRESH_KEYS_MAX):
        log.append(ts, [_CountedKey(b"%08d" % ts)], "f")
    _CountedKey.looks = 0

    assert log.first_overlap(Reads([b"another"], []), 1) is None
    assert _CountedKey.looks <= 3 * WRITE_LOG_FRESH_KEYS_MAX
