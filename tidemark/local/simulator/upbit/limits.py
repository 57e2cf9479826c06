"""Upbit's request limits.

Contains: counting by group and second, the block for those who keep on, the body of a refusal.
Does not contain: the other answers (``rest``, ``stream``).
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tidemark.local.simulator.window import Window

PER_SECOND = 10
_REFUSALS_BEFORE_BLOCK = 20
_FORGET_S = 10.0
_FIRST_BLOCK_S = 5.0


class Verdict(NamedTuple):
    """Whether a request may pass (200, else 429 or 418), what is left of the second, a block's length."""

    status: int
    remaining: int
    blocked_s: float = 0.0


def refusal(verdict: Verdict) -> str:
    """The body of a refusal; that of a block says how long, which no header does."""
    message = "Too many API requests."
    if verdict.status == 418:
        message = f"Too many API requests. You are blocked for {verdict.blocked_s:.0f} seconds."
    return json.dumps({"error": {"name": "too_many_requests", "message": message}})


class Limits:
    """The limits of one client address: ten requests a second in each group, one in 10 s from web pages."""

    def __init__(self, enabled: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled = enabled
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._refused: deque[float] = deque()
        self._blocked_until = 0.0
        self._block_s = _FIRST_BLOCK_S

    def take(self, group: str, limit: int = PER_SECOND, seconds: float = 1.0) -> Verdict:
        """Count one request of a group."""
        if not self._enabled:
            return Verdict(200, limit - 1)
        now = self._clock()
        if now < self._blocked_until:
            return Verdict(418, 0, self._blocked_until - now)
        window = self._windows.setdefault(group, Window(limit, seconds, self._clock))
        remaining = window.take()
        return Verdict(200, remaining) if remaining >= 0 else self._refuse(now)

    def take_of_page(self) -> Verdict:
        """Count one request or connection that names an Origin, as those of web pages do."""
        return self.take("origin", 1, 10.0)

    def _refuse(self, now: float) -> Verdict:
        self._refused.append(now)
        while self._refused[0] < now - _FORGET_S:
            self._refused.popleft()
        if len(self._refused) > _REFUSALS_BEFORE_BLOCK:
            self._blocked_until, self._block_s = now + self._block_s, self._block_s * 2
            self._refused.clear()
            return Verdict(418, 0, self._blocked_until - now)
        return Verdict(429, 0)
