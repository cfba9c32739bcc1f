"""The real runtime in one process and one thread, for tests of apps and components."""

from convexpy.testing.backend import TestBackend as TestBackend
from convexpy.testing.client import TestClient as TestClient
from convexpy.testing.clock import ManualClock as ManualClock
from convexpy.testing.fetching import FetchedResponse as FetchedResponse
from convexpy.testing.projects import load_functions as load_functions
