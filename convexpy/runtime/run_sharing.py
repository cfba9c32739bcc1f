"""One run for entries that differ in the identity alone, as long as the function looks at nobody's.

Whether it does is only known after a run. So entries that ask the same wait for the first one that runs, their leader.
If it looked at no identity its outcome is theirs; if it did, they run for themselves, and the function is remembered as
a personal one, whose callers do not wait for each other. No entry is ever given an outcome of a run that has looked at
another one's identity: a function that looks only sometimes is judged run by run.
"""

from __future__ import annotations

from convexpy.runtime.live_entry import LiveEntry, Question


class RunSharing:
    """Who runs for whom, and whose outcome is everybody's."""

    def __init__(self) -> None:
        self._leaders: dict[Question, LiveEntry] = {}
        self._answers: dict[Question, LiveEntry] = {}
        self._personal: set[tuple[str, str]] = set()  # functions by component and path

    def has_leader(self, entry: LiveEntry) -> bool:
        """Whether another entry's run is to answer this one, which then follows it; if not it may lead others."""
        question = entry.question
        leader = self._leaders.get(question)
        if leader is not None:
            leader.followers.append(entry)
            return True
        if question[:2] not in self._personal:
            self._leaders[question] = entry
            entry.leads = question
        return False

    def answer_to(self, entry: LiveEntry) -> LiveEntry | None:
        """An entry whose outcome, as long as it holds, is this one's as well."""
        return self._answers.get(entry.question)

    def end_run(self, entry: LiveEntry) -> list[LiveEntry]:
        """An entry's run is over; gives those who wait for it."""
        if entry.leads is not None:
            del self._leaders[entry.leads]
            entry.leads = None
        followers, entry.followers = entry.followers, []
        return followers

    def note_outcome(self, entry: LiveEntry, question: Question, *, is_personal: bool) -> None:
        """Remember what a run has shown of its question, instead of what the entry's run before it had shown."""
        # Also where no commit made that stale: what read the clock expires, and the next run may look.
        self.forget(entry)
        if is_personal:
            self._personal.add(question[:2])
        else:
            self._personal.discard(question[:2])
            self._answers[question] = entry
            entry.answers = question

    def forget_functions(self) -> None:
        """New code is in force, whose functions may look at other things."""
        self._personal.clear()

    def forget(self, entry: LiveEntry) -> None:
        """The entry's outcome is gone, or does not hold any more."""
        if entry.answers is not None and self._answers.get(entry.answers) is entry:
            del self._answers[entry.answers]
        entry.answers = None
