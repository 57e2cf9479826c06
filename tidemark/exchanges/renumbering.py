"""Whether changes that lie behind what was heard are repeats, or numbers that were restarted.

Contains: that judgement, the same for every way of numbering changes. Does not contain: books (``book``), or what
follows from a restart (``streaming.producer.books``).

A change behind the latest number is no news: another connection repeats it, or the exchange does. But an exchange that
restarts its numbers (an engine is restarted, a market listed again) sends changes with low numbers that are all news,
and a book that left them out would stand still for ever. What tells them apart:

* A repeat is older than the latest change by the exchange's own clock, or it is a change that was heard.
* Changes after a restart follow one another, and are not older than what was heard.

One change alone proves nothing: it may be one bad row.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tidemark.exchanges.base import Row

#: So many changes that follow one another, none older than the latest heard, are no repeats.
_NOT_OLDER: Final = 3
#: So many that are older are none either, while no other connection is being caught up with.
_OLDER: Final = 50
#: Clocks of an exchange's servers agree within this.
_CLOCKS: Final = timedelta(seconds=1)
#: Latest changes remembered, to know them again: at ten a second, those of the last 100 s.
_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one change: its own last, the last of the change before it, and when it happened (UTC)."""

    last: int
    before: int
    at: datetime | None


class Behind:
    """The changes of one market that came behind the latest one heard, as far as they follow one another."""

    def __init__(self) -> None:
        # By number, lowest first; arrays, since there is one of each for every market.
        self._lasts = array("q")
        self._befores = array("q")
        self._latest: datetime | None = None
        self._repeats = False
        self._last: int | None = None
        self._rows: list[Row] = []
        self._not_older = 0
        self._newer = 0

    @property
    def rows(self) -> list[Row]:
        """The changes behind that follow one another, in their order: what a restart begins with."""
        return list(self._rows)

    def heard(self, numbers: Numbers) -> None:
        """Note a change that was news: its number is above all that were heard."""
        if self._rows:
            self._forget()
        self._repeats = False
        if len(self._lasts) >= 2 * _REMEMBERED:
            del self._lasts[:_REMEMBERED], self._befores[:_REMEMBERED]
        self._lasts.append(numbers.last)
        self._befores.append(numbers.before)
        self._latest = numbers.at or self._latest

    def expect_repeats(self) -> None:
        """Another connection is followed from now on: until it has caught up, it repeats what was heard."""
        self._repeats = True
        self._forget()

    def restarted(self) -> None:
        """The numbers begin again: what was heard before is no measure of what comes."""
        self._lasts, self._befores = array("q"), array("q")
        self._latest = None
        self._repeats = False
        self._forget()

    def judge(self, row: Row, numbers: Numbers) -> bool:
        """Take a change behind the latest one heard; whether it proves that the numbers were restarted."""
        if numbers.last == numbers.before:  # a sign of life
            return False
        if numbers.before != self._last:
            self._forget()
        newer = numbers.at is not None and self._latest is not None and numbers.at > self._latest
        older = numbers.at is not None and self._latest is not None and numbers.at < self._latest
        known = self._is_known(numbers)
        if known and not newer:
            self._forget()
            return False
        self._last = numbers.last
        self._rows = [*self._rows, row][-_OLDER:]
        self._newer += newer and not (known and self._may_be_a_repeat(numbers.at))
        self._not_older += newer or not (older or self._repeats)
        return self._not_older >= _NOT_OLDER or (len(self._rows) >= _OLDER and not self._repeats)

    def leads_to(self, before: int) -> bool:
        """Whether a change that names ``before``, and reaches beyond the latest heard, follows changes after a restart.

        Numbers restarted just below the latest soon pass it, and would then look like the next change.
        """
        return self._newer > 0 and self._last == before

    def _may_be_a_repeat(self, at: datetime | None) -> bool:
        """Whether two servers' clocks may have given one change such times."""
        return at is None or self._latest is None or at - self._latest <= _CLOCKS

    def _is_known(self, numbers: Numbers) -> bool:
        place = bisect_left(self._lasts, numbers.last)
        found = place < len(self._lasts) and self._lasts[place] == numbers.last
        return found and self._befores[place] == numbers.before

    def _forget(self) -> None:
        self._last = None
        self._rows = []
        self._not_older = self._newer = 0
