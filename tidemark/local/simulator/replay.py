"""Playing a recording of a real session.

Lives here: telling its frames, verbatim and in order, once. Doesn't: reading it (``recording``), any market; REST
knows the recording's markets and what was recorded, and nothing else.

A recording is one stream: it starts when somebody has subscribed to anything, goes to every connection that
has, whole (whatever types and codes they asked for; where an exchange has several roots, what belongs to the
connection's), and stands while nobody is connected, or while a root that it needs has no connection.
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


class ReplayPlayer:
    """Plays a recording to a hub."""

    def __init__(self, recording: Recording, hub: Hub, log: SentLog, phases: Phases, speed: float | None) -> None:
        """``speed``: times the recorded pace; None: as fast as the sockets take it."""
        self.recording = recording
        self.place = 0
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
            left = {frame.root for frame in batch}
            while left:
                await self._hub.until_ready()
                await self._await_roots(left)
                left = {root for root in left if not await self._send(root, [f for f in batch if f.root == root])}
            self.place += len(batch)
            await self._pause()
        self._phases.enter("done")

    async def _await_roots(self, roots: set[str]) -> None:
        """Wait until each of these roots has a subscriber; one that never comes is waited for a while only."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while not all(self._receivers(root) for root in roots) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    def _receivers(self, root: str) -> list[Connection]:
        return [
            connection for connection, asked in self._hub.subscribers() if asked.channels() and connection.root == root
        ]

    async def _send(self, root: str, batch: list[Frame]) -> bool:
        """Whether these frames of one root need no second try: taken whole by a connection, or wanted by nobody."""
        receivers = self._receivers(root)
        for connection in receivers:
            connection.write(frame.payload for frame in batch)
        took = [connection for connection in receivers if await connection.drain()]
        for connection in took:
            self._log.record(connection.name, (frame.trade for frame in batch if frame.trade))
            self._hub.counts.update(Counter(frame.kind for frame in batch))
        return bool(took) or (not receivers and bool(self._hub.ready()))

    async def _pause(self) -> None:
        frames = self.recording.frames
        if self._speed and self.place < len(frames):
            await asyncio.sleep(max(frames[self.place].at - frames[self.place - 1].at, 0) / self._speed)
        else:
            await asyncio.sleep(0)
