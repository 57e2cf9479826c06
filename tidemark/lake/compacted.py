"""The lake that readers query: one folder a receive hour, a few large Parquet files each, and what they hold.

Contains: what a part and its manifest are, writing a part from its sources and proving that it holds exactly their
rows, the manifests of an hour. Does not contain: which hours and which sources (``jobs.compact``), sorting (``runs``),
digests (``digest``).

The manifests of an hour, ``_manifest-00001.json`` and on, are a chain too: each is created once, names the parts to
write and the sources of each, and is written *before* its parts. Whoever finds a manifest whose parts are missing
writes them under the names that it gives, in the present layout: their rows follow from it. So compaction may be
killed, repeated, raced, and done by two versions. What a file's layout is, its own footer says (ADR 19).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.digest import RowsDigest, digest_of, packed, row_hashes, unpacked
from tidemark.lake.parquet import CorruptObjectError, schema_of
from tidemark.lake.runs import SortedRuns
from tidemark.lake.store import ObjectMissingError, ObjectStore, StoreError, crc32c

#: How the rows of a part are arranged; its footer and its name hold it. 1: as the sources came, a row group each.
#: 2: sorted (see :func:`sort_columns`), in row groups for readers.
LAYOUT: Final = 2
#: Rows of a row group: what DuckDB's threads take at once (122,880), and Spark and BigQuery read well.
ROW_GROUP_ROWS: Final = 122_880
#: Bytes in memory of a row group of wide rows (books with their frames), of which the file takes a fifth or so.
_ROW_GROUP_BYTES: Final = 256 * 1024 * 1024
#: Bytes of the rows that are sorted at once, and rows that are read back at once.
_PORTION_BYTES: Final = 16 * 1024 * 1024
_CHECKED_ROWS: Final = 4_096
#: The column of the rows' hashes while they are sorted.
_HASH: Final = "_hash"
_HEX: Final = 32
_MANIFEST: Final = re.compile(r"dt=(?P<day>[0-9-]{10})/hour=(?P<hour>[0-9]{2})/_manifest-[0-9]{5}\.json$")


class CompactionError(StoreError):
    """A part can't be made from its sources, or is not what they hold; the message names it."""


@dataclass(frozen=True, slots=True)
class Hour:
    """One receive hour of one dataset of one exchange; ``at`` is its start, UTC."""

    exchange: str
    dataset: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.exchange} {self.dataset} {self.at:%Y-%m-%d %H}:00"

    @property
    def prefix(self) -> str:
        """Its folder."""
        return naming.compacted_prefix(self.dataset, self.exchange, self.at)

    def manifest(self, number: int) -> str:
        """The path of its manifest number ``number``, from 1."""
        return f"{self.prefix}_manifest-{number:05d}.json"


