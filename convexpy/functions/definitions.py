"""`@query`, `@mutation`, `@action` and their internal forms: a handler with its kind, visibility and validators."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, overload

from convexpy.errors import DefinitionError
from convexpy.functions.places import place_of
from convexpy.functions.signatures import (
    args_validator_of,
    converters_of,
    read_signature,
    returns_validator_of,
)
from convexpy.values import Validator, v
from convexpy.values.validators import ObjectValidator

Kind = Literal["query", "mutation", "action", "httpAction"]
Visibility = Literal["public", "internal"]
Handler = Callable[..., Any]


class Function:
    """One function of an app or a component. Calling it with a ctx runs the handler as a plain helper.

    Attributes:
        path: `dir/module:name` below the package that defines it; only the name before discovery has set it.
        args: None: anything is accepted.
        returns: None: anything is returned.
    """

    def __init__(
        self,
        handler: Handler,
        kind: Kind,
        visibility: Visibility,
        args: dict[str, Validator] | Validator | None,
        returns: Validator | None,
    ) -> None:
        self.handler = handler
        self.kind: Kind = kind
        self.visibility: Visibility = visibility
        self.module = handler.__module__
        self.name = handler.__name__
        self.path = handler.__name__
        self.is_async = inspect.iscoroutinefunction(handler)
        self.__doc__ = handler.__doc__
        self._signature = read_signature(handler)
        self._refuse_async()
        self.args = args_validator_of(self._signature) if args is None else self._given_args(args)
        if returns is not None and not isinstance(returns, Validator):
            raise self._error(f"returns= of {self.name} is {returns!r}, not a validator.")
        self.returns = returns if returns is not None else returns_validator_of(self._signature)
        self._converters = converters_of(self._signature)

    def bind(self, args: dict[str, Any]) -> dict[str, Any]:
        """Checked arguments as the handler's parameters want them: `float` and `int` as annotated, classes built.

        Raises:
            ArgumentsInvalid: a number for an `int` that is none.
        """
        if not self._converters:
            return args
        return {
            name: self._converters[name](value, name) if name in self._converters else value
            for name, value in args.items()
        }

    def __call__(self, ctx: Any, *args: Any, **kwargs: Any) -> Any:
        return self.handler(ctx, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.visibility} {self.kind} {self.path}>"

    def _refuse_async(self) -> None:
        if self.is_async and self.kind in ("query", "mutation"):
            raise self._error(
                f"{self.name} is a {self.kind}, and {self.kind}s are plain functions: write `def {self.name}(…)` without "
                f"`async`, and drop the `await` before ctx.db. What waits for the outside is an action."
            )

    def _given_args(self, args: dict[str, Validator] | Validator) -> Validator:
        if isinstance(args, dict):
            for name, field in args.items():
                if not isinstance(field, Validator):
                    raise self._error(
                        f"args of {self.name}: {name!r} is {field!r}, not a validator. Write v.string() and so on."
                    )
            validator: Validator = v.object(args)
        elif isinstance(args, Validator):
            validator = args
        else:
            raise self._error(f"args= of {self.name} is a dict of validators, not {args!r}.")
        if isinstance(validator, ObjectValidator):
            self._check_parameters(validator)
        return validator

    def _check_parameters(self, validator: ObjectValidator) -> None:
        """Every argument needs a parameter, and every parameter an argument or a default."""
        parameters = self._signature.parameters
        for name, field in validator.fields.items():
            if name not in parameters:
                if not self._signature.takes_rest:
                    raise self._error(
                        f"{self.name}() has no parameter for its argument {name!r}: add `{name}`, or take the rest with "
                        f"**fields."
                    )
            elif field.is_optional and not parameters[name]:
                raise self._error(
                    f"The argument {name!r} of {self.name} is optional, so its parameter needs a default: `{name}=None`."
                )
        for name, has_default in parameters.items():
            if name not in validator.fields and not has_default:
                raise self._error(
                    f"{self.name}() has a parameter {name!r} that args= does not name: add {name!r} there."
                )

    def _error(self, text: str) -> DefinitionError:
        return DefinitionError(text, *place_of(self.handler))


class _Decorator:
    """A decorator that works bare and with options."""

    def __init__(self, kind: Kind, visibility: Visibility) -> None:
        self._kind: Kind = kind
        self._visibility: Visibility = visibility

    @overload
    def __call__(self, handler: Handler, /) -> Function: ...

    @overload
    def __call__(
        self, *, args: dict[str, Validator] | Validator | None = None, returns: Validator | None = None
    ) -> Callable[[Handler], Function]: ...

    def __call__(
        self,
        handler: Handler | None = None,
        *,
        args: dict[str, Validator] | Validator | None = None,
        returns: Validator | None = None,
    ) -> Function | Callable[[Handler], Function]:
        if handler is not None:
            if not callable(handler):
                raise DefinitionError(
                    f"@{self._kind} decorates a function, not {handler!r}. Options have names: args=…, returns=…."
                )
            return Function(handler, self._kind, self._visibility, args, returns)
        return lambda given: Function(given, self._kind, self._visibility, args, returns)


query = _Decorator("query", "public")
mutation = _Decorator("mutation", "public")
action = _Decorator("action", "public")
internal_query = _Decorator("query", "internal")
internal_mutation = _Decorator("mutation", "internal")
internal_action = _Decorator("action", "internal")
