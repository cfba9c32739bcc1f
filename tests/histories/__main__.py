"""The long form: `python -m tests.histories --operations 1000000 --clients 16 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.histories.run import run


def main() -> int:
    """Exit status 1 where an anomaly was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000, help="at least so many [1000000]")
    parser.add_argument("--clients", type=int, default=16, help="half over WebSockets, half over HTTP [16]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what they do [random]")
    parser.add_argument("--history", type=Path, help="append the history to a file, as JSON lines in Jepsen's shape")
    options = parser.parse_args()
    report = run(
        options.operations, options.clients, options.seed, lambda line: print(line, flush=True), options.history
    )
    for anomaly in report.anomalies:
        print(anomaly, *anomaly.witness, sep="\n    ")
    return 1 if report.anomalies else 0


if __name__ == "__main__":
    sys.exit(main())
