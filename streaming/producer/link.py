"""One socket, from its opening to its end: every frame counted, numbered and handed on.

Lives here: the WebSocket listener. Doesn't: opening the next one (``session``), what frames mean
(``records``).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from streaming.producer.records import Framing, Record, connection_record
from tidemark.exchanges.base import Connection
from tidemark.exchanges.connection import ConnectionRecord

log = structlog.get_logger()

#: A message that is larger, in one frame or in fragments, ends the connection.
LARGEST_MESSAGE: Final = 32 * 1024 * 1024


@dataclass
class Counts:
    """What a worker has received since its start."""

    frames: int = 0
    bytes: int = 0
    opened: int = 0
    closed: int = 0
    failed_connects: int = 0
    datasets: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Desk:
    """What every connection of a worker shares: where records go, what is counted, and whose it is."""

    worker: str
    send: Callable[[Record], None]
    counts: Counts


class Link(WSListener):
    """The listener of one connection; ``closed`` resolves when its end and all before it has been handed on.

    A pause stops the reading, but megabytes may have been read ahead by then: their frames, numbered as they
    came, are held back here until the pause is over.
    """

    def __init__(self, framing: Framing, plan: Connection, subscription: list[bytes], desk: Desk) -> None:
        self._framing = framing
        self._plan = plan
        self._subscription = subscription
        self._desk = desk
        self._transport: WSTransport | None = None
        self._fragments: bytearray | None = None
        self._held: deque[Record] = deque()
        self._closing: Record | None = None
        self._reason = ""
        self._paused = False
        self.frames = 0
        self.heard_at = time.monotonic()
        self.opened_at: datetime | None = None
        self.last_frame_ns = 0
        self.codes_seen: set[str] = set()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> str:
        """The connection's name."""
        return self._framing.connection

    # --- what the socket says ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The socket is open: say so, and ask for data."""
        self._transport = transport
        self.opened_at = datetime.now(UTC)
        self.heard_at = time.monotonic()
        self._desk.counts.opened += 1
        self._desk.send(connection_record(self._connection()))
        log.info("connected", connection=self.name, codes=len(self._plan.codes), datasets=self._plan.datasets)
        for message in self._subscription:
            transport.send(WSMsgType.TEXT, message)
        if self._paused:
            self.pause()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame has come, or a part of one."""
        received_ns = time.time_ns()
        self.heard_at = time.monotonic()
        kind = frame.msg_type
        if self._reason:
            return
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self._data(frame.get_payload_as_bytes(), frame.fin, received_ns)
        elif kind == WSMsgType.CLOSE:
            self._closed_by_server(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is no more: say so, with the number of frames it brought."""
        reason = self._reason or _reason_of(transport)
        closed_at = datetime.now(UTC)
        last = datetime.fromtimestamp(self.last_frame_ns / 1e9, UTC) if self.last_frame_ns else None
        self._closing = connection_record(
            self._connection(closed_at=closed_at, last_frame_at=last, frames=self.frames, reason=reason)
        )
        self._desk.counts.closed += 1
        log.info("disconnected", connection=self.name, frames=self.frames, reason=reason)
        self._hand_on()

    # --- what the worker wants ---

    def pause(self) -> None:
        """Leave the socket unread."""
        self._paused = True
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read the socket again."""
        self._paused = False
        self.heard_at = time.monotonic()
        self._hand_on()
        if not self._paused and self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def flush(self) -> None:
        """Hand on what is held back, paused or not, because nobody will wait any longer."""
        self._hand_on(in_any_case=True)

    def keep_alive(self, message: bytes | None, patience_s: float) -> None:
        """Show life, and end a connection over which nothing came for ``patience_s`` (unread ones aside)."""
        if self._transport is None or self._transport.is_disconnected:
            return
        silent_s = time.monotonic() - self.heard_at
        if silent_s > patience_s and not self._paused:
            self.end(f"nothing came for {silent_s:.0f} s")
            self.abort()
        elif message is None:
            self._transport.send_ping()
        else:
            self._transport.send(WSMsgType.TEXT, message)

    def end(self, reason: str) -> None:
        """Take no more frames and say goodbye."""
        self._reason = self._reason or reason
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def abort(self) -> None:
        """Close the socket without waiting for the other side."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def silent_codes(self) -> list[str]:
        """The codes asked for of which nothing has come."""
        return sorted(set(self._plan.codes) - self.codes_seen)

    # --- inside ---

    def _data(self, payload: bytes, final: bool, received_ns: int) -> None:
        if final and self._fragments is None:
            self._message(payload, received_ns)
            return
        self._fragments = bytearray() if self._fragments is None else self._fragments
        self._fragments += payload
        if len(self._fragments) > LARGEST_MESSAGE:
            self.end(f"a message of more than {LARGEST_MESSAGE} bytes")
        elif final:
            whole, self._fragments = bytes(self._fragments), None
            self._message(whole, received_ns)

    def _message(self, payload: bytes, received_ns: int) -> None:
        self.frames += 1
        self.last_frame_ns = received_ns
        record, dataset, code = self._framing.record(payload, self.frames, received_ns)
        counts = self._desk.counts
        counts.frames += 1
        counts.bytes += len(payload)
        counts.datasets[dataset] += 1
        self.codes_seen.add(code)
        self._held.append(record)
        self._hand_on()

    def _hand_on(self, in_any_case: bool = False) -> None:
        while self._held and (in_any_case or not self._paused):
            self._desk.send(self._held.popleft())  # which may well begin a pause
        if self._closing is not None and not self._held:
            closing, self._closing = self._closing, None
            self._desk.send(closing)
            self.closed.set_result(None)

    def _closed_by_server(self, transport: WSTransport, frame: WSFrame) -> None:
        said = frame.get_close_message() or b""
        self._reason = (
            f"closed by the server: {_number(frame.get_close_code())} {said.decode(errors='replace')}".strip()
        )
        transport.send_close(WSCloseCode.OK)
        transport.disconnect()

    def _connection(self, **closing: Any) -> ConnectionRecord:
        asked = {"path": self._plan.path, "datasets": self._plan.datasets, "codes": self._plan.codes}
        return ConnectionRecord(
            exchange=self._framing.exchange.name,
            connection=self.name,
            worker=self._desk.worker,
            opened_at=self.opened_at or datetime.now(UTC),
            subscription=None if closing else asked,
            **closing,
        )


def _number(code: Any) -> int:
    return int(code)


def _reason_of(transport: WSTransport) -> str:
    """Why a connection ended that nobody ended in order."""
    handshake = transport.close_handshake
    if handshake is not None and handshake.sent is not None:
        return f"ended after {_number(handshake.sent.code)} {handshake.sent.reason or ''}".strip()
    return "connection lost"
