"""An exchange that the test drives: a scripted WebSocket server in a thread, and the book of what it sent.

Lives here: sending trades to whoever subscribes, and remembering over which connection, under which number and when.
Doesn't: the server itself (``tests.integration.producer.exchange``), expectations (``proof``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.integration.producer.exchange import Client, ScriptedExchange

T = TypeVar("T")
CODE = "KRW-BTC"
_TURN_S = 0.02


@dataclass(frozen=True)
class Sent:
    """One frame: the connection's ticket (empty: nobody was connected), its number there from 1, Unix ns."""

    connection: str
    number: int
    at_ns: int
    frame: bytes


def trade(number: int, *, code: str = CODE, at_ns: int = 0, **changes: Any) -> bytes:
    """A trade as the exchange spells it; its id is ``number``, its time now unless ``at_ns`` says otherwise."""
    at_ms = (at_ns or time.time_ns()) // 10**6
    message = {
        "type": "trade", "code": code, "timestamp": at_ms, "trade_timestamp": at_ms,
        "trade_price": 100_000_000.0 + number % 1_000, "trade_volume": 0.5, "ask_bid": "BID",
        "sequential_id": number, "stream_type": "REALTIME",
    }  # fmt: skip
    return json.dumps(message | changes).encode()


class Feed:
    """``with Feed() as feed``: serves on ``feed.url``; ``feed.sent`` is the book."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.exchange = ScriptedExchange(self._script)
        self._muted: Client | None = None
        self._numbers = itertools.count(1)
        self._counts: Counter[str] = Counter()
        self._clients: list[Client] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._running = contextlib.AsyncExitStack()

    def __enter__(self) -> Feed:
        self._thread.start()
        self.run(self._running.enter_async_context(self.exchange.running()))
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._running.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where producers connect."""
        return self.exchange.url

    @property
    def connections(self) -> int:
        """How many have subscribed so far."""
        return len(self._clients)

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = 60) -> T:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def trades(self, count: int, **changes: Any) -> list[bytes]:
        """The next ``count`` trades."""
        return [trade(next(self._numbers), **changes) for _ in range(count)]

    def send(self, frames: Iterable[bytes] | int, timeout_s: float = 60) -> None:
        """Send these frames (or so many trades) to whoever is connected; waits for a connection."""
        listed = self.trades(frames) if isinstance(frames, int) else list(frames)
        self.run(self._send(listed), timeout_s)

    @contextlib.contextmanager
    def flowing(self, per_second: int = 500) -> Iterator[None]:
        """The market goes on while the test does something else, connected or not; begins with a connection."""
        self.client()
        task = asyncio.run_coroutine_threadsafe(self._flow(per_second), self._loop)
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(BaseException):
                task.result(5)

    def mute(self) -> None:
        """The connection that is open now gets no frame any more; its pings are answered."""
        self._muted = self.client()

    def client(self, timeout_s: float = 30) -> Client:
        """The connection that is open now; waits for one."""
        return self.run(self.subscribed(), timeout_s)

    def reconnected(self, before: int, timeout_s: float = 60) -> None:
        """Wait until more than ``before`` connections have subscribed."""
        deadline = time.monotonic() + timeout_s
        while self.connections <= before:
            assert time.monotonic() < deadline, "the producer did not connect again"
            time.sleep(0.02)

    def all_read(self, timeout_s: float = 30) -> None:
        """Wait until the other side has read everything that was sent."""

        async def wait() -> None:
            await (await self.subscribed()).all_read()

        self.run(wait(), timeout_s)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def subscribed(self) -> Client:
        """The connection that is open now; waits for one."""
        while (client := self._open()) is None:
            await asyncio.sleep(_TURN_S)
        return client

    async def _script(self, client: Client) -> None:
        if client not in self._clients:
            self._clients.append(client)

    def _open(self) -> Client | None:
        return next((c for c in reversed(self._clients) if not c.gone.is_set()), None)

    async def _send(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            await self._send_one(await self.subscribed(), frame)

    async def _send_one(self, client: Client, frame: bytes) -> None:
        await client.writable.wait()
        ticket = client.asked[0]["ticket"]
        self._counts[ticket] += 1
        self.sent.append(Sent(ticket, self._counts[ticket], time.time_ns(), frame))
        client.transport.send(2, frame)  # type: ignore[arg-type]
        await asyncio.sleep(0)

    async def _flow(self, per_second: int) -> None:
        while True:
            for frame in self.trades(max(1, round(per_second * _TURN_S))):
                client = self._open()
                if client is None or client is self._muted:
                    self.sent.append(Sent("", 0, time.time_ns(), frame))
                else:
                    await self._send_one(client, frame)
            await asyncio.sleep(_TURN_S)
