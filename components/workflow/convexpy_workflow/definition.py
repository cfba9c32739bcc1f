"""One `@workflow.define`: the handler, its arguments' contract, its options, and how a fresh engine of it is made."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeAlias

from convexpy import deterministic
from convexpy_workflow.app_values import AppHost, storable
from convexpy_workflow.engine import Engine
from convexpy_workflow.output import HandlerOutput
from convexpy_workflow.parallelism import StepQueue
from convexpy_workflow.patches import Patches
from convexpy_workflow.retries import Retry
from convexpy_workflow.step import Step

Handler: TypeAlias = Callable[..., Awaitable[Any]]
OnMismatch: TypeAlias = Literal["stuck", "fail", "refuse"]


class _Surroundings:
    """What a handler runs in: its clock and randomness, and within them its output. On the path of every step."""

    __slots__ = ("_guard", "_output")

    def __init__(self, guard: AbstractContextManager[None], output: AbstractContextManager[None]) -> None:
        self._guard, self._output = guard, output

    def __enter__(self) -> None:
        self._guard.__enter__()
        self._output.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._output.__exit__(kind, error, trace)
        finally:
            self._guard.__exit__(kind, error, trace)


@dataclass(eq=False)
class Definition:
    """What a wave needs to know of its handler.

    Args:
        contract: a function object of the platform with the handler's signature; it binds arguments to parameters.
        component: reference to the workflow component, `components.workflow`.
        mutation: the app's function that runs the waves; set once it is made.
        steps: the scheduler's queue in which steps run.
        on_mismatch: what becomes of a run whose journal does not fit the code; "refuse" also stops the push.
        version: stamped on new runs.
        old_versions: handlers, with their contracts, of runs that have an older stamp.
    """

    handler: Handler
    contract: Any
    component: Any
    default_retry: Retry
    is_retry_default: bool
    steps: StepQueue
    on_mismatch: OnMismatch
    on_unawaited: Literal["cancel", "wait"]
    version: int = 1
    mutation: Any = None
    old_versions: dict[int, tuple[Handler, Any]] = field(default_factory=dict)

    def new_engine(
        self,
        workflow_id: str,
        args: dict[str, Any],
        run: dict[str, Any] | None = None,
        host: AppHost | None = None,
        *,
        is_debugged: bool = False,
    ) -> tuple[Engine, HandlerOutput]:
        """Make an engine that has consumed nothing yet, with the place where its output is caught.

        Args:
            run: the run's row, which names its version and the changes of the code that it has taken; None for a run
                that is new.
            host: what resolves functions; None: the call that drives the engine.
            is_debugged: leave output alone, and let a debugger do its work inside the handler.
        """
        # One stream for the whole run, over all its waves; a replay draws the same numbers in the same order.
        randomness = random.Random(workflow_id)
        output = HandlerOutput()
        host = host or AppHost()

        version = self.version if run is None else int(run.get("version", 1))
        handler, contract = self.old_versions.get(version, (self.handler, self.contract))

        async def main(engine: Engine) -> Any:
            step = Step(engine, host, workflow_id, randomness, self.default_retry, self.is_retry_default, version)
            result = await handler(step, **contract.bind(args))
            return storable(result, "Workflow return value")

        def environment(now_ms: int) -> AbstractContextManager[None]:
            host.context = copy_context()
            if is_debugged:
                return deterministic(now_ms=now_ms, random=randomness, is_debugged=True)
            return _Surroundings(deterministic(now_ms=now_ms, random=randomness), output.catching())

        engine = Engine(main, environment, self.on_unawaited)
        if run is not None:
            names = frozenset(marker["name"] for marker in run.get("patches", ()))
            engine.patches = Patches(names, int(run["wave"]))
        return engine, output


def replayer_name(name: str) -> str:
    """The name of the query beside a workflow that replays its runs; see `dry_run`."""
    return f"_replay_{name}"


def definition_of(function: Any) -> Definition | None:
    """Find the definition that a function of the app was made from, None if it is no workflow."""
    found = getattr(getattr(function, "handler", None), "definition", None)
    return found if isinstance(found, Definition) else None  # a reference has something by any name
