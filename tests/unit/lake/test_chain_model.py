"""The lake protocol against everything at once: racing writers, crashes at any step, zombies, stores and brokers that
don't answer (or did, and the answer got lost), offers from anywhere, trimmed logs, deleted objects, topics made anew.

The writers are the sink's own; the log and the store are in memory. Whatever happens, no offset may ever be held
twice, every object agrees with the log it was made from, and once the dust has settled one writer must be able to make
the chain whole: each offset a row, a dead letter, ignored, or named by a gap object.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streaming.consumer import records
from streaming.consumer.columns import DeadLetter
from streaming.consumer.dead_letters import UndeliveredError
from streaming.consumer.log import LogUnavailableError
from streaming.consumer.records import Record
from streaming.consumer.writer import PartitionWriter, Surroundings, Taken, Totals
from tests.unit.lake.memory_store import MemoryStore
from tidemark.lake import chain as chains
from tidemark.lake import parquet
from tidemark.lake.chain import Chain, FooterCache, LogChangedError
from tidemark.lake.store import Listed, StoreUnavailableError
from tidemark.settings import SinkSettings

TOPIC = "raw.upbit.system.v1"
HOUR_NS = 3_600 * 10**9
ROW, DEAD, IGNORED = "row", "dead", "ignored"
LATER = (StoreUnavailableError, LogUnavailableError, UndeliveredError)


class CrashError(Exception):
    """The worker dies here."""


class Break(Enum):
    """What goes wrong with one call: the worker dies, or is told to ask later; before it is done, or after."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    REFUSED = "refused"
    ANSWER_LOST = "answer lost"


class Fuse:
    """Breaks the call number ``calls`` from now on, once."""

    def __init__(self) -> None:
        self.calls = -1
        self.how = Break.REFUSED

    def through(self, act: Callable[[], Any], later: type[Exception]) -> Any:
        """Do ``act``, unless its turn to break has come."""
        self.calls -= 1
        if self.calls != 0:
            return act()
        if self.how is Break.CRASH_BEFORE:
            raise CrashError
        if self.how is Break.REFUSED:
            raise later("not now")
        act()
        raise CrashError if self.how is Break.CRASH_AFTER else later("who knows")


class Log:
    """One partition's log: what was produced, and where it begins now. ``epoch`` tells one made anew from the other."""

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch
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
        self.all.append((kind, records.make(offset, hour * 3_600_000 + self.epoch, b"c", value, tuple(headers))))

    def read(self, offset: int, count: int) -> list[Record]:
        """From ``offset``, or from the beginning where the log no longer holds it."""
        return [r for _, r in self.all[max(offset, self.low) :] if r.offset not in self.absent][:count]


class Look:
    """A worker's look into whatever log there is now, over a line that may break."""

    def __init__(self, world: LakeProtocol, fuse: Fuse) -> None:
        self._world, self._fuse = world, fuse

    def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        log = self._world.log
        marks: tuple[int, int] = self._fuse.through(lambda: (log.low, len(log.all)), LogUnavailableError)
        return marks

    def record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        log = self._world.log
        readable = log.low <= offset < len(log.all) and offset not in log.absent
        found: Record | None = self._fuse.through(lambda: log.all[offset][1] if readable else None, LogUnavailableError)
        return found


class FragileStore(MemoryStore):
    """The store that all share, over a line of one's own that may break."""

    def __init__(self, store: MemoryStore, fuse: Fuse) -> None:
        self._store, self._fuse = store, fuse

    def put_new(self, path: str, data: bytes) -> bool:
        created: bool = self._fuse.through(lambda: self._store.put_new(path, data), StoreUnavailableError)
        return created

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        found = self._fuse.through(
            lambda: list(self._store.list(prefix, start_after=start_after)), StoreUnavailableError
        )
        yield from found

    def get_tail(self, path: str, length: int) -> bytes:
        data: bytes = self._fuse.through(lambda: self._store.get_tail(path, length), StoreUnavailableError)
        return data

    def get_range(self, path: str, start: int, length: int) -> bytes:
        data: bytes = self._fuse.through(lambda: self._store.get_range(path, start, length), StoreUnavailableError)
        return data


class DeadLetterBox:
    """Counts what was delivered, by epoch and offset."""

    def __init__(self) -> None:
        self.offsets: Counter[tuple[int, int]] = Counter()

    def send(self, chain: Chain, letters: Sequence[DeadLetter]) -> None:
        self.offsets.update((chain.epoch, letter.record.offset) for letter in letters)


