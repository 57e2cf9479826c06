"""Rows sorted in bounded memory: sorted runs in a file, merged portion by portion.

Contains: the external sort. Does not contain: by what the lake's files are sorted (``compacted``).

Held in memory: the rows that wait for their run (``_RUN_BYTES``, and what was added last), one portion while merging,
and for each row its sort columns and its position, 8 bytes each. The file holds every row once, as Arrow has it in
memory, and is mapped, not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

_RUN_BYTES: Final = 24 * 1024 * 1024
_LAST: Final = np.iinfo(np.int64).max


class SortedRuns:
    """Rows to be sorted by ``columns``, ascending, nulls last; equal ones keep the order in which they were added.

    ``rows`` and ``nbytes`` count what was added. Use it as a context: it keeps ``path`` open.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, run_bytes: int = _RUN_BYTES) -> None:
        self.rows = 0
        self.nbytes = 0
        self._path = path
        self._run_bytes = run_bytes
        self._columns = columns
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._keys: list[pa.Table] = []
        self._file = pa.OSFile(str(path), "wb")
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def add(self, table: pa.Table) -> None:
        """Take in rows."""
        self.rows += table.num_rows
        self.nbytes += table.nbytes
        self._waiting.append(table)
        self._waiting_bytes += table.nbytes
        if self._waiting_bytes >= self._run_bytes:
            self._write_run()

    def end(self) -> None:
        """Write what waits: no rows come any more."""
        self._write_run()
        self._close()

    def merged(self, portions: Sequence[int]) -> Iterator[pa.Table]:
        """The rows in their order, in portions of so many rows; together they must be all rows. Can be read once."""
        self.end()
        if not self.rows:
            return
        with pa.memory_map(str(self._path)) as mapped:
            file = pa.ipc.open_file(mapped)
            runs = [pa.Table.from_batches([file.get_batch(n)]) for n in range(file.num_record_batches)]
            order = sorted_order(pa.concat_tables(self._keys), self._columns)
            of_run = np.repeat(np.arange(len(runs), dtype=np.int32), [run.num_rows for run in runs])[order]
            del order
            reached = np.zeros(len(runs), np.int64)
            start = 0
            for rows in portions:
                portion = of_run[start : start + rows]
                yield _portion(runs, portion, reached)
                reached += np.bincount(portion, minlength=len(runs))
                start += rows

    def _write_run(self) -> None:
        if not self._waiting_bytes:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._waiting_bytes = [], 0
        table = table.take(pa.array(sorted_order(table, self._columns))).combine_chunks()
        self._keys.append(table.select(self._columns))
        if self._writer is None:
            self._writer = pa.ipc.new_file(self._file, table.schema)
        self._writer.write_table(table)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._file.close()


def sorted_order(table: pa.Table, columns: Sequence[str]) -> Ints:
    """Indices of the rows in their order by ``columns``: ascending, nulls last, equal ones as they are."""
    order: Ints = np.lexsort([_ranks(table[name]) for name in reversed(columns)])
    return order


def _portion(runs: Sequence[pa.Table], of_run: npt.NDArray[np.int32], reached: Ints) -> pa.Table:
    """The next rows, of which ``of_run`` are the runs; each run is read on from where it was ``reached``."""
    counts = np.bincount(of_run, minlength=len(runs))
    slices = [run.slice(first, count) for run, first, count in zip(runs, reached, counts, strict=True) if count]
    # Runs are sorted: so what is behind one another in a run is so in the result. Scatter the slices to their rows.
    place = np.empty(len(of_run), np.int64)
    place[np.argsort(of_run, kind="stable")] = np.arange(len(of_run))
    return pa.concat_tables(slices).combine_chunks().take(pa.array(place))


def _ranks(column: pa.ChunkedArray) -> Ints:
    """Integers in the order of the values; texts are ordered by their bytes."""
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        found = column.unique().drop_null().sort()
        ranks = pc.index_in(column, value_set=found)
    else:
        ranks = column
    filled: Any = pc.fill_null(ranks.cast(pa.int64()), _LAST)
    numbers: Ints = filled.to_numpy()
    return numbers
