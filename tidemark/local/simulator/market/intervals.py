"""Intervals of candles, whatever they are called: fixed ones, shifted ones, calendar months.

Lives here: where an interval begins and ends. Doesn't: their names (each exchange has its own) and candles
(``candles``, ``bars``).
"""

from __future__ import annotations

import time
from calendar import timegm
from typing import NamedTuple

MINUTE = 60
HOUR = 3_600
DAY = 86_400
MONDAY = 4 * DAY  # 1970-01-05


class Interval(NamedTuple):
    """An interval of ``seconds`` or, where that is 0, of ``months``; it begins ``shift`` seconds after the UTC one."""

    seconds: int = 0
    months: int = 0
    shift: int = 0

    def begin(self, second: int) -> int:
        """The begin of the interval in which Unix ``second`` lies."""
        if self.seconds:
            return second - (second - self.shift) % self.seconds
        at = time.gmtime(second - self.shift)
        return self._month((at.tm_year * 12 + at.tm_mon - 1) // self.months * self.months)

    def end(self, begin: int) -> int:
        """The end of the interval that begins at Unix ``begin``: the begin of the next."""
        if self.seconds:
            return begin + self.seconds
        at = time.gmtime(begin - self.shift)
        return self._month(at.tm_year * 12 + at.tm_mon - 1 + self.months)

    def base(self) -> int:
        """The longest of a second, a minute, an hour and a day (in seconds) of which these intervals are made."""
        if not self.seconds:
            return DAY if self.shift % DAY == 0 else HOUR
        fits = (unit for unit in (DAY, HOUR, MINUTE) if self.seconds % unit == 0 and self.shift % unit == 0)
        return next(fits, 1)

    def _month(self, number: int) -> int:
        """The begin of month ``number`` since the year 0."""
        year, month = divmod(number, 12)
        return timegm((year, month + 1, 1, 0, 0, 0)) + self.shift
