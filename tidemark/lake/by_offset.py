"""The rows of a sorted part in the order of their offsets again, chain by chain, in bounded memory.

Contains: the split of a part by chain and the sort of each, in a temporary folder. Does not contain: which rows are
wanted (``recorded``), the sort itself (``runs``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from tidemark.lake.runs import SortedRuns
from tidemark.naming import ChainObject

#: What identifies the chain of a row.
CHAIN_COLUMNS: Final = ("kafka_cluster", "kafka_epoch", "kafka_partition")
_RUN_BYTES: Final = 4 * 1024 * 1024

ChainKey = tuple[str, int, int]


def chain_key(name: ChainObject) -> ChainKey:
    """The values of ``CHAIN_COLUMNS`` in the rows of an object."""
    return name.cluster, name.epoch, name.partition


class ByOffset:
    """One part. It is read when its first row is asked for, once for all chains; ``read`` gives its wanted rows."""

    def __init__(
        self, read: Callable[[], Iterable[pa.RecordBatch]], chains: Iterable[ChainKey], folder: Path, portion_bytes: int
    ) -> None:
        self._read = read
        self._chains = sorted(set(chains))
        self._folder = folder
        self._portion_bytes = portion_bytes
        self._sorted: dict[ChainKey, SortedRuns] = {}

    def rows(self, chain: ChainKey) -> Iterator[pa.RecordBatch]:
        """The rows of one chain, about ``portion_bytes`` at a time. Can be read once."""
        if not self._sorted:
            self._split()
        runs = self._sorted[chain]
        size = max(1, runs.rows * self._portion_bytes // max(1, runs.nbytes))
        for table in runs.merged([min(size, runs.rows - start) for start in range(0, runs.rows, size)]):
            yield from table.to_batches()

    def _split(self) -> None:
        self._folder.mkdir()
        files = {chain: self._folder / f"{n}.arrow" for n, chain in enumerate(self._chains)}
        with ExitStack() as stack:
            self._sorted = {
                chain: stack.enter_context(SortedRuns(file, ("kafka_offset",), run_bytes=_RUN_BYTES))
                for chain, file in files.items()
            }
            for batch in self._read():
                for chain, runs in self._sorted.items():
                    mine = batch.filter(_is_of(batch, chain))
                    if mine.num_rows:
                        runs.add(pa.Table.from_batches([mine]))
            for runs in self._sorted.values():
                runs.end()


def _is_of(batch: pa.RecordBatch, chain: ChainKey) -> pa.Array:
    cluster, epoch, partition = (pc.equal(batch[n], value) for n, value in zip(CHAIN_COLUMNS, chain, strict=True))
    return pc.and_(cluster, pc.and_(epoch, partition))
