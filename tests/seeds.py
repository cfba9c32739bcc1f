"""Seeds of randomized tests: printed, so that a failure shows its own, and asked for by an environment variable."""

from __future__ import annotations

import os
import random


def asked_seed(variable: str) -> int:
    """What `variable` says, or one that nobody has chosen. Put `VARIABLE=seed` before the command to run it again."""
    seed = int(os.environ.get(variable) or random.SystemRandom().randrange(2**32))
    print(f"{variable}={seed}")
    return seed
