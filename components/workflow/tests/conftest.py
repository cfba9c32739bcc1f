"""A deployment for each test: the real runtime in this process, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from convexpy_workflow.warm import warm_runs
from flow_deployment import FlowDeployment


@pytest.fixture
def deployment() -> Iterator[FlowDeployment]:
    """An app with workflows, its data empty, no handler in memory."""
    warm_runs.clear()
    with FlowDeployment() as deployment:
        yield deployment
    warm_runs.clear()
