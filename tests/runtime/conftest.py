"""Apps for the tests of calls and of the scheduler, each on a fresh deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from convexpy.functions.application import Application, load_application
from convexpy.testing import TestBackend
from convexpy.testing.clock import ManualClock
from convexpy.testing.loop import ManualLoop
from tests.runtime.live_query_bench import Bench

HERE = Path(__file__).parent
WriteProject = Callable[..., Path]


@pytest.fixture(scope="session")
def calls_application() -> Application:
    """Functions to be called; loaded once, for loading is not what is tested."""
    return load_application(HERE / "calls_app")


@pytest.fixture(scope="session")
def jobs_application() -> Application:
    """Functions that schedule and are scheduled."""
    return load_application(HERE / "jobs_app")


@pytest.fixture
def backend(calls_application: Application) -> Iterator[TestBackend]:
    """A deployment of calls_app."""
    with TestBackend(calls_application) as backend:
        yield backend


@pytest.fixture
def jobs(jobs_application: Application) -> Iterator[TestBackend]:
    """A deployment of jobs_app."""
    with TestBackend(jobs_application) as backend:
        yield backend


@pytest.fixture
def write_project(tmp_path: Path) -> WriteProject:
    """Writes a project folder: `write_project(schema="…", things="…")` gives one with schema.py and things.py."""

    def write(**modules: str) -> Path:
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        return folder

    return write


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A query cache with room for everything, or for as many bytes as the test's parameter says."""
    clock = ManualClock()
    loop = ManualLoop(clock, lambda: False)
    yield Bench(loop, clock, getattr(request, "param", 10**9))
    loop.close()
