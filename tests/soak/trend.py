"""Whether memory grows: a line through samples, and the noise around it.

Lives here: the arithmetic. Doesn't: taking samples.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

#: Samples of the first part of a run don't count: allocators fill up, buffers find their size.
WARM_UP = 0.25
#: A line is growth when it rises by more than so many standard deviations of what lies around it …
_SIGMAS = 3.0
#: … and by more than so many bytes over the run: less than that, nobody can tell from the allocator's moods.
_TOLERATED = 8 * 1024 * 1024


@dataclass(frozen=True)
class Trend:
    """Bytes: the highest sample of all, the mean after the warm-up, and by how much the line rises from there to the
    end (``growth``), beside what lies around the line (``noise``)."""

    highest: int
    mean: float
    growth: float
    noise: float

    @property
    def grows(self) -> bool:
        """Whether the growth is beyond noise."""
        return self.growth > max(_SIGMAS * self.noise, _TOLERATED)


def trend(samples: Sequence[tuple[float, int]]) -> Trend:
    """The trend of (seconds, bytes), in order; at least eight of them."""
    if len(samples) < 8:
        raise ValueError(f"{len(samples)} samples say nothing about a trend: let it run longer")
    first = samples[0][0]
    begin = first + WARM_UP * (samples[-1][0] - first)
    counted = [(at, size) for at, size in samples if at >= begin]
    times, sizes = zip(*counted, strict=True)
    line = statistics.linear_regression(times, sizes)
    around = [size - line.slope * at - line.intercept for at, size in counted]
    return Trend(
        highest=max(size for _, size in samples),
        mean=statistics.fmean(sizes),
        growth=line.slope * (times[-1] - times[0]),
        noise=statistics.stdev(around),
    )
