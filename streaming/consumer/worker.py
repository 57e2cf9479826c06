"""The sink's loop: consume, hand records to the partitions' writers, commit, rebalance, drain.

Lives here: everything between the broker's consumer and the writers, and what happens when the lake or the broker
does not answer (all partitions pause, nothing is lost, memory stays bounded). Doesn't: the lake protocol (``writer``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streaming.consumer import records
from streaming.consumer.dead_letters import KafkaDeadLetters, UndeliveredError
from streaming.consumer.log import KafkaLog, LogUnavailableError
from streaming.consumer.metrics import Meter, SinkVitals, TopicLag
from streaming.consumer.records import Record
from streaming.consumer.writer import PartitionWriter, Surroundings, Taken, Totals
from streaming.health import Pulse, Report
from streaming.notify import ServiceManager
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.lake.chain import Chain, FooterCache, cluster_name
from tidemark.lake.store import StoreUnavailableError, open_store
from tidemark.settings import Settings

_log = structlog.get_logger()
#: Errors after which asking again later makes sense.
LATER: Final = (StoreUnavailableError, UndeliveredError, LogUnavailableError)
#: What the client says when a log does not hold what it asked for, or is no more.
_LOG_IN_DOUBT: Final = (
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
)
_BATCH: Final = 400
_POLL_S: Final = 0.2
#: These go through many messages without a step of Python for each.
_TOPIC, _PARTITION = methodcaller("topic"), methodcaller("partition")
_HEARTBEAT_S: Final = 10.0
_LOOK_S: Final = 0.5
_BACKOFF_S: Final = (0.5, 30.0)
_BROKER_S: Final = 30.0

Place = tuple[str, int]


class BrokerError(Exception):
    """The broker can't be used; the message says which and what to look at."""


