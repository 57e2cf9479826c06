"""Counting within a moving window, as request limits do.

Lives here: the window. Doesn't: any exchange's limits (``upbit.limits``, ``okx.limits``, ``binance.limits``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Window:
    """At most ``limit`` events in any ``seconds``."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._times: deque[float] = deque()

    def take(self) -> int:
        """Count one event; how many more may follow, or -1 for one too many (which isn't counted)."""
        now = self._clock()
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return -1
        self._times.append(now)
        return self._limit - len(self._times)
