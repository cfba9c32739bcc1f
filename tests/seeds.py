"""Seeds of randomized tests: printed, so that a failure shows its own, and asked for by an environment variable."""

from __future__ import annotations

import os
import random
import zlib


def asked_seed(variable: str) -> int:
    """What `variable` says, or one that nobody has chosen. Put `VARIABLE=seed` before the command to run it again.

    Where SUITE_SEED is set, as `make test` does, each test has a seed of its own from that: the same in a second run.
    """
    if asked := os.environ.get(variable):
        seed = int(asked)
    elif suite := os.environ.get("SUITE_SEED"):
        seed = zlib.crc32(f"{suite} {os.environ['PYTEST_CURRENT_TEST']}".encode())
    else:
        seed = random.SystemRandom().randrange(2**32)
    print(f"{variable}={seed}")
    return seed
