"""Stage: today's frames to Arrow columns, a line for each dataset of each exchange.

Contains: what is compared with what, and the proof that both make the same columns. Does not contain: the frames
(``feeds``), the timed programs (``read_json``, ``polars_reader``).
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.feeds import FEEDS, Feed
from tests.bench.harness import Candidate, Place, Row, run
from tidemark.contracts import CONTRACTS

_PROGRAM = "tests/bench/read_json.py"
_ONE_THREAD = {"POLARS_MAX_THREADS": "1"}
#: Columns that only ours makes: the name of the exchange, the text of unknown fields, and fields of 2025 and 2026.
_OURS_ALONE = frozenset(("exchange", "extra", "size_without_rpi", "order_source", "sequence_id"))


def rows(place: Place) -> Iterator[Row]:
    """Two lines for each feed: against polars, and what fields cost that nobody knows yet."""
    for feed in FEEDS.values():
        if place.match not in feed.name:
            continue
        count = (4_000 if place.quick else 40_000) // feed.weight
        ours = Candidate(f"reader, {feed.name}", [_PROGRAM, "ours", feed.name, str(count)])
        polars = Candidate(
            "polars, exact decimals", [_PROGRAM, "polars", feed.name, str(count)], place.yardsticks, _ONE_THREAD
        )
        _check_equal(place, feed, ours, polars)
        yield Row(f"JSON → Arrow: {feed.name}", ours, goal=2.0, yardstick=polars)
        yield Row(
            f"JSON → Arrow: {feed.name}, with fields added tomorrow",
            Candidate(ours.name, [*ours.arguments, "--more"]),
            goal=0.8,
            yardstick=Candidate("ours, today's fields", ours.arguments),
        )


def _check_equal(place: Place, feed: Feed, ours: Candidate, theirs: Candidate) -> None:
    """Both make the same columns of the first batch, to the last digit.

    Raises:
        SystemExit: a column differs, or only one of them has it.
    """
    tables = []
    for number, one in enumerate((ours, theirs)):
        path = place.folder / f"{number}.parquet"
        run(Candidate(one.name, [*one.arguments, "--columns", str(path)], one.python, one.environment), silent=True)
        tables.append(pq.read_table(path))
    expected, found = tables
    fields = CONTRACTS[feed.dataset].names()
    missing = {
        name for name in fields if name not in found.column_names and expected[name].null_count < len(expected)
    } - _OURS_ALONE
    if missing:
        raise SystemExit(
            f"{feed.name}: polars makes no column {', '.join(sorted(missing))}: add it to polars_reader.py"
        )
    for name in found.column_names:
        if not _same(expected[name], found[name]):
            raise SystemExit(f"{feed.name}: column {name} differs: {_first_difference(expected[name], found[name])}")


def _same(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> bool:
    return len(ours) == len(theirs) and ours.combine_chunks().equals(theirs.cast(ours.type).combine_chunks())


def _first_difference(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> str:
    if len(ours) != len(theirs):
        return f"{len(ours)} rows of ours, {len(theirs)} of polars"
    pairs = zip(ours.to_pylist(), theirs.cast(ours.type).to_pylist(), strict=True)
    return next(f"row {n}: {one} in ours, {other} in polars" for n, (one, other) in enumerate(pairs) if one != other)
