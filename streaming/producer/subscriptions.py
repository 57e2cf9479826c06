"""Subscriptions that change while the producer runs: the compacted topic ``control.subscriptions.v1``.

Lives here: reading the topic, and what its records may say. Doesn't: what follows from them (``feed``).

Key: the exchange. Value: a JSON object with any of ``codes``, ``datasets`` and ``candle_intervals``, each a list of
texts; what is left out is as the settings say, and no codes means all that are listed. No value (a tombstone): all as
the settings say. A record that cannot be followed is reported and ignored: what was asked for before goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from streaming.producer.counts import Counts
from streaming.producer.feed import Feed
from streaming.producer.waiting import wait_for
from tidemark import naming
from tidemark.exchanges.base import Exchange, Unparsable
from tidemark.settings import ExchangeSettings, KafkaSettings

log = structlog.get_logger()

_TIMEOUT_S: Final = 5.0
_CATCH_UP_S: Final = 15.0
_POLL_S: Final = 0.5
_AGAIN_S: Final = 30.0


class BadOrderError(Exception):
    """A record of the topic that cannot be followed; the message says why."""


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    codes: list[str] | None = None
    datasets: list[str] | None = None
    candle_intervals: list[str] | None = None


_ORDER: Final = msgspec.json.Decoder(_Order)


def read(value: bytes | None, exchange: Exchange, configured: ExchangeSettings) -> ExchangeSettings | None:
    """The settings that a record asks for; None: those that are configured.

    Raises:
        BadOrderError: it says nothing that could be followed.
    """
    if value is None:
        return None
    try:
        order = _ORDER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrderError(f"not an object of codes, datasets and candle_intervals: {error}") from None
    asked = {name: tuple(found) for name in order.__struct_fields__ if (found := getattr(order, name)) is not None}
    for name, texts in asked.items():
        if len(set(texts)) < len(texts) or not all(texts):
            raise BadOrderError(f"{name}: a text is empty or there twice")
    for code in asked.get("codes", ()):
        try:
            exchange.market(code)
        except Unparsable as error:
            raise BadOrderError(f"codes: {error.message}") from None
    unknown = sorted(set(asked.get("datasets", ())) - set(exchange.datasets))
    if unknown:
        raise BadOrderError(f"datasets {', '.join(unknown)}: there are {', '.join(exchange.datasets)}")
    return configured.model_copy(update=asked)


class SubscriptionWatch:
    """Reads the topic from its beginning, and goes on reading; hands each record to the feed of its exchange."""

    def __init__(self, settings: KafkaSettings, feeds: Mapping[str, tuple[Exchange, Feed]], counts: Counts) -> None:
        self._feeds = feeds
        self._counts = counts
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                # No group is joined and nothing committed: every producer reads everything.
                "group.id": "tidemark.subscriptions",
                "enable.auto.commit": False,
                "enable.partition.eof": False,
                "auto.offset.reset": "earliest",
            }
        )

    async def run(self, stop: asyncio.Event, caught_up: asyncio.Event) -> None:
        """Read until ``stop``; ``caught_up`` is set once everything that was there at the start has been read."""
        try:
            ends = await self._begin(stop, caught_up)
            while not stop.is_set():
                if not ends:
                    caught_up.set()
                for message in await asyncio.to_thread(self._consumer.consume, 100, _POLL_S):
                    self._take(message, ends)
        finally:
            caught_up.set()
            await asyncio.to_thread(self._consumer.close)

    async def _begin(self, stop: asyncio.Event, caught_up: asyncio.Event) -> dict[int, int]:
        """Start reading; the end of each partition that has records. Waits for a topic that isn't there yet."""
        said = False
        while not stop.is_set():
            try:
                return await asyncio.to_thread(self._assign)
            except KafkaException as error:
                log.warning("subscriptions cannot be read yet", topic=naming.SUBSCRIPTIONS, error=str(error))
            except LookupError:
                if not said:
                    log.warning(
                        "no topic to change subscriptions by; `tidemark migrate` makes it", topic=naming.SUBSCRIPTIONS
                    )
                said = True
            caught_up.set()  # nobody shall wait for it
            await wait_for(stop, _AGAIN_S)
        return {}

    def _assign(self) -> dict[int, int]:
        topic = naming.SUBSCRIPTIONS
        there = self._consumer.list_topics(timeout=_TIMEOUT_S).topics
        if topic not in there:
            raise LookupError(topic)
        ends = {}
        for partition in there[topic].partitions:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
            if high > low:
                ends[partition] = high
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in there[topic].partitions])
        return ends

    def _take(self, message: Message, ends: dict[int, int]) -> None:
        if message.error() is not None:
            log.warning("subscriptions cannot be read", error=str(message.error()))
            return
        try:
            self._follow(message)
        finally:
            partition, offset = message.partition() or 0, message.offset() or 0
            if offset + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)

    def _follow(self, message: Message) -> None:
        name = (message.key() or b"").decode(errors="replace")
        if name not in self._feeds:
            log.info("subscriptions of an exchange that is not ours", exchange=name)
            return
        exchange, feed = self._feeds[name]
        try:
            feed.order(read(message.value(), exchange, feed.configured))
        except (BadOrderError, ValueError) as error:
            self._counts[name].bad_orders += 1
            log.error(
                "subscriptions that cannot be followed are ignored",
                exchange=name,
                offset=message.offset(),
                error=str(error),
            )
        else:
            log.info("subscriptions changed", exchange=name, tombstone=message.value() is None)
