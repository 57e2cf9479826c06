"""Stage: a topic of trades to typed Parquet, with and without the verbatim frames, and catching up on books.

Lives here: what is compared with what. Doesn't: the timed programs (``our_sink``, ``quix_sink``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import broker, frames
from tests.bench.harness import Candidate, Place, Row

_TRADES, _BOOKS = "raw.upbit.trade.v1", "raw.upbit.orderbook.v1"
#: All of the exchange with most markets: frames a second and bytes a second.
_LIVE_BYTES = 2_200_000
_KNOWN_QUIX = 41_000


def rows(place: Place) -> Iterator[Row]:
    """Three lines of the table."""
    trades, books = (100_000, 10_000) if place.quick else (600_000, place.books)
    broker.fill(place.bootstrap, _TRADES, frames.trades(trades))
    broker.fill(place.bootstrap, _BOOKS, frames.books(books))
    sink = ["-m", "tests.bench.our_sink", place.bootstrap]
    quix = ["tests/bench/quix_sink.py", place.bootstrap, _TRADES, str(trades)]
    yield Row(
        "topic → typed Parquet, decimals exact, without the frame column (per CPU second)",
        Candidate("sink", [*sink, _TRADES, str(trades), "--no-frames"]),
        goal=6.0,
        yardstick=Candidate("quixstreams", quix, place.yardsticks),
        known=_KNOWN_QUIX,
    )
    yield Row(
        "the same with the verbatim frame (per CPU second)",
        Candidate("sink", [*sink, _TRADES, str(trades)]),
        goal=3.5,
        yardstick=Candidate("quixstreams", [*quix, "--frames"], place.yardsticks),
    )
    size = sum(len(frame) for _, frame in frames.books(books))
    yield Row(
        "catch-up on books of 30 levels with the frame (bytes per CPU second, against 2.2 MB/s live)",
        Candidate("sink", [*sink, _BOOKS, str(books), "--bytes", str(size)]),
        goal=30.0,
        reference=_LIVE_BYTES,
        unit="MB/s",
        scale=1e-6,
    )
