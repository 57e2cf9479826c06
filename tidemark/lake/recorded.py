"""Records read back from the lake, in the order they were received.

Lives here: finding the objects that hold a window of one topic (landing, or the compacted hours), and merging their
records by time of receipt in bounded memory. Doesn't: where the records go (``jobs.replay``), what frames mean.

The lake holds the frames that gave rows. Dead letters and what carries nothing to keep (acknowledgements, signs of
life) are counted in the objects' footers only; rows fetched by REST are no records of a log and are left out.
"""

from __future__ import annotations

import heapq
import io
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain as chained
from itertools import starmap
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemark import naming
from tidemark.lake import compacted, parquet
from tidemark.lake.by_offset import CHAIN_COLUMNS, ByOffset, chain_key
from tidemark.lake.chain import FooterCache
from tidemark.lake.compacted import Hour, Part, Source
from tidemark.lake.parquet import CorruptObjectError, Footer
from tidemark.lake.store import Listed, ObjectStore

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: How far the clocks of workers and of the store may be apart.
_CLOCKS: Final = timedelta(minutes=10)
#: A producer holds frames back while the broker is away; no buffer holds a day.
_LATEST: Final = timedelta(days=1)
_FOOTERS_AT_ONCE: Final = 64
#: What is held of one partition: read ahead in each column, and decoded at once.
_READ_BYTES: Final = 256 * 1024
_DECODED_BYTES: Final = 1024 * 1024
_BATCH_ROWS: Final = (16, 4_096)
_ENVELOPE: Final = ("received_at", "kafka_partition", "kafka_offset", "connection_id", "frame_no", "frame")
_CHOSEN_BY: Final = ("item", "source")
#: In a part of layout 1 each source began a row group of its own, and a larger one had several.
_LAYOUT_1_GROUP_ROWS: Final = 1_000_000


class Recorded(NamedTuple):
    """One record of a raw topic as the lake remembers it.

    ``received_ns`` is Unix nanoseconds, exact to the microsecond: that is what the lake keeps. ``frame_no`` is None
    for records that are no frame of a socket. ``code`` and ``kind`` are those columns of its first row, None where
    the dataset has none.
    """

    topic: str
    received_ns: int
    partition: int
    offset: int
    connection: str | None
    frame_no: int | None
    frame: bytes
    code: str | None
    kind: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """Receive times from ``start`` to ``end``, end excluded, UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"{self.start} to {self.end}: times need a time zone")
        if self.start >= self.end:
            raise ValueError(f"the window {self.start} to {self.end} is empty")

    def meets(self, footer: Footer) -> bool:
        """Whether an object has rows received in the window."""
        low, high = footer.received_min, footer.received_max
        return low is not None and high is not None and low < unix_ns(self.end) and high >= unix_ns(self.start)

    def hours(self) -> Iterator[datetime]:
        """The whole hours that it touches."""
        at = self.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        while at < self.end:
            yield at
            at += timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read: one dataset of one exchange, one window, and these canonical markets (none given: all).

    Records that belong to no market (connections) come whatever markets are chosen.
    """

    exchange: str
    dataset: str
    window: Window
    markets: tuple[str, ...] = ()

    @property
    def topic(self) -> str:
        """The topic that the records were read from."""
        return naming.raw_topic(self.exchange, self.dataset)


@dataclass
class Left:
    """Offsets that objects of the window account for and no row holds: they can't be read back."""

    dead: int = 0
    ignored: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """Row groups of one Parquet file; None: all of them. With ``part``: its rows of the stream's chain.

    ``start`` and ``end`` are the first and the last offset that its rows may have.
    """

    path: str
    size: int
    start: int
    end: int
    row_groups: tuple[int, ...] | None = None
    part: ByOffset | None = None


@dataclass
class _Stream:
    """One partition of one topic: its pieces. Those that meet in their offsets are merged, others come in turn."""

    choice: Choice
    chain: tuple[str, int, int]
    pieces: list[_Piece] = field(default_factory=list)

    def turns(self) -> Iterator[list[_Piece]]:
        """Pieces in the order of their offsets; those of one list overlap."""
        turn: list[_Piece] = []
        for piece in sorted(self.pieces, key=attrgetter("start")):
            if turn and piece.start > max(one.end for one in turn):
                yield turn
                turn = []
            turn.append(piece)
        if turn:
            yield turn