class FragileBox:
    """The way there."""

    def __init__(self, box: DeadLetterBox, fuse: Fuse) -> None:
        self._box, self._fuse = box, fuse

    def send(self, chain: Chain, letters: Sequence[DeadLetter]) -> None:
        self._fuse.through(lambda: self._box.send(chain, letters), UndeliveredError)


class Worker:
    """One sink's writer, driven as the sink drives it. ``log`` is the one it reads: one made anew it never reads on."""

    def __init__(self, world: LakeProtocol, rows: int) -> None:
        self.fuse = Fuse()
        self.log = world.log
        self.opened = False
        around = Surroundings(
            store=FragileStore(world.store, self.fuse),
            log=Look(world, self.fuse),
            dead_letters=FragileBox(world.dead, self.fuse),
            limits=SinkSettings(rotate_rows=rows),
            now=lambda: 0.0,
            after_upload=lambda path: self.fuse.through(lambda: None, StoreUnavailableError),
            totals=Totals(),
            footers=FooterCache(),
        )
        self.writer = PartitionWriter(Chain(TOPIC, "cluster", world.log.epoch, 0), around)

    def open(self) -> None:
        self.opened = False
        self.writer.open()
        self.opened = True

    def read(self, count: int, start: int | None = None) -> None:
        """Fetch a batch from where the writer stands; when it moves elsewhere, the rest of the batch is stale.

        ``start``: the client offers records from elsewhere, as one does whose commits were lost, reset or expired.
        """
        if not self.opened:
            self.open()
        found = self.log.read(self.writer.next if start is None else start, count)
        if self.take_at_once(found):
            return
        for record in found:
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

    def take_at_once(self, found: list[Record]) -> bool:
        """The fast way, where nothing is out of the ordinary."""
        if not found or found[-1].offset - found[0].offset != len(found) - 1:
            return False
        if not self.writer.take_all(records.of_records(found)):
            return False
        if self.writer.due():
            self.writer.flush()
        return True


