"""One-minute bars of whole days, computed anew from the lake and held against those in gold.

Lives here: which objects count, comparing, replacing what differs. Doesn't: computing bars (``warehouse.lake_bars``),
wider bars (dbt rolls them up from these when gold is built next).

The bars come from Parquet through another engine, with none of the warehouse's rows: that they equal gold's proves
raw, silver and gold together. What differs is replaced in one transaction, under the lock that dbt's model takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final

from psycopg import sql

from tidemark.exchanges import registry
from tidemark.lake.local import LocalStore
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import Settings
from tidemark.warehouse.connection import Connection, connect_as_dbt
from tidemark.warehouse.lake_bars import COLUMNS, LakeBars, compute

_SHOWN: Final = 5
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('tidemark.dbt:gold.ohlcv_1m', 0))"
#: Objects with rows of the window (whenever they were received) that silver has taken.
_OBJECTS: Final = """
SELECT path FROM ops.load_ledger AS ledger
WHERE exchange = %(exchange)s AND dataset = 'trade' AND rows > 0
    AND EXISTS (
        SELECT FROM ops.load_hour AS hour
        WHERE hour.load_id = ledger.load_id AND hour.hour_at >= %(start)s AND hour.hour_at < %(end)s
    )
    AND EXISTS (SELECT FROM ops.load_mark AS mark WHERE mark.load_id = ledger.load_id AND consumer = 'silver.trade')
ORDER BY path
"""
_MARKETS: Final = "SELECT DISTINCT market FROM silver.market WHERE exchange = %s"
_FLOOR: Final = "SELECT max(floor_at) FROM ops.retention WHERE relation IN ('silver.trade', 'gold.ohlcv_1m')"
_GATE: Final = "SELECT reason FROM ops.gate WHERE exchange = %s AND status = 'red'"
_STAGE: Final = """
CREATE TEMPORARY TABLE lake_csv (market text, minute bigint, open numeric, high numeric, low numeric, close numeric,
    volume_base numeric, volume_quote numeric NOT NULL, trade_count bigint, buy_volume_base numeric,
    sell_volume_base numeric
) ON COMMIT DROP
"""
_BARS: Final = """
CREATE TEMPORARY TABLE lake_bars ON COMMIT DROP AS
SELECT %(exchange)s::text AS exchange, market, to_timestamp(minute * 60) AS bucket_at, trim_scale(open) AS open,
    trim_scale(high) AS high, trim_scale(low) AS low, trim_scale(close) AS close,
    trim_scale(volume_base) AS volume_base, trim_scale(volume_quote) AS volume_quote,
    trim_scale(round(round(volume_quote, 30) / volume_base, 12)) AS vwap, trade_count,
    trim_scale(buy_volume_base) AS buy_volume_base, trim_scale(sell_volume_base) AS sell_volume_base
FROM lake_csv
"""
_DIFFERENT: Final = """
CREATE TEMPORARY TABLE different ON COMMIT DROP AS
SELECT coalesce(lake.market, gold.market) AS market, coalesce(lake.bucket_at, gold.bucket_at) AS bucket_at,
    CASE WHEN gold.market IS NULL THEN 'only in the lake' WHEN lake.market IS NULL THEN 'only in gold'
        ELSE 'another bar' END AS finding
FROM lake_bars AS lake FULL JOIN (
    SELECT * FROM gold.ohlcv_1m WHERE exchange = %(exchange)s AND bucket_at >= %(start)s AND bucket_at < %(end)s
        AND market <> ALL (%(undecided)s)
) AS gold ON lake.market = gold.market AND lake.bucket_at = gold.bucket_at
WHERE (lake.open, lake.high, lake.low, lake.close, lake.volume_base, lake.volume_quote, lake.vwap, lake.trade_count,
        lake.buy_volume_base, lake.sell_volume_base)
    IS DISTINCT FROM (gold.open, gold.high, gold.low, gold.close, gold.volume_base, gold.volume_quote, gold.vwap,
        gold.trade_count, gold.buy_volume_base, gold.sell_volume_base)
"""
#: Of what differs: out with gold's bars, in with the lake's, and word to the wider bars and every mart behind them.
_REPLACE: Final = (
    """
    DELETE FROM gold.ohlcv_1m AS old USING different
    WHERE old.exchange = %(exchange)s AND old.market = different.market AND old.bucket_at = different.bucket_at
    """,
    """
    INSERT INTO gold.ohlcv_1m (exchange, market, bucket_at, open, high, low, close, volume_base, volume_quote, vwap,
        trade_count, buy_volume_base, sell_volume_base)
    SELECT lake.exchange, lake.market, lake.bucket_at, lake.open, lake.high, lake.low, lake.close, lake.volume_base,
        lake.volume_quote, lake.vwap, lake.trade_count, lake.buy_volume_base, lake.sell_volume_base
    FROM lake_bars AS lake JOIN different USING (market, bucket_at)
    """,
    """
    WITH build AS (
        INSERT INTO ops.build (dataset, exchange) SELECT 'trade', %(exchange)s WHERE EXISTS (SELECT FROM different)
        RETURNING build_id
    ), touched AS (
        INSERT INTO ops.touched_bucket (build_id, exchange, market, bucket_at)
        SELECT build_id, %(exchange)s, market, bucket_at FROM build, different
    )
    INSERT INTO ops.build_mark (build_id, consumer) SELECT build_id, 'gold.ohlcv_1m' FROM build
    """,
)


class RebuildError(Exception):
    """The window can't be computed from the lake; the message says why and what can be done."""


