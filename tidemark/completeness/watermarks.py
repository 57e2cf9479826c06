"""Where each partition stood at the end of each receive hour, as the broker says.

Lives here: asking the broker, and ``ops.watermark``. Doesn't: what follows from it (``chain``).

An hour that is over gets its watermark once and for good: the first offset whose time lies behind the hour. The running
hour gets the partition's present end. The in-memory broker knows no times: there an hour's records are those up to its
end at the last look.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tidemark import naming
from tidemark.completeness.verdicts import HOUR, Scope, hour_of
from tidemark.lake.chain import Chain, cluster_name
from tidemark.settings import KafkaSettings
from tidemark.warehouse.connection import Connection

log = logging.getLogger(__name__)
_TIMEOUT_S: Final = 20.0
_ATTEMPTS: Final = 10
_PAUSE_S: Final = 1.0
_PASSING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
#: Frontiers are asked for in these steps, so many of them back from now.
_STEP: Final = timedelta(minutes=5)
_STEPS: Final = 24
#: The identity that needs watermarks: its hours that were not green are asked for again.
CHAIN: Final = 1

_UPSERT: Final = """
INSERT INTO ops.watermark (topic, partition, cluster, epoch, hour_at, low_offset, high_offset, captured_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (topic, partition, cluster, epoch, hour_at) DO UPDATE SET
    low_offset = excluded.low_offset, high_offset = excluded.high_offset, captured_at = excluded.captured_at
WHERE watermark.captured_at < excluded.hour_at + interval '1 hour' AND watermark.high_offset <= excluded.high_offset
"""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Offsets of one partition that were written in one receive hour: from ``low`` up to, not including, ``high``.

    ``until`` is the moment up to which that is known: the hour's end, or when the broker was asked within it.
    """

    chain: Chain
    hour_at: datetime
    low: int
    high: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Frontier:
    """The first offset of each partition that the broker got at ``moment`` or later (aware)."""

    moment: datetime
    ends: Mapping[Chain, int]


@dataclass(frozen=True, slots=True)
class Captured:
    """What the broker answered: frontiers, latest first; without an answer there are none, and ``note`` says why."""

    frontiers: tuple[Frontier, ...] = ()
    note: str | None = None


def capture(connection: Connection, settings: KafkaSettings, frame: Scope, datasets: Sequence[str]) -> Captured:
    """Ask the broker for the window's hours, keep the answer, and return where it stood in the last hours.

    A broker that is away doesn't stop the check: hours without a watermark stay open.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "group.id": "tidemark.completeness",  # required by the client; nothing is subscribed or committed
            "enable.auto.commit": False,
            "allow.auto.create.topics": False,
            "log_level": 2,  # the library's own lines on standard error; what goes wrong is raised
        }
    )
    try:
        found, frontiers = _patiently(lambda: _found(connection, consumer, settings, frame, datasets))
    except KafkaException as error:
        problem = f"no watermarks: the broker at {settings.bootstrap_servers} doesn't answer ({error.args[0].str()})"
        log.warning(problem)
        return Captured(note=problem)
    finally:
        consumer.close()
    _keep(connection, found, frame.now)
    return Captured(frontiers)


def known(connection: Connection, topic: str) -> list[Watermark]:
    """All watermarks kept for ``topic``, by hour."""
    rows = connection.execute(
        """SELECT cluster, epoch, partition, hour_at, low_offset, high_offset,
            least(captured_at, hour_at + interval '1 hour') FROM ops.watermark WHERE topic = %s ORDER BY hour_at""",
        [topic],
    )
    return [Watermark(Chain(topic, c, e, p), hour, low, high, until) for c, e, p, hour, low, high, until in rows]


_Answer = tuple[list[Watermark], tuple[Frontier, ...]]


def _patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Ask again while a partition is only changing its leader."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING:
                raise
            time.sleep(_PAUSE_S)
    return ask()


def _found(
    connection: Connection, consumer: Consumer, settings: KafkaSettings, frame: Scope, datasets: Sequence[str]
) -> _Answer:
    metadata = consumer.list_topics(timeout=_TIMEOUT_S)
    cluster = cluster_name(settings.cluster, metadata.cluster_id)
    names = [naming.raw_topic(frame.exchange, dataset) for dataset in datasets]
    chains = [
        Chain(name, cluster, settings.epoch, partition)
        for name in names
        if name in metadata.topics
        for partition in sorted(metadata.topics[name].partitions)
    ]
    ends = {
        chain: consumer.get_watermark_offsets(TopicPartition(chain.topic, chain.partition), timeout=_TIMEOUT_S)[1]
        for chain in chains
    }
    present = Frontier(frame.now, ends)
    if settings.memory:
        return list(_without_times(connection, ends, frame)), (present,)
    borders: dict[datetime, dict[Chain, int]] = {}
    marks = list(_by_time(connection, consumer, ends, frame, borders))
    for moment in _recent(frame.now):
        if moment not in borders:
            borders[moment] = _border(consumer, ends, moment, frame.now)
    past = (Frontier(moment, borders[moment]) for moment in _recent(frame.now))
    return marks, (present, *past)


def _recent(now: datetime) -> list[datetime]:
    """Moments for which the broker is asked how far it was, latest first."""
    last = hour_of(now) + (now - hour_of(now)) // _STEP * _STEP
    return [last - n * _STEP for n in range(_STEPS)]


def _by_time(
    connection: Connection,
    consumer: Consumer,
    ends: dict[Chain, int],
    frame: Scope,
    borders: dict[datetime, dict[Chain, int]],
) -> Iterator[Watermark]:
    final = _final_hours(connection)
    for hour in sorted({*frame.hours(), *(h for _, h in frame.unsettled(CHAIN))}):
        chains = [chain for chain in ends if (chain, hour) not in final]
        if not chains:
            continue
        for moment in (hour, hour + HOUR):
            if moment not in borders:
                borders[moment] = _border(consumer, ends, moment, frame.now)
        for chain in chains:
            yield Watermark(chain, hour, borders[hour][chain], borders[hour + HOUR][chain])


def _border(consumer: Consumer, ends: dict[Chain, int], moment: datetime, now: datetime) -> dict[Chain, int]:
    """The first offset of each chain that is not before ``moment``: its end where nothing is."""
    if moment > now or not ends:
        return ends
    milliseconds = int(moment.timestamp() * 1000)
    asked = [TopicPartition(chain.topic, chain.partition, milliseconds) for chain in ends]
    answer = {(p.topic, p.partition): p.offset for p in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)}
    found = {chain: answer[chain.topic, chain.partition] for chain in ends}
    # An offset beyond the end we saw belongs to a record that came meanwhile.
    return {chain: ends[chain] if offset < 0 else min(offset, ends[chain]) for chain, offset in found.items()}


def _without_times(connection: Connection, ends: dict[Chain, int], frame: Scope) -> Iterator[Watermark]:
    running = hour_of(frame.now)  # nothing tells how far a past hour went
    for chain, end in ends.items():
        row = connection.execute(
            """SELECT coalesce(max(high_offset), 0) FROM ops.watermark
            WHERE topic = %s AND partition = %s AND cluster = %s AND epoch = %s AND hour_at < %s""",
            [chain.topic, chain.partition, chain.cluster, chain.epoch, running],
        ).fetchone()
        yield Watermark(chain, running, row[0] if row else 0, end)


def _final_hours(connection: Connection) -> set[tuple[Chain, datetime]]:
    rows = connection.execute(
        """SELECT topic, cluster, epoch, partition, hour_at FROM ops.watermark
        WHERE captured_at >= hour_at + interval '1 hour'"""
    )
    return {(Chain(topic, cluster, epoch, partition), hour) for topic, cluster, epoch, partition, hour in rows}


def _keep(connection: Connection, found: list[Watermark], captured_at: datetime) -> None:
    rows = [
        (w.chain.topic, w.chain.partition, w.chain.cluster, w.chain.epoch, w.hour_at, w.low, w.high, captured_at)
        for w in found
        if w.high > 0
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)
