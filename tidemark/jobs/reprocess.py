"""Dead letters read again with today's parser: what it can read now lands like any other row.

Lives here: which letters of a ``….dlq`` topic can be read by now, and the objects that bring their rows. Doesn't:
parsing (``exchanges``), loading and the book of revived offsets (``warehouse.load``), fixing the parser.

A revived row keeps the identity of its record (cluster, epoch, topic, partition, offset, item). Rows land in an object
beside the chain object that counts their records as dead, one a *generation*: it lists its offsets, and those of
earlier generations are left out, so that done twice, or by two at once, nothing doubles. See ADR 0015.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow.compute as pc
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed, Row, Unparsable
from tidemark.jobs import completeness
from tidemark.lake import parquet
from tidemark.lake.parquet import Footer, Revived, read_footer
from tidemark.lake.store import ObjectMissingError, ObjectStore, open_store
from tidemark.settings import KafkaSettings, Settings
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.load import load_path

log = logging.getLogger(__name__)
_TIMEOUT_S: Final = 20.0
#: Letters gathered before their objects are written.
_BATCH: Final = 20_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)

_OBJECT: Final = """
SELECT cluster, epoch, start_offset, end_offset, path, hour_at FROM ops.load_ledger
WHERE topic = %s AND kind = 'data' AND partition = %s AND dead > 0 AND %s BETWEEN start_offset AND end_offset
    AND (%s = '' OR cluster = %s) AND (%s < 0 OR epoch = %s)
"""
_BOOKED: Final = "SELECT cluster, epoch, partition, kafka_offset FROM ops.revived WHERE topic = %s"


class DeadLettersError(Exception):
    """The dead letters can't be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: where its record lies, why it is dead, and the frame as it came.

    ``cluster`` is empty and ``epoch`` -1 where a letter of an earlier release doesn't say. ``whole``: nothing of the
    frame was cut off.
    """

    topic: str
    cluster: str
    epoch: int
    partition: int
    offset: int
    reason: str
    value: bytes
    whole: bool
    received_ns: int
    connection: str | None
    frame_no: int | None
    kind: str | None


@dataclass(frozen=True, slots=True)
class Home:
    """The chain object that counts a letter as dead."""

    topic: str
    cluster: str
    epoch: int
    partition: int
    start: int
    end: int
    path: str
    hour_at: datetime

    def holds(self, letter: Letter) -> bool:
        """Whether it is the one that counts this letter, which says of which epoch it is."""
        place = (letter.cluster, letter.epoch, letter.partition)
        return place == (self.cluster, self.epoch, self.partition) and self.start <= letter.offset <= self.end


@dataclass(frozen=True, slots=True)
class ReprocessSummary:
    """What a run did: letters by what became of them, rows brought, why others stay dead, and the hours touched."""

    exchange: str
    outcomes: dict[str, int]
    rows: int
    objects: int
    still_dead: dict[str, int]
    hours: int
    dry_run: bool = False

    def __str__(self) -> str:
        """A line."""
        would = "would revive" if self.dry_run else "revived"
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.outcomes.items())) or "no dead letters"
        why = ", ".join(f"{reason} {n}" for reason, n in sorted(self.still_dead.items()))
        dead = f"; still dead: {why}" if why else ""
        return f"{self.exchange}: {would} {self.rows} rows in {self.objects} objects ({counts}){dead}"


@dataclass
class _Tally:
    outcomes: Counter[str] = field(default_factory=Counter)
    still_dead: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    objects: int = 0
    hours: set[datetime] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Read:
    """A letter that can be read by now."""

    letter: Letter
    dataset: str
    rows: list[Row]
    outcome: str


def run(
    settings: Settings,
    exchange: str,
    *,
    dataset: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> ReprocessSummary:
    """Read every dead letter of an exchange again (or of one dataset's topic), and land and load what can be read now.

    Run it twice, or two at once: the same rows. The account of the hours it touches is computed anew.

    Raises:
        DeadLettersError: the broker doesn't answer.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
        KeyError: no such exchange.
    """
    store = open_store(settings.lake)
    tally = _Tally()
    datasets = registry.get(exchange).datasets if dataset is None else (dataset,)
    with connect(settings.warehouse.url, f"reprocess {exchange}") as connection:
        for name in datasets:
            topic = naming.raw_topic(exchange, name)
            _topic(connection, store, settings.kafka, exchange, topic, tally, dry_run=dry_run)
    if tally.hours and not dry_run:
        start, end = min(tally.hours), max(tally.hours) + _HOUR
        completeness.run(settings, max(start, end - timedelta(days=2)), end, now, exchange=exchange)
    summary = ReprocessSummary(
        exchange, dict(tally.outcomes), tally.rows, tally.objects, dict(tally.still_dead), len(tally.hours), dry_run
    )
    log.info("%s", summary)
    return summary


def _topic(
    connection: Connection,
    store: ObjectStore,
    kafka: KafkaSettings,
    exchange: str,
    topic: str,
    tally: _Tally,
    *,
    dry_run: bool,
) -> None:
    """Read the dead letters of one topic again."""
    known = {tuple(row) for row in connection.execute(_BOOKED, [topic])}
    homes: dict[tuple[Home, str], dict[int, _Read]] = defaultdict(dict)
    gathered = 0
    home: Home | None = None
    for letter in letters(kafka, topic):
        read = _readable(exchange, letter, tally)
        if read is None:
            continue
        if home is None or not home.holds(letter):
            home = _home(connection, letter, tally)
        if home is None:
            continue
        if (home.cluster, home.epoch, home.partition, letter.offset) in known:
            tally.outcomes["revived before"] += 1
            continue
        homes[home, read.dataset].setdefault(letter.offset, read)
        gathered += 1
        if gathered >= _BATCH:
            _land(connection, store, exchange, homes, tally, dry_run=dry_run)
            homes.clear()
            gathered = 0
    _land(connection, store, exchange, homes, tally, dry_run=dry_run)


# --- reading --------------------------------------------------------------------------------------------------


def letters(settings: KafkaSettings, topic: str) -> Iterator[Letter]:
    """Every dead letter of ``topic`` that the broker holds now. A letter may come twice.

    Raises:
        DeadLettersError: the broker doesn't answer.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "group.id": "tidemark.reprocess",  # required by the client; nothing is subscribed or committed
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    name = naming.dead_letter_topic(topic)
    try:
        for partition, low, high in _bounds(consumer, name):
            if high > low:
                consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING)])
                yield from _until(consumer, high)
    except KafkaException as error:
        raise DeadLettersError(
            f"{name} can't be read: {error.args[0].str()}; does the broker at {settings.bootstrap_servers} answer?"
        ) from error
    finally:
        consumer.close()


