"""One state of the app's code, as a worker holds it: the application, its number, and how its errors are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from convexpy.functions.application import Application
from convexpy.limits import FunctionLimits
from convexpy.runtime.resolution import Resolver
from convexpy.transactions.catalog import Catalog, CatalogCache


def _no_clock() -> None:
    """Stands for the worker's CPU clock where there is none."""


def _no_time() -> float:
    """Stands for the worker's processor time: nothing takes any time in a test that is the same each time."""
    return 0.0


@dataclass
class Generation:
    """What `execute` needs besides the call and the snapshot.

    Args:
        number: rises with every push; the committer refuses mutations of another one.
        is_redacted: production: texts of ordinary errors and log lines stay in the server.
        restart_clock: gives the running call its full CPU time again (a job's completion has a budget of its own).
        cpu_seconds: tells how much processor time this worker has used so far.
    """

    number: int
    application: Application
    limits: FunctionLimits = field(default_factory=FunctionLimits)
    is_redacted: bool = False
    restart_clock: Callable[[], None] = _no_clock
    cpu_seconds: Callable[[], float] = _no_time
    api_origin: str = "https://some.convex.cloud"  # what URLs of files begin with
    catalogs: CatalogCache = field(default_factory=CatalogCache)
    # Functions that were seen to use a component that they ought to have been apart from; see `job_batches.Room`.
    users_of_components: set[tuple[str, str, str | None]] = field(default_factory=set)
    _resolver: Resolver | None = None

    def resolver_at(self, catalog: Catalog) -> Resolver:
        """The resolver for a catalog; that of the last one asked for is kept."""
        if self._resolver is None or self._resolver.catalog is not catalog:
            self._resolver = Resolver(self.application, catalog)
        return self._resolver
