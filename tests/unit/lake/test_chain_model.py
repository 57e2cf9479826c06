"""The lake protocol against everything at once: racing writers, crashes, zombies, trimmed logs, deleted objects.

The writers are the sink's own; the log and the store are in memory. Whatever happens, no offset may ever be held
twice, and once the dust has settled one writer must be able to make the chain whole.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streaming.consumer import records
from streaming.consumer.columns import DeadLetter
from streaming.consumer.records import Record
from streaming.consumer.writer import PartitionWriter, Surroundings, Taken, Totals
from tests.unit.lake.memory_store import MemoryStore
from tidemark.lake import chain as chains
from tidemark.lake import parquet
from tidemark.lake.chain import Chain, FooterCache
from tidemark.settings import SinkSettings

CHAIN = Chain("raw.upbit.system.v1", "cluster", 0, 0)
HOUR_NS = 3_600 * 10**9
ROW, DEAD, IGNORED = "row", "dead", "ignored"


class CrashError(Exception):
    """The worker dies here."""


class Log:
    """One partition's log: what was produced, and where it begins now."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Record]] = []
        self.low = 0
        self.absent: set[int] = set()

    def append(self, kind: str, hour: int) -> None:
        offset = len(self.all)
        value = {ROW: connection_record(offset), DEAD: b"garbage %d" % offset, IGNORED: b'{"status":"UP"}'}[kind]
        headers = [
            ("received_ns", b"%d" % (hour * HOUR_NS + offset + 1)),
            ("connection", b"c"),
            ("frame", b"%d" % (offset + 1)),
        ]
        if kind == ROW:
            headers[2] = ("kind", b"open")
        self.all.append((kind, records.make(offset, hour * 3_600_000, b"c", value, tuple(headers))))

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        return self.low, len(self.all)

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        readable = self.low <= offset < len(self.all) and offset not in self.absent
        return self.all[offset][1] if readable else None

    def read(self, offset: int, count: int) -> list[Record]:
        """From ``offset``, or from the beginning where the log no longer holds it."""
        return [r for _, r in self.all[max(offset, self.low) :] if r.offset not in self.absent][:count]


class NoDeadLetters:
    """Counts what would be delivered."""

    def __init__(self) -> None:
        self.offsets: Counter[int] = Counter()

    def send(self, chain: Chain, letters: Sequence[DeadLetter]) -> None:
        self.offsets.update(letter.record.offset for letter in letters)


class Worker:
    """One sink's writer, driven as the sink drives it."""

    def __init__(self, world: LakeProtocol, rows: int) -> None:
        self.world = world
        self.dies = False
        around = Surroundings(
            store=world.store,
            log=world.log,
            dead_letters=world.dead,
            limits=SinkSettings(rotate_rows=rows),
            now=lambda: 0.0,
            after_upload=self.after_upload,
            totals=Totals(),
            footers=FooterCache(),
        )
        self.writer = PartitionWriter(CHAIN, around)
        self.writer.open()

    def after_upload(self, path: str) -> None:
        if self.dies:
            raise CrashError

    def read(self, count: int) -> None:
        """Fetch a batch from where the writer stands; when it moves elsewhere, the rest of the batch is stale."""
        for record in self.world.log.read(self.writer.next, count):
            if self.writer.closes_hour(record):
                self.writer.flush()
            if self.writer.take(record) is Taken.AHEAD:
                self.writer.flush()
                if record.offset > self.writer.next:
                    self.writer.skip_missing(record.offset)
                return
            reached = self.writer.next
            if self.writer.due():
                self.writer.flush()
            if self.writer.next != reached:
                return


