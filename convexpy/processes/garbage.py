"""How often a long-lived process of ours looks for garbage in cycles."""

from __future__ import annotations

import gc

from convexpy.limits import COLLECTOR_ALLOCATIONS


def settle_collector() -> None:
    """Call once all is imported and set up: what is there by now is not looked at again, and what comes, less often.

    What these processes do for a request leaves no cycles. What it does leave, as recent commits and sessions, lives
    long, and was looked at by every hundredth request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_ALLOCATIONS, 10, 10)