@dataclass(frozen=True, slots=True)
class Source:
    """The rows that one landing object gives to an hour: those received in it, of offsets ``start`` to ``end``."""

    path: str
    start: int
    end: int
    rows: int


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an hour: the rows of its sources."""

    path: str
    rows: int
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Parts that were, or are to be, written."""

    number: int
    parts: tuple[Part, ...]

    def to_json(self, hour: Hour) -> bytes:
        """As it lies in the lake."""
        head = {"exchange": hour.exchange, "dataset": hour.dataset, "hour_at": hour.at.isoformat()}
        return json.dumps({**head, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        parts = [
            Part(p["path"], p["rows"], tuple(Source(**source) for source in p["sources"])) for p in values["parts"]
        ]
        return cls(values["number"], tuple(parts))


def part_of(hour: Hour, sources: Iterable[Source]) -> Part:
    """The part made of these sources. Its name follows from them and from the layout."""
    taken = tuple(sources)
    names = json.dumps([LAYOUT, *([s.path, s.start, s.end, s.rows] for s in taken)])
    digest = hashlib.sha256(names.encode()).hexdigest()[:_HEX]
    return Part(f"{hour.prefix}part-{digest}.parquet", sum(s.rows for s in taken), taken)


def manifests(store: ObjectStore, hour: Hour) -> list[Manifest]:
    """The manifests of an hour, in order."""
    found = [listed.path for listed in store.list(f"{hour.prefix}_manifest-")]
    return [Manifest.from_json(store.get(path)) for path in found]


def latest(store: ObjectStore, exchange: str, dataset: str, before: datetime) -> datetime | None:
    """The latest hour before ``before`` that has a manifest; None when there is none."""
    root = Hour(exchange, dataset, before).prefix.partition("dt=")[0]
    found = (_MANIFEST.search(listed.path) for listed in store.list(root))
    hours = [datetime.fromisoformat(f"{m['day']}T{m['hour']}:00:00+00:00") for m in found if m]
    return max((at for at in hours if at < before), default=None)


def rows_of(store: ObjectStore, hour: Hour, path: str, start: int, end: int) -> pa.Table:
    """The rows of a landing object that were received in ``hour`` and have these offsets.

    Raises:
        ObjectMissingError, CorruptObjectError: the landing object is gone or damaged.
    """
    table = parquet.conform(parquet.read(store.get(path)), CONTRACTS[hour.dataset])
    at, offset = table["received_at"], table["kafka_offset"]
    first, beyond = _instant(hour.at), _instant(hour.at + timedelta(hours=1))
    inside = pc.and_(pc.greater_equal(at, first), pc.less(at, beyond))
    mine = pc.and_(pc.greater_equal(offset, start), pc.less_equal(offset, end))
    return table.filter(pc.and_(inside, mine)).combine_chunks()


def write_part(store: ObjectStore, hour: Hour, part: Part) -> bool:
    """Write a part and prove that it holds what its sources hold; False if it was there already.

    Holds in memory: one source, some 24 MiB of rows, 40 bytes for each row of the part, one column of a row group, and
    in the end the compressed part. The rows wait in a temporary folder, as large as they are in memory.

    Raises:
        CompactionError: sources hold other rows than the manifest says, or what was written is not what was read.
    """
    if store.exists(part.path):
        check_part(store, part)
        return False
    with tempfile.TemporaryDirectory(prefix="tidemark-compact-") as folder:
        data = _made(store, hour, part, Path(folder))
    if not store.put_new(part.path, data):
        check_part(store, part)
        return False
    if store.stat(part.path).crc32c != crc32c(data):
        raise CompactionError(f"{part.path}: the store holds other bytes than were sent; delete it and run again")
    return True


def check_part(store: ObjectStore, part: Part, *, content: bool = False) -> None:
    """Make sure that a part has the rows that its manifest says; with ``content``, read it and check them all.

    The content of a part of layout 1 can't be checked: its digest depended on how it was encoded.

    Raises:
        ObjectMissingError: it is not there.
        CompactionError: it has other rows.
    """
    try:
        metadata = parquet.read_metadata(store, part.path)
        said = json.loads(metadata.metadata[parquet.FOOTER_KEY])
    except (CorruptObjectError, KeyError, TypeError, ValueError) as error:
        raise CompactionError(f"{part.path} is no part that compaction wrote: {error}") from error
    if metadata.num_rows != part.rows or said["rows"] != part.rows:
        raise CompactionError(f"{part.path} has {metadata.num_rows} rows, its manifest says {part.rows}")
    if content and layout_of(metadata) >= LAYOUT:
        found = digest_of(_portions(pq.ParquetFile(pa.BufferReader(store.get(part.path)))))
        if (found.sequence, found.total) != (said["sequence_sha256"], said["rows_total"]):
            raise CompactionError(f"{part.path}: its rows are not those that were written")


def layout_of(metadata: pq.FileMetaData) -> int:
    """The layout of a part, by its footer; see ``LAYOUT``."""
    return int(json.loads((metadata.metadata or {})[parquet.FOOTER_KEY]).get("layout", 1))


def content_digest(tables: Iterable[pa.Table]) -> str:
    """SHA-256 over rows in their order, by value: the same however they are encoded, chunked or grouped."""
    return digest_of(tables).sequence


def sort_columns(dataset: str) -> tuple[str, ...]:
    """What the rows of a part are sorted by: the market where the dataset has one, then the time of the event."""
    names = schema_of(dataset).names
    return tuple(name for name in ("market", "event_at") if name in names)


def _made(store: ObjectStore, hour: Hour, part: Part, folder: Path) -> bytes:
    """The part as Parquet, read back and compared with its sources."""
    file = folder / "part.parquet"
    columns = sort_columns(hour.dataset)
    taken = RowsDigest()
    with SortedRuns(folder / "runs.arrow", columns) as runs:
        for table in _gathered(_rows_as_said(store, hour, part, source) for source in part.sources):
            hashes = row_hashes(table)
            taken.add(hashes)
            # Each row takes its hash along through the sort, so that none is computed twice.
            runs.add(table.append_column(_HASH, packed(hashes)))
        sequence = _write(file, hour, runs, taken, len(part.sources))
    with pq.ParquetFile(file, memory_map=True) as opened:
        found = digest_of(_portions(opened))
    if (found.total, found.sequence) != (taken.total, sequence):
        raise CompactionError(f"{part.path}: what was written is not what its sources hold; nothing was kept")
    return file.read_bytes()


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of ``_PORTION_BYTES``: sources are small and many."""
    waiting: list[pa.Table] = []
    nbytes = 0
    for table in tables:
        waiting.append(table)
        nbytes += table.nbytes
        if nbytes >= _PORTION_BYTES:
            yield pa.concat_tables(waiting)
            waiting, nbytes = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _write(file: Path, hour: Hour, runs: SortedRuns, taken: RowsDigest, sources: int) -> str:
    """Write the rows in their order; the digest of their sequence."""
    schema = schema_of(hour.dataset)
    digest = RowsDigest()
    groups = row_groups(runs.rows, runs.nbytes)
    portions = runs.merged([n for rows in groups for n in _split(rows, _portion_rows(runs))])
    with pq.ParquetWriter(file, schema, **parquet.part_options(schema, sort_columns(hour.dataset))) as writer:
        for rows in groups:
            with _mapped(file.with_suffix(".group"), _next_rows(portions, rows, digest)) as group:
                writer.write_table(group, row_group_size=rows)
        said = {
            "kind": "part", "layout": LAYOUT, "rows": digest.rows, "sources": sources,
            "sequence_sha256": digest.sequence, "rows_total": taken.total,
        }  # fmt: skip
        writer.add_key_value_metadata({parquet.FOOTER_KEY.decode(): json.dumps(said)})
    return digest.sequence


@contextmanager
def _mapped(path: Path, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """A row group as a table: a file that is mapped, because Parquet's writer wants the whole of it."""
    first = next(tables)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    del first
    with pa.memory_map(str(path)) as mapped:
        yield pa.ipc.open_file(mapped).read_all()


def row_groups(rows: int, nbytes: int) -> list[int]:
    """How many rows each row group of a part gets; ``nbytes`` are those of all rows in memory.

    All have the same size, give or take a row. None is smaller than ``ROW_GROUP_ROWS`` unless the part is, or its rows
    are so wide that ``_ROW_GROUP_BYTES`` are fewer.
    """
    return _split(rows, rows // max(1, rows // ROW_GROUP_ROWS, round(nbytes / _ROW_GROUP_BYTES)) or 1)


def _split(rows: int, size: int) -> list[int]:
    """Sizes of at least ``size``, as equal as can be, and together ``rows``."""
    count = max(1, rows // size)
    return [rows * (n + 1) // count - rows * n // count for n in range(count)]


def _portion_rows(runs: SortedRuns) -> int:
    return max(1, runs.rows * _PORTION_BYTES // max(1, runs.nbytes))


def _next_rows(portions: Iterator[pa.Table], rows: int, digest: RowsDigest) -> Iterator[pa.Table]:
    """The next portions, together so many rows, without their hashes, which go into ``digest``."""
    goal = digest.rows + rows
    while digest.rows < goal:
        portion = next(portions)
        digest.add(unpacked(portion[_HASH]))
        yield portion.drop_columns([_HASH])


def _portions(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """The rows of a Parquet file in their order, a few thousand at a time."""
    for batch in file.iter_batches(_CHECKED_ROWS, use_threads=False):
        yield pa.Table.from_batches([batch])


def _rows_as_said(store: ObjectStore, hour: Hour, part: Part, source: Source) -> pa.Table:
    try:
        table = rows_of(store, hour, source.path, source.start, source.end)
    except ObjectMissingError as error:
        raise CompactionError(f"{part.path} can't be made: its source {source.path} is gone from landing") from error
    if table.num_rows != source.rows:
        problem = f"{source.path} gives it {table.num_rows} rows, its manifest says {source.rows}"
        raise CompactionError(f"{part.path} can't be made: {problem}")
    return table


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at.astimezone(UTC), pa.timestamp("us", tz="UTC"))
