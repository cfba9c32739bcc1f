"""The long form: `python -m tests.model --steps 100000 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys

from tests.model.run import run


def main() -> int:
    """Exit status 1 where engine and model differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="operations to compare, at least [100000]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of everything [random]")
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    return 0 if run(options.steps, options.seed, lambda line: print(line, flush=True)) else 1


if __name__ == "__main__":
    sys.exit(main())
