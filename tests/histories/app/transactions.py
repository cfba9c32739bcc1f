"""Runs lists of operations; the names and arguments of operations are those of `tests.histories.model`."""

from collections.abc import Callable
from typing import Any

from convexpy import ConvexError, MutationCtx, QueryCtx, internal, internal_mutation, mutation, query

OPENING_BALANCE = 100


@query
def look(ctx: QueryCtx, steps: list[Any]) -> list[Any]:
    """Operations that only read."""
    return [_operate(ctx, step) for step in steps]


@mutation
def run(ctx: MutationCtx, mark: str | None, steps: list[Any]) -> list[Any]:
    """Any operations, each with its result; `try` has some undone, `abort` all.

    Args:
        mark: stored with what is written, so that the commit can be found; None for a mutation that only reads.
    """
    if mark is not None:
        ctx.db.insert("marks", {"mark": mark})
    done: list[Any] = []
    for step in steps:
        if step[0] == "abort":
            raise ConvexError(done)
        done.append(_nested(ctx, step) if step[0] in ("try", "call") else _operate(ctx, step))
    return done


@internal_mutation
def part(ctx: MutationCtx, name: str, steps: list[Any]) -> list[Any]:
    """A part of a transaction. What `try` wrote must vanish; what it read was read all the same."""
    done = [_operate(ctx, step) for step in steps]
    if name == "try":
        raise ConvexError(done)
    return done


def _nested(ctx: MutationCtx, step: list[Any]) -> list[Any]:
    try:
        done = ctx.run_mutation(internal.transactions.part, {"name": step[0], "steps": step[1]})
    except ConvexError as error:
        done = error.data
    return [step[0], done]


def _operate(ctx: Any, step: list[Any]) -> list[Any]:
    name, *arguments = step
    if name in WRITES:
        WRITES[name](ctx, *arguments)
        return step
    return [*step[:-1], READS[name](ctx, *arguments[:-1])]


def _row(ctx: Any, table: str, key: str) -> Any:
    return ctx.db.query(table).with_index("by_key", key=key).first()


# --- lists (keys l… in one document, e… in rows) and registers (r… found by an index, i… read by their ids)


def _append(ctx: Any, key: str, value: float) -> None:
    if key[0] == "e":
        last = ctx.db.query("elements").with_index("by_key_position", key=key).order("desc").first()
        position = 0 if last is None else last["position"] + 1
        ctx.db.insert("elements", {"key": key, "position": position, "value": value})
        return
    row = _row(ctx, "lists", key)
    if row is None:
        ctx.db.insert("lists", {"key": key, "values": [value]})
    else:
        ctx.db.patch(row["_id"], {"values": [*row["values"], value]})


def _read(ctx: Any, key: str) -> Any:
    if key[0] == "e":
        return [row["value"] for row in ctx.db.query("elements").with_index("by_key_position", key=key)]
    if key[0] == "l":
        row = _row(ctx, "lists", key)
        return [] if row is None else row["values"]
    row = _register(ctx, key)
    return None if row is None else row["value"]


def _register(ctx: Any, key: str) -> Any:
    if key[0] == "r":
        return _row(ctx, "registers", key)
    pointer = _row(ctx, "pointers", key)
    return None if pointer is None else ctx.db.get(pointer["register"])


def _write(ctx: Any, key: str, value: float) -> None:
    row = _register(ctx, key)
    if row is None:
        register = ctx.db.insert("registers", {"key": key, "value": value})
        if key[0] == "i":
            ctx.db.insert("pointers", {"key": key, "register": register})
    else:
        ctx.db.patch(row["_id"], {"value": value})


# --- ranges


def _range(ctx: Any, group: str, low: float, high: float, order: Any, limit: float | None) -> list[Any]:
    found = ctx.db.query("items").with_index(
        "by_group_rank", lambda q: q.eq("group", group).gte("rank", low).lt("rank", high)
    )
    rows = found.order(order).collect() if limit is None else found.order(order).take(int(limit))
    return [[row["rank"], row["value"]] for row in rows]


def _item(ctx: Any, group: str, rank: float) -> Any:
    return ctx.db.query("items").with_index("by_group_rank", group=group, rank=rank).first()


def _put(ctx: Any, group: str, rank: float, value: float) -> None:
    row = _item(ctx, group, rank)
    if row is None:
        ctx.db.insert("items", {"group": group, "rank": rank, "value": value})
    else:
        ctx.db.patch(row["_id"], {"value": value})


def _move(ctx: Any, group: str, source: float, target: float) -> bool:
    row = _item(ctx, group, source)
    if row is None or _item(ctx, group, target) is not None:
        return False
    ctx.db.patch(row["_id"], {"rank": target})
    return True


def _delete(ctx: Any, group: str, rank: float) -> bool:
    row = _item(ctx, group, rank)
    if row is not None:
        ctx.db.delete(row["_id"])
    return row is not None


# --- banks; an account that nobody has used holds OPENING_BALANCE


def _transfer(ctx: Any, bank: str, source: float, target: float, amount: float) -> bool:
    if _balance(ctx, bank, source) < amount:
        return False
    _change(ctx, bank, source, -amount)
    _change(ctx, bank, target, amount)
    return True


def _account(ctx: Any, bank: str, account: float) -> Any:
    return ctx.db.query("accounts").with_index("by_bank_account", bank=bank, account=account).first()


def _balance(ctx: Any, bank: str, account: float) -> float:
    row = _account(ctx, bank, account)
    return OPENING_BALANCE if row is None else row["amount"]


def _change(ctx: Any, bank: str, account: float, by: float) -> None:
    row = _account(ctx, bank, account)
    if row is None:
        ctx.db.insert("accounts", {"bank": bank, "account": account, "amount": OPENING_BALANCE + by})
    else:
        ctx.db.patch(row["_id"], {"amount": row["amount"] + by})


def _balances(ctx: Any, bank: str) -> list[Any]:
    rows = ctx.db.query("accounts").with_index("by_bank_account", bank=bank)
    return [[row["account"], row["amount"]] for row in rows]


READS: dict[str, Callable[..., Any]] = {
    "r": _read,
    "range": _range,
    "balances": _balances,
    "move": _move,
    "delete": _delete,
    "transfer": _transfer,
}
WRITES: dict[str, Callable[..., None]] = {"append": _append, "w": _write, "put": _put}