def _bounds(consumer: Consumer, name: str) -> Iterator[tuple[int, int, int]]:
    metadata = consumer.list_topics(timeout=_TIMEOUT_S)
    if name not in metadata.topics:
        return
    for partition in sorted(metadata.topics[name].partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=_TIMEOUT_S)
        yield partition, low, high


def _until(consumer: Consumer, high: int) -> Iterator[Letter]:
    while True:
        message = consumer.poll(_TIMEOUT_S)
        if message is None:
            raise DeadLettersError(f"the broker served nothing for {_TIMEOUT_S:.0f} s; run again")
        if message.error() is not None:
            raise KafkaException(message.error())
        letter = _letter(message)
        if letter is not None:
            yield letter
        if (message.offset() or 0) >= high - 1:
            return


def _letter(message: Any) -> Letter | None:
    """A message as a letter; None when it isn't one."""
    headers = {name: (value or b"").decode("utf-8", "backslashreplace") for name, value in message.headers() or ()}
    value = message.value() or b""
    try:
        return Letter(
            headers["topic"],
            headers.get("cluster", ""),
            int(headers.get("epoch", "-1")),
            int(headers["partition"]),
            int(headers["offset"]),
            headers["reason"],
            value,
            int(headers["length"]) == len(value) and headers["sha256"] == hashlib.sha256(value).hexdigest(),
            int(headers.get("received_ns") or message.timestamp()[1] * 1_000_000),
            headers.get("connection"),
            int(headers["frame"]) if "frame" in headers else None,
            headers.get("kind"),
        )
    except (KeyError, ValueError):
        log.warning("%s/%s is no dead letter of ours", message.topic(), message.offset())
        return None


def _readable(exchange: str, letter: Letter, tally: _Tally) -> _Read | None:
    """The letter with its rows, if the parser can read it by now."""
    if not letter.whole:
        tally.still_dead["truncated"] += 1
        return None
    try:
        return _parse(exchange, letter)
    except Unparsable as error:
        tally.still_dead[error.reason] += 1
    except Exception as error:
        log.warning("the parser stumbles over %s/%s: %s", letter.topic, letter.offset, error)
        tally.still_dead["parser_error"] += 1
    return None


def _parse(exchange: str, letter: Letter) -> _Read:
    """What the parser makes of a letter. A frame that nobody knew lies among the system's: it goes where it belongs.

    Raises:
        Unparsable: it is dead still.
    """
    dataset = naming.parse_raw_topic(letter.topic).dataset
    if letter.kind is None and dataset == "system":
        dataset = registry.get(exchange).classify(letter.value)[0]
    outcome = registry.read(exchange, dataset, letter.kind, letter.value)
    if not isinstance(outcome, Parsed):
        return _Read(letter, naming.parse_raw_topic(letter.topic).dataset, [], "ignored")
    rows = [_enveloped(letter, row, item) for item, row in enumerate(outcome.rows)]
    try:
        _fits(dataset, rows)
    except parquet.VALUE_ERRORS as error:
        raise Unparsable("bad_value", str(error)) from error
    return _Read(letter, dataset, rows, "parsed")


