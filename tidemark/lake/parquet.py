"""Rows to Parquet and back, and the footer that says what an object accounts for.

Lives here: contract rows to Arrow, Arrow to zstd Parquet with the ``tidemark`` footer, reading a footer without
reading the object. Doesn't: what chains of objects mean (``chain``), columns (``contracts``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tidemark.contracts import CONTRACTS, Contract
from tidemark.contracts.render import arrow_schema
from tidemark.lake.store import ObjectStore, StoreError
from tidemark.naming import original_topic, parse_raw_topic

FOOTER_KEY: Final = b"tidemark"
#: Rows a row group: what a reader that streams holds at once.
ROW_GROUP_ROWS: Final = 50_000
_PACKED: Final = pa.dictionary(pa.int32(), pa.string())
#: Where Arrow's readers look for the schema that was meant.
_ARROW_SCHEMA: Final = b"ARROW:schema"
#: What is read of an object's end at first: nearly all footers are shorter. A longer one is asked for once more.
_TAIL: Final = 64 * 1024
_LENGTH_AND_MAGIC: Final = 8
#: Level 3 took a tenth more time and gave the same size (docs/architecture/performance.md).
_ZSTD_LEVEL: Final = 1

Row = Mapping[str, Any]
#: What Arrow raises for a value that its column can't hold (too many digits, a wrong type).
VALUE_ERRORS: Final = (pa.ArrowException, OverflowError, TypeError, ValueError)


class CorruptObjectError(StoreError):
    """An object of the lake is not what it should be; the message names it."""


@dataclass(frozen=True, slots=True)
class FrameSum:
    """Frame numbers of one connection received within one hour: ``hour`` is its start, Unix seconds."""

    connection: str
    hour: int
    count: int
    min: int
    max: int
    sum: int


@dataclass(frozen=True, slots=True)
class Revived:
    """A dead letter that could be read later: ``outcome`` is ``parsed`` or ``ignored``, ``reason`` why it was dead."""

    offset: int
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Footer:
    """What one landing object accounts for: every offset from ``start`` to ``end``, both included.

    ``rows`` are rows of the file; ``parsed``, ``dead`` and ``ignored`` count offsets. ``kind`` is ``data``, ``gap``
    (the log no longer held these offsets: no rows), ``rest`` (fetched, no offsets of a log: ``dead`` counts rows of the
    answer that were set aside because they cannot be read) or ``revived`` (dead
    letters of the chain object with these offsets, which is of the topic ``origin``; ``revived`` lists them).
    ``fingerprint`` is that of the record at ``end``, empty where there is none. ``received_min`` and ``received_max``
    are Unix nanoseconds over the rows, None without rows.
    """

    topic: str
    partition: int
    cluster: str
    epoch: int
    start: int
    end: int
    rows: int
    parsed: int = 0
    dead: int = 0
    ignored: int = 0
    kind: Literal["data", "gap", "rest", "revived"] = "data"
    fingerprint: str = ""
    dead_reasons: Mapping[str, int] = field(default_factory=dict)
    frames: tuple[FrameSum, ...] = ()
    received_min: int | None = None
    received_max: int | None = None
    quality: Mapping[str, int] = field(default_factory=dict)
    origin: str = ""
    revived: tuple[Revived, ...] = ()

    @property
    def offsets(self) -> int:
        """How many offsets the object accounts for."""
        return self.end - self.start + 1

    def to_json(self) -> str:
        """As it stands in the Parquet metadata."""
        names = self.__dataclass_fields__
        values = {name: getattr(self, name) for name in names}
        values["dead_reasons"] = dict(self.dead_reasons)
        values["quality"] = dict(self.quality)
        values["frames"] = [[f.connection, f.hour, f.count, f.min, f.max, f.sum] for f in self.frames]
        values["revived"] = [[r.offset, r.outcome, r.reason] for r in self.revived]
        return json.dumps(values, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Footer:
        """Read what :meth:`to_json` wrote; unknown keys of a later version are left out.

        Raises:
            ValueError: it is not a footer.
        """
        try:
            values = json.loads(text)
            known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
            known["frames"] = tuple(FrameSum(*entry) for entry in values.get("frames", ()))
            known["revived"] = tuple(Revived(*entry) for entry in values.get("revived", ()))
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a footer: {error}") from error


def to_batch(contract: Contract, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows as Arrow; a column that a row lacks is null, a key that is no column is an error.

    Raises:
        One of VALUE_ERRORS: a value does not fit its column (more than 20 digits before the point or 18 behind it).
    """
    schema = schema_of(contract.dataset)
    unknown = {name for row in rows for name in row.keys() - _names(contract.dataset)}
    if unknown:
        raise ValueError(f"{contract.dataset} has no column {', '.join(sorted(unknown))}")
    arrays = [pa.array([row.get(column.name) for row in rows], column.type) for column in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def encode(contract: Contract, batches: Sequence[pa.RecordBatch], footer: Footer) -> bytes:
    """A Parquet file of ``batches`` with its footer (see :func:`writer_options`); they may be packed.

    Raises:
        ValueError: the footer counts other rows than there are.
    """
    schema = schema_of(contract.dataset)
    table = pa.Table.from_batches(batches, schema=batches[0].schema if batches else schema).unify_dictionaries()
    if table.num_rows != footer.rows:
        raise ValueError(f"the footer counts {footer.rows} rows, there are {table.num_rows}")
    return _encode(table, schema, {**(schema.metadata or {}), FOOTER_KEY: footer.to_json().encode()})


def encode_table(table: pa.Table, metadata: Mapping[bytes, bytes]) -> bytes:
    """A Parquet file of ``table``, with ``metadata`` beside what its schema says."""
    return _encode(table, table.schema, {**(table.schema.metadata or {}), **metadata})


def _encode(table: pa.Table, schema: pa.Schema, metadata: Mapping[bytes, bytes]) -> bytes:
    """The file; whoever reads it finds ``schema``, whether texts are packed in ``table`` or not."""
    sink = pa.BufferOutputStream()
    arrow = base64.b64encode(schema.remove_metadata().serialize().to_pybytes())
    with pq.ParquetWriter(sink, table.schema, store_schema=False, **writer_options(schema)) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata({**metadata, _ARROW_SCHEMA: arrow})
    return bytes(sink.getvalue())


def packed(array: pa.Array) -> pa.Array:
    """Texts as a dictionary, which takes less memory and is written as it stands; anything else as it is."""
    return array.dictionary_encode() if pa.types.is_string(array.type) else array


@cache
def packed_schema_of(dataset: str) -> pa.Schema:
    """The lake's schema with texts in dictionaries: how rows wait in memory."""
    kinds = [(f.name, _PACKED if pa.types.is_string(f.type) else f.type) for f in schema_of(dataset)]
    return pa.schema(kinds)


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file of the lake is written: nothing that a reader might not know.

    Strings stand in dictionaries, integers and times as differences. Least and greatest value are kept of those, by
    which readers skip row groups; not of prices, sizes and frames.
    """
    strings = [column.name for column in schema if pa.types.is_string(column.type)]
    integers = [c.name for c in schema if pa.types.is_integer(c.type) or pa.types.is_timestamp(c.type)]
    return {
        "compression": "zstd",
        "compression_level": _ZSTD_LEVEL,
        "use_dictionary": strings,
        "column_encoding": dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
        "write_statistics": [*strings, *integers],
        "version": "2.6",
    }


def part_options(schema: pa.Schema, sort_columns: Sequence[str]) -> dict[str, Any]:
    """How the parts of the lake that readers query are written: once, to be read many times (ADR 19).

    Beside :func:`writer_options`: decimals in dictionaries (sorted by market, prices repeat; DuckDB sums them in a
    third of the time), the columns that they are sorted by, and the least and greatest values of pages.
    """
    order = [pq.SortingColumn(schema.get_field_index(name)) for name in sort_columns]
    options = writer_options(schema)
    decimals = [column.name for column in schema if pa.types.is_decimal(column.type)]
    lists = [f"{column.name}.list.element" for column in schema if pa.types.is_list(column.type)]
    return {
        **options,
        "use_dictionary": [*options["use_dictionary"], *decimals, *lists],
        "sorting_columns": order,
        "write_page_index": True,
    }


def write(contract: Contract, rows: Sequence[Row], footer: Footer) -> bytes:
    """Rows and their footer as a Parquet file."""
    return encode(contract, [to_batch(contract, rows)], footer)


def write_gap(footer: Footer) -> bytes:
    """The zero-row object that stands for offsets that no log holds any more."""
    return encode(CONTRACTS[parse_raw_topic(original_topic(footer.topic)).dataset], [], footer)


def read(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a Parquet file.

    Raises:
        CorruptObjectError: it is not Parquet.
    """
    try:
        return pq.read_table(pa.BufferReader(data), columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"not a Parquet file ({len(data)} bytes): {error}") from error


def conform(table: pa.Table, contract: Contract) -> pa.Table:
    """The table with exactly the contract's columns; those that an older writer didn't know are null."""
    schema = schema_of(contract.dataset)
    have = set(table.column_names)
    columns = [table[c.name].cast(c.type) if c.name in have else pa.nulls(table.num_rows, c.type) for c in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def footer_of(data: bytes) -> Footer:
    """The footer of a Parquet file, or of its last bytes.

    Raises:
        CorruptObjectError: there is none.
    """
    return _footer(_metadata(data))


def read_footer(store: ObjectStore, path: str) -> Footer:
    """The footer of an object, read from its end.

    Raises:
        ObjectMissingError: there is no such object.
        CorruptObjectError: it has no footer.
    """
    try:
        return _footer(read_metadata(store, path))
    except CorruptObjectError as error:
        raise CorruptObjectError(f"{path} is not an object that Tidemark wrote: {error}; move it away") from error


def read_metadata(store: ObjectStore, path: str) -> pq.FileMetaData:
    """What the end of a Parquet file says of it, whatever its length.

    One request where 64 KiB hold it, else a second one for exactly its length.

    Raises:
        ObjectMissingError: there is no such object.
        CorruptObjectError: it is not Parquet.
    """
    tail = store.get_tail(path, _TAIL)
    if len(tail) >= _LENGTH_AND_MAGIC and tail.endswith(b"PAR1"):
        needed = int.from_bytes(tail[-_LENGTH_AND_MAGIC:-4], "little") + _LENGTH_AND_MAGIC
        if needed > len(tail):
            tail = store.get_tail(path, needed)
    return _metadata(tail)


def _metadata(data: bytes) -> pq.FileMetaData:
    try:
        return pq.read_metadata(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise CorruptObjectError(f"no footer in these {len(data)} bytes: {error!r}") from error


def _footer(metadata: pq.FileMetaData) -> Footer:
    try:
        return Footer.from_json((metadata.metadata or {})[FOOTER_KEY])
    except (KeyError, ValueError) as error:
        raise CorruptObjectError(f"no footer in these {metadata.serialized_size} bytes: {error!r}") from error


@cache
def schema_of(dataset: str) -> pa.Schema:
    """The lake's schema of a dataset."""
    return arrow_schema(CONTRACTS[dataset])


@cache
def _names(dataset: str) -> frozenset[str]:
    return frozenset(schema_of(dataset).names)
