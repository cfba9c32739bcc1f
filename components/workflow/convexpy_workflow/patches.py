"""Which changes of its code a run has taken: `step.patched`, `step.deprecate_patch`.

A change asks at the place where it begins. A run that comes there for the first time takes the new branch and records a
*marker* with the resolution during which it came; a run that is only replayed over that place, without a marker, passed
it with the old code, and takes the old branch. Markers take no position, so they never change what fits.

Source: the semantics of patching in Temporal's SDKs.
"""

from __future__ import annotations


class Patches:
    """The answers of one run.

    Args:
        recorded: names of the markers in its journal.
        resolutions: how many resolutions its journal has; what comes later is live.
    """

    def __init__(self, recorded: frozenset[str] = frozenset(), resolutions: int = 0) -> None:
        self.answers: dict[str, bool] = {}  # the first answer holds for the whole run
        self._recorded = recorded
        self._resolutions = resolutions
        self._new: list[str] = []

    def ask(self, name: str, resolutions_fed: int) -> bool:
        """Tell whether the run takes the new branch.

        Args:
            resolutions_fed: what the handler has consumed, the present one included.
        """
        if name not in self.answers:
            is_live = resolutions_fed > self._resolutions
            self.answers[name] = is_live or name in self._recorded
            self._mark(name)
        return self.answers[name]

    def take(self, name: str, resolutions_fed: int) -> None:
        """Take the new branch, which is the only one left."""
        if name not in self.answers:
            self.answers[name] = True
            if resolutions_fed > self._resolutions:
                self._mark(name)

    def drain_new(self) -> list[str]:
        """Give the names that are to be recorded, once."""
        new, self._new = self._new, []
        return new

    def _mark(self, name: str) -> None:
        if self.answers[name] and name not in self._recorded:
            self._new.append(name)
