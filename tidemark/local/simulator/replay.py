"""Playing a recording of a real session.

Contains: sending its frames, byte for byte and in order, once.
Does not contain: reading it (``recording``), any market; REST knows the recording's markets and what was recorded.

A recording is one stream. It starts when a client has subscribed to anything, and goes whole to every connection that
has, whatever types and codes it asked for; where an exchange has several roots, each gets the frames of its own. It
waits while nobody is connected, and, once and for a while, for a root that has frames and no connection. Frames that no
connection survives are given up after a few attempts.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.ledger import SentLog
from tidemark.local.simulator.player import Phases
from tidemark.local.simulator.recording import Frame, Recording

_BATCH = 200
_PATIENCE_S = 10.0
_ATTEMPTS = 5
#: A longer pause between two frames is not waited for: one of the two has a time that makes no sense.
_LONGEST_PAUSE_S = 300.0


class ReplayPlayer:
    """Plays a recording to a hub."""

    def __init__(self, recording: Recording, hub: Hub, log: SentLog, phases: Phases, speed: float | None) -> None:
        """``speed``: times the recorded pace; None: as fast as the sockets take it."""
        self.recording = recording
        self.place = 0
        #: Frames that broke every connection that they were sent on.
        self.given_up = 0
        self._absent: set[str] = set()
        self._hub = hub
        self._log = log
        self._phases = phases
        self._speed = speed

    async def run(self) -> None:
        """Play the recording once."""
        await self._hub.until_ready()
        self._phases.enter("fast")
        frames = self.recording.frames
        while self.place < len(frames):
            batch = frames[self.place : self.place + (1 if self._speed else _BATCH)]
            await self._play(batch)
            self.place += len(batch)
            await self._pause()
        self._phases.enter("done")

    async def _play(self, batch: list[Frame]) -> None:
        left = {frame.root for frame in batch}
        for _ in range(_ATTEMPTS):
            await self._hub.until_ready()
            await self._await_roots(left)
            left = {root for root in left if not await self._send(root, [f for f in batch if f.root == root])}
            if not left:
                return
        self.given_up += sum(frame.root in left for frame in batch)

    async def _await_roots(self, roots: set[str]) -> None:
        """Wait until each of these roots has a subscriber; one that has not come in time is waited for only once."""
        self._absent = {root for root in self._absent if not self._receivers(root)}
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while missing := {root for root in roots - self._absent if not self._receivers(root)}:
            if asyncio.get_running_loop().time() >= deadline:
                self._absent |= missing
                return
            await asyncio.sleep(0.05)

    def _receivers(self, root: str) -> list[Connection]:
        return [
            connection for connection, asked in self._hub.subscribers() if asked.channels() and connection.root == root
        ]

    async def _send(self, root: str, batch: list[Frame]) -> bool:
        """Whether these frames of one root need no second try: taken whole by a connection, or wanted by nobody."""
        receivers = self._receivers(root)
        for connection in receivers:
            connection.write_recorded(frame.payload for frame in batch)
        took = [connection for connection in receivers if await connection.drain()]
        for connection in took:
            self._log.record(connection.name, (trade for frame in batch for trade in frame.trades))
            self._hub.counts.update(Counter(frame.kind for frame in batch))
        return bool(took) or (not receivers and bool(self._hub.ready()))

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s() / self._speed if self._speed else 0)

    def _pause_s(self) -> float:
        """Recorded seconds until the next frame; none where the two times make no sense together."""
        frames = self.recording.frames
        if self.place >= len(frames):
            return 0.0
        pause = frames[self.place].at - frames[self.place - 1].at
        return pause if 0 < pause <= _LONGEST_PAUSE_S else 0.0