class Sink:
    """One worker.

    The workers of a group share out ``topics`` (all of the configured exchanges when left out), unless ``places``
    names the partitions that this one writes. ``after_upload`` is called with an object's path between its upload
    and the commit. ``seen`` counts the records taken.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topics: Sequence[str] = (),
        places: Sequence[Place] = (),
        after_upload: Callable[[str], None] = lambda path: None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._settings = settings
        self._sink = settings.sink
        self._topics = topics or _all_topics(settings)
        self._places = places
        self._consumer: Any = Consumer(_consumer_config(settings))
        self._looks = KafkaLog(settings.kafka, self._sink.worker)
        self._dead_letters = KafkaDeadLetters(settings.kafka, self._sink.worker)
        self._cluster = cluster_name(settings.kafka.cluster, _reported_cluster(self._consumer, settings))
        self.totals = Totals()
        self.meter = Meter()
        self.pulse = Pulse(manager, self.report)
        self._around = Surroundings(
            store=open_store(settings.lake),
            log=self._looks,
            dead_letters=self._dead_letters,
            limits=self._sink,
            now=time.monotonic,
            after_upload=after_upload,
            totals=self.totals,
            footers=FooterCache(),
            meter=self.meter,
        )
        self._writers: dict[Place, PartitionWriter] = {}
        self._closed: dict[Place, PartitionWriter] = {}  # assigned, not yet opened
        self._moved: set[Place] = set()  # what else this batch holds of these partitions is stale
        self.seen = 0
        self._failures = 0
        self._wait_until: float | None = None
        self._waiting_for = ""
        self._joined = False
        self._highs: dict[Place, int] = {}  # the offset that each log's next record gets, a moment ago
        self._look_at = 0.0
        self._beat_at = time.monotonic() + _HEARTBEAT_S
        self._write_soon = False
        self._stop = threading.Event()
        self._ended = threading.Event()

    def stop(self) -> None:
        """Ask the worker to drain and end. Safe in a signal handler and from another thread."""
        self._stop.set()

    def write_soon(self) -> None:
        """Ask the worker to write what it has gathered, without waiting for the time. Safe in a signal handler."""
        self._write_soon = True

    def run(self) -> None:
        """Work until stopped, then write what was gathered.

        Raises:
            LogChangedError: a topic was made anew; raise the epoch.
            CorruptObjectError, StoreError: the lake holds or refuses something that only a person can mend.
            BrokerError: the broker's client gave up.
        """
        _log.info(
            "sink starts",
            cluster=self._cluster,
            epoch=self._settings.kafka.epoch,
            lake=self._settings.lake.url,
        )
        threading.Thread(target=self._limit_the_end, daemon=True).start()
        try:
            self._begin()
            while not self._stop.is_set():
                self._turn(self._consumer.consume(_BATCH, _POLL_S))
                self._look()
                self._heartbeat()
                self.pulse.beat()
            self.pulse.stopping()
            self._drain()
        except KafkaException as error:
            raise BrokerError(f"the broker's client gave up: {error}") from error
        finally:
            self._consumer.close()
            self._looks.close()
            self._dead_letters.close()
            self._ended.set()
            self._stop.set()

    # --- one turn of the loop ---------------------------------------------------------------------------

    def _turn(self, messages: Sequence[Any]) -> None:
        """Work on what was consumed. Whatever does not answer now is asked again later, at growing distances."""
        try:
            self._work(messages)
        except LATER as error:
            wait = min(_BACKOFF_S[0] * 2**self._failures, _BACKOFF_S[1])
            self._failures += 1
            self._wait_until = time.monotonic() + wait
            self._waiting_for = str(error)
            self.meter.waits += 1
            self._consumer.pause(self._consumer.assignment())
            _log.error("waiting", reason=str(error), seconds=wait, failures=self._failures)

    def _work(self, messages: Sequence[Any]) -> None:
        if self._wait_until is not None:
            if time.monotonic() < self._wait_until:
                return  # what was consumed in the meantime is read again
            self._read_on_after_waiting()
        self._open_assigned()
        self._moved.clear()
        self._take_all(messages)
        self._rotate()
        self._failures = 0

    def _take_all(self, messages: Sequence[Any]) -> None:
        """Hand the messages of each partition to its writer, at once where nothing is out of the ordinary."""
        for place, group in self._by_place(messages):
            writer = self._writers.get(place)
            if writer is None or place in self._moved:
                continue  # revoked a moment ago, not opened yet, or read again from elsewhere
            batch = records.of_messages(group)
            if batch is not None and writer.take_all(batch):
                self.seen += len(group)
                if writer.due():
                    self._flush(writer)
                continue
            for message in group:
                self._take(place, records.from_message(message))

    def _by_place(self, messages: Sequence[Any]) -> Iterable[tuple[Place, Sequence[Any]]]:
        """The messages of each partition; errors among them are reported."""
        failures = [message for message in messages if message.error() is not None]
        for failure in failures:
            _report(failure.error())
            if failure.error().code() in _LOG_IN_DOUBT:
                self._doubt(failure.topic(), failure.partition())
        if failures:
            messages = [message for message in messages if message.error() is None]
        topics, partitions = set(map(_TOPIC, messages)), set(map(_PARTITION, messages))
        if len(topics) == len(partitions) == 1:  # the usual case, and many messages at once
            return [((topics.pop(), partitions.pop()), messages)]
        groups: dict[Place, list[Any]] = {}
        for message in messages:
            groups.setdefault((message.topic(), message.partition()), []).append(message)
        return groups.items()

    def _take(self, place: Place, record: Record) -> None:
        writer = self._writers.get(place)
        if writer is None or place in self._moved:
            return
        if writer.closes_hour(record):
            self._flush(writer)
            if place in self._moved:
                return
        taken = writer.take(record)
        if taken is Taken.AHEAD:
            self._flush(writer)
            if record.offset > writer.next:
                writer.skip_missing(record.offset)
            self._seek(writer)
        elif taken is Taken.STALE:
            self._doubt(*place)  # nobody asked for it: the client went back by itself
        self.seen += taken is Taken.ADDED
        if writer.due():
            self._flush(writer)

    def _rotate(self) -> None:
        asked, self._write_soon = self._write_soon, False
        for writer in list(self._writers.values()):
            if asked or writer.due():
                self._flush(writer)
        # Partitions share a budget, so that many busy ones can't take all memory.
        while sum(w.buffer.bytes for w in self._writers.values()) > self._buffer_bytes:
            self._flush(max(self._writers.values(), key=lambda w: w.buffer.bytes))

    @property
    def _buffer_bytes(self) -> int:
        """What all partitions together may hold back: a partition that is written stays within it."""
        return max(self._sink.buffer_bytes, 2 * self._sink.rotate_bytes)

    def _flush(self, writer: PartitionWriter) -> None:
        """Write, then read on where the writer stands, then commit that. In this order: the chain is the truth."""
        before = writer.next
        gathered = len(writer.buffer)
        writer.flush()
        self.pulse.beat()
        if writer.next != before:
            self._seek(writer)
        if gathered:
            self._commit([writer])

    # --- partitions come and go ------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._places:
            partitions = [TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in self._places]
            self._consumer.assign(partitions)
            self._await_opening(partitions)
            self._joined = True
            return
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._joined = True
        if not partitions:
            return
        consumer.incremental_assign([TopicPartition(p.topic, p.partition, OFFSET_BEGINNING) for p in partitions])
        self._await_opening(partitions)

    def _await_opening(self, partitions: list[TopicPartition]) -> None:
        """No record is taken from a partition before its chain has been read; until then it is paused."""
        self._consumer.pause(partitions)
        for p in partitions:
            chain = Chain(p.topic, self._cluster, self._settings.kafka.epoch, p.partition)
            self._closed[p.topic, p.partition] = PartitionWriter(chain, self._around)
            self.meter.assigned(p.topic)
        _log.info("assigned", partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        """Forget what was gathered: whoever gets the partition begins where its chain ends."""
        dropped = 0
        for p in partitions:
            self._closed.pop((p.topic, p.partition), None)
            writer = self._writers.pop((p.topic, p.partition), None)
            dropped += writer.drop() if writer else 0
        _log.info("revoked", partitions=[f"{p.topic}/{p.partition}" for p in partitions], offsets_dropped=dropped)

    def _doubt(self, topic: str, partition: int) -> None:
        """The log may have been made anew under us: what was gathered counts for nothing, open the chain again.

        ``partition`` is negative where the client speaks of the whole topic.
        """
        places = [p for p in self._writers if p[0] == topic and partition in (p[1], -1)]
        for place in places:
            writer = self._closed[place] = self._writers.pop(place)
            _log.warning("looking again", chain=str(writer.chain), next=writer.next, offsets_dropped=writer.drop())
        self._consumer.pause([TopicPartition(*place) for place in places])

    def _open_assigned(self) -> None:
        opened = []
        for place, writer in list(self._closed.items()):
            writer.open()
            self._seek(writer)
            self._consumer.resume([TopicPartition(*place)])
            self._writers[place] = self._closed.pop(place)
            opened.append(writer)
            self.pulse.beat()
            _log.info("opened", chain=str(writer.chain), next=writer.next)
        self._commit([w for w in opened if w.next > 0])

    def _seek(self, writer: PartitionWriter) -> None:
        place = TopicPartition(writer.chain.topic, writer.chain.partition, writer.next)
        self._moved.add((place.topic, place.partition))
        deadline = time.monotonic() + _BROKER_S
        while True:
            try:
                self._consumer.seek(place)
            except KafkaException as error:
                # The client refuses while it is still setting up its fetcher.
                if error.args[0].code() != KafkaError._STATE or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _commit(self, writers: Sequence[PartitionWriter]) -> None:
        """Commit where the chains end. Only lag shows in commits, so one that fails is no more than reported."""
        if not writers:
            return
        offsets = [TopicPartition(w.chain.topic, w.chain.partition, w.buffer.start) for w in writers]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            self.meter.commit_failures += 1
            _log.warning("commit failed", error=str(error), partitions=[str(w.chain) for w in writers])

    # --- when the lake or the broker did not answer -----------------------------------------------------

    def _read_on_after_waiting(self) -> None:
        """Write what could not be written, then read on where each writer stands."""
        for writer in list(self._writers.values()):
            if writer.due():
                self._flush(writer)
        for place, writer in self._writers.items():
            self._seek(writer)
            self._consumer.resume([TopicPartition(*place)])
        self._wait_until = None

    # --- how it is, asked from other threads -------------------------------------------------------------

    def report(self) -> Report:
        """What keeps this worker from its work: partitions not opened, lag not known, a lake that doesn't answer."""
        failing: dict[str, str] = {}
        writers = list(self._writers.values())
        if not self._joined:
            failing["partitions"] = f"not in the group {self._sink.group} yet"
        elif self._closed:
            failing["partitions"] = f"{len(self._closed)} not opened yet: their chains are being read"
        if unknown := sum(self._high(writer) is None for writer in writers):
            failing["lag"] = f"of {unknown} partitions not known yet"
        if self._wait_until is not None:
            failing["waiting"] = self._waiting_for
        lag = sum(self._lag(writer) for writer in writers)
        return Report(failing, facts={"partitions": len(writers), "lag_offsets": lag})

    def vitals(self) -> SinkVitals:
        """What metrics show."""
        writers = list(self._writers.values())
        return SinkVitals(
            lag=self._lag_of_topics(writers),
            partitions=len(writers),
            unopened=len(self._closed),
            gathered_bytes=sum(writer.buffer.bytes for writer in writers),
            gathered_limit=self._buffer_bytes,
            lost_races=self.totals.lost_races,
            waiting=self._wait_until is not None,
            quality=dict(self.meter.quality),
        )

    def _lag_of_topics(self, writers: Iterable[PartitionWriter]) -> dict[str, TopicLag]:
        found: dict[str, TopicLag] = {}
        for writer in writers:
            before = found.get(writer.chain.topic, TopicLag())
            offsets = self._lag(writer)
            # Nothing gathered, and yet behind: what is missing came after the newest row of the chain.
            since = writer.buffer.oldest_ns or writer.newest_ns
            seconds = max(0.0, (time.time_ns() - since) / 1e9) if offsets else 0.0
            found[writer.chain.topic] = TopicLag(before.offsets + offsets, max(before.seconds, seconds))
        return found

    # --- the end, and signs of life ----------------------------------------------------------------------

    def _drain(self) -> None:
        """Write everything gathered; what can't be written now, the next worker reads again."""
        for writer in list(self._writers.values()):
            try:
                self._flush(writer)
            except LATER as error:
                _log.error("not drained", chain=str(writer.chain), offsets=len(writer.buffer), reason=str(error))
        self._say("sink ends")

    def _limit_the_end(self) -> None:
        """Whatever hangs when the worker is asked to stop, an upload say: it ends in time."""
        self._stop.wait()
        if not self._ended.wait(self._sink.drain_timeout_s):
            _give_up()

    def _heartbeat(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._beat_at = time.monotonic() + _HEARTBEAT_S
            self._say("heartbeat")

    def _say(self, event: str) -> None:
        writers = list(self._writers.values())
        _log.info(
            event, partitions=len(writers), records=self.seen, lag=sum(self._lag(w) for w in writers),
            gathered=sum(len(w.buffer) for w in writers), gathered_bytes=sum(w.buffer.bytes for w in writers),
            **vars(self.totals),
        )  # fmt: skip

    def _lag(self, writer: PartitionWriter) -> int:
        """Records that the log holds and no object accounts for, as far as the client knows."""
        return max(0, (self._high(writer) or 0) - writer.buffer.start)

    def _high(self, writer: PartitionWriter) -> int | None:
        return self._highs.get((writer.chain.topic, writer.chain.partition))

    def _look(self) -> None:
        """Note where the logs end. Only the loop may ask the client: another thread waits until it stops consuming."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_S
        ends = {p: self._consumer.get_watermark_offsets(TopicPartition(*p), cached=True)[1] for p in self._writers}
        self._highs = {place: int(end) for place, end in ends.items() if end >= 0}


def _all_topics(settings: Settings) -> list[str]:
    return [naming.raw_topic(name, d) for name in settings.exchanges for d in registry.get(name).datasets]


def _consumer_config(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "client.id": settings.sink.worker,
        "group.id": settings.sink.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_uncommitted",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.sink.session_timeout_ms,
        "heartbeat.interval.ms": min(3_000, settings.sink.session_timeout_ms // 10),
        "topic.metadata.refresh.interval.ms": 5_000,
        "queued.max.messages.kbytes": 16_384,
        "fetch.wait.max.ms": 100,
        # Its default waits a second before it fetches again from a partition whose records were many.
        "fetch.queue.backoff.ms": 5,
    }


def _reported_cluster(consumer: Any, settings: Settings) -> str | None:
    try:
        return str(consumer.list_topics(timeout=_BROKER_S).cluster_id or "") or None
    except KafkaException as error:
        servers = settings.kafka.bootstrap_servers
        raise BrokerError(f"no broker answers at {servers}: see TIDEMARK_KAFKA__BOOTSTRAP_SERVERS ({error})") from error


def _report(error: Any) -> None:
    if error.fatal():
        raise KafkaException(error)
    if error.code() != KafkaError._PARTITION_EOF:
        _log.warning("consumer error", error=str(error))


def _give_up() -> None:
    _log.error("draining took too long; what was not written is read again by the next worker")
    os._exit(1)
