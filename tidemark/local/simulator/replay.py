"""Playing a recording of a real session.

Lives here: reading cryptofeed's capture format, and telling its frames, verbatim and in order, once. Doesn't:
any market; REST knows the recording's markets and nothing else.

A recording is one stream: it starts when somebody has subscribed to anything, goes to every connection that
has, whole (whatever types and codes they asked for), and stands while nobody is connected.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tidemark.local.simulator.hub import Hub
from tidemark.local.simulator.ledger import E8, Sent, SentLog
from tidemark.local.simulator.player import Phases

_RECEIVED = re.compile(r"(?P<at>\d+\.\d+): (?P<frame>.*)", re.DOTALL)
_BATCH = 200


class RecordingError(Exception):
    """The file can't be played; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A recorded frame: when it was received (Unix s), its bytes, type and market code if it has them."""

    at: float
    payload: bytes
    kind: str
    code: str
    trade: Sent | None


@dataclass(frozen=True, slots=True)
class Recording:
    """The frames of a file, in order."""

    frames: list[Frame]

    def codes(self) -> list[str]:
        """The market codes that have frames."""
        return sorted({frame.code for frame in self.frames if frame.code})


def read_recording(path: Path) -> Recording:
    """The recording in ``path``; RecordingError when it can't be read or holds no frame."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"can't read the recording {path}: {error}; give a file in cryptofeed's format") from error
    frames = list(_frames(path, lines))
    if not frames:
        raise RecordingError(f"no received frame in {path}: lines look like `1618678263.010785: b'{{...}}'`")
    return Recording(frames)


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
            await self._hub.until_ready()
            batch = frames[self.place : self.place + (1 if self._speed else _BATCH)]
            if await self._send(batch):
                self.place += len(batch)
                await self._pause()
        self._phases.enter("done")

    async def _send(self, batch: list[Frame]) -> bool:
        """Whether any connection took the batch whole."""
        receivers = [connection for connection, _ in self._hub.subscribers()]
        for connection in receivers:
            connection.write(frame.payload for frame in batch)
        took = [connection for connection in receivers if await connection.drain()]
        for connection in took:
            self._log.record(connection.name, (frame.trade for frame in batch if frame.trade))
            self._hub.counts.update(Counter(frame.kind for frame in batch))
        return bool(took)

    async def _pause(self) -> None:
        frames = self.recording.frames
        if self._speed and self.place < len(frames):
            await asyncio.sleep(max(frames[self.place].at - frames[self.place - 1].at, 0) / self._speed)
        else:
            await asyncio.sleep(0)


def _frames(path: Path, lines: list[str]) -> Iterator[Frame]:
    for number, line in enumerate(lines, 1):
        match = _RECEIVED.fullmatch(line)
        if match is None:
            continue  # an opened connection, a sent message, a REST answer
        try:
            payload = _payload(match["frame"])
        except (ValueError, SyntaxError) as error:
            raise RecordingError(f"line {number} of {path} is no frame: {error}") from error
        yield _described(float(match["at"]), payload)


def _payload(text: str) -> bytes:
    if text.startswith(("b'", 'b"')):
        payload = ast.literal_eval(text)
        if not isinstance(payload, bytes):
            raise ValueError("not a bytes literal")
        return payload
    return text.encode()


def _described(at: float, payload: bytes) -> Frame:
    """What the frame is about; a frame that isn't JSON is played all the same."""
    try:
        item: Any = json.loads(payload, parse_float=Decimal)
    except ValueError:
        return Frame(at, payload, "unknown", "", None)
    item = item[0] if isinstance(item, list) and item else item
    if not isinstance(item, dict):
        return Frame(at, payload, "unknown", "", None)
    kind, code = str(item.get("ty", item.get("type", "unknown"))), str(item.get("cd", item.get("code", "")))
    return Frame(at, payload, kind, code, _trade(code, item) if kind == "trade" else None)


def _trade(code: str, item: dict[str, Any]) -> Sent | None:
    try:
        price, size = item.get("tp", item.get("trade_price")), item.get("tv", item.get("trade_volume"))
        return Sent(
            code,
            int(item["sid"] if "sid" in item else item["sequential_id"]),
            int(item["ttms"] if "ttms" in item else item["trade_timestamp"]),
            _scaled(price),
            _scaled(size),
            item.get("ab", item.get("ask_bid")) == "ASK",
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _scaled(value: Any) -> int:
    scaled = Decimal(value) * E8
    if scaled != int(scaled):
        raise ValueError(f"{value} has more than 8 decimals")
    return int(scaled)