class LakeProtocol(RuleBasedStateMachine):
    """The world."""

    @initialize(rows=st.lists(st.integers(1, 9), min_size=1, max_size=3), before=st.integers(0, 40))
    def begin(self, rows: list[int], before: int) -> None:
        self.store = MemoryStore()
        self.log = Log()
        self.logs = [self.log]
        self.dead = DeadLetterBox()
        self.checked: set[tuple[str, str]] = set()
        self.hour = 0
        for _ in range(before):
            self.log.append(ROW, self.hour)
        self.workers = [Worker(self, n) for n in rows]

    def act(self, worker: Worker, what: Callable[[], None]) -> None:
        """Let a worker do something; it may die of it, or have to try again later."""
        try:
            what()
        except CrashError:
            self.workers.remove(worker)
        except LATER:
            pass
        except LogChangedError:
            assert worker.log is not self.log, "it is the log that the chain was made from"
            self.workers.remove(worker)

    def one(self, which: int) -> Worker:
        return self.workers[which % len(self.workers)]

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

    @precondition(lambda self: len(self.workers) < 4)
    @rule(rows=st.integers(1, 9))
    def start_worker(self, rows: int) -> None:
        self.workers.append(Worker(self, rows))

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3), calls=st.integers(1, 8), how=st.sampled_from(Break))
    def something_will_break(self, which: int, calls: int, how: Break) -> None:
        fuse = self.one(which).fuse
        fuse.calls, fuse.how = calls, how

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3), count=st.integers(1, 20))
    def read(self, which: int, count: int) -> None:
        worker = self.one(which)
        if worker.log is self.log:
            self.act(worker, lambda: worker.read(count))

    @precondition(lambda self: self.workers)
    @rule(count=st.integers(5, 30))
    def everybody_reads(self, count: int) -> None:
        """Before anybody has written: these are the races."""
        for which in range(len(self.workers) - 1, -1, -1):
            self.read(which, count)

    @precondition(lambda self: self.workers and self.log.all)
    @rule(which=st.integers(0, 3), at=st.floats(0, 1), count=st.integers(1, 10))
    def commits_are_reset(self, which: int, at: float, count: int) -> None:
        """The client begins anywhere; what the writer then asks for, it gets."""
        worker = self.one(which)
        start = int((len(self.log.all) - 1) * at)
        if worker.log is not self.log or worker.writer._asked_again is not None:
            return
        self.act(worker, lambda: worker.read(count, start))
        while worker in self.workers and worker.writer._asked_again is not None:
            self.act(worker, lambda: worker.read(1))

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3))
    def flush(self, which: int) -> None:
        """Also by a zombie whose topic is no more: what it gathered was in the log."""
        worker = self.one(which)
        self.act(worker, worker.writer.flush)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3), after_upload=st.booleans())
    def crash(self, which: int, after_upload: bool) -> None:
        worker = self.one(which)
        if after_upload:
            worker.fuse.calls, worker.fuse.how = 2, Break.CRASH_AFTER  # listed, then written
            self.act(worker, worker.writer.flush)
        if worker in self.workers:
            self.workers.remove(worker)

    @precondition(lambda self: self.workers)
    @rule(which=st.integers(0, 3))
    def reassign(self, which: int) -> None:
        worker = self.one(which)
        self.act(worker, worker.open)

    @rule(offsets=st.integers(1, 8))
    def trim(self, offsets: int) -> None:
        self.log.low = min(self.log.low + offsets, len(self.log.all))

    @precondition(lambda self: self.log.all)
    @rule(at=st.floats(0, 1))
    def an_offset_was_never_a_record(self, at: float) -> None:
        """A transaction marker, say; only where no object can have held it as a record yet."""
        end = chains.walk(self.spans(self.log)).end
        offset = int((len(self.log.all) - 1) * at)
        if offset > (-1 if end is None else end) and not any(len(w.writer.buffer) for w in self.workers):
            self.log.absent.add(offset)

    @precondition(lambda self: self.store.objects)
    @rule(which=st.integers(0, 1_000))
    def somebody_deletes_an_object(self, which: int) -> None:
        paths = sorted(self.store.objects)
        self.store.delete(paths[which % len(paths)])

    @precondition(lambda self: self.links(self.log) and self.links(self.log)[-1].footer.fingerprint)
    @rule(before=st.integers(0, 60))
    def the_topic_is_made_anew(self, before: int) -> None:
        """With ``before`` records already there. A worker told the old epoch stops; then the epoch is raised.

        (Where a chain ends with a gap object, nothing is left by which another log could be told.)
        """
        old = self.log
        self.log = Log(old.epoch + 1)
        for _ in range(before):
            self.log.append(ROW, self.hour)
        for worker in [w for w in self.workers if w.log is old and w.fuse.calls < 0]:
            if not len(worker.writer.buffer):  # the others are zombies: they don't know yet
                self.act(worker, worker.open)
                assert worker not in self.workers
        self.logs.append(self.log)
        self.workers.append(Worker(self, 5))

    # --- what must hold --------------------------------------------------------------------------------------

    def links(self, log: Log) -> list[chains.Link]:
        return chains.list_chain(self.store, Chain(TOPIC, "cluster", log.epoch, 0))

    def spans(self, log: Log) -> list[tuple[int, int]]:
        return [(link.start, link.end) for link in self.links(log)]

    @invariant()
    def no_offset_is_held_twice(self) -> None:
        for log in getattr(self, "logs", ()):
            assert chains.walk(self.spans(log)).overlaps == ()

    @invariant()
    def every_new_object_agrees_with_its_log(self) -> None:
        for log in getattr(self, "logs", ()):
            for link in self.links(log):
                key = link.path, self.store.objects[link.path][1]
                if key not in self.checked:
                    self.checked.add(key)
                    self.check_object(log, link)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        last = Worker(self, 7)
        last.open()
        for _ in range(400):
            if last.writer.next >= len(self.log.all):
                break
            last.read(50)
            last.writer.flush()
            if not self.log.read(last.writer.next, 1):
                break
        self.no_offset_is_held_twice()
        self.every_new_object_agrees_with_its_log()
        readable = [r.offset for r in self.log.read(self.log.low, 10**6)]
        if readable:
            report = chains.walk(self.spans(self.log))
            assert report.whole
            assert report.first == 0
            assert report.end is not None
            assert report.end >= readable[-1]

    def check_object(self, log: Log, link: chains.Link) -> None:
        footer = link.footer
        inside = log.all[footer.start : footer.end + 1]
        table = parquet.read(self.store.get(link.path))
        if footer.kind == "gap":
            assert table.num_rows == footer.rows == 0
            gone = log is not self.log  # a topic made anew has nothing of the old one
            assert gone or all(r.offset < log.low or r.offset in log.absent for _, r in inside)
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
        assert all(self.dead.offsets[log.epoch, r.offset] >= 1 for kind, r in inside if kind == DEAD)


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