def _fits(dataset: str, rows: Sequence[Row]) -> None:
    placed = {"kafka_cluster": "", "kafka_epoch": 0}
    parquet.to_batch(CONTRACTS[dataset], [{**row, **placed} for row in rows])


def _enveloped(letter: Letter, row: Row, item: int) -> Row:
    """The row as the sink would have written it; cluster and epoch come with its chain object."""
    return {
        **row,
        "source": "ws",
        "received_at": _EPOCH + timedelta(microseconds=letter.received_ns // 1_000),
        "connection_id": letter.connection,
        "frame_no": letter.frame_no,
        "kafka_topic": letter.topic,
        "kafka_partition": letter.partition,
        "kafka_offset": letter.offset,
        "item": item,
        "frame": letter.value if item == 0 else None,
    }


def _home(connection: Connection, letter: Letter, tally: _Tally) -> Home | None:
    """The loaded chain object that counts this letter. A letter may not say its epoch, and then fit more than one."""
    name, epoch = letter.cluster, letter.epoch
    values = [letter.topic, letter.partition, letter.offset, name, name, epoch, epoch]
    rows = connection.execute(_OBJECT, values).fetchall()
    if len(rows) != 1:
        tally.outcomes["of an unknown epoch" if rows else "not landed yet"] += 1
        return None
    cluster, its_epoch, start, end, path, hour_at = rows[0]
    return Home(letter.topic, cluster, its_epoch, letter.partition, start, end, path, hour_at)


# --- landing --------------------------------------------------------------------------------------------------


def _land(
    connection: Connection,
    store: ObjectStore,
    exchange: str,
    homes: Mapping[tuple[Home, str], Mapping[int, _Read]],
    tally: _Tally,
    *,
    dry_run: bool,
) -> None:
    """Write and load an object for each chain object and dataset."""
    for (home, dataset), reads in homes.items():
        topic = naming.raw_topic(exchange, dataset)
        earlier = _generations(store, home, topic)
        left = _unrevived(store, home, earlier, reads)
        tally.outcomes["revived before"] += len(reads) - len(left)
        while left and not dry_run:
            path = _write(store, home, topic, len(earlier) + 1, left)
            if path is not None:
                load_path(connection, store, path)
                break
            earlier = _generations(store, home, topic)  # another run was faster: what it left out is still to do
            left = _unrevived(store, home, earlier, reads)
        if left:
            tally.objects += 1
            tally.hours.add(home.hour_at)
            tally.rows += sum(len(read.rows) for read in left.values())
            tally.outcomes.update(read.outcome for read in left.values())


def _unrevived(
    store: ObjectStore, home: Home, earlier: Sequence[Footer], reads: Mapping[int, _Read]
) -> dict[int, _Read]:
    """Those that no earlier generation has, and that the chain object really has no rows of."""
    taken = {one.offset for footer in earlier for one in footer.revived}
    try:
        offsets = parquet.read(store.get(home.path), ["kafka_offset"])["kafka_offset"]
    except ObjectMissingError:
        log.warning("%s is gone from the lake: nothing tells which of its records are dead", home.path)
        return {}
    alive = set(pc.unique(offsets).to_pylist())
    return {offset: read for offset, read in sorted(reads.items()) if offset not in taken | alive}


def _generations(store: ObjectStore, home: Home, topic: str) -> list[Footer]:
    return [read_footer(store, listed.path) for listed in store.list(_prefix(home, topic))]


def _prefix(home: Home, topic: str) -> str:
    return naming.revived_prefix(topic, home.topic, home.cluster, home.epoch, home.partition, home.start)


def _write(store: ObjectStore, home: Home, topic: str, number: int, reads: Mapping[int, _Read]) -> str | None:
    """The path of generation ``number``, the one behind those that were looked at; None when another run was faster."""
    place = {"kafka_cluster": home.cluster, "kafka_epoch": home.epoch}
    rows = [{**row, **place} for read in reads.values() for row in read.rows]
    received = [read.letter.received_ns for read in reads.values() if read.rows]
    footer = Footer(
        topic, home.partition, home.cluster, home.epoch, home.start, home.end,
        rows=len(rows),
        parsed=sum(read.outcome == "parsed" for read in reads.values()),
        ignored=sum(read.outcome == "ignored" for read in reads.values()),
        kind="revived",
        received_min=min(received, default=None),
        received_max=max(received, default=None),
        origin=home.topic,
        revived=tuple(Revived(n, read.outcome, read.letter.reason) for n, read in sorted(reads.items())),
    )  # fmt: skip
    data = parquet.write(CONTRACTS[naming.parse_raw_topic(topic).dataset], rows, footer)
    path = f"{_prefix(home, topic)}{number:04d}.parquet"
    return path if store.put_new(path, data) else None
