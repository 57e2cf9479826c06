"""One socket, from its opening to its end: every frame counted, numbered and handed on.

Lives here: the WebSocket listener. Doesn't: opening the next one (``session``), judging whether this one is well
(``watch``), what frames mean (``tidemark.exchanges``).

``on_ws_frame`` and ``_message`` are the hot path: everything that is the same for all frames of a stream (topic, key,
counters) is looked up once and kept in its :class:`Stream`, and headers are written into one dictionary over and over.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Protocol

import structlog
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from streaming.producer import records
from streaming.producer.counts import UNHEARD_ENDS, End, ExchangeCounts, Tally
from streaming.producer.records import LARGEST_FRAME, SYSTEM, Headers, Record
from tidemark import naming
from tidemark.exchanges.base import Connection, Exchange, Word
from tidemark.exchanges.connection import ConnectionRecord

log = structlog.get_logger()

#: A message that is larger, in one frame or in fragments, ends the connection.
LARGEST_MESSAGE: Final = 32 * 1024 * 1024
#: Messages that one connection sends, at most so many a second: the strictest exchange allows five.
MESSAGES_PER_SECOND: Final = 4.0
#: What an exchange may take to follow a subscription that it has got; most say nothing when they do.
_TAKES_EFFECT: Final = timedelta(seconds=1)
_BINARY: Final = WSMsgType.BINARY
_TEXT: Final = WSMsgType.TEXT
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_SHOWN: Final = 300

Send = Callable[[str, bytes | None, bytes, int, Headers], None]
_now_ns = time.time_ns


class FrameListener(Protocol):
    """Something that follows one dataset of an exchange (its books, say) beside the way to Kafka.

    It hears all connections that bring the dataset, in the event loop, each frame after it has been handed on.
    """

    def opened(self, name: str, codes: Sequence[str], renew: Callable[[str], None]) -> None:
        """A connection is open; ``renew`` puts another in its place and is told why."""

    def feed(self, name: str, code: str, payload: bytes, received_ns: int) -> None:
        """A frame has come over it; ``received_ns`` is when, Unix time."""

    def closed(self, name: str) -> None:
        """It is no more."""

    async def run(self) -> None:
        """What goes on beside the frames, until cancelled."""


@dataclass(frozen=True)
class Desk:
    """What every connection of a worker shares: whose it is, and where records go."""

    worker: str
    send: Send


@dataclass(slots=True)
class Stream:
    """What a connection brings of one dataset and market."""

    dataset: str
    code: str
    topic: str
    key: bytes | None
    tally: Tally
    frames: int = 0
    #: Called with each frame and the time of its receipt, once it has been handed on.
    after: Callable[[bytes, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A wish that another connection takes this one's place."""

    end: End
    reason: str


@dataclass
class Heard:
    """What the exchange said on a connection beside data."""

    acknowledged: int = 0
    refusals: list[str] = field(default_factory=list)


