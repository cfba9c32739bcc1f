"""The long form. `python -m tests.chaos [--runs 1000] [--seed N] [--no-kills]`; the seed is printed first.

A seed brings back the same programs, cancellations and victims.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.chaos import ChaosRun
from tests.clients.server import Server

APP = Path(__file__).parent / "app"


def main() -> int:
    """Run it; what is wrong is an AssertionError with the run's account."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--runs", type=int, default=1000, help="workflows to start")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--no-kills", action="store_true", help="the same without kills, as a control")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.runs} workflows", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        figures = ChaosRun(Server(APP, Path(folder)), seed, options.runs, not options.no_kills).play()
    print(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
