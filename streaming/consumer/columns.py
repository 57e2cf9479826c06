"""A batch of records becomes Arrow columns; what is out of the ordinary goes record by record through ``decode``.

Lives here: both ways and the order of their rows, the envelope by the column. Doesn't: which frames can be read by the
column (``tidemark.exchanges.columnar``), what an object accounts for (``buffer``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.consumer.decode import Dead, Decoder
from streaming.consumer.metrics import FAST, SLOW, Meter
from streaming.consumer.records import Batch, Record
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Row
from tidemark.exchanges.columnar.reader import Part, Reader
from tidemark.lake import parquet

BAD_VALUE = "bad_value"
_TIME = pa.timestamp("us", "UTC")
_INTEGER = pa.int64()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and why it is dead."""

    record: Record
    dead: Dead


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a batch held: its rows in their order, and what else became of its records.

    ``received_ns`` are the times of the rows' records.
    """

    rows: pa.RecordBatch
    received_ns: npt.NDArray[np.int64]
    dead: Sequence[DeadLetter]
    ignored: int


class Columns:
    """Decodes the batches of one partition. Without ``keep_frames`` the verbatim frames are left out.

    ``meter`` counts the frames by the path that they took, and is told of the fields that nobody knows.
    """

    def __init__(self, decoder: Decoder, *, keep_frames: bool = True, meter: Meter | None = None) -> None:
        self._decoder = decoder
        self._keep_frames = keep_frames
        self._meter = meter or Meter()
        self._topic = str(decoder.place["kafka_topic"])
        self._kept = registry.kept(decoder.exchange, decoder.dataset)
        self.contract = CONTRACTS[decoder.dataset]
        self._schema = parquet.packed_schema_of(decoder.dataset)
        self._has_extra = "extra" in self.contract.names()
        self._reader = Reader(registry.shapes(decoder.exchange, decoder.dataset))

    def decode(self, batch: Batch) -> Gathered:
        """The rows of a batch, in the order of offsets and items."""
        received = batch.received_ns
        parts, left = self._read(batch)
        pieces = [(part.frames, self._with_envelope(batch, received, part)) for part in parts]
        dead: list[DeadLetter] = []
        ignored = 0
        kept: list[tuple[int, list[Row]]] = []
        for place in left:
            record = batch.record(place)
            outcome = self._decoder.decode(record)
            if isinstance(outcome, Dead):
                dead.append(DeadLetter(record, outcome))
            elif isinstance(outcome, Ignored):
                ignored += 1
            else:
                kept.append((place, outcome))
        slow: set[int] = set()
        if kept:
            pieces.append(self._to_batch(batch, kept, dead))
            slow = set(pieces[-1][0].tolist()).difference(batch.special)
        places, rows = _in_order(pieces, self._schema)
        self._count(len(batch) - len(left), len(slow))
        if self._has_extra:
            self._look(rows)
        return Gathered(rows, received[places], dead, ignored)

    def _read(self, batch: Batch) -> tuple[list[Part], list[int]]:
        """What can be read by the column, and the places of the rest."""
        if not batch.special:
            return self._reader.read(batch.values)
        plain = np.delete(np.arange(len(batch)), batch.special)
        parts, left = self._reader.read([batch.values[place] for place in plain])
        moved = [Part(plain[part.frames], part.items, part.columns) for part in parts]
        return moved, sorted([*batch.special, *(int(plain[place]) for place in left)])

    def _count(self, fast: int, slow: int) -> None:
        """Count the frames that became rows, by path; records that are no frame, and dead letters, took neither."""
        self._meter.frames[self._topic, FAST] += fast
        self._meter.frames[self._topic, SLOW] += slow

    def _look(self, rows: pa.RecordBatch) -> None:
        place = (self._decoder.exchange, self._decoder.dataset, self._topic)
        self._meter.unknown.look(place, self._kept, rows)

    def _with_envelope(self, batch: Batch, received: npt.NDArray[np.int64], part: Part) -> pa.RecordBatch:
        places, count = part.frames, len(part.frames)
        first = part.items == 0
        whole = count == len(batch) and bool(first.all())
        columns = {name: _repeated(value, count) for name, value in self._decoder.place.items()}
        columns["item"] = pa.array(part.items, _INTEGER)
        columns["kafka_offset"] = pa.array(batch.start + places)
        columns["received_at"] = pa.array(received[places] // 1_000, _INTEGER).view(_TIME)
        columns["connection_id"] = pa.array(_picked(batch.connections, places, whole), pa.string())
        numbers = batch.frame_nos[places]
        columns["frame_no"] = pa.array(numbers, _INTEGER, mask=numbers == 0)
        if self._keep_frames:
            frames = _picked(batch.values, places, whole)
            columns["frame"] = pa.array(frames, pa.binary(), mask=None if first.all() else ~first)
        columns |= part.columns
        arrays = [
            parquet.packed(columns[f.name]) if f.name in columns else pa.nulls(count, f.type) for f in self._schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _to_batch(
        self, batch: Batch, kept: list[tuple[int, list[Row]]], dead: list[DeadLetter]
    ) -> tuple[npt.NDArray[np.int64], pa.RecordBatch]:
        """Rows as Arrow. A value that no column can hold makes its record a dead letter, and only that."""
        try:
            rows = self._arrow([row for _, rows in kept for row in rows])
        except parquet.VALUE_ERRORS:
            kept = [(place, rows) for place, rows in kept if self._fits(batch, place, rows, dead)]
            rows = self._arrow([row for _, rows in kept for row in rows])
        counts = [len(rows) for _, rows in kept]
        return np.repeat(np.asarray([place for place, _ in kept], np.int64), counts), rows

    def _fits(self, batch: Batch, place: int, rows: list[Row], dead: list[DeadLetter]) -> bool:
        try:
            self._arrow(rows)
        except parquet.VALUE_ERRORS as error:
            dead.append(DeadLetter(batch.record(place), Dead(BAD_VALUE, str(error))))
            return False
        return True

    def _arrow(self, rows: list[Row]) -> pa.RecordBatch:
        if not self._keep_frames:
            rows = [{**row, "frame": None} for row in rows]
        plain = parquet.to_batch(self.contract, rows)
        return pa.RecordBatch.from_arrays([parquet.packed(array) for array in plain.columns], schema=self._schema)


def _repeated(value: object, count: int) -> Any:
    if isinstance(value, str):
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [value])
    return pa.repeat(pa.scalar(value, _INTEGER), count)


def _picked(values: list[Any], places: npt.NDArray[np.int64], whole: bool) -> list[Any]:
    return values if whole else [values[place] for place in places]


def _in_order(
    pieces: list[tuple[npt.NDArray[np.int64], pa.RecordBatch]], schema: pa.Schema
) -> tuple[npt.NDArray[np.int64], pa.RecordBatch]:
    """All rows by the places of their records; those of one record stay as they are."""
    if len(pieces) == 1:
        return pieces[0]
    places = np.concatenate([np.zeros(0, np.int64), *(places for places, _ in pieces)])
    table = pa.Table.from_batches([rows for _, rows in pieces], schema=schema).combine_chunks()
    order = np.argsort(places, kind="stable")
    batches = table.take(pa.array(order)).combine_chunks().to_batches()
    return places[order], batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema)
