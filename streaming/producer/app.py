"""The producer put together: start in order, run, and end in order.

Lives here: the life of the worker. Doesn't: any of its parts; the environment and signals (``__main__``).

It ends with 0 when asked to stop and everything was delivered; with 1 when a record was not delivered, or the broker
cannot be used at all. An exchange that fails ends nothing: it is tried again, and the others don't notice.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import KafkaException

from streaming.health import Pulse
from streaming.metrics import Buckets
from streaming.notify import ServiceManager
from streaming.producer.books import DEPTH, BookCounts, BookKeeper
from streaming.producer.breaker import Breaker
from streaming.producer.broker import Broker
from streaming.producer.contracts import ContractSizes
from streaming.producer.counts import Counts, ExchangeCounts
from streaming.producer.feed import Feed
from streaming.producer.gate import Gate
from streaming.producer.link import Desk, FrameListener
from streaming.producer.metrics import LATENCY_S
from streaming.producer.pace import CommitWatch, Pace
from streaming.producer.readiness import Readiness
from streaming.producer.records import ConnectionNames
from streaming.producer.session import Line
from streaming.producer.snapshots import Snapshots
from streaming.producer.subscriptions import SubscriptionWatch
from streaming.producer.waiting import Backoff, Turnstile, first_of, wait_for
from tidemark import bans, naming
from tidemark.bans import Ban
from tidemark.exchanges import registry
from tidemark.exchanges.base import Exchange
from tidemark.settings import ExchangeSettings, KafkaSettings, ProducerSettings

log = structlog.get_logger()

HEARTBEAT_S: Final = 10.0
_BROKER_TIMEOUT_S: Final = 5.0
_CATCH_UP_S: Final = 20.0


class StartError(Exception):
    """The worker cannot run as it is set up; the message says what to do."""


@dataclass(frozen=True)
class Setup:
    """Everything a producer is told: its exchanges, the broker, its own limits, and the sink's group."""

    exchanges: Mapping[str, ExchangeSettings]
    kafka: KafkaSettings
    producer: ProducerSettings
    sink_group: str
    heartbeat_s: float = HEARTBEAT_S
    #: Where bans are remembered (TIDEMARK_TRANSPORT__STATE_DIR); empty: the machine's directory.
    state_dir: str = ""


async def run(setup: Setup, stop: asyncio.Event) -> int:
    """Run until ``stop``, or until it cannot go on; the exit code."""
    return await Worker(setup, stop).run()