class LakeProtocol(RuleBasedStateMachine):
    """The world."""

    @initialize(rows=st.lists(st.integers(1, 9), min_size=1, max_size=3), before=st.integers(0, 40))
    def begin(self, rows: list[int], before: int) -> None:
        self.store = MemoryStore()
        self.log = Log()
        self.dead = NoDeadLetters()
        self.hour = 0
        for _ in range(before):
            self.log.append(ROW, self.hour)
        self.workers = [Worker(self, n) for n in rows]

    @rule(
        kinds=st.lists(st.sampled_from([ROW, ROW, ROW, DEAD, IGNORED]), min_size=1, max_size=12),
        late=st.booleans(),
    )
    def produce(self, kinds: list[str], late: bool) -> None:
        for kind in kinds:
            self.log.append(kind, max(0, self.hour - late))

    @rule()
    def an_hour_passes(self) -> None:
        self.hour += 1

    @precondition(lambda self: len(self.workers) < 3)
    @rule(rows=st.integers(1, 9))
    def start_worker(self, rows: int) -> None:
        self.workers.append(Worker(self, rows))

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 2), count=st.integers(1, 20))
    def read(self, which: int, count: int) -> None:
        self.workers[which % len(self.workers)].read(count)

    @precondition(lambda self: self.workers)
    @rule(count=st.integers(5, 30))
    def everybody_reads(self, count: int) -> None:
        """Before anybody has written: these are the races."""
        for worker in self.workers:
            worker.read(count)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 2))
    def flush(self, which: int) -> None:
        self.workers[which % len(self.workers)].writer.flush()

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 2), after_upload=st.booleans())
    def crash(self, which: int, after_upload: bool) -> None:
        worker = self.workers.pop(which % len(self.workers))
        worker.dies = after_upload
        try:
            if after_upload:
                worker.writer.flush()
        except CrashError:
            pass

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 2))
    def reassign(self, which: int) -> None:
        self.workers[which % len(self.workers)].writer.open()

    @rule(offsets=st.integers(1, 8))
    def trim(self, offsets: int) -> None:
        self.log.low = min(self.log.low + offsets, len(self.log.all))

    @precondition(lambda self: self.log.all)
    @rule(at=st.floats(0, 1))
    def an_offset_was_never_a_record(self, at: float) -> None:
        """A transaction marker, say; only where no object can have held it as a record yet."""
        end = chains.walk(self.spans()).end
        offset = int((len(self.log.all) - 1) * at)
        if offset > (-1 if end is None else end) and not any(len(w.writer.buffer) for w in self.workers):
            self.log.absent.add(offset)

    @precondition(lambda self: self.store.objects)
    @rule(which=st.integers(0, 1_000))
    def somebody_deletes_an_object(self, which: int) -> None:
        paths = sorted(self.store.objects)
        self.store.delete(paths[which % len(paths)])

    def spans(self) -> list[tuple[int, int]]:
        return [(link.start, link.end) for link in chains.list_chain(self.store, CHAIN)]

    @invariant()
    def no_offset_is_held_twice(self) -> None:
        if hasattr(self, "store"):
            assert chains.walk(self.spans()).overlaps == ()

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.no_offset_is_held_twice()
        last = Worker(self, 7)
        for _ in range(400):
            if last.writer.next >= len(self.log.all):
                break
            last.read(50)
            last.writer.flush()
            if not self.log.read(last.writer.next, 1):
                break
        self.check_whole()

    def check_whole(self) -> None:
        links = chains.list_chain(self.store, CHAIN)
        readable = [r.offset for r in self.log.read(self.log.low, 10**6)]
        if readable:
            report = chains.walk((link.start, link.end) for link in links)
            assert report.whole
            assert report.first == 0
            assert report.end is not None
            assert report.end >= readable[-1]
        for link in links:
            self.check_object(link)

    def check_object(self, link: chains.Link) -> None:
        footer = link.footer
        inside = self.log.all[footer.start : footer.end + 1]
        table = parquet.read(self.store.get(link.path))
        if footer.kind == "gap":
            assert table.num_rows == footer.rows == 0
            assert all(r.offset < self.log.low or r.offset in self.log.absent for _, r in inside)
            return
        count = Counter(kind for kind, _ in inside)
        assert table["kafka_offset"].to_pylist() == [r.offset for kind, r in inside if kind == ROW]
        assert (footer.rows, footer.parsed, footer.dead, footer.ignored) == (
            count[ROW], count[ROW], count[DEAD], count[IGNORED],
        )  # fmt: skip
        assert footer.parsed + footer.dead + footer.ignored == footer.offsets
        frames = [r.offset + 1 for kind, r in inside if kind != ROW]
        assert sum(f.sum for f in footer.frames) == sum(frames)
        assert sum(f.count for f in footer.frames) == len(frames)
        assert footer.fingerprint == inside[-1][1].fingerprint
        assert all(self.dead.offsets[r.offset] >= 1 for kind, r in inside if kind == DEAD)


def connection_record(number: int) -> bytes:
    return json.dumps(
        {
            "kind": "open",
            "exchange": "upbit",
            "connection": f"c{number}",
            "worker": "p",
            "opened_at": "2026-04-13T00:00:00Z",
        }
    ).encode()


TestLakeProtocol = LakeProtocol.TestCase
TestLakeProtocol.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
