"""What librdkafka says of itself once a second: how full its queue is, and how long records took.

Lives here: reading that report. Doesn't: asking for it (``broker``).

The library times every record (in its queue, in the socket's buffer, and the round trip of its request), so that nobody
has to do it record by record. It gives quantiles of each; their sums are an upper bound of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec


class Window(msgspec.Struct):
    """Times within the last second, microseconds."""

    p50: int = 0
    p75: int = 0
    p90: int = 0
    p95: int = 0
    p99: int = 0
    max: int = 0
    cnt: int = 0


class _Node(msgspec.Struct):
    int_latency: Window = msgspec.field(default_factory=Window)
    outbuf_latency: Window = msgspec.field(default_factory=Window)
    rtt: Window = msgspec.field(default_factory=Window)


class Statistics(msgspec.Struct):
    """One report; ``msg_size`` is the bytes of values in the queue."""

    msg_size: int = 0
    brokers: dict[str, _Node] = msgspec.field(default_factory=dict)

    def latencies(self) -> Iterator[tuple[float, int]]:
        """How long records took until the broker had confirmed them, in seconds, and how many took no longer."""
        for node in self.brokers.values():
            left = node.int_latency.cnt
            for quantile, part in _PARTS:
                count = min(left, round(part * node.int_latency.cnt))
                left -= count
                if count:
                    yield _whole(node, quantile), count
            if left:
                yield _whole(node, "max"), left


#: Up to each quantile, which part of all records lies behind the one before it.
_PARTS: Final = (("p50", 0.5), ("p75", 0.25), ("p90", 0.15), ("p95", 0.05), ("p99", 0.04))

read: Final = msgspec.json.Decoder(Statistics).decode


def _whole(node: _Node, quantile: str) -> float:
    windows = (node.int_latency, node.outbuf_latency, node.rtt)
    return sum(int(getattr(window, quantile)) for window in windows) / 1e6