def from_landing(store: ObjectStore, choices: Iterable[Choice], left: Left) -> Iterator[Recorded]:
    """The records of ``choices`` from the chains in landing; counts into ``left`` what they don't hold.

    In order of receipt; records of one partition keep the order of their offsets.

    Raises:
        StoreUnavailableError, CorruptObjectError: the lake can't be read; what was given until then is right.
    """
    streams = [stream for choice in choices for stream in _chains(store, choice, left)]
    yield from _merged(store, streams)


def from_compacted(store: ObjectStore, choices: Sequence[Choice]) -> Iterator[Recorded]:
    """The same from the compacted hours. Hours that no run has compacted yet give nothing.

    Parts are sorted for other readers: an hour's chosen records wait in a temporary folder, uncompressed. Dead letters
    that were revived later stand in the parts as rows like others, and come too.
    """
    for at in sorted({at for choice in choices for at in choice.window.hours()}):
        with tempfile.TemporaryDirectory(prefix="tidemark-replay-") as folder:
            hour_of = [(choice, Hour(choice.exchange, choice.dataset, at)) for choice in choices]
            streams = [
                stream
                for n, (choice, hour) in enumerate(hour_of)
                for stream in _parts(store, choice, hour, Path(folder) / str(n))
            ]
            yield from _merged(store, streams)


