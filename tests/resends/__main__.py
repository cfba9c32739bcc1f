"""The long form: `python -m tests.resends --mutations 100000 --kills 5 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys

from tests.resends.run import resend


def main() -> int:
    """Exit status 1 where an answer and the database differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.resends", description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000, help="at least so many [100000]")
    parser.add_argument("--kills", type=int, default=5, help="of the server, on the way [5]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what breaks when [random]")
    options = parser.parse_args()
    report = resend(options.mutations, options.kills, options.seed, lambda line: print(line, flush=True))
    print(report, *report.faults, sep="\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