@dataclass(frozen=True, slots=True)
class RebuildSummary:
    """What the lake says of a window, and how gold's bars compare.

    ``different`` counts bars that gold had otherwise, or not at all, or alone; ``undecided`` are markets of which the
    lake holds two versions of a trade: silver decides these.
    """

    exchange: str
    objects: int
    trades: int
    bars: int
    different: int
    examples: tuple[str, ...]
    undecided: tuple[str, ...]
    replaced: bool

    def __str__(self) -> str:
        """A line of figures, then what differed."""
        done = "replaced" if self.replaced else "found"
        lines = [
            f"{self.exchange}: {self.bars:,} one-minute bars from {self.trades:,} trades in {self.objects:,} objects; "
            + (f"{self.different:,} differences {done}" if self.different else "gold holds exactly these"),
            *(f"  {example}" for example in self.examples),
        ]
        if self.different > len(self.examples):
            lines.append(f"  … and {self.different - len(self.examples):,} more")
        if self.undecided:
            lines.append(f"  left to silver, the lake has two versions of a trade: {', '.join(self.undecided)}")
        return "\n".join(lines)


def run(
    settings: Settings,
    exchange: str,
    first: date,
    last: date,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int, str], None] = lambda number, of, what: None,
) -> RebuildSummary:
    """Hold gold's one-minute bars of the UTC days ``first`` to ``last`` (included) against the lake.

    What differs is replaced, unless ``dry_run``.

    Raises:
        RebuildError: no such exchange, or the days reach behind what silver or the bars are kept for.
        LakeBarsError: the numbers don't fit an exact product.
    """
    _known(exchange)
    start, end = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
    if not start < end:
        raise RebuildError(f"{first} to {last}: the first day must not be behind the last")
    window = {"exchange": exchange, "start": start, "end": end}
    with (
        connect_as_dbt(settings.warehouse, "rebuild") as connection,
        tempfile.TemporaryDirectory(prefix="tidemark-rebuild-") as folder,
        connection.transaction(),
    ):
        connection.execute(_LOCK)
        _allowed(connection, exchange, start)
        paths = [path for (path,) in connection.execute(_OBJECTS, window)]
        known = [market for (market,) in connection.execute(_MARKETS, [exchange])] or None
        with _files(open_store(settings.lake), paths, Path(folder), progress) as files:
            bars = compute(files, exchange, (start, end), known, Path(folder))
        return _compare(connection, bars, window, len(paths), dry_run)


def _known(exchange: str) -> None:
    try:
        registry.get(exchange)
    except KeyError as error:
        raise RebuildError(str(error.args[0])) from None


def _allowed(connection: Connection, exchange: str, start: datetime) -> None:
    closed = connection.execute(_GATE, [exchange]).fetchone()
    if closed:
        raise RebuildError(f"the gate of {exchange} is closed, gold takes nothing of it: {closed[0]}")
    row = connection.execute(_FLOOR).fetchone()
    if row and row[0] is not None and start < row[0]:
        raise RebuildError(
            f"{start:%Y-%m-%d} is behind what is kept: silver's trades and one-minute bars begin at {row[0]:%Y-%m-%d} "
            "(ops.retention); bars put before it would be dropped with the next run of ops__retention__apply"
        )


@contextmanager
def _files(
    store: ObjectStore, paths: Sequence[str], folder: Path, progress: Callable[[int, int, str], None]
) -> Iterator[list[Path]]:
    """The objects as files; those of a bucket are fetched for as long as they are needed."""
    if isinstance(store, LocalStore):
        for path in paths:
            if not store.exists(path):
                raise RebuildError(
                    f"{path} is in ops.load_ledger and not in the lake: see identity 1, nothing was replaced"
                )
        yield [store.root / path for path in paths]
        return
    files = []
    for number, path in enumerate(paths):
        progress(number, len(paths), path)
        file = folder / f"{number}.parquet"
        file.write_bytes(store.get(path))
        files.append(file)
    yield files


def _compare(
    connection: Connection, bars: LakeBars, window: dict[str, Any], objects: int, dry_run: bool
) -> RebuildSummary:
    given = {**window, "undecided": list(bars.undecided)}
    connection.execute(_STAGE)
    copy = sql.SQL("COPY lake_csv ({}) FROM STDIN (FORMAT csv)").format(
        sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    )
    with bars.path.open("rb") as file, connection.cursor() as cursor, cursor.copy(copy) as stream:
        while block := file.read(1 << 20):
            stream.write(block)
    connection.execute(_BARS, given)
    connection.execute(_DIFFERENT, given)
    different = _count(connection, "different")
    examples = connection.execute("SELECT market, bucket_at, finding FROM different ORDER BY 2, 1 LIMIT %s", [_SHOWN])
    told = tuple(f"{market} {at:%Y-%m-%d %H:%M}: {finding}" for market, at, finding in examples)
    if different and not dry_run:
        for statement in _REPLACE:
            connection.execute(statement, given)
    return RebuildSummary(
        window["exchange"], objects, bars.trades, _count(connection, "lake_bars"), different, told, bars.undecided,
        bool(different) and not dry_run,
    )  # fmt: skip


def _count(connection: Connection, table: str) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return int(row[0]) if row else 0
