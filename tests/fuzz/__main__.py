"""The long form: `python -m tests.fuzz --inputs 100000 --seed 1`."""

from __future__ import annotations

import argparse
import random
import sys

from tests.fuzz.run import fuzz
from tests.fuzz.target import Fault


def main() -> int:
    """Exit status 1 where the server did what it must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="WebSocket frames and HTTP connections [100000]")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of what is sent [random]")
    options = parser.parse_args()
    try:
        report = fuzz(options.inputs, options.seed, lambda line: print(line, flush=True))
    except Fault as fault:
        print(fault, file=sys.stderr)
        return 1
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
