"""The long form: `python -m tests.power_loss --commits 1000 --images 20000 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys

from tests.power_loss.run import Engine, lose_power


def main() -> int:
    """Exit status 1 where an image is not what was promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.power_loss", description=__doc__)
    parser.add_argument("--commits", type=int, default=1000, help="that are recorded [1000]")
    parser.add_argument("--images", type=int, default=20_000, help="that are made and tried [20000]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of commits and images [random]")
    parser.add_argument("--relaxed", action="store_true", help="with --durability=relaxed")
    options = parser.parse_args()
    engine = Engine(is_relaxed=options.relaxed)
    report = lose_power(options.commits, options.images, options.seed, engine, lambda line: print(line, flush=True))
    print(report, *report.faults[:20], sep="\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
