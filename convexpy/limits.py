"""Every bound: its value with the unit in its name, its reason, and what happens at it.

Values that Convex documents are Convex's own, so that ported apps behave alike (docs: production/state/limits;
convex-backend: crates/common/src/knobs.rs). A deployment overrides one by `limits.NAME` in its settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from convexpy.errors import ConvexpyError

L = TypeVar("L", "FunctionLimits", "LogLimits")

KIB = 1024
MIB = 1024 * KIB

# Values. At the bound: the call fails with a text that names the bound.
VALUE_DEPTH_MAX = 64
DOCUMENT_DEPTH_MAX = 16
ARRAY_ITEMS_MAX = 8192
OBJECT_FIELDS_MAX = 1024
FIELD_NAME_CHARS_MAX = 1024
IDENTIFIER_CHARS_MAX = 64
DOCUMENT_BYTES_MAX = 1 * MIB
VALUE_BYTES_MAX = 32 * MIB
SAFE_INTEGER_MAX = 2**53  # beyond it float64 skips integers; an `int` is refused with a hint at Int64

# Definitions. At the bound: the push fails with a text that names the bound.
INDEX_FIELDS_MAX = 16
INDEXES_MAX = 64  # of a table
MODULES_MAX = 4096  # of an app, and of each component

# Storage.
SORT_KEY_BYTES_MAX = 400  # LMDB 0.9 takes keys of 511 bytes: 4 index number + 400 + 16 id; longer sort keys are cut
MAP_BYTES = 2**40  # sparse; resizing under live readers is unsafe (py-lmdb issue 379), so it is large from the start
MAP_BYTES_MIN = 1 * MIB  # the catalog alone takes a part of that
MAP_RESERVE_SHARE = 1 / 16  # of the map, at most MAP_RESERVE_BYTES_MAX: only deletes may use it
MAP_RESERVE_BYTES_MAX = 256 * MIB
DISK_RESERVE_BYTES = 16 * MIB  # a file in the data folder that goes when a delete finds the disk full
SPACE_FREEING_GROWTH_BYTES_MAX = 4 * KIB  # a commit that deletes may add so much and still use the reserves
OLD_READER_SECONDS_MAX = 60.0  # one snapshot beside commits, outside of calls, whose own limits bound them
OLD_READER_LOOK_SECONDS = 5.0
READERS_MAX = 510  # slots of LMDB's reader table; one a worker process and a few for tools

# The commit log, in memory (conflict checks) and on disk (reads in the past).
WRITE_LOG_SECONDS_MAX = 60  # a transaction that began before is a conflict and runs again
WRITE_LOG_KEYS_MAX = 1_000_000
WRITE_LOG_FRESH_KEYS_MAX = 4_096  # of commits that nobody has asked about: the next question waits for their indexing
WRITE_LOG_FORGET_COMMITS_MAX = 512  # a batch: twice as many as it brings
LOG_MAP_SHARE_MAX = 1 / 4  # of the map, where that is less than LogLimits.log_retention_bytes
LOG_TRIM_ROWS_PER_COMMIT = 64
PAST_READ_COMMITS_MAX = 100_000  # since the timestamp that is read at; a read in the past takes all of them back
PAST_READ_BYTES_MAX = 64 * MIB  # of the log, likewise

# Committing.
BATCH_REQUESTS_MAX = 256  # one LMDB transaction; more wait for the next one
RELAXED_SYNC_INTERVAL_MS = 50  # --durability=relaxed: what power loss may cost

# Function workers and action workers.
WORKERS_MAX = 200  # function workers of a generation; while a push switches there are two, in READERS_MAX slots
SOFT_TO_HARD_SECONDS = 5.0  # wall clock past a call's own limit before its worker is killed
WORKER_FRAME_CALLS_MAX = 16  # calls handed to one worker at once
WORKER_QUEUE_CALLS_MAX = 10_000  # waiting calls; beyond it a call is refused as overloaded
WORKER_RESTART_CALLS = 100_000  # a worker is replaced after so many calls, so a slow leak ends
FRAME_BYTES_MAX = 256 * MIB
COLLECTOR_ALLOCATIONS = 20_000  # containers that server and committer make before garbage is looked for: some 10 MiB
FRAME_SECONDS_TARGET = 0.005  # as many calls a frame as run in this time on average: so long one may wait for others
REPLY_DELAY_SECONDS_MAX = 0.001  # replies of one frame leave together unless the frame runs longer
MEMORY_LOOK_SECONDS = 0.2  # how often a function worker looks at its own memory
SOFT_LIMIT_REPEAT_SECONDS = 0.05  # CPU time after which a swallowed time limit is raised again
PREFERRED_WORKER_PATIENCE_SECONDS = 0.002  # then any idle worker takes the call
WORKER_DEATHS_PER_CALL_MAX = 1  # a query or mutation whose worker died runs again this often
WORKER_RUNS_MAX = 5  # handed to so many workers without ever having begun, a call is an error
WORKER_START_FAILURES_MAX = 3  # in a row; then waiting calls are errors until a worker starts
TEMPLATE_RELOADS_MAX = 5  # of an app that was loaded once, whose process dies while it is loaded again; then by a push
TEMPLATE_RELOAD_SECONDS = 0.1  # before the second try, doubled each time
WORKER_RESTART_DELAY_SECONDS_MAX = 5.0  # between attempts to start a worker that keeps failing
SYSTEM_CALL_SECONDS_MAX = 60.0  # wall clock of one call of kind "system"
PROCESS_START_SECONDS_MAX = 30.0
PROCESS_STOP_SECONDS_MAX = 5.0  # then it is killed
APP_LOAD_SECONDS_MAX = 60.0  # an import that takes longer fails the push
ACTION_WORKER_BYTES_MAX = 4096 * MIB  # private memory, thread stacks included; all actions of a worker share it
ACTION_THREADS_MAX = 256  # `def` actions running at once in one worker
ABANDONED_THREADS_MAX = 16  # timed-out `def` actions that still run; then new actions go to a fresh worker
CALL_DEPTH_MAX = 8
MUTATION_ATTEMPTS_MAX = 3  # the third attempt is exclusive, so it cannot lose
ACTION_WORKERS = 1
ACTIONS_IN_FLIGHT_MAX = 1024
ACTION_OPERATIONS_IN_FLIGHT_MAX = 64

# Live queries.
CACHE_BYTES_MAX = 100 * MIB
CLOCK_RESULT_SECONDS_MAX = 15.0  # a cached result that read the clock expires
FLUSHES_PER_STEP = 64  # connections that send in one step of the loop: some 1.5 ms, for which others wait
UNSENT_TRANSITIONS_MAX = 2  # then results coalesce
UNSENT_BYTES_MAX = 64 * MIB  # of answers behind the one that is on its way; then the socket is closed
QUEUED_MUTATIONS_MAX = 1000
SOCKET_MESSAGE_BYTES_MAX = 64 * MIB
FRAGMENT_BYTES_MAX = 4 * MIB  # of a frame we send; Rust and Python clients break at one above 16 MiB
TRANSITION_CHUNK_BYTES = 5_000_000  # a longer transition goes to npm clients in parts, as Convex does it
QUERIES_PER_SESSION_MAX = 10_000  # of a live client, and of a batch over HTTP: one worker may have to run them all
PING_SECONDS = 15.0
CLOSE_SECONDS_MAX = 10.0  # for a client that does not read to take what is still outgoing, then it is cut off
SOCKET_SILENCE_SECONDS_MAX = 120.0
SESSION_REQUEST_DAYS = 14
SESSION_REQUESTS_MAX = 4_000  # kept a session

# HTTP.
HTTP_BODY_BYTES_MAX = 16 * MIB + 2000
HTTP_TIMEOUT_SECONDS = 300.0
HTTP_RETRY_AFTER_SECONDS = 1  # told to clients that meet a full server; workers free themselves faster than that
UPLOAD_TOKEN_SECONDS = 3600  # after it an upload URL is refused; Convex's own bound
UPLOAD_SECONDS_MAX = 120.0  # of one upload, as in Convex
FILE_CHUNK_BYTES = 256 * KIB  # of a stored file, in memory at a time
SWEEP_FILES_PER_CALL = 1000  # looked up in one transaction
HTTP_ACTIONS_IN_FLIGHT_MAX = ACTIONS_IN_FLIGHT_MAX // 2  # whoever floods the site leaves room for apps' own actions
HTTP_ACTION_BODY_BYTES_MAX = 20 * MIB  # of a body, either way, that is held as a whole; streamed ones have no bound
HTTP_CHUNK_BYTES_MAX = 256 * KIB  # of a response, on its way from an action's worker; one of a request at a time

# Authentication. At the bound: the token is refused, or the provider counts as unreachable.
AUTH_PROVIDERS_MAX = 100  # of an app; each token looks through the list
AUTH_TOKEN_CHARS_MAX = 32 * KIB  # one with hundreds of groups has 10; it is parsed before anybody vouches for it
AUTH_LEEWAY_SECONDS = 5  # between the provider's clock and ours
AUTH_KEYS_BYTES_MAX = 512 * KIB  # of one document from a provider; usual ones have 2
AUTH_KEYS_MAX = 100  # of a provider
AUTH_RSA_BITS_MIN, AUTH_RSA_BITS_MAX = 2048, 8192  # RFC 7518 section 3.3; above, checking one token costs too much
AUTH_FETCH_SECONDS_MAX = 5.0  # a provider's answer, from the name's look-up to its last byte
AUTH_KEYS_FRESH_SECONDS = 600.0  # where the provider's Cache-Control says nothing
AUTH_KEYS_FRESH_SECONDS_MIN = 60.0  # whatever it says
AUTH_KEYS_FRESH_SECONDS_MAX = 24 * 3600.0  # a key that the provider has withdrawn is refused after this at the latest…
AUTH_KEYS_STALE_SECONDS_MAX = 24 * 3600.0  # …and so much later while the provider cannot be reached
AUTH_EXPIRY_LOOK_SECONDS_MAX = 60.0  # between looks at the clock for a live socket's token
AUTH_FETCH_RETRY_SECONDS = 10.0  # after a fetch that failed
AUTH_UNKNOWN_KEY_FETCH_SECONDS = 10.0  # between fetches that tokens with an unknown key cause: anybody can make those

# What a process remembers so as not to work it out again; beyond it everything is forgotten, or no more is kept.
FIELD_NAMES_KEPT_MAX = 4096  # names that were found to be good: apps use the same few, clients may send any
DECODED_IDS_KEPT_MAX = 8192  # document ids with what they say: some 1.5 MiB
LONGER_REFERENCES_KEPT_MAX = 1000  # of one reference: code has fewer names, texts from outside may have more

# Scheduling.
SCHEDULE_HORIZON_SECONDS = 5 * 365 * 24 * 3600
SCHEDULED_FUNCTION_ARGS_BYTES_WARN = 4 * MIB  # of one scheduled function; beyond it a warning is logged
SCHEDULER_ROWS_IN_MEMORY_MAX = 10_000  # a queue; the rest stays in the index until these have run
SCHEDULED_ROW_DAYS = 7
SCHEDULED_RUNS_IN_FLIGHT_MAX = 64  # transactions; more wait in their queues
JOBS_TOGETHER_MAX = 32  # due functions of one lane, whose completions come together, in one transaction
# Of processor time: a busy machine is no reason to cut smaller pieces, which cost more in all.
JOBS_TOGETHER_SECONDS = 0.02  # after so long a worker takes no further one into the transaction: lanes of others wait
SMALL_TRANSACTION_SHARE = 0.1  # of a transaction's bounds: one that has used more takes no further function
SCHEDULED_ACTIONS_IN_FLIGHT_MAX = 256  # well below what the action workers take, so none is refused

# Functions.
LIMIT_WARNING_SHARE = 0.8  # of a transaction's bound: a call that used more gets a warning among its log lines

# Logs.
LOG_LINES_MAX = 256
LOG_LINE_CHARS_MAX = 32_768
ERROR_TEXT_CHARS_MAX = 32_768  # of an error's text, and of its frames, as for a log line; the middle is left out
KEPT_LOG_BYTES_MAX = 64 * KIB  # of a call's lines in what its on_complete is told, or a mutation that is sent again
LOG_RING_ENTRIES = 4096

# What a push and its upkeep do while the app keeps serving. At the bound: the rest is another call, after a rest.
VALIDATED_ROWS_PER_CALL = 1000  # documents that a push checks against its schema; nobody waits for such a call
VALIDATED_BYTES_PER_CALL = 16 * MIB
BACKFILL_ROWS_PER_COMMIT = 500  # entries of a new index; commits of others that arrive meanwhile wait for these
BACKFILL_BYTES_PER_COMMIT = 4 * MIB  # of the documents that they are made from
SWEPT_KEYS_PER_COMMIT = 200  # documents or entries of what was dropped
SWEPT_BYTES_PER_COMMIT = 1 * MIB  # of documents; the log takes them up
PROGRESS_REPORT_SECONDS = 5.0  # between lines about the same piece of work
HURRIED_COMPLETIONS_PER_COMMIT = 500  # failing `on_complete`s that new code is given at once
BEFORE_PUSH_SECONDS_MAX = 5.0  # that one component may go on looking at its data before the switch
UPKEEP_RETRY_SECONDS = 30.0  # after an error of the database or the workers


@dataclass(frozen=True)
class FunctionLimits:
    """Bounds that a deployment may override, most of them of one query or mutation with its nested calls.

    `timeout_seconds` counts CPU time of user code. Source of the values: convex-backend crates/common/src/knobs.rs and
    docs production/state/limits.
    """

    timeout_seconds: float = 1.0
    action_timeout_seconds: float = 600.0
    memory_bytes: int = 512 * MIB
    args_bytes: int = 16 * MIB
    result_bytes: int = 16 * MIB
    documents_read: int = 32_000
    bytes_read: int = 16 * MIB
    ranges_read: int = 4096
    documents_written: int = 16_000
    bytes_written: int = 16 * MIB
    functions_scheduled: int = 1000
    scheduled_args_bytes: int = 16 * MIB
    functions_together: int = JOBS_TOGETHER_MAX  # scheduled ones that share a transaction; 1: each has its own
    functions_pending: int = 1_000_000  # of a deployment: scheduled and not finished; whoever schedules more fails
    tables: int = 10_000  # of a deployment, those of its components too; the catalog is in every worker's memory

    def override(self, values: Mapping[str, Any]) -> FunctionLimits:
        """Replace bounds by name.

        Raises:
            ConvexpyError: a name that is no bound (the text lists the known ones), or a value that cannot be one.
        """
        _require_known(values, _names(self))
        return _replaced(self, values)


@dataclass(frozen=True)
class LogLimits:
    """What is kept on disk of the commit log, which reads in the past need. Beyond either bound the oldest goes, some
    of it with each commit; the newest commit always stays."""

    log_retention_seconds: int = 24 * 3600
    log_retention_bytes: int = 1024 * MIB


def override_limits(values: Mapping[str, Any]) -> tuple[dict[str, float], LogLimits]:
    """What a deployment's `limits.NAME` settings say: overrides of `FunctionLimits`, and the log's bounds.

    Raises:
        ConvexpyError: a name that is no bound (the text lists the known ones), or a value that cannot be one.
    """
    log_limits = LogLimits()
    _require_known(values, _names(FunctionLimits()) | _names(log_limits))
    of_log = {name: value for name, value in values.items() if name in _names(log_limits)}
    of_functions = {name: value for name, value in values.items() if name not in of_log}
    FunctionLimits().override(of_functions)
    return of_functions, _replaced(log_limits, of_log)


def _names(limits: FunctionLimits | LogLimits) -> set[str]:
    return {field.name for field in fields(limits)}


def _require_known(values: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(values) - known):
        raise ConvexpyError(f"limits.{unknown[0]} is no limit. Known limits: {', '.join(sorted(known))}.")


def _replaced(limits: L, values: Mapping[str, Any]) -> L:
    return replace(limits, **{name: _bound(name, value, getattr(limits, name)) for name, value in values.items()})


def _bound(name: str, value: Any, default: float) -> Any:
    """A given bound as its type: seconds may have a fraction, counts and bytes may not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ConvexpyError(f"limits.{name} is a finite number of at least 0, not {value!r}.")
    if isinstance(default, float):
        if value == 0:
            raise ConvexpyError(f"limits.{name} must be above 0: nothing could run.")
        return float(value)
    if value != int(value):
        raise ConvexpyError(f"limits.{name} is a whole number, not {value!r}.")
    return int(value)