def unix_ns(at: datetime) -> int:
    """Nanoseconds since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000


# --- finding -------------------------------------------------------------------------------------------------


def _chains(store: ObjectStore, choice: Choice, left: Left) -> list[_Stream]:
    """A stream for each chain of the topic that has rows of the window."""
    since = (choice.window.start - _CLOCKS).timestamp()
    chains: dict[tuple[str, int, int], list[Listed]] = defaultdict(list)
    for listed in store.list(naming.landing_prefix(choice.topic)):
        name = naming.parse_chain_object(listed.path)
        if name is not None and listed.written_at >= since:  # an older one holds nothing received since
            chains[name.cluster, name.epoch, name.partition].append(listed)
    streams = [
        _Stream(choice, chain, list(_touching(store, objects, choice.window, left)))
        for chain, objects in chains.items()
    ]
    return [stream for stream in streams if stream.pieces]


def _touching(store: ObjectStore, objects: Sequence[Listed], window: Window, left: Left) -> Iterator[_Piece]:
    """The objects of a chain that touch the window; footers are read only until all lies well behind it."""
    cache = FooterCache()
    behind = unix_ns(window.end + _LATEST)
    for first in range(0, len(objects), _FOOTERS_AT_ONCE):
        some = objects[first : first + _FOOTERS_AT_ONCE]
        footers = cache.read(store, some)
        for listed, footer in zip(some, footers, strict=True):
            if window.meets(footer):
                left.dead += footer.dead
                left.ignored += footer.ignored
                yield _Piece(listed.path, listed.size, footer.start, footer.end)
        if all(footer.received_min is not None and footer.received_min >= behind for footer in footers):
            return


def _parts(store: ObjectStore, choice: Choice, hour: Hour, folder: Path) -> list[_Stream]:
    """A stream for each chain that gave rows to a compacted hour; ``folder`` is for what has to be sorted."""
    streams: dict[tuple[str, int, int], _Stream] = {}
    there = {listed.path: listed.size for listed in store.list(hour.prefix)}
    for part in (part for manifest in compacted.manifests(store, hour) for part in manifest.parts):
        if part.path not in there:
            raise CorruptObjectError(f"{part.path} is planned and not written: compact {hour} again")
        for chain, piece in _pieces(store, choice, part, there[part.path], folder):
            streams.setdefault(chain, _Stream(choice, chain)).pieces.append(piece)
    return [stream for _, stream in sorted(streams.items())]


def _pieces(
    store: ObjectStore, choice: Choice, part: Part, size: int, folder: Path
) -> Iterator[tuple[tuple[str, int, int], _Piece]]:
    """What a part holds of each chain. Sources that are in no chain (REST's, revived letters) have none."""
    named = [(source, naming.parse_chain_object(source.path)) for source in part.sources]
    if compacted.layout_of(parquet.read_metadata(store, part.path)) == 1:
        groups = _row_groups(part.sources)
        for (source, name), taken in zip(named, groups, strict=True):
            if name is not None:
                yield chain_key(name), _Piece(part.path, size, source.start, source.end, taken)
        return
    spans: dict[tuple[str, int, int], tuple[int, int]] = {}
    for source, name in named:
        if name is not None:
            start, end = spans.get(chain_key(name), (source.start, source.end))
            spans[chain_key(name)] = (min(start, source.start), max(end, source.end))
    whole = _Piece(part.path, size, 0, 0)
    folder.mkdir(exist_ok=True)
    parts = ByOffset(
        lambda: (_chosen(batch, choice) for batch in _batches(store, whole)),
        spans, folder / Path(part.path).stem, _DECODED_BYTES,
    )  # fmt: skip
    for chain, (start, end) in spans.items():
        yield chain, _Piece(part.path, size, start, end, part=parts)


def _row_groups(sources: Iterable[Source]) -> Iterator[tuple[int, ...]]:
    """Which row groups of a part of layout 1 hold each source."""
    first = 0
    for source in sources:
        count = -(-source.rows // _LAYOUT_1_GROUP_ROWS)
        yield tuple(range(first, first + count))
        first += count


# --- reading -------------------------------------------------------------------------------------------------


def _merged(store: ObjectStore, streams: Iterable[_Stream]) -> Iterator[Recorded]:
    return heapq.merge(*(_records(store, stream) for stream in streams), key=attrgetter("received_ns"))


def _records(store: ObjectStore, stream: _Stream) -> Iterator[Recorded]:
    for turn in stream.turns():
        pieces = [_of_piece(store, stream, piece) for piece in turn]
        yield from pieces[0] if len(pieces) == 1 else heapq.merge(*pieces, key=attrgetter("offset"))


def _of_piece(store: ObjectStore, stream: _Stream, piece: _Piece) -> Iterator[Recorded]:
    try:
        batches = _batches(store, piece) if piece.part is None else piece.part.rows(stream.chain)
        yield from chained.from_iterable(_of_batch(batch, stream.choice) for batch in batches)
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"{piece.path} can't be read: {error}") from error


def _batches(store: ObjectStore, piece: _Piece) -> Iterator[pa.RecordBatch]:
    """About a mebibyte of rows at a time, so that many partitions can be open at once."""
    file = pq.ParquetFile(pa.PythonFile(_RangeFile(store, piece), mode="r"), buffer_size=_READ_BYTES, pre_buffer=False)
    wanted = {*_ENVELOPE, *_CHOSEN_BY, *CHAIN_COLUMNS, "code", "kind", "market"}
    columns = [name for name in file.schema_arrow.names if name in wanted]
    first = file.metadata.row_group(piece.row_groups[0] if piece.row_groups else 0)
    wide = max(1, first.total_byte_size // max(1, first.num_rows))
    rows = min(max(_DECODED_BYTES // wide, _BATCH_ROWS[0]), _BATCH_ROWS[1])
    yield from file.iter_batches(rows, row_groups=piece.row_groups, columns=columns, use_threads=False)


def _chosen(batch: pa.RecordBatch, choice: Choice) -> pa.RecordBatch:
    """The first rows of the chosen records."""
    first = pc.and_(pc.equal(batch["item"], 0), pc.equal(batch["source"], "ws"))
    at = pc.cast(batch["received_at"], pa.int64())
    start, end = unix_ns(choice.window.start) // 1_000, unix_ns(choice.window.end) // 1_000
    chosen = pc.and_(first, pc.and_(pc.greater_equal(at, start), pc.less(at, end)))
    if choice.markets and "market" in batch.schema.names:
        chosen = pc.and_(chosen, pc.is_in(batch["market"], pa.array(choice.markets)))
    return batch.filter(chosen)


def _of_batch(batch: pa.RecordBatch, choice: Choice) -> Iterator[Recorded]:
    """The records whose first row stands in this batch."""
    mine = _chosen(batch, choice)
    if mine["frame"].null_count:
        raise CorruptObjectError(f"the lake was written without the frames of {choice.topic}: they can't be read back")
    received = pc.multiply(pc.cast(mine["received_at"], pa.int64()), 1_000).to_pylist()
    rest = [mine[name].to_pylist() for name in _ENVELOPE[1:]]
    nothing = [None] * mine.num_rows
    own = [mine[name].to_pylist() if name in mine.schema.names else nothing for name in ("code", "kind")]
    topic = [choice.topic] * mine.num_rows
    return starmap(Recorded, zip(topic, received, *rest, *own, strict=True))


class _RangeFile(io.RawIOBase):
    """An object of the store as a file that is read where it is asked to be."""

    def __init__(self, store: ObjectStore, piece: _Piece) -> None:
        self._store = store
        self._piece = piece
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; where to."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._piece.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer at the end."""
        length = self._piece.size - self._at if size < 0 else min(size, self._piece.size - self._at)
        data = self._store.get_range(self._piece.path, self._at, length) if length > 0 else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; how much of it."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