class Worker:
    """One producer, from its start to its end."""

    def __init__(self, setup: Setup, stop: asyncio.Event, manager: ServiceManager | None = None) -> None:
        producer = setup.producer
        self._setup = setup
        self._stop = stop
        self._end_by: float | None = None
        self._watch: CommitWatch | None = None
        self.gate = Gate()
        self.counts = Counts()
        self.book_counts: defaultdict[str, BookCounts] = defaultdict(BookCounts)
        self._pace = Pace(self.gate, producer.max_lag_bytes) if setup.kafka.memory else None
        self.broker = Broker(
            setup.kafka, producer.worker, self.gate, producer.max_buffer_bytes, producer.linger_ms, self._pace
        )
        servers = setup.kafka.bootstrap_servers
        self.readiness = Readiness(setup.exchanges.keys(), servers, self.counts, self.broker, self.gate)
        self.pulse = Pulse(manager, self.readiness.report)
        self.latency = Buckets(LATENCY_S)
        directory = bans.directory(setup.state_dir)
        #: By exchange: the ban of this address by the host of its REST interface, and by that of its sockets.
        self.bans = {
            name: (Ban(name, one.rest_url, directory), Ban(name, one.ws_url, directory))
            for name, one in setup.exchanges.items()
        }
        self.broker.on_turn = self._turn
        self.broker.on_latency = self.latency.observe

    async def run(self) -> int:
        """See ``app.run``."""
        beside = [asyncio.create_task(self.broker.pump()), asyncio.create_task(self._heartbeat())]
        failed = False
        try:
            await self._await_broker()
            if self._pace is not None:
                beside.append(asyncio.create_task((await self._watch_sink(self._pace)).follow()))
            if not self._stop.is_set():
                await self._live(beside)
        except StartError as error:
            log.error("cannot run", error=str(error))
            failed = True
        finally:
            for task in beside:
                task.cancel()
            delivered = await self._end()
        return 0 if delivered and not failed else 1

    async def _await_broker(self) -> None:
        """Wait for the broker, and make sure that the topics are there."""
        backoff = self._backoff()
        while not self._stop.is_set():
            try:
                missing = await asyncio.to_thread(self.broker.missing, self._topics(), _BROKER_TIMEOUT_S)
            except KafkaException as error:
                log.warning("no broker yet", servers=self._setup.kafka.bootstrap_servers, error=str(error))
                await wait_for(self._stop, backoff.next())
                continue
            if missing:
                raise StartError(f"no such topics: {', '.join(missing)}; make them with `tidemark migrate`")
            self.readiness.broker_found = True
            return

    async def _watch_sink(self, pace: Pace) -> CommitWatch:
        self._watch = CommitWatch(self._setup.kafka, self._setup.sink_group, self._topics(), pace)
        backoff = self._backoff()
        while not self._stop.is_set():
            try:
                await asyncio.to_thread(self._watch.start)
                break
            except KafkaException as error:
                log.warning("the sink's offsets cannot be read yet", error=str(error))
                await wait_for(self._stop, backoff.next())
        return self._watch

    def _feeds(self) -> dict[str, tuple[Exchange, Feed]]:
        """A feed for each exchange, with nothing shared but the way to the broker."""
        producer = self._setup.producer
        names = ConnectionNames(producer.worker)
        desk = Desk(producer.worker, self.broker.send)
        feeds = {}
        for name, settings in self._setup.exchanges.items():
            exchange, counts = registry.get(name), self.counts[name]
            turnstile = Turnstile(exchange.connects_per_second)
            rest_ban, socket_ban = self.bans[name]
            breaker = Breaker(name, counts, producer.breaker_failures, producer.breaker_open_s, socket_ban)
            listeners = self._listeners(exchange, settings)
            line = Line(exchange, producer, desk, self.gate, names, turnstile, breaker, counts, listeners, socket_ban)
            feeds[name] = exchange, Feed(line, settings, rest_ban)
        return feeds

    def _listeners(self, exchange: Exchange, settings: ExchangeSettings) -> dict[str, FrameListener]:
        """What follows an exchange's data beside its way to the broker: books, where it sends changes of them."""
        if DEPTH not in exchange.datasets:
            return {}
        keeper = BookKeeper(
            exchange,
            self._setup.producer.worker,
            lambda record: self.broker.send(*record),
            Snapshots(exchange, settings, ban=self.bans[exchange.name][0]),
            self.book_counts[exchange.name],
            sizes=ContractSizes(exchange, settings),
        )
        return {DEPTH: keeper}

    async def _live(self, beside: list[asyncio.Task[None]]) -> None:
        """All exchanges until the end; when this returns, every connection has its close record."""
        ending, caught_up = asyncio.Event(), asyncio.Event()
        feeds = self._feeds()
        orders = SubscriptionWatch(self._setup.kafka, feeds, self.counts)
        running = [asyncio.create_task(orders.run(ending, caught_up))]
        failed = asyncio.create_task(self.broker.failed.wait())
        beginning = asyncio.create_task(caught_up.wait())
        await first_of(self._stop, beginning, failed, timeout_s=_CATCH_UP_S)
        running += [asyncio.create_task(feed.run(ending)) for _, feed in feeds.values()]
        await first_of(self._stop, *running[1:], *beside, failed)
        log.info("stopping", because="asked to" if self._stop.is_set() else "something failed")
        self.pulse.stopping()
        self._end_by = asyncio.get_running_loop().time() + self._setup.producer.drain_timeout_s
        ending.set()
        failed.cancel()
        beginning.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for task in (*running[1:], *beside):
            if task.done():
                task.result()

    async def _end(self) -> bool:
        """Deliver what is on its way; whether all of it arrived."""
        now = asyncio.get_running_loop().time()
        end_by = self._end_by or now + self._setup.producer.drain_timeout_s
        drained = await self.broker.drain(max(end_by - now, 0.5))
        self._say("stopped" if drained else "stopped with records undelivered")
        if not drained:
            self.broker.abandon()
        if self._watch is not None:
            self._watch.close()
        return drained and not self.broker.failed.is_set()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._setup.heartbeat_s)
            self._say("alive")

    def _turn(self) -> None:
        self.readiness.turn()
        self.pulse.beat()

    def _say(self, event: str) -> None:
        broker, gate = self.broker, self.gate
        log.info(
            event,
            exchanges={name: _said(counts) for name, counts in self.counts.items()},
            delivered=broker.delivered,
            undelivered=broker.in_flight,
            failures=broker.failures,
            buffered_bytes=broker.buffered_bytes,
            buffer_fill=round(broker.fill, 3),
            slowest_delivery_ms=round(broker.slowest_s * 1000, 1),
            paused=gate.held,
            times_paused=gate.times_held,
        )
        broker.slowest_s = 0.0

    def _topics(self) -> list[str]:
        names = self._setup.exchanges
        return [naming.raw_topic(name, dataset) for name in names for dataset in registry.get(name).datasets]

    def _backoff(self) -> Backoff:
        return Backoff(self._setup.producer.reconnect_min_s, self._setup.producer.reconnect_max_s)


def _said(counts: ExchangeCounts) -> dict[str, Any]:
    """What the heartbeat says of one exchange; what never happened is left out."""
    said = {
        "frames": counts.frames,
        "bytes": counts.bytes,
        "datasets": {dataset: tally.frames for dataset, tally in counts.datasets.items()},
        "connections": counts.connections,
        "planned": counts.planned,
        "breaker": counts.breaker,
    }
    happened = {
        "failed_connects": counts.failed_connects,
        "reconnects": counts.reconnects,
        "acks_missing": counts.acks_missing,
        "refused": counts.refused,
        "silences": dict(counts.silences),
        "silent_codes": sum(counts.silent_codes.values()),
        "unreadable_codes": len(counts.unreadable_codes),
        "market_list_failures": counts.market_list_failures,
        "bad_orders": counts.bad_orders,
        "restarts": counts.restarts,
    }
    return said | {name: what for name, what in happened.items() if what}
