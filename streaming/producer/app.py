"""The producer put together: start in order, run, and end in order.

Lives here: the life of the worker. Doesn't: any of its parts; the environment and signals (``__main__``).

It ends with 0 when asked to stop and everything was delivered; with 1 when a record was not delivered, or the
exchange or the broker cannot be used at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from confluent_kafka import KafkaException

from streaming.producer import markets
from streaming.producer.broker import Broker
from streaming.producer.gate import Gate
from streaming.producer.link import Counts, Desk
from streaming.producer.pace import CommitWatch, Pace
from streaming.producer.records import ConnectionNames
from streaming.producer.session import Backoff, Session, Turnstile, wait_for
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.settings import ExchangeSettings, KafkaSettings, ProducerSettings
from tidemark.transport import TransportError

log = structlog.get_logger()

HEARTBEAT_S: Final = 10.0
_BROKER_TIMEOUT_S: Final = 5.0


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


async def run(setup: Setup, stop: asyncio.Event) -> int:
    """Run until ``stop``, or until it cannot go on; the exit code."""
    return await Worker(setup, stop).run()


class Worker:
    """One producer, from its start to its end."""

    def __init__(self, setup: Setup, stop: asyncio.Event) -> None:
        self._setup = setup
        self._stop = stop
        self._gate = Gate()
        self._counts = Counts()
        self._broker = Broker(setup.kafka, setup.producer.worker, self._gate, setup.producer.max_buffer_bytes)
        self._watch: CommitWatch | None = None
        self._end_by: float | None = None

    async def run(self) -> int:
        """See ``app.run``."""
        beside = [asyncio.create_task(self._broker.pump()), asyncio.create_task(self._heartbeat())]
        failed = False
        try:
            await self._await_broker()
            if self._setup.kafka.memory:
                beside.append(asyncio.create_task((await self._watch_sink()).follow()))
            await self._live(await self._sessions(), beside)
        except (StartError, TransportError, ValueError) as error:
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
                missing = await asyncio.to_thread(self._broker.missing, self._topics(), _BROKER_TIMEOUT_S)
            except KafkaException as error:
                log.warning("no broker yet", servers=self._setup.kafka.bootstrap_servers, error=str(error))
                await wait_for(self._stop, backoff.next())
                continue
            if missing:
                raise StartError(f"no such topics: {', '.join(missing)}; make them with `tidemark migrate`")
            return

    async def _watch_sink(self) -> CommitWatch:
        pace = Pace(self._gate, self._setup.producer.max_lag_bytes)
        self._broker.on_sent, self._broker.on_delivered = pace.sent, pace.delivered
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

    async def _sessions(self) -> list[Session]:
        """One session for each connection of every exchange's plan."""
        setup = self._setup
        names = ConnectionNames(setup.producer.worker)
        desk = Desk(setup.producer.worker, self._broker.send, self._counts)
        sessions: list[Session] = []
        for name, settings in setup.exchanges.items():
            exchange = registry.get(name)
            codes = await markets.codes(exchange, settings, self._backoff(), self._stop)
            if self._stop.is_set():
                return []
            plans = exchange.connections(settings, codes, settings.codes_per_connection)
            log.info("planned", exchange=name, codes=len(codes), connections=len(plans))
            turnstile = Turnstile(exchange.connects_per_second)
            sessions += [
                Session(exchange, settings, plan, setup.producer, desk, self._gate, names, turnstile) for plan in plans
            ]
        return sessions

    async def _live(self, sessions: list[Session], beside: list[asyncio.Task[None]]) -> None:
        """All sessions until the end; when this returns, every connection has its close record."""
        ending = asyncio.Event()
        running = [asyncio.create_task(session.run(ending)) for session in sessions]
        waits = [asyncio.create_task(event.wait()) for event in (self._stop, self._broker.failed)]
        done, _ = await asyncio.wait([*running, *beside, *waits], return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping", because="asked to" if self._stop.is_set() else "something failed")
        self._end_by = asyncio.get_running_loop().time() + self._setup.producer.drain_timeout_s
        ending.set()
        for task in waits:
            task.cancel()
        await asyncio.gather(*running, *waits, return_exceptions=True)
        for ended in done:
            ended.result()

    async def _end(self) -> bool:
        """Deliver what is on its way; whether all of it arrived."""
        now = asyncio.get_running_loop().time()
        end_by = self._end_by or now + self._setup.producer.drain_timeout_s
        drained = await self._broker.drain(max(end_by - now, 0.5))
        self._say("stopped" if drained else "stopped with records undelivered")
        if not drained:
            self._broker.abandon()
        if self._watch is not None:
            self._watch.close()
        return drained and not self._broker.failed.is_set()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(self._setup.heartbeat_s)
            self._say("alive")

    def _say(self, event: str) -> None:
        counts, broker, gate = self._counts, self._broker, self._gate
        log.info(
            event,
            frames=counts.frames,
            bytes=counts.bytes,
            datasets=dict(counts.datasets),
            connections=counts.opened - counts.closed,
            opened=counts.opened,
            failed_connects=counts.failed_connects,
            delivered=broker.delivered,
            undelivered=broker.in_flight,
            failures=broker.failures,
            buffered_bytes=broker.in_flight_bytes,
            paused=gate.held,
            times_paused=gate.times_held,
        )

    def _topics(self) -> list[str]:
        names = self._setup.exchanges
        return [naming.raw_topic(name, dataset) for name in names for dataset in registry.get(name).datasets]

    def _backoff(self) -> Backoff:
        return Backoff(self._setup.producer.reconnect_min_s, self._setup.producer.reconnect_max_s)
