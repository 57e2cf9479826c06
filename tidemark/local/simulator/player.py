"""How fast the simulated market is played, and to whom.

Lives here: the three phases. Doesn't: what happens (``timeline``), the sockets (``hub``).

* **fast**: the simulated past, as fast as the subscribers' sockets take it. The simulated clock stands while
  the subscribers that are waited for are not connected. A batch during which a connection broke is told
  again, as far as no other connection took it; what was handed to the kernel of a broken connection counts as
  sent.
* **live**: real time from now on. The clock never stops; trades nobody subscribes to are missed.
* **done**: the period has been played and nothing follows (only without ``then_live``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tidemark.local.simulator.hub import Hub
from tidemark.local.simulator.ledger import SentLog
from tidemark.local.simulator.swap.timeline import SwapTimeline
from tidemark.local.simulator.timeline import Happening, Timeline

_BATCH = 400  # happenings per write
_LIVE_STEP_S = 0.05
_CAUGHT_UP_MS = 1_000


class Phases:
    """Which phase began when (wall clock, Unix seconds)."""

    def __init__(self) -> None:
        self.history: list[dict[str, object]] = []
        self.began: dict[str, asyncio.Event] = {
            "fast": asyncio.Event(),
            "live": asyncio.Event(),
            "done": asyncio.Event(),
        }

    @property
    def current(self) -> str:
        """The running phase; "waiting" before the first."""
        return str(self.history[-1]["phase"]) if self.history else "waiting"

    def enter(self, phase: str) -> None:
        """A phase begins now."""
        self.history.append({"phase": phase, "began_at": time.time()})
        self.began[phase].set()


class Player:
    """Plays a timeline to a hub."""

    def __init__(
        self,
        timeline: Timeline | SwapTimeline,
        hub: Hub,
        log: SentLog,
        phases: Phases,
        *,
        stop_at_ms: int | None,
    ) -> None:
        """``stop_at_ms``: the end of playing, None to go on live."""
        self._timeline = timeline
        self._hub = hub
        self._log = log
        self._phases = phases
        self._stop_at_ms = stop_at_ms

    async def run(self) -> None:
        """Play until the end, or for ever."""
        await self._hub.until_ready()
        self._phases.enter("fast")
        if self._stop_at_ms is not None:
            end = self._stop_at_ms
            await self._play_fast(lambda: end)
            await self._deliver_surely(self._timeline.flush(self._hub.channels()))
            self._phases.enter("done")
            return
        await self._play_fast(lambda: _wall_ms() - _CAUGHT_UP_MS)
        self._timeline.go_live()
        self._phases.enter("live")
        await self._play_live()

    async def _play_fast(self, until_ms: Callable[[], int]) -> None:
        timeline = self._timeline
        while timeline.now_ms < until_ms():
            await self._hub.until_ready()
            channels = self._hub.channels()
            batch: list[Happening] = []
            while len(batch) < _BATCH and timeline.now_ms < until_ms():
                step = timeline.now_ms + 10_000
                batch += timeline.advance(min(step, until_ms()), channels)
            await self._deliver_surely(batch)
            await asyncio.sleep(0)

    async def _deliver_surely(self, batch: list[Happening]) -> None:
        while batch:
            batch = await self._hub.deliver(batch, wait=True)
            if batch:
                await self._hub.until_ready()

    async def _play_live(self) -> None:
        while True:
            await asyncio.sleep(_LIVE_STEP_S)
            happenings = self._timeline.advance(_wall_ms(), self._hub.channels())
            for lost in await self._hub.deliver(happenings, wait=False):
                self._log.missed[lost.code] += 1


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
