"""What the app's mutation `things:nested` does next; the machine sets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

next_body: list[Callable[[Any], None]] = []
