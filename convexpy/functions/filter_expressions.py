"""`filter(lambda q: q.gt(q.field("age"), 18))`: conditions that every scanned document is asked, with Convex's rules.

Comparison follows the total order of values and never coerces; arithmetic wants two int64 or two float64; `and_`, `or_`
and `not_` want booleans. A filter makes nothing cheaper: every document it sees counts as read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

from convexpy.errors import QueryError
from convexpy.values import UNSET, Int64, compare, normalize, sort_key

Evaluate = Callable[[dict[str, Any]], Any]

FILTER_OPERATORS_MAX = 256


class Expression:
    """A condition or a value that depends on a document. It has no truth value of its own.

    Args:
        operators: how many it is made of.
        description: text that is the same for the same expression, for cursors.
    """

    __slots__ = ("description", "evaluate", "operators")

    def __init__(self, evaluate: Evaluate, operators: int, description: str) -> None:
        self.evaluate, self.operators, self.description = evaluate, operators, description
        if operators > FILTER_OPERATORS_MAX:
            raise QueryError(f"A filter may hold at most {FILTER_OPERATORS_MAX} operators. Use `.where(...)` instead.")

    def __bool__(self) -> NoReturn:
        raise QueryError(
            "A filter expression has no truth value before it sees a document. Use q.and_(a, b), q.or_(a, b) and "
            "q.not_(a) instead of `and`, `or` and `not`."
        )


class FilterBuilder:
    """The `q` of a filter."""

    def field(self, path: str) -> Expression:
        """A field of the document, by dotted path; UNSET where it is missing."""
        names = path.split(".")

        def evaluate(document: dict[str, Any]) -> Any:
            value: Any = document
            for name in names:
                value = value.get(name, UNSET) if type(value) is dict else UNSET
            return value

        return Expression(evaluate, 1, f"field({path!r})")

    def eq(self, left: Any, right: Any) -> Expression:
        return _comparison("eq", left, right, lambda order: order == 0)

    def neq(self, left: Any, right: Any) -> Expression:
        return _comparison("neq", left, right, lambda order: order != 0)

    def lt(self, left: Any, right: Any) -> Expression:
        return _comparison("lt", left, right, lambda order: order < 0)

    def lte(self, left: Any, right: Any) -> Expression:
        return _comparison("lte", left, right, lambda order: order <= 0)

    def gt(self, left: Any, right: Any) -> Expression:
        return _comparison("gt", left, right, lambda order: order > 0)

    def gte(self, left: Any, right: Any) -> Expression:
        return _comparison("gte", left, right, lambda order: order >= 0)

    def add(self, left: Any, right: Any) -> Expression:
        return _arithmetic("add", left, right, lambda a, b: a + b)

    def sub(self, left: Any, right: Any) -> Expression:
        return _arithmetic("sub", left, right, lambda a, b: a - b)

    def mul(self, left: Any, right: Any) -> Expression:
        return _arithmetic("mul", left, right, lambda a, b: a * b)

    def div(self, left: Any, right: Any) -> Expression:
        return _arithmetic("div", left, right, _divide)

    def mod(self, left: Any, right: Any) -> Expression:
        return _arithmetic("mod", left, right, _modulo)

    def neg(self, value: Any) -> Expression:
        inner = as_expression(value)

        def evaluate(document: dict[str, Any]) -> Any:
            operand = inner.evaluate(document)
            kind = _type_name(operand)
            if kind == "float64":
                return -float(operand)  # of an `int` 0 too: -0.0 and 0.0 differ in the order of values
            if kind != "int64":
                raise QueryError(f"Cannot negate a {kind} in a filter.")
            try:
                return -operand
            except OverflowError as error:
                raise QueryError(f"Filter operator `neg` failed on {operand}: {error}") from error

        return Expression(evaluate, inner.operators + 1, _described("neg", inner))

    def and_(self, *conditions: Any) -> Expression:
        """All of them hold; evaluation stops at the first that does not."""
        return _connective("and_", conditions, decisive=False)

    def or_(self, *conditions: Any) -> Expression:
        """At least one holds; evaluation stops at the first that does."""
        return _connective("or_", conditions, decisive=True)

    def not_(self, condition: Any) -> Expression:
        inner = as_expression(condition)
        return Expression(
            lambda document: not _truth("not_", inner.evaluate(document)),
            inner.operators + 1,
            _described("not_", inner),
        )


def matches(expression: Any, document: dict[str, Any]) -> bool:
    """Whether a filter lets a document through."""
    return _truth("filter", as_expression(expression).evaluate(document))


def as_expression(value: Any) -> Expression:
    """An expression as it is, and a literal as one that does not depend on the document.

    Raises:
        InvalidValue: a literal that is no value.
    """
    if isinstance(value, Expression):
        return value
    literal = value if value is UNSET else normalize(value)
    return Expression(lambda _: literal, 0, sort_key(literal).hex())


def _described(operator: str, *operands: Expression) -> str:
    return f"{operator}({','.join([operand.description for operand in operands])})"


def _connective(name: str, conditions: tuple[Any, ...], *, decisive: bool) -> Expression:
    parts = [as_expression(condition) for condition in conditions]

    def evaluate(document: dict[str, Any]) -> bool:
        # A loop, for all() and any() would take three frames of the stack a level.
        for part in parts:
            if _truth(name, part.evaluate(document)) is decisive:
                return decisive
        return not decisive

    return Expression(evaluate, 1 + sum(part.operators for part in parts), _described(name, *parts))


def _comparison(name: str, left: Any, right: Any, decide: Callable[[int], bool]) -> Expression:
    a, b = as_expression(left), as_expression(right)
    return Expression(
        lambda document: decide(compare(a.evaluate(document), b.evaluate(document))),
        a.operators + b.operators + 1,
        _described(name, a, b),
    )


def _arithmetic(name: str, left: Any, right: Any, apply: Callable[[Any, Any], Any]) -> Expression:
    a, b = as_expression(left), as_expression(right)

    def evaluate(document: dict[str, Any]) -> Any:
        x, y = a.evaluate(document), b.evaluate(document)
        kinds = _type_name(x), _type_name(y)
        if kinds == ("float64", "float64"):
            return apply(float(x), float(y))
        if kinds == ("int64", "int64"):
            try:
                return Int64(apply(int(x), int(y)))
            except (OverflowError, ZeroDivisionError) as error:
                raise QueryError(f"Filter operator `{name}` failed on {x} and {y}: {error}") from error
        raise QueryError(f"Filter operator `{name}` needs two int64 or two float64, not {kinds[0]} and {kinds[1]}.")

    return Expression(evaluate, a.operators + b.operators + 1, _described(name, a, b))


def _divide(x: Any, y: Any) -> Any:
    if isinstance(x, int):
        quotient = abs(x) // abs(y)
        return quotient if (x < 0) == (y < 0) else -quotient
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1.0, y)
    return x / y


def _modulo(x: Any, y: Any) -> Any:
    if isinstance(x, int):
        return x - _divide(x, y) * y
    return math.fmod(x, y) if y != 0 and not math.isinf(x) else math.nan


def _truth(operator: str, value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise QueryError(f"`{operator}` in a filter needs a boolean, not {_type_name(value)}.")


def _type_name(value: Any) -> str:
    if value is UNSET:
        return "undefined"
    if isinstance(value, Int64):
        return "int64"
    names = {type(None): "null", bool: "boolean", int: "float64", float: "float64", str: "string", bytes: "bytes"}
    return names.get(type(value), "array" if isinstance(value, list) else "object")
