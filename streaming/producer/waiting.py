"""Waiting: for a stop or some time, one after another, and longer after every failure.

Lives here: back-off, the turnstile, waits that a stop ends. Doesn't: what is waited for.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Backoff:
    """Full jitter: any pause up to a ceiling that doubles with every failure."""

    min_s: float
    max_s: float
    failures: int = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling = min(self.max_s, self.min_s * 2 ** min(self.failures, 30))
        self.failures += 1
        return random.uniform(0, ceiling)  # noqa: S311 - spreads reconnects, hides nothing

    def reset(self) -> None:
        """All was well."""
        self.failures = 0


@dataclass
class Turnstile:
    """Lets connections be opened one after another, no faster than the exchange allows."""

    per_second: float
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def pass_through(self, stop: asyncio.Event) -> None:
        """Wait for one's turn, or for ``stop``."""
        async with self._lock:
            await wait_for(stop, 1 / self.per_second)


async def wait_for(stop: asyncio.Event, seconds: float) -> bool:
    """Wait until ``stop`` or for so long; whether it was ``stop``."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def first_of(stop: asyncio.Event, *futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait for one of the futures, for ``stop``, or for so long."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({*futures, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
