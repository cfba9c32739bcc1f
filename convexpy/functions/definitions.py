"""The decorators `@query`, `@mutation`, `@action` and their internal forms, and what they make."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from convexpy.errors import ArgumentsInvalid, DefinitionError
from convexpy.functions.conversions import converters_of, promises_instances, without_instances
from convexpy.functions.places import place_of
from convexpy.functions.signatures import (
    Signature,
    args_validator_of,
    read_signature,
    returns_validator_of,
)
from convexpy.values import UNSET, Validator, v
from convexpy.values.compound_validators import ObjectValidator, UnionValidator

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    # With defaults, so that where any function will do, `Function` says so. Type checkers bring typing_extensions.
    P = ParamSpec("P", default=...)
    R = TypeVar("R", default=Any)
else:
    from typing import ParamSpec, TypeVar

    P, R = ParamSpec("P"), TypeVar("R")

Kind = Literal["query", "mutation", "action", "httpAction"]
Visibility = Literal["public", "internal"]
Handler = Callable[..., Any]


class Function(Generic[P, R]):
    """One function of an app or a component. Calling it with a ctx runs the handler as a plain helper.

    Attributes:
        module: name of the module whose body made it: its home, even where a factory in another module wrote it.
        path: `dir/module:name` below the package that defines it; only the name before discovery has set it.
        args: None: anything is accepted.
        returns: None: anything is returned.

    Raises:
        DefinitionError: the handler cannot be such a function; the text says how to mend it.
    """

    def __init__(
        self,
        handler: Callable[P, R],
        kind: Kind,
        visibility: Visibility,
        args: dict[str, Validator] | Validator | None,
        returns: Validator | None,
    ) -> None:
        _refuse_other(handler, kind)
        self.handler: Handler = handler
        self.kind: Kind = kind
        self.visibility: Visibility = visibility
        self.module = _importing_module() or handler.__module__
        self.name = handler.__name__
        self.path = handler.__name__
        self.is_async = inspect.iscoroutinefunction(handler)
        self.__doc__ = handler.__doc__
        self._signature: Signature = read_signature(handler)
        self._refuse_async()
        self._refuse_generator()
        self.args: Validator | None = self._annotated_args() if args is None else self._given_args(args)
        self.returns: Validator | None = self._annotated_returns() if returns is None else self._given_returns(returns)
        self._converters = converters_of(self._signature)
        self._returns_instances = promises_instances(self._signature.returns)

    def bind(self, args: dict[str, Any]) -> dict[str, Any]:
        """Checked arguments as the handler's parameters want them: `float` and `int` as annotated, classes built.

        Raises:
            ArgumentsInvalid: a number for an `int` that is none, an argument without a parameter, or the reverse.
        """
        bound = {name: value for name, value in args.items() if value is not UNSET}
        signature = self._signature
        if not self._converters and signature.parameters.keys() == bound.keys():
            return bound
        if signature.takes_rest and not signature.parameters and signature.reserved not in bound:
            return bound
        for name in bound.keys() - signature.parameters.keys():
            if not signature.takes_rest or name == signature.reserved:
                raise ArgumentsInvalid(
                    f"ArgumentValidationError: Object contains extra field `{name}` that {self.path} has no parameter "
                    f"for."
                )
        for name, has_default in signature.parameters.items():
            if name not in bound and not has_default:
                raise ArgumentsInvalid(f"ArgumentValidationError: Object is missing the required field `{name}`.")
        for name, convert in self._converters.items():
            if name in bound:
                bound[name] = convert(bound[name], name)
        return bound

    def result(self, value: Any) -> Any:
        """What the handler gave, with instances of dataclasses and Structs, where its annotation promises such, as
        objects. Whether it is a value then is not checked."""
        return without_instances(value) if self._returns_instances else value

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self.handler(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<{self.visibility} {self.kind} {self.path}>"

    def _refuse_async(self) -> None:
        if self.is_async and self.kind in ("query", "mutation"):
            raise self._error(
                f"{self.name} is a {self.kind}, which is a plain function: write `def {self.name}(…)` without `async`, "
                f"and drop the `await` before ctx.db. What waits for the outside is an action."
            )

    def _refuse_generator(self) -> None:
        if inspect.isgeneratorfunction(self.handler) or inspect.isasyncgenfunction(self.handler):
            raise self._error(
                f"{self.name} has a `yield`, so calling it gives a generator, which is no value. Collect a list, and "
                f"`return` that."
            )

    def _annotated_args(self) -> Validator | None:
        try:
            return args_validator_of(self._signature)
        except DefinitionError as error:
            raise self._error(f"{self.name}(): {error.text}") from None

    def _annotated_returns(self) -> Validator | None:
        try:
            return returns_validator_of(self._signature)
        except DefinitionError as error:
            raise self._error(f"{self.name}(): {error.text}") from None

    def _given_returns(self, returns: Validator) -> Validator:
        if not isinstance(returns, Validator) or returns.is_optional:
            raise self._error(f"returns= of {self.name} is {returns!r}; write a validator such as v.string().")
        return returns

    def _given_args(self, args: dict[str, Validator] | Validator) -> Validator:
        if isinstance(args, dict):
            for name, field in args.items():
                if not isinstance(field, Validator):
                    raise self._error(
                        f"args of {self.name}: {name!r} is {field!r}, not a validator. Write v.string() and so on; "
                        f"None or UNSET here often means a circular import."
                    )
            try:
                validator: Validator = v.object(args)
            except DefinitionError as error:
                raise self._error(f"args of {self.name}: {error.text}") from None
        elif isinstance(args, Validator) and _is_of_objects(args):
            validator = args
        else:
            raise self._error(f"args= of {self.name} is a dict of validators or an object validator, not {args!r}.")
        self._check_parameters(validator)
        return validator

    def _check_parameters(self, validator: Validator) -> None:
        """Every argument needs a parameter, and every parameter an argument or a default; with each of several objects
        that args= may be."""
        if isinstance(validator, UnionValidator):
            for member in validator.members:
                self._check_parameters(member)
        if not isinstance(validator, ObjectValidator):
            return
        parameters = self._signature.parameters
        for name, field in validator.fields.items():
            if name == self._signature.reserved:
                raise self._error(
                    f"The argument {name!r} of {self.name} has the name of the ctx parameter: make that one "
                    f"positional, `def {self.name}({name}, /, …)`."
                )
            if name not in parameters:
                if not self._signature.takes_rest:
                    raise self._error(
                        f"{self.name}() has no parameter for its argument {name!r}: add `{name}`, or take the rest "
                        f"with **fields."
                    )
            elif field.is_optional and not parameters[name]:
                raise self._error(
                    f"The argument {name!r} of {self.name} is optional, so its parameter needs a default: "
                    f"`{name}=None`."
                )
        for name, has_default in parameters.items():
            if name not in validator.fields and not has_default:
                raise self._error(
                    f"{self.name}() has a parameter {name!r} that args= does not always name: add {name!r} to "
                    f"{validator.describe()}, or give the parameter a default."
                )

    def _error(self, text: str) -> DefinitionError:
        return DefinitionError(text, *place_of(self.handler))


def _refuse_other(handler: Any, kind: str) -> None:
    if isinstance(handler, Function):
        text = f"{handler.name} has two decorators that register it. Keep one."
        raise DefinitionError(text, *place_of(handler.handler))
    if not inspect.isroutine(handler):
        raise DefinitionError(
            f"A {kind} is a function, not {handler!r}. Options of the decorator have names: args=…, returns=…."
        )


def _is_of_objects(validator: Validator) -> bool:
    if isinstance(validator, UnionValidator):
        return bool(validator.members) and all(_is_of_objects(member) for member in validator.members)
    return isinstance(validator, ObjectValidator) or validator == v.any()


def _importing_module() -> str | None:
    """Name of the module that is being imported, the innermost one; None after all imports."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            # The body of a program, or of what a test runner executes, is no import: it runs all the time.
            name: str | None = frame.f_globals.get("__name__")
            return name if name != "__main__" and name in sys.modules else None
        frame = frame.f_back
    return None


class _Decorator:
    """A decorator that works bare and with options."""

    def __init__(self, kind: Kind, visibility: Visibility) -> None:
        self._kind: Kind = kind
        self._visibility: Visibility = visibility

    @overload
    def __call__(self, handler: Callable[P, R], /) -> Function[P, R]: ...

    @overload
    def __call__(
        self, /, *, args: dict[str, Validator] | Validator | None = None, returns: Validator | None = None
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...

    def __call__(
        self,
        handler: Handler | None = None,
        /,
        *,
        args: dict[str, Validator] | Validator | None = None,
        returns: Validator | None = None,
    ) -> Function | Callable[[Handler], Function]:
        if handler is not None:
            return Function(handler, self._kind, self._visibility, args, returns)
        return lambda given: Function(given, self._kind, self._visibility, args, returns)


query = _Decorator("query", "public")
mutation = _Decorator("mutation", "public")
action = _Decorator("action", "public")
internal_query = _Decorator("query", "internal")
internal_mutation = _Decorator("mutation", "internal")
internal_action = _Decorator("action", "internal")
