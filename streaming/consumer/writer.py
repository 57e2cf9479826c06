"""The lake protocol for one partition: where to begin, what to gather, how to write it exactly once.

Contains: opening a chain (what is missing, is it the same log), create-only writing, adopting what another writer
wrote, gap objects. Does not contain: how long an object waits (``rotation``), consuming, committing, rebalances
(``worker``), Kafka itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

import structlog

from streaming.consumer import rotation
from streaming.consumer.buffer import Buffer
from streaming.consumer.columns import Columns
from streaming.consumer.dead_letters import DeadLetters
from streaming.consumer.decode import Decoder
from streaming.consumer.log import Log
from streaming.consumer.metrics import Meter
from streaming.consumer.records import Batch, Record
from tidemark.lake import chain as chains
from tidemark.lake import parquet
from tidemark.lake.chain import Chain, FooterCache, Link
from tidemark.lake.parquet import Footer
from tidemark.lake.store import ObjectStore
from tidemark.settings import SinkSettings

_log = structlog.get_logger()


class Taken(Enum):
    """What became of a record that was offered."""

    ADDED = auto()
    #: It lies before the place where the writer is: another object accounts for it.
    STALE = auto()
    #: It lies behind that place: read again from ``next``.
    AHEAD = auto()


@dataclass
class Totals:
    """What writers of one process have written."""

    objects: int = 0
    lost_races: int = 0
    gaps: int = 0
    bytes: int = 0
    rows: int = 0
    parsed: int = 0
    dead: int = 0
    ignored: int = 0

    def count(self, footer: Footer, size: int) -> None:
        """Add one object."""
        self.objects += 1
        self.bytes += size
        self.rows += footer.rows
        self.parsed += footer.parsed
        self.dead += footer.dead
        self.ignored += footer.ignored


@dataclass(frozen=True)
class Surroundings:
    """What the writers of one process share. ``after_upload`` is called between an upload and its commit.

    ``now`` is a monotonic clock, ``wall`` the time of day in Unix seconds.
    """

    store: ObjectStore
    log: Log
    dead_letters: DeadLetters
    limits: SinkSettings
    now: Callable[[], float]
    after_upload: Callable[[str], None]
    totals: Totals
    footers: FooterCache
    meter: Meter = field(default_factory=Meter)
    wall: Callable[[], float] = time.time


class PartitionWriter:
    """Writes the chain of one partition.

    ``next`` is the offset to read next; it moves by :meth:`take`, and jumps after :meth:`open`, :meth:`flush` and
    :meth:`skip_missing`, so read from there after each of these. Any of them may raise the store's, the log's or the
    dead letters' "later" errors and can then simply be called again.
    """

    def __init__(self, chain: Chain, around: Surroundings) -> None:
        self.chain = chain
        self._around = around
        self._columns = Columns(Decoder(chain), keep_frames=around.limits.keep_frames, meter=around.meter)
        self._until: int | None = None
        self._before = 0  # where the object begins that what is gathered joins
        self._hour = -1
        self._asked_again: tuple[int, int] | None = None
        self._due_at: float | None = None
        self._due_hour = -1
        #: When the newest row that lies in the chain reached us, Unix nanoseconds; before it is known: now.
        self.newest_ns = time.time_ns()
        self.buffer = self._empty(0)

    @property
    def next(self) -> int:
        """The offset to read next."""
        return self.buffer.next

    def open(self) -> None:
        """Find where to begin: list the whole chain, check that the log is still the same, fill what was trimmed.

        Raises:
            LogChangedError: the topic was made anew.
        """
        links = self._list(0)
        report = chains.walk((link.start, link.end) for link in links)
        if not report.whole:
            _log.error("chain is not whole", chain=str(self.chain), holes=report.holes, overlaps=report.overlaps)
        low, high = self._around.log.watermarks(self.chain.topic, self.chain.partition)
        if links:
            last = max(links, key=lambda link: link.end)
            record = None
            if last.footer.fingerprint:
                record = self._around.log.record_at(self.chain.topic, self.chain.partition, last.end)
            found = record.fingerprint if record else None
            chains.check_same_log(self.chain, last.footer, low=low, high=high, found=found)
        self._settle(links, 0)

    def take(self, record: Record) -> Taken:
        """Take in a record if it is the next one."""
        if record.offset != self.next:
            return Taken.STALE if record.offset < self.next else Taken.AHEAD
        self._asked_again = None
        self._hour = max(self._hour, record.hour)
        self.buffer.add(record)
        self._set_due()
        return Taken.ADDED

    def take_all(self, batch: Batch) -> bool:
        """Take in all records of a batch, if each of them would be taken and none but the last would make it due.

        If not, nothing is taken, and the records must be offered one by one.
        """
        gathered = self.buffer
        hour = batch.latest_hour
        if (
            batch.start != gathered.next
            or (len(gathered) > 0 and hour > self._hour)
            or (len(gathered) == 0 and hour != batch.earliest_hour)
            or max(gathered.rows, len(gathered)) + len(batch) > self._around.limits.rotate_rows
            or gathered.bytes + batch.size > self._around.limits.rotate_bytes
            or (self._until is not None and batch.start + len(batch) - 1 > self._until)
            or self.due()
        ):
            return False
        self._asked_again = None
        self._hour = max(self._hour, hour)
        gathered.extend(batch)
        self._set_due()
        return True

    def closes_hour(self, record: Record) -> bool:
        """Whether ``record`` begins a new receive hour, so that what was gathered must be written first.

        A record that comes late goes into the object of the newer hour: it must not split what follows.
        """
        return len(self.buffer) > 0 and record.hour > self._hour and record.offset == self.next

    def due(self) -> bool:
        """Whether what was gathered must be written now: rows, bytes, time, or an object that lies ahead."""
        gathered, limits = self.buffer, self._around.limits
        return len(gathered) > 0 and (
            max(gathered.rows, len(gathered)) >= limits.rotate_rows
            or gathered.bytes >= limits.rotate_bytes
            or (self._until is not None and gathered.next > self._until)
            or (self._due_at is not None and self._around.now() >= self._due_at)
        )

    def flush(self) -> None:
        """Write what was gathered as one object, unless another writer was faster: then go on behind its object."""
        gathered = self.buffer
        if not len(gathered):
            return
        links = self._list(self._before)
        if any(link.start == gathered.start for link in links):
            self._adopt(gathered.start)
            return
        if not self._fits(links):
            _log.warning("chain changed", chain=str(self.chain), start=gathered.start, end=gathered.next - 1)
            self._settle(self._list(0), 0)
            return
        footer, data = gathered.seal()
        if not gathered.dead_sent:
            self._around.dead_letters.send(self.chain, gathered.dead)
            gathered.dead_sent = True
        if not self._put(footer, data):
            self._adopt(gathered.start)
        elif self._until is not None and gathered.next > self._until:
            self._settle(self._list(gathered.start), gathered.start)
        else:
            self._before, self.buffer = gathered.start, self._empty(gathered.next)

    def skip_missing(self, offered: int) -> None:
        """The log offered ``offered`` where ``next`` was expected: find out whether what lies between is gone.

        The first time it is merely asked for again (``next`` stays). Offsets that were trimmed, or that stay absent,
        become a gap object. What was gathered must have been flushed.
        """
        start = self.next
        low, _ = self._around.log.watermarks(self.chain.topic, self.chain.partition)
        if low <= start and self._asked_again != (start, offered):
            self._asked_again = (start, offered)
            return
        self._asked_again = None
        links = self._list(0)
        point = chains.resume((link.start, link.end) for link in links)
        if low <= start == point.offset:
            self._write_gap(start, offered - 1 if point.until is None else min(offered - 1, point.until))
            links = self._list(0)
        self._settle(links, 0)

    def drop(self) -> int:
        """Forget what was gathered (another worker reads it again); how many offsets that were."""
        dropped = len(self.buffer)
        self.buffer = self._empty(self.buffer.start)
        return dropped

    def _set_due(self) -> None:
        """When what is gathered now must be written, by the monotonic clock; the hours of its records may change it."""
        around, since = self._around, self.buffer.since
        if since is not None and (self._due_at is None or self._due_hour != self._hour):
            self._due_hour = self._hour
            begun = around.wall() - (around.now() - since)
            self._due_at = since + rotation.wait(begun, self._hour, around.limits.rotate_seconds)

    def _adopt(self, start: int) -> None:
        """Go on behind the object that another writer has made of the offsets from ``start`` on."""
        self._around.totals.lost_races += 1
        _log.info("another writer was faster", chain=str(self.chain), start=start)
        self._settle(self._list(start), start)

    def _fits(self, links: list[Link]) -> bool:
        """Whether what was gathered still lies in a hole of the chain; ``links`` are those from the one before it on.

        It may not when somebody deleted objects and another writer filled the hole in other portions; then the name
        would be free, and the object would overlap its neighbours.
        """
        before = [(link.start, link.end) for link in links if link.start < self.buffer.start]
        behind = [link.start for link in links if link.start > self.buffer.start]
        joins = chains.resume(before, start=self._before).offset == self.buffer.start
        return joins and not (behind and behind[0] < self.buffer.next)

    def _settle(self, links: list[Link], start: int) -> None:
        """Stand where the chain goes on; what the log no longer holds there becomes gap objects first."""
        while True:
            point = chains.resume(((link.start, link.end) for link in links), start=start)
            low, _ = self._around.log.watermarks(self.chain.topic, self.chain.partition)
            if point.offset >= low:
                break
            self._write_gap(point.offset, low - 1 if point.until is None else min(low - 1, point.until))
            links = self._list(start)
        self._until = point.until
        self.newest_ns = max((link.footer.received_max or 0 for link in links), default=0) or self.newest_ns
        passed = [link.start for link in links if link.start < point.offset]
        self._before = passed[-1] if passed else self._before if start else 0
        self.buffer = self._empty(point.offset)

    def _list(self, start: int) -> list[Link]:
        return chains.list_chain(self._around.store, self.chain, start=start, cache=self._around.footers)

    def _write_gap(self, start: int, end: int) -> None:
        footer = self.chain.gap(start, end)
        if self._put(footer, parquet.write_gap(footer)):
            self._around.totals.gaps += 1
        _log.error("offsets are gone from the log", chain=str(self.chain), start=start, end=end)

    def _put(self, footer: Footer, data: bytes) -> bool:
        path = self.chain.path(footer.start)
        begun = time.monotonic()
        created = self._around.store.put_new(path, data)
        if not created:
            return False
        self._around.meter.wrote(footer, len(data), time.monotonic() - begun, time.time_ns())
        self.newest_ns = footer.received_max or self.newest_ns
        self._around.totals.count(footer, len(data))
        _log.info(
            "object written", path=path, end=footer.end, rows=footer.rows, dead=footer.dead,
            ignored=footer.ignored, bytes=len(data), quality=dict(footer.quality),
        )  # fmt: skip
        self._around.after_upload(path)
        return True

    def _empty(self, start: int) -> Buffer:
        self._due_at = None
        return Buffer(self.chain, self._columns, start, self._around.now)
