"""One call on one snapshot: the whole of what a function worker does.

Synchronous and without I/O of its own, so that a worker process, the in-process runner and a simulation share it.
What the call read and would write goes back in the reply; nothing is stored here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from convexpy.errors import (
    ArgumentsInvalid,
    FunctionNotFound,
    InvalidRequest,
    InvalidValue,
    OutOfRetention,
)
from convexpy.functions.definitions import Function
from convexpy.runtime.execution import Run, wrong_kind
from convexpy.runtime.failures import failure_of
from convexpy.runtime.generation import Generation
from convexpy.runtime.job_batches import run_job
from convexpy.runtime.log_capture import capturing
from convexpy.runtime.messages import NO_COMMIT, Call, Reply
from convexpy.runtime.push_validation import note_misfits
from convexpy.runtime.resolution import Located
from convexpy.runtime.session_requests import find_recorded, record
from convexpy.runtime.system_functions import SYSTEM_FUNCTIONS
from convexpy.runtime.transaction_limits import warn_near_limits
from convexpy.storage.lmdb_store import Snapshot
from convexpy.transactions.past_snapshot import PastSnapshot
from convexpy.transactions.transaction import Transaction
from convexpy.values import decode_json, encode_as

_pack = msgspec.msgpack.Encoder().encode


def execute(call: Call, snapshot: Snapshot, generation: Generation) -> Reply:
    """Run a call to its end, whatever it does: every error of the function is a reply.

    Args:
        snapshot: not older than `call.min_ts`; open until this returns.
    """
    assert snapshot.ts >= call.min_ts, f"call {call.id} needs ts {call.min_ts}, its snapshot is of {snapshot.ts}"
    try:
        seen = snapshot if call.at_ts is None else PastSnapshot(snapshot, call.at_ts)
    except OutOfRetention as error:
        return Reply(id=call.id, is_ok=False, error=str(error), loss="too old", snapshot_ts=snapshot.ts)
    catalog = generation.catalogs.at(seen)
    transaction = Transaction(seen, catalog, generation.limits, call.seed, call.now_ns // 1_000_000)
    run = Run(call, generation, transaction, snapshot.instance_secret())
    with capturing(run.sink):
        try:
            reply = _KINDS[call.kind](run)
        except BaseException as error:  # SystemExit and the like, and FunctionTimedOut, are the function's as well
            reply = _failed(run, error)
    if not transaction.is_unlimited:
        warn_near_limits(run)
    transaction.end()
    reply.snapshot_ts = seen.ts
    reply.log_lines = [] if call.is_redacted else run.sink.finish()
    reply.used_time, reply.used_identity = run.used_time, run.used_identity
    return reply


def _query(run: Run) -> Reply:
    call = run.call
    value = run.invoke(locate_call(run, "query"), decode_arguments(call), is_top=True)
    return Reply(
        id=call.id, is_ok=True, value=encode_as(value, call.format), reads=run.transaction.reads(), journal=run.journal
    )


def _mutation(run: Run) -> Reply:
    call, transaction = run.call, run.transaction
    if call.session is not None:
        recorded = find_recorded(transaction, call.session)
        if recorded is not None:
            run.sink.lines += recorded.log_lines
            return Reply(id=call.id, is_ok=True, value=recorded.value, recorded_ts=recorded.ts)
    value = run.invoke(locate_call(run, "mutation"), decode_arguments(call), is_top=True)
    encoded = encode_as(value, call.format)
    if call.session is not None:
        record(transaction, call.session, encoded, [] if call.is_redacted else run.sink.finish())
    return committing_reply(run, encoded)


def _job(run: Run) -> Reply:
    return committing_reply(run, _pack(run_job(run)))


def _system(run: Run) -> Reply:
    run.transaction.is_unlimited = True
    function = SYSTEM_FUNCTIONS[run.call.path]
    result = function(run, msgspec.msgpack.decode(run.call.args))
    reply = committing_reply(run, _pack(result))
    reply.reads = run.transaction.reads() if not reply.has_commit else None
    return reply


_KINDS = {"query": _query, "mutation": _mutation, "job": _job, "system": _system}


def committing_reply(run: Run, value: bytes) -> Reply:
    """A success that is to be committed, if there is anything to commit."""
    call = run.call
    generation = -1 if call.kind == "system" else call.generation
    note_misfits(run)
    request = run.transaction.commit_request(_commit_name(call), generation)
    if request is not None and run.new_generation is not None:
        request.new_generation = run.new_generation
    return Reply(
        id=call.id,
        is_ok=True,
        value=value,
        commit=NO_COMMIT if request is None else msgspec.Raw(_pack(request)),
        jobs=run.jobs,
        canceled_jobs=run.canceled_jobs,
        deleted_files=run.deleted_files,
    )


def _commit_name(call: Call) -> str:
    return f"{call.component}/{call.path}" if call.component else call.path


def locate_call(run: Run, kind: str) -> Located:
    """The function that a client, the scheduler or an action has called; visibility and kind are checked."""
    call = run.call
    instance = run.generation.application.instances.get(call.component)
    function: Function | None = None if instance is None else instance.functions.get(call.path)
    is_hidden = call.component != "" or function is None or function.visibility != "public"
    if instance is None or function is None or (is_hidden and not call.is_internal_allowed):
        if call.is_internal_allowed:
            raise FunctionNotFound(
                f"Could not find function for '{call.path}'. Did you forget to run `npx convex dev`?"
            )
        raise FunctionNotFound(f"Could not find public function for '{call.path}'.")
    if function.kind != kind:
        raise wrong_kind(function, kind)
    return Located(instance, run.resolver.namespace_of(call.component), function)


def decode_arguments(call: Call) -> dict[str, Any]:
    """The one object that a call's arguments are."""
    try:
        args = decode_json(call.args)
    except InvalidValue as error:
        raise ArgumentsInvalid(f"Invalid arguments for {call.path}: {error}") from None
    if type(args) is not dict:
        raise ArgumentsInvalid(f"Invalid arguments for {call.path}: the arguments must be one object.")
    return args


def _failed(run: Run, error: BaseException) -> Reply:
    call = run.call
    failure = failure_of(error, run.generation.limits)
    return Reply(
        id=call.id,
        is_ok=False,
        error=failure.message
        if call.kind in ("job", "system")
        else failure.client_text(call.request_id, call.is_redacted),
        error_data=failure.encoded_data(call.format),
        reads=run.transaction.reads() if call.kind in ("query", "system") else None,
        is_system_error=call.kind in ("job", "system") and not isinstance(error, InvalidRequest),
    )
