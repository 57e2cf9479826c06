"""The frame numbers of an object, added up: what identity 0 asks for.

Lives here: count, least, most and sum by connection and receive hour. Doesn't: judging them
(``tidemark.completeness``).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from streaming.consumer.records import Batch
from tidemark.lake.parquet import FrameSum

_HOUR_NS: Final = 3_600 * 10**9
#: Numbers up to here can be added up in 64 bits.
_SMALL: Final = 2**40


class FrameSums:
    """Gathers batches."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], FrameSum] = {}

    def add(self, batch: Batch) -> None:
        """Add the frame numbers of a batch; records without one don't count."""
        names, numbers, received = batch.connections, batch.frame_nos, batch.received_ns
        if None in names or not numbers.all():
            numbered = [n for n, name in enumerate(names) if name is not None and numbers[n]]
            names, numbers, received = [names[n] for n in numbered], numbers[numbered], received[numbered]
        hours = received // _HOUR_NS * 3_600
        different = set(names)
        for name in different:
            of_name = np.ones(len(names), np.bool_) if len(different) == 1 else np.asarray([n == name for n in names])
            for hour in np.unique(hours[of_name]):
                self._add(str(name), int(hour), numbers[of_name & (hours == hour)])

    def sums(self) -> tuple[FrameSum, ...]:
        """All sums so far, in the order of connections and hours."""
        return tuple(self._sums[key] for key in sorted(self._sums))

    def _add(self, name: str, hour: int, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        least, most = int(numbers.min()), int(numbers.max())
        total = int(numbers.sum()) if most < _SMALL else sum(numbers.tolist())
        known = self._sums.get((name, hour), FrameSum(name, hour, 0, least, most, 0))
        self._sums[name, hour] = FrameSum(
            name, hour, known.count + len(numbers), min(known.min, least), max(known.max, most), known.sum + total
        )
