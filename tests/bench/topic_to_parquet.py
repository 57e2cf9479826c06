"""Stage: topics to typed Parquet, of all exchanges and of one's trades, and catching up on books.

Contains: what is compared with what, and the shares of exchanges and datasets in the mix. Does not contain: the frames
(``feeds``, ``frames``), the timed programs (``our_sink``, ``quix_sink``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.bench import broker, frames
from tests.bench.feeds import FEEDS
from tests.bench.harness import Candidate, Place, Row
from tidemark import naming

_TRADES, _BOOKS = "raw.upbit.trade.v1", "raw.upbit.orderbook.v1"
#: All of the exchange with most markets: frames a second and bytes a second.
_LIVE_BYTES = 2_200_000
_KNOWN_QUIX = 41_000


#: Frames of each feed in a hundred of the mix: books most, as on the wire.
_MIX: Final = {
    "upbit orderbook, DEFAULT": 22,
    "upbit trade, DEFAULT": 8,
    "upbit ticker, DEFAULT": 8,
    "upbit candle, DEFAULT": 4,
    "okx depth": 15,
    "okx trade": 8,
    "okx ticker": 6,
    "okx candle": 3,
    "binance depth": 12,
    "binance trade": 10,
    "binance candle": 4,
}


def rows(place: Place) -> Iterator[Row]:
    """The lines of the table, from brokers of this stage's own: the mix fills topics that the others fill too."""
    with broker.broker(place.folder / "all", place.cache) as bootstrap:
        yield from _of_all(bootstrap, place)
    with broker.broker(place.folder / "one", place.cache) as bootstrap:
        yield from _of_trades(bootstrap, place)
        yield _of_books(bootstrap, place)


def _of_all(bootstrap: str, place: Place) -> Iterator[Row]:
    """All exchanges as they send today."""
    hundreds = 200 if place.quick else 2_000
    topics = []
    for name, share in _MIX.items():
        feed = FEEDS[name]
        topics.append(naming.raw_topic(feed.exchange, feed.dataset))
        broker.fill(bootstrap, topics[-1], feed.frames(share * hundreds))
    arguments = [bootstrap, ",".join(topics), str(100 * hundreds)]
    yield from _against_quix("three exchanges, eleven topics → typed Parquet", arguments, place)


def _of_trades(bootstrap: str, place: Place) -> Iterator[Row]:
    """One exchange's trades, as they were measured before the others came."""
    trades = 100_000 if place.quick else 600_000
    broker.fill(bootstrap, _TRADES, frames.trades(trades))
    yield from _against_quix("topic of trades → typed Parquet", [bootstrap, _TRADES, str(trades)], place, _KNOWN_QUIX)


def _against_quix(stage: str, arguments: list[str], place: Place, known: int | None = None) -> Iterator[Row]:
    """Without and with the verbatim frame, both engines on the same topics."""
    sink, quix = ["-m", "tests.bench.our_sink", *arguments], ["tests/bench/quix_sink.py", *arguments]
    yield Row(
        f"{stage}, decimals exact, without the frame column (frames per CPU second)",
        Candidate("sink", [*sink, "--no-frames"]),
        goal=6.0,
        yardstick=Candidate("quixstreams", quix, place.yardsticks),
        known=known,
    )
    yield Row(
        "the same with the verbatim frame (per CPU second)",
        Candidate("sink", sink),
        goal=3.5,
        yardstick=Candidate("quixstreams", [*quix, "--frames"], place.yardsticks),
    )


def _of_books(bootstrap: str, place: Place) -> Row:
    books = 10_000 if place.quick else place.books
    broker.fill(bootstrap, _BOOKS, frames.books(books))
    size = sum(len(frame) for _, frame in frames.books(books))
    return Row(
        "catch-up on books of 30 levels with the frame (bytes per CPU second, against 2.2 MB/s live)",
        Candidate("sink", ["-m", "tests.bench.our_sink", bootstrap, _BOOKS, str(books), "--bytes", str(size)]),
        goal=30.0,
        reference=_LIVE_BYTES,
        unit="MB/s",
        scale=1e-6,
    )
