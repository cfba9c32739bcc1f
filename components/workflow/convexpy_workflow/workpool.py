"""`Workpool`: runs an app's functions later, so many at a time, tries failed actions again and tells of the outcome."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack, get_args

from convexpy import Validator, create_function_handle, function_kind, function_name, internal_mutation, v
from convexpy_workflow.arguments import (
    checked_choice,
    checked_component,
    checked_flag,
    checked_instant,
    checked_object,
    checked_text,
    checked_whole,
    shown,
)
from convexpy_workflow.parallelism import checked_parallelism
from convexpy_workflow.retries import Retry, checked_policy, choose_retry, to_milliseconds

Kind = Literal["query", "mutation", "action"]
ResultKind = Literal["success", "failed", "canceled"]
ITEMS_PER_BATCH_MAX = 1_000  # a mutation may schedule so many functions
LIMIT_MAX = 2**53

v_work_id: Validator = v.string()
v_result: Validator = v.union(
    v.object({"kind": v.literal("success"), "value": v.any()}),
    v.object(
        {
            "kind": v.literal("failed"),
            "error": v.string(),
            "data": v.optional(v.any()),
            "traceback": v.optional(v.string()),
        }
    ),
    v.object({"kind": v.literal("canceled")}),
)
v_retry: Validator = v.object({"maxAttempts": v.number(), "initialBackoffMs": v.number(), "base": v.number()})


def v_on_complete_args(context: Validator | None = None) -> dict[str, Validator]:
    """Give the validators of what `on_complete` is called with: `workId`, `result` and `context`."""
    return {"workId": v_work_id, "result": v_result, "context": v.any() if context is None else context}


class Options(TypedDict, total=False):
    """What every `enqueue_…` takes.

    `on_complete`: a mutation of the app, called once with `{workId, result, context}`, in the transaction that finishes
    the item; if it raises it is tried again, the work is not. `on_complete_exclude_kinds`: results it does not want to
    hear of. `run_after`: seconds or a `timedelta`; `run_at`: epoch seconds or an aware `datetime`. `name`: for lists;
    the function's path if left out.
    """

    on_complete: Any
    on_complete_exclude_kinds: Sequence[ResultKind]
    context: Any
    run_after: float | timedelta
    run_at: float | datetime
    name: str


class Workpool:
    """One installed workpool component, as an app uses it.

    The methods that take `ctx` follow its colour: in a query or mutation they return at once, in an `async def` action
    their result is awaited. An item that a mutation enqueues is there if that mutation commits.

    Args:
        component: reference to it, `components.workpool`.
        max_parallelism: how many items run at once, 10 unless anybody has said something else; 0 pauses. It is brought
            in force by the next item that is enqueued, if it is not what the code said before.
        default_retry: what `retry=True` means for actions.
        retry_actions_by_default: whether actions that say nothing are tried again.

    Raises:
        TypeError, ValueError: an argument that is none of these; the text says which, and what it takes.
    """

    def __init__(
        self,
        component: Any,
        *,
        max_parallelism: int | None = None,
        default_retry: Retry | None = None,
        retry_actions_by_default: bool = False,
    ) -> None:
        self._component = checked_component(component, "Workpool")
        self._max_parallelism = None if max_parallelism is None else checked_parallelism(max_parallelism)
        self._default_retry = checked_policy(default_retry, "default_retry") or Retry()
        self._retry_actions_by_default = checked_flag(retry_actions_by_default, "retry_actions_by_default")

    # --- enqueueing

    def enqueue_action(
        self,
        ctx: Any,
        function: Any,
        args: dict[str, Any] | None = None,
        *,
        retry: bool | Retry | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Enqueue an action; returns the item's id.

        Args:
            retry: True the pool's policy, False none, a policy itself; what the pool was told if left out. An attempt
                whose worker or server died counts as failed.
        """
        return self._enqueue(ctx, "action", function, [{} if args is None else args], retry, options, is_batch=False)

    def enqueue_mutation(
        self, ctx: Any, function: Any, args: dict[str, Any] | None = None, **options: Unpack[Options]
    ) -> Any:
        """Enqueue a mutation, whose effect is there exactly once; returns the item's id."""
        batch = [{} if args is None else args]
        return self._enqueue(ctx, "mutation", function, batch, False, options, is_batch=False)

    def enqueue_query(
        self, ctx: Any, function: Any, args: dict[str, Any] | None = None, **options: Unpack[Options]
    ) -> Any:
        """Enqueue a query, for the sake of its result; returns the item's id."""
        batch = [{} if args is None else args]
        return self._enqueue(ctx, "query", function, batch, False, options, is_batch=False)

    def enqueue_action_batch(
        self,
        ctx: Any,
        function: Any,
        args: Sequence[dict[str, Any]],
        *,
        retry: bool | Retry | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Enqueue an action several times, in one transaction (so at most 1,000 times); returns the ids in order."""
        return self._enqueue(ctx, "action", function, args, retry, options, is_batch=True)

    def enqueue_mutation_batch(
        self, ctx: Any, function: Any, args: Sequence[dict[str, Any]], **options: Unpack[Options]
    ) -> Any:
        """The same for a mutation."""
        return self._enqueue(ctx, "mutation", function, args, False, options, is_batch=True)

    def enqueue_query_batch(
        self, ctx: Any, function: Any, args: Sequence[dict[str, Any]], **options: Unpack[Options]
    ) -> Any:
        """The same for a query."""
        return self._enqueue(ctx, "query", function, args, False, options, is_batch=True)

    def _enqueue(
        self,
        ctx: Any,
        kind: Kind,
        function: Any,
        batch: Sequence[dict[str, Any]],
        retry: bool | Retry | None,
        options: Options,
        *,
        is_batch: bool,
    ) -> Any:
        if unknown := options.keys() - Options.__annotations__.keys():
            raise TypeError(f"enqueue_{kind}(…) has no option {sorted(unknown)[0]!r}.")
        if not isinstance(batch, list | tuple):
            raise TypeError(f"args of a batch are a list of dicts, one an item, not {shown(batch)}.")
        if len(batch) > ITEMS_PER_BATCH_MAX:
            raise ValueError(f"{len(batch)} items are too many for one transaction, which takes {ITEMS_PER_BATCH_MAX}.")
        each_args = [dict(checked_object(args, "args")) for args in batch]
        name = options.get("name")
        handle = create_function_handle(function)
        if (actual := function_kind(handle)) != kind:
            raise ValueError(f"{function_name(function)} is a function of another kind: use enqueue_{actual}(…).")
        item: dict[str, Any] = {
            "name": function_name(function) if name is None else checked_text(name, "name"),
            "kind": kind,
            "function": handle,
        }
        policy = choose_retry(retry, self._default_retry, self._retry_actions_by_default)
        if policy is not None:
            item["retry"] = policy.to_fields()
        if options.get("on_complete") is not None:
            item["on_complete"] = create_function_handle(options["on_complete"])
            item["exclude"] = _checked_kinds(options.get("on_complete_exclude_kinds", ()))
        if "context" in options:
            item["context"] = options["context"]
        if (due := _due(options)) is not None:
            item |= due
        asked: dict[str, Any] = {"items": [{**item, "args": args} for args in each_args]}
        if self._max_parallelism is not None:
            asked["maxParallelism"] = self._max_parallelism
        if not is_batch:
            return ctx.run_mutation(self._component.work.enqueue_one, asked)
        return ctx.run_mutation(self._component.work.enqueue, asked)

    # --- looking and canceling

    def status(self, ctx: Any, work_id: str) -> Any:
        """Tell how an item is doing; in a query, live.

        Returns:
            `{"state": "pending" | "running", "previousAttempts": n}` or `{"state": "finished"}`. A mutation is never
            seen running: it is pending until it has taken effect. An unknown id is finished too. An item whose work is
            done and whose `on_complete` fails has `"trouble": {"error": text, "attempts": n, "nextAt": ms}` as well.
        """
        return ctx.run_query(self._component.work.status_of_one, {"workId": _checked_item(work_id)})

    def status_batch(self, ctx: Any, work_ids: Sequence[str]) -> Any:
        """The same for up to 1,000 items, in their order."""
        if not isinstance(work_ids, list | tuple):
            raise TypeError(f"status_batch(…) takes a list of ids, not {shown(work_ids)}.")
        return ctx.run_query(self._component.work.status, {"workIds": [_checked_item(item) for item in work_ids]})

    def cancel(self, ctx: Any, work_id: str) -> Any:
        """Cancel an item: one that has not begun never will, one that runs goes on to its end but is not tried again.

        `on_complete` hears `canceled`, unless the running one succeeds. A finished or unknown item stays as it is.
        """
        return ctx.run_mutation(self._component.work.cancel, {"workId": _checked_item(work_id)})

    def cancel_all(self, ctx: Any, *, before: float | datetime | None = None, limit: int | None = None) -> Any:
        """Cancel items, oldest first, a hundred a commit.

        Args:
            before: only those enqueued before this instant, an aware `datetime` or epoch seconds; all if left out.
            limit: at most so many.

        Raises:
            TypeError, ValueError: no instant, or no whole number from 0.
        """
        asked: dict[str, Any] = {}
        if before is not None:
            asked["before_ms"] = checked_instant(before, "before") * 1000
        if limit is not None:
            asked["limit"] = checked_whole(limit, "limit", 0, LIMIT_MAX)
        return ctx.run_mutation(self._component.work.cancel_all, asked)

    def update_config(self, ctx: Any, *, max_parallelism: int) -> Any:
        """Change how many items run at once, from this commit on: fewer let those that run end, more begin at once.

        Raises:
            ValueError: it is out of range; 0 pauses.
        """
        limit = checked_parallelism(max_parallelism)
        return ctx.run_mutation(self._component.settings.update, {"maxParallelism": limit})

    def on_complete(self, *, context: Validator | None = None) -> Callable[[Callable[..., Any]], Any]:
        """Decorate a function `(ctx, workId, result, context)` to be the internal mutation for `on_complete=`.

        Args:
            context: validator of what `context=` says.
        """
        if context is not None and not isinstance(context, Validator):
            raise TypeError(f"on_complete(context=…) takes a validator such as v.string(), not {shown(context)}.")
        return internal_mutation(args=v_on_complete_args(context))


def _checked_item(work_id: Any) -> str:
    if isinstance(work_id, str):
        return work_id
    raise TypeError(f"An item is named by the text that enqueue_…(…) returned, not by {shown(work_id)}.")


def _checked_kinds(kinds: Any) -> list[str]:
    if isinstance(kinds, str) or not isinstance(kinds, Collection):
        raise TypeError(f"on_complete_exclude_kinds are a list of kinds of results, not {shown(kinds)}.")
    return [checked_choice(kind, "Each of on_complete_exclude_kinds", get_args(ResultKind)) for kind in kinds]


def _due(options: Options) -> dict[str, Any] | None:
    after, at = options.get("run_after"), options.get("run_at")
    if after is not None and at is not None:
        raise ValueError("run_after and run_at exclude each other.")
    if after is not None:
        return {"after_ms": to_milliseconds(after, "run_after")}
    if at is not None:
        return {"due_ms": checked_instant(at, "run_at") * 1000}
    return None
