"""A scripted exchange: a real WebSocket server on a free port that sends what a test says.

Lives here: the server, and reading topics back. Doesn't: expectations (the tests).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import picows
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from tidemark.exchanges.base import Connection, Reply, Word
from tidemark.exchanges.upbit import Upbit
from tidemark.settings import ExchangeSettings

Script = Callable[["Client"], Awaitable[None]]


def fast(name: str, **more: Any) -> Upbit:
    """Upbit under a name of the test's own (so it has its own topics), in no hurry to be polite.

    ``more`` is what it does otherwise: ``lifetime_s``, ``quiet_s``, and ``acks``, so many to each connection.
    """

    class Named(Upbit):
        connects_per_second: ClassVar[float] = 50.0
        acks: ClassVar[int] = 0

        def acknowledgements(self, settings: ExchangeSettings, connection: Connection) -> int:
            return self.acks

        def reply(self, frame: bytes) -> Reply | None:
            if not frame.startswith(b'{"word"'):
                return super().reply(frame)
            return Reply(Word(json.loads(frame)["word"]), "a stream", "says why")

    Named.name = name
    for attribute, value in more.items():
        setattr(Named, attribute, value)
    return Named()


def says(word: Word) -> bytes:
    """A frame by which the test's exchange says that."""
    return json.dumps({"word": word.value}).encode()


class MarketServer:
    """The list of markets over REST; ``codes`` may change, or be None: then it answers with an error.

    What is no text among the codes is a row as it stands.
    """

    def __init__(self, *codes: Any) -> None:
        self.codes: tuple[Any, ...] | None = codes
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                listed = outer.codes
                rows = [
                    {"market": c, "korean_name": c, "english_name": c} if isinstance(c, str) else c
                    for c in listed or ()
                ]
                body = json.dumps(rows).encode()
                self.send_response(500 if listed is None else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> MarketServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Client(WSListener):
    """One connection as the exchange sees it."""

    def __init__(self, server: ScriptedExchange, number: int, headers: dict[str, str]) -> None:
        self.server = server
        self.number = number
        self.headers = headers
        self.asked: list[Any] = []
        self.messages = 0
        self.opened_at = time.monotonic()
        self.gone_at: float | None = None
        self.pings = 0
        self.gone = asyncio.Event()
        self.answered = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.messages += 1
            self.asked = json.loads(frame.get_payload_as_bytes())
            self.server.start(self)
        elif frame.msg_type == WSMsgType.PING:
            self.pings += 1
            if self.server.answers_pings:
                transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.PONG:
            self.answered.set()
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone_at = time.monotonic()
        self.gone.set()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    @property
    def codes(self) -> list[str]:
        """The codes that were asked for."""
        return list(next(part["codes"] for part in self.asked if "codes" in part))

    async def send(self, payload: bytes, kind: WSMsgType = WSMsgType.BINARY, fin: bool = True) -> None:
        """Send a frame, as fast as the other side reads."""
        await self.writable.wait()
        self.transport.send(kind, payload, fin)
        await asyncio.sleep(0)

    async def all_read(self) -> None:
        """Wait until the other side has read everything that was sent: it answers a ping behind it."""
        self.answered.clear()
        self.transport.send_ping(b"there?")
        await self.answered.wait()

    def close(self, code: int, reason: str) -> None:
        """Close the connection in order."""
        self.transport.send_close(WSCloseCode(code), reason.encode())
        self.transport.disconnect()


@dataclass
class ScriptedExchange:
    """Runs ``script`` for every connection once it has asked for data."""

    script: Script
    answers_pings: bool = True
    refuse: int = 0
    #: What refused handshakes are answered with: status, headers, body. None: a plain 404.
    refusal: tuple[int, dict[str, str], bytes] | None = None
    refused_at: list[float] = field(default_factory=list)
    url: str = ""
    tls: ssl.SSLContext | None = None
    clients: list[Client] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    #: What a script noted.
    sent: dict[Any, Any] = field(default_factory=dict)

    def listener(self, request: picows.WSUpgradeRequest) -> Client | picows.WSUpgradeResponseWithListener | None:
        """A new connection, or a refusal."""
        if self.refuse:
            self.refuse -= 1
            self.refused_at.append(time.monotonic())
            if self.refusal is None:
                return None
            status, sent, body = self.refusal
            answer = picows.WSUpgradeResponse.create_error_response(status, body, sent)
            return picows.WSUpgradeResponseWithListener(answer, None)
        headers = {str(name).lower(): str(value) for name, value in request.headers.items()}
        self.clients.append(Client(self, len(self.clients), headers))
        return self.clients[-1]

    def start(self, client: Client) -> None:
        """Begin the script."""
        self.tasks.append(asyncio.ensure_future(self.script(client)))

    def settings(self, **fields: Any) -> ExchangeSettings:
        """Settings of this exchange."""
        return ExchangeSettings(ws_url=self.url, rest_url="http://127.0.0.1:1", **{"codes": ("KRW-BTC",), **fields})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedExchange]:
        """Serve on a free port."""
        server = await picows.ws_create_server(
            self.listener, "127.0.0.1", 0, enable_auto_pong=False, websocket_handshake_timeout=5, ssl=self.tls
        )
        self.url = f"ws{'s' if self.tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            for task in self.tasks:
                task.cancel()
            server.close()
            for client in self.clients:
                if not client.gone.is_set():
                    client.transport.disconnect(graceful=False)
            results = await asyncio.gather(*self.tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def read(bootstrap: str, topics: Collection[str]) -> list[Message]:
    """All records of these topics, partition by partition, to their present ends."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reads-only", "enable.auto.commit": False})
    try:
        there = consumer.list_topics(timeout=10).topics
        ends = {}
        for topic in topics:
            for partition in there[topic].partitions:
                low, high = _marks(consumer, TopicPartition(topic, partition))
                if high > low:
                    ends[topic, partition] = high
        consumer.assign([TopicPartition(topic, partition, 0) for topic, partition in ends])
        found: list[Message] = []
        deadline = time.monotonic() + 60
        while ends and time.monotonic() < deadline:
            for message in consumer.consume(5_000, 0.5):
                assert message.error() is None, message.error()
                found.append(message)
                place = (message.topic(), message.partition())
                if message.offset() + 1 >= ends.get(place, 0):
                    ends.pop(place, None)
        assert not ends, f"not read to the end: {ends}"
        return sorted(found, key=lambda m: (m.topic(), m.partition(), m.offset()))
    finally:
        consumer.close()


def headers(message: Message) -> dict[str, str]:
    """A record's headers as text."""
    return {name: value.decode() for name, value in message.headers() or ()}


def _marks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """First and next offset; a topic just made may be without a leader for a moment."""
    deadline = time.monotonic() + 20
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=10)
            return low, high
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
