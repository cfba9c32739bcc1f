"""What holds for all tests: hypothesis gives a slow machine its time and says how an example is replayed, and a failure
tells what the processes of its test have said."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import transcripts

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of the test, whose processes are its own."""
    transcripts.begin_test()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the transcripts below the text of a failure, also where it is one of a fixture."""
    report = yield
    if report.failed:
        report.sections.extend(transcripts.sections())
    return report
