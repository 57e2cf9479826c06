"""The lake that readers query: one folder a receive hour, a few large Parquet files each, and what they hold.

Lives here: what a part and its manifest are, writing a part from its sources and proving that it holds exactly
their rows, the manifests of an hour. Doesn't: which hours and which sources (``jobs.compact``).

The manifests of an hour, ``_manifest-00001.json`` and on, are a chain too: each is created once, names the parts to
write and the sources of each, and is written *before* its parts. Whoever finds a manifest whose parts are missing
writes them: their names and their content follow from it. So compaction may be killed, repeated and raced.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.store import ObjectMissingError, ObjectStore, StoreError, crc32c

#: Each source of a part begins a row group of its own; a larger one takes several.
ROW_GROUP_ROWS: Final = 1_000_000
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
    """One file of an hour: the rows of its sources, in their order."""

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
    """The part made of these sources. Its name follows from them."""
    taken = tuple(sources)
    names = json.dumps([[s.path, s.start, s.end, s.rows] for s in taken])
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

    Holds one source and the compressed part in memory.

    Raises:
        CompactionError: sources hold other rows than the manifest says, or what was written is not what was read.
    """
    if store.exists(part.path):
        check_part(store, part)
        return False
    data, digest = _encode(store, hour, part)
    if content_digest(_row_groups(data)) != digest:
        raise CompactionError(f"{part.path}: what was written is not what its sources hold; nothing was kept")
    if not store.put_new(part.path, data):
        check_part(store, part)
        return False
    if store.stat(part.path).crc32c != crc32c(data):
        raise CompactionError(f"{part.path}: the store holds other bytes than were sent; delete it and run again")
    return True


def check_part(store: ObjectStore, part: Part, *, content: bool = False) -> None:
    """Make sure that a part has the rows that its manifest says; with ``content``, read it and check them all.

    Raises:
        ObjectMissingError: it is not there.
        CompactionError: it has other rows.
    """
    data = store.get(part.path) if content else store.get_tail(part.path, 1 << 20)
    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
        said = json.loads(metadata.metadata[parquet.FOOTER_KEY])
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise CompactionError(f"{part.path} is no part that compaction wrote: {error}") from error
    if metadata.num_rows != part.rows or said["rows"] != part.rows:
        raise CompactionError(f"{part.path} has {metadata.num_rows} rows, its manifest says {part.rows}")
    if content and content_digest(_row_groups(data)) != said["content_sha256"]:
        raise CompactionError(f"{part.path}: its rows are not those that were written")


def content_digest(tables: Iterable[pa.Table]) -> str:
    """SHA-256 over the values of row groups in their order: the same however they are encoded or chunked."""
    return _combined(_table_digest(table) for table in tables if table.num_rows)


def _encode(store: ObjectStore, hour: Hour, part: Part) -> tuple[bytes, str]:
    """The part as Parquet, a row group for each source, and the digest of what its sources hold."""
    sink = io.BytesIO()
    schema = parquet.schema_of(hour.dataset)
    taken: list[str] = []
    with pq.ParquetWriter(sink, schema, **parquet.writer_options(schema)) as writer:
        for source in part.sources:
            table = _rows_as_said(store, hour, part, source)
            taken.append(_table_digest(table))
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        digest = _combined(taken)
        said = {"kind": "part", "rows": part.rows, "sources": len(part.sources), "content_sha256": digest}
        writer.add_key_value_metadata({parquet.FOOTER_KEY.decode(): json.dumps(said)})
    return sink.getvalue(), digest


def _rows_as_said(store: ObjectStore, hour: Hour, part: Part, source: Source) -> pa.Table:
    try:
        table = rows_of(store, hour, source.path, source.start, source.end)
    except ObjectMissingError as error:
        raise CompactionError(f"{part.path} can't be made: its source {source.path} is gone from landing") from error
    if table.num_rows != source.rows:
        problem = f"{source.path} gives it {table.num_rows} rows, its manifest says {source.rows}"
        raise CompactionError(f"{part.path} can't be made: {problem}")
    return table


def _row_groups(data: bytes) -> Iterator[pa.Table]:
    file = pq.ParquetFile(pa.BufferReader(data))
    for number in range(file.num_row_groups):
        yield file.read_row_group(number)


def _combined(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _table_digest(table: pa.Table) -> str:
    digest = hashlib.sha256(f"{table.num_rows}".encode())
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f";{name}:{column.type};".encode())
        _digest_array(digest, column.combine_chunks())
    return digest.hexdigest()


def _digest_array(digest: Any, array: pa.Array) -> None:
    """Feed the values of an array: which are null, how long each is, and their bytes. Nulls hold no bytes."""
    digest.update(_bytes(pc.cast(pc.is_valid(array), pa.uint8())))
    kind = array.type
    if pa.types.is_list(kind):
        digest.update(_bytes(pc.fill_null(pc.list_value_length(array), 0)))
        _digest_array(digest, array.flatten())
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        filled = pc.fill_null(pc.cast(array, pa.large_binary()), b"")
        digest.update(_bytes(pc.binary_length(filled)))
        offsets = memoryview(filled.buffers()[1]).cast("q")
        first, last = offsets[filled.offset], offsets[filled.offset + len(filled)]
        digest.update(memoryview(filled.buffers()[2] or b"")[first:last])
    elif pa.types.is_boolean(kind):
        digest.update(_bytes(pc.cast(pc.fill_null(array, False), pa.uint8())))
    else:
        digest.update(_bytes(pc.fill_null(array, pa.scalar(0, kind))))


def _bytes(array: pa.Array) -> memoryview:
    """The bytes of an array of a fixed width."""
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1] or b"")[array.offset * width : (array.offset + len(array)) * width]


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at.astimezone(UTC), pa.timestamp("us", tz="UTC"))
