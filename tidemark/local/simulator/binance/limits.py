"""Binance's request weights.

Contains: counting by client address and minute, the ban of those who keep on.
Does not contain: the answers (``rest``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

PER_MINUTE = 2_400
_REFUSALS_BEFORE_BAN = 10
_BAN_S = 120.0


class Verdict(NamedTuple):
    """Whether a request may pass (200, else 429 or 418), the weight used this minute, and when to try again.

    ``retry_s`` goes into a header; None: there is none. ``banned_until_ms``: the end of a ban (Unix ms).
    """

    status: int
    used: int
    retry_s: int | None = None
    banned_until_ms: int | None = None


class BinanceLimits:
    """The weights that all client addresses have used."""

    def __init__(self, enabled: bool, clock: Callable[[], float] = time.time, *, ban_in_words: bool = False) -> None:
        """``clock``: Unix seconds; ``ban_in_words``: the end of a ban is in the message only."""
        self._enabled = enabled
        self._ban_in_words = ban_in_words
        self._clock = clock
        self._used: dict[str, tuple[int, int, int]] = {}  # minute, weight, refusals
        self._banned: dict[str, float] = {}

    def take(self, address: str, weight: int) -> Verdict:
        """Count one request."""
        now = self._clock()
        minute, used, refused = self._used.get(address, (0, 0, 0))
        if minute != int(now // 60):
            minute, used, refused = int(now // 60), 0, 0
        if not self._enabled or (self._banned.get(address, 0) <= now and used + weight <= PER_MINUTE):
            self._used[address] = (minute, used + weight, refused)
            return Verdict(200, used + weight)
        if self._banned.get(address, 0) <= now:
            self._used[address] = (minute, used, refused + 1)
            if refused < _REFUSALS_BEFORE_BAN:
                return Verdict(429, used, int(60 - now % 60) + 1)
            self._banned[address] = now + _BAN_S
        until = self._banned[address]
        return Verdict(418, used, None if self._ban_in_words else int(until - now) + 1, int(until * 1000))