class Link(WSListener):
    """The listener of one connection; ``closed`` resolves when its end and all before it has been handed on.

    A pause stops the reading, but megabytes may have been read ahead by then: their frames, numbered as they came, are
    held back here until the pause is over. ``turn`` resolves when the connection should be replaced by another.
    """

    def __init__(
        self,
        exchange: Exchange,
        name: str,
        plan: Connection,
        subscription: Sequence[bytes],
        desk: Desk,
        counts: ExchangeCounts,
        listeners: Mapping[str, FrameListener],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.plan = plan
        self._listeners = {dataset: listeners[dataset] for dataset in plan.datasets if dataset in listeners}
        self._exchange = exchange
        self._classify = exchange.classify
        self._subscription = deque(subscription)
        self._until_it_listens = timedelta(seconds=len(subscription) / MESSAGES_PER_SECOND) + _TAKES_EFFECT
        self._worker = desk.worker
        self._send = desk.send
        self._counts = counts
        self._headers = records.frame_headers(name)
        self._failed_listeners: set[str] = set()
        self._transport: WSTransport | None = None
        self._fragments: bytearray | None = None
        self._plain = True
        self._held: deque[Record] = deque()
        self._closing: Record | None = None
        self._end: tuple[End, str] | None = None
        self._controls = 0
        self.paused = False
        self.frames = 0
        self.last_frame_ns = 0
        self.opened_at: datetime | None = None
        self.streams: dict[tuple[str, str], Stream] = {}
        self.heard = Heard()
        self.turn: asyncio.Future[Turn] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def signs_of_life(self) -> int:
        """Grows with everything that comes, data or not."""
        return self.frames + self._controls

    @property
    def asked(self) -> bool:
        """Whether the whole subscription has been sent."""
        return self.opened_at is not None and not self._subscription

    @property
    def ended_for(self) -> End | None:
        """Why it ended, once it has or is about to."""
        return self._end[0] if self._end else None

    def brought(self) -> set[str]:
        """The datasets of which something has come."""
        return {stream.dataset for stream in self.streams.values()} - {SYSTEM}

    def silent_codes(self) -> list[str]:
        """The codes asked for of which nothing has come."""
        return sorted(set(self.plan.codes) - {stream.code for stream in self.streams.values()})

    # --- what the socket says ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The socket is open: say so, and ask for data."""
        self._transport = transport
        self.opened_at = datetime.now(UTC)
        self._counts.opened += 1
        try:
            self._opened(transport)
        except Exception as error:
            self._failed(error)

    def _opened(self, transport: WSTransport) -> None:
        self._send(*records.connection_record(self._connection()))
        log.info("connected", connection=self.name, codes=len(self.plan.codes), datasets=self.plan.datasets)
        if self._subscription:
            transport.send(_TEXT, self._subscription.popleft())
        for dataset, listener in self._listeners.items():
            try:
                listener.opened(self.name, self.plan.codes, lambda because: self.ask_turn(End.RENEWED, because))
            except Exception:
                self._listener_failed(dataset)
        if self.paused:
            self.pause()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame has come, or a part of one."""
        received_ns = _now_ns()
        try:
            kind = frame.msg_type
            if not (self._plain and (kind is _BINARY or kind is _TEXT) and frame.fin):
                self._uncommon(transport, frame, kind, received_ns)
                return
            self._message(frame.get_payload_as_bytes(), received_ns)
        except Exception as error:
            self._failed(error)

    def _uncommon(self, transport: WSTransport, frame: WSFrame, kind: WSMsgType, received_ns: int) -> None:
        """Parts of messages, signs of life, goodbyes, and what comes after ours."""
        self._controls += 1
        if self._end is not None:
            return
        if kind in (_TEXT, _BINARY, _CONTINUATION):
            self._fragment(frame.get_payload_as_bytes(), frame.fin, received_ns)
        elif kind == _CLOSE:
            self._closed_by_exchange(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is no more: say so, with the number of frames it brought."""
        end, reason = self._end or (End.LOST, _reason_of(transport))
        self._end = (end, reason)
        self._plain = False
        if self.heard.refusals:
            reason = f"{reason}; refused: {'; '.join(self.heard.refusals)}"[: 4 * _SHOWN]
        closed_at = datetime.now(UTC)
        last = datetime.fromtimestamp(self.last_frame_ns / 1e9, UTC) if self.last_frame_ns else None
        unheard = {"heard_until": last or self.opened_at} if end in UNHEARD_ENDS else {}
        self._closing = records.connection_record(
            self._connection(closed_at=closed_at, last_frame_at=last, frames=self.frames, reason=reason, **unheard)
        )
        self._counts.closed += 1
        self._counts.ends[end] += 1
        log.info("disconnected", connection=self.name, frames=self.frames, reason=reason)
        for dataset, listener in self._listeners.items():
            try:
                listener.closed(self.name)
            except Exception:
                self._listener_failed(dataset)
        self._hand_on()

    # --- what the worker wants ---

    def pause(self) -> None:
        """Leave the socket unread."""
        self.paused = True
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.pause_reading()

    def resume(self) -> None:
        """Read the socket again."""
        self.paused = False
        self._hand_on()
        if not self.paused and self._transport is not None and not self._transport.is_disconnected:
            self._transport.underlying_transport.resume_reading()

    def flush(self) -> None:
        """Hand on what is held back, paused or not, because nobody will wait any longer."""
        self._hand_on(in_any_case=True)

    async def ask_on(self) -> None:
        """Send the rest of the subscription, no faster than exchanges allow."""
        while self._subscription:
            await asyncio.sleep(1 / MESSAGES_PER_SECOND)
            if self._transport is None or self._transport.is_disconnected or self._end is not None:
                return
            self._transport.send(_TEXT, self._subscription.popleft())

    def keep_alive(self, message: bytes | None) -> None:
        """Show life."""
        if self._transport is None or self._transport.is_disconnected:
            return
        if message is None:
            self._transport.send_ping()
        else:
            self._transport.send(_TEXT, message)

    def record_alive(self) -> None:
        """Put on record that the connection stands, so that a quiet one is not taken for a dead one."""
        if self.ended_for is None and self.opened_at is not None:
            self._send(*records.connection_record(self._connection(alive_at=datetime.now(UTC), frames=self.frames)))

    def ask_turn(self, end: End, reason: str) -> None:
        """Wish for another connection in this one's place; the first wish stands."""
        if not self.turn.done():
            self.turn.set_result(Turn(end, reason))

    def end(self, end: End, reason: str) -> None:
        """Take no more frames and say goodbye."""
        self._end = self._end or (end, reason)
        self._plain = False
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def abort(self) -> None:
        """Close the socket without waiting for the other side."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # --- inside ---

    def _message(self, frame: bytes, received_ns: int) -> None:
        self.frames = number = self.frames + 1
        self.last_frame_ns = received_ns
        try:
            label = self._classify(frame)
        except Exception:  # the frame is recorded all the same
            self._listener_failed(SYSTEM)
            label = SYSTEM, ""
        stream = self.streams.get(label) or self._new_stream(label)
        stream.frames += 1
        tally = stream.tally
        tally.frames += 1
        tally.bytes += len(frame)
        headers = self._headers
        headers["received_ns"] = b"%d" % received_ns
        headers["frame"] = b"%d" % number
        if self.paused or len(frame) > LARGEST_FRAME:
            self._keep(stream, frame, received_ns)
        else:
            self._send(stream.topic, stream.key, frame, received_ns // 1_000_000, headers)
        if stream.after is not None:
            stream.after(frame, received_ns)

    def _new_stream(self, label: tuple[str, str]) -> Stream:
        dataset, code = label
        key = code.encode() or None
        if dataset == SYSTEM:
            key = self._headers["connection"]
        topic = naming.raw_topic(self._exchange.name, dataset)
        stream = Stream(dataset, code, topic, key, self._counts.datasets[dataset])
        stream.after = self._reply if dataset == SYSTEM else self._hearer(dataset, code)
        self.streams[label] = stream
        return stream

    def _hearer(self, dataset: str, code: str) -> Callable[[bytes, int], None] | None:
        listener = self._listeners.get(dataset)
        if listener is None:
            return None
        feed = partial(listener.feed, self.name, code)

        def hear(frame: bytes, received_ns: int) -> None:
            try:
                feed(frame, received_ns)
            except Exception:
                self._listener_failed(dataset)

        return hear

    def _listener_failed(self, dataset: str) -> None:
        """Count an error of what follows the data, and show the first: the data is on record, the connection stays."""
        self._counts.restarts += 1
        if dataset not in self._failed_listeners:  # showing one takes longer than many frames
            self._failed_listeners.add(dataset)
            log.exception("listener_failed", connection=self.name, dataset=dataset)

    def _failed(self, error: Exception) -> None:
        """End the connection for an error of ours, and say that it was ours."""
        self._counts.restarts += 1
        log.exception("connection_failed", connection=self.name, frames=self.frames)
        self.end(End.FAILED, f"an error of ours: {type(error).__name__}: {error}"[:_SHOWN])

    def _reply(self, frame: bytes, received_ns: int) -> None:
        """Hear what the exchange says beside data."""
        try:
            reply = self._exchange.reply(frame)
        except Exception:
            self._listener_failed(SYSTEM)
            return
        if reply is None or reply.word is Word.ALIVE:
            return
        about = f"{reply.about}: {reply.message}".strip(": ")[:_SHOWN]
        if reply.word is Word.ACKNOWLEDGED:
            self.heard.acknowledged += 1
        elif reply.word is Word.REFUSED:
            self.heard.refusals.append(about)
            self._counts.refused += 1
            log.error("the exchange refuses a subscription", connection=self.name, said=about)
        elif reply.word is Word.LEAVING:
            log.warning("the exchange is about to close a connection", connection=self.name, said=about)
            self.ask_turn(End.LEAVING, f"the exchange was about to close it: {about}")

    def _fragment(self, payload: bytes, final: bool, received_ns: int) -> None:
        self._fragments = bytearray() if self._fragments is None else self._fragments
        self._fragments += payload
        self._plain = False
        if len(self._fragments) > LARGEST_MESSAGE:
            self.end(End.TOO_LARGE, f"a message of more than {LARGEST_MESSAGE} bytes")
        elif final:
            whole, self._fragments = bytes(self._fragments), None
            self._plain = True
            self._message(whole, received_ns)

    def _keep(self, stream: Stream, frame: bytes, received_ns: int) -> None:
        """What the hot path leaves out: frames during a pause, and frames that don't fit into a record."""
        if len(frame) > LARGEST_FRAME:
            record = records.oversized(self._exchange.name, frame, stream.dataset, self._headers, received_ns)
        else:
            headers = self._headers.copy()
            record = Record(stream.topic, stream.key, frame, received_ns // 1_000_000, headers)
        self._held.append(record)
        self._hand_on()

    def _hand_on(self, in_any_case: bool = False) -> None:
        while self._held and (in_any_case or not self.paused):
            self._send(*self._held.popleft())  # which may well begin a pause
        if self._closing is not None and not self._held:
            closing, self._closing = self._closing, None
            self._send(*closing)
            self.closed.set_result(None)

    def _closed_by_exchange(self, transport: WSTransport, frame: WSFrame) -> None:
        said = frame.get_close_message() or b""
        reason = f"closed by the server: {_number(frame.get_close_code())} {said.decode(errors='replace')}".strip()
        self._end = (End.CLOSED, reason)
        self._plain = False
        transport.send_close(WSCloseCode.OK)
        transport.disconnect()

    def _connection(self, **closing: Any) -> ConnectionRecord:
        opened_at = self.opened_at or datetime.now(UTC)
        asked = {"path": self.plan.path, "datasets": self.plan.datasets, "codes": self.plan.codes}
        opening = {"subscription": asked, "listening_by": opened_at + self._until_it_listens}
        return ConnectionRecord(
            exchange=self._exchange.name,
            connection=self.name,
            worker=self._worker,
            opened_at=opened_at,
            **(closing or opening),
        )


def _number(code: Any) -> int:
    return int(code)


def _reason_of(transport: WSTransport) -> str:
    """Why a connection ended that nobody ended in order."""
    handshake = transport.close_handshake
    if handshake is not None and handshake.sent is not None:
        return f"ended after {_number(handshake.sent.code)} {handshake.sent.reason or ''}".strip()
    return "connection lost"
