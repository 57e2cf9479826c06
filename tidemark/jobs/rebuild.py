"""One-minute bars of whole days, computed anew from the lake and held against those in gold.

Lives here: which objects count, comparing, replacing what differs. Doesn't: computing bars (``warehouse.lake_bars``),
wider bars (dbt rolls them up from these when gold is built next).

The bars come from Parquet through another engine, with none of the warehouse's rows: that they equal gold's proves
raw, silver and gold together. What differs is replaced in one transaction, under the lock that dbt's model takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from tidemark.warehouse.lake_bars import COLUMNS, PARTS, Part, Size, computed

_SHOWN: Final = 5
#: Parts of the window that are computed while others are taken.
_AT_ONCE: Final = 2
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
#: What one contract was; a bound outside of the window is the window's own.
_SIZES: Final = """
SELECT code, size, is_inverse, is_override, known_from, greatest(from_at, %(start)s), least(to_at, %(end)s)
FROM silver.contract_size
WHERE exchange = %(exchange)s AND from_at < %(end)s AND to_at > %(start)s
"""
_FLOOR: Final = "SELECT max(floor_at) FROM ops.retention WHERE relation IN ('silver.trade', 'gold.ohlcv_1m')"
_GATE: Final = "SELECT reason FROM ops.gate WHERE exchange = %s AND dataset = 'trade' AND status = 'red'"
#: The lake's bars of one part of the window.
_STAGE: Final = """
CREATE TEMPORARY TABLE lake_csv (market text, minute bigint, open numeric, high numeric, low numeric, close numeric,
    volume_base numeric, volume_quote numeric NOT NULL, trade_count bigint, buy_volume_base numeric,
    sell_volume_base numeric
) ON COMMIT DROP
"""
_VALUES: Final = (
    "open", "high", "low", "close", "volume_base", "volume_quote", "vwap", "trade_count", "buy_volume_base",
    "sell_volume_base",
)  # fmt: skip
_BARS: Final = """
CREATE TEMPORARY VIEW lake_bars AS
SELECT market, to_timestamp(minute * 60) AS bucket_at, trim_scale(open) AS open, trim_scale(high) AS high,
    trim_scale(low) AS low, trim_scale(close) AS close, trim_scale(volume_base) AS volume_base,
    trim_scale(volume_quote) AS volume_quote,
    trim_scale(round(round(volume_quote, 30) / volume_base, 12)) AS vwap, trade_count,
    trim_scale(buy_volume_base) AS buy_volume_base, trim_scale(sell_volume_base) AS sell_volume_base
FROM lake_csv
"""
_GOLD: Final = """
SELECT {what} FROM gold.ohlcv_1m WHERE exchange = %(exchange)s AND bucket_at >= %(start)s AND bucket_at < %(end)s
    AND market <> ALL (%(undecided)s)
"""
#: Where gold has nothing, all of the lake's bars differ, and nothing needs to be compared.
_ALL_DIFFERENT: Final = f"""
CREATE TEMPORARY VIEW different AS
SELECT market, bucket_at, 'only in the lake' AS finding, {", ".join(_VALUES)} FROM lake_bars
"""  # noqa: S608 - own names only
_DIFFERENT: Final = f"""
CREATE TEMPORARY TABLE different AS
SELECT coalesce(lake.market, gold.market) AS market, coalesce(lake.bucket_at, gold.bucket_at) AS bucket_at,
    CASE WHEN gold.market IS NULL THEN 'only in the lake' WHEN lake.market IS NULL THEN 'only in gold'
        ELSE 'another bar' END AS finding, {", ".join(f"lake.{name}" for name in _VALUES)}
FROM lake_bars AS lake FULL JOIN ({_GOLD.format(what="*")}) AS gold
    ON lake.market = gold.market AND lake.bucket_at = gold.bucket_at
WHERE ({", ".join(f"lake.{name}" for name in _VALUES)})
    IS DISTINCT FROM ({", ".join(f"gold.{name}" for name in _VALUES)})
"""  # noqa: S608 - own names only
_COUNTS: Final = "SELECT count(*), count(*) FILTER (WHERE finding <> 'only in the lake') FROM different"
_EXAMPLES: Final = "SELECT market, bucket_at, finding FROM different ORDER BY bucket_at, market LIMIT %s"
_DELETE: Final = """
DELETE FROM gold.ohlcv_1m AS old USING different
WHERE old.exchange = %(exchange)s AND old.market = different.market AND old.bucket_at = different.bucket_at
"""
_INSERT: Final = f"""
INSERT INTO gold.ohlcv_1m (exchange, market, bucket_at, {", ".join(_VALUES)})
SELECT %(exchange)s, market, bucket_at, {", ".join(_VALUES)} FROM different WHERE finding <> 'only in gold'
"""  # noqa: S608 - own names only
#: Word to the wider bars, and to every mart behind them.
_BUILD: Final = """
WITH build AS (INSERT INTO ops.build (dataset, exchange) VALUES ('trade', %(exchange)s) RETURNING build_id),
mark AS (INSERT INTO ops.build_mark (build_id, consumer) SELECT build_id, 'gold.ohlcv_1m' FROM build)
SELECT build_id FROM build
"""
_TOUCHED: Final = """
INSERT INTO ops.touched_bucket (build_id, exchange, market, bucket_at, until_at)
SELECT %(build)s, %(exchange)s, market, bucket_at, bucket_at + interval '1 minute' FROM different
"""
_ALL_TOUCHED: Final = """
INSERT INTO ops.touched_bucket (build_id, exchange, market, bucket_at, until_at)
SELECT DISTINCT %(build)s, %(exchange)s, market, %(start)s, %(end)s FROM different
"""


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
        sizes = [Size(*row) for row in connection.execute(_SIZES, window)]
        with (
            _files(open_store(settings.lake), paths, Path(folder), progress) as files,
            computed(files, exchange, (start, end), known, sizes, Path(folder)) as bars,
            ThreadPoolExecutor(_AT_ONCE, "bars") as pool,
        ):
            comparison = _Comparison(connection, exchange, bars.undecided, dry_run=dry_run)
            for number, part in enumerate(pool.map(bars.part, range(PARTS))):
                progress(number, PARTS, f"bars since {part.start:%Y-%m-%d %H:%M}")
                comparison.take(part)
        return RebuildSummary(
            exchange, len(paths), bars.trades, comparison.bars, comparison.different, tuple(comparison.examples),
            bars.undecided, bool(comparison.different) and not dry_run,
        )  # fmt: skip


def _known(exchange: str) -> None:
    try:
        registry.get(exchange)
    except KeyError as error:
        raise RebuildError(str(error.args[0])) from None


def _allowed(connection: Connection, exchange: str, start: datetime) -> None:
    closed = connection.execute(_GATE, [exchange]).fetchone()
    if closed:
        raise RebuildError(
            f"the quality gate of {exchange} trade is closed, gold takes no trade of it: {closed[0]}. "
            "Follow docs/runbooks/gate-closed.md, then rebuild."
        )
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


class _Comparison:
    """Gold's bars against the lake's, part by part, in one transaction."""

    def __init__(self, connection: Connection, exchange: str, undecided: Sequence[str], *, dry_run: bool) -> None:
        self._connection = connection
        self._given: dict[str, Any] = {"exchange": exchange, "undecided": list(undecided)}
        self._dry_run = dry_run
        self.bars = 0
        self.different = 0
        self.examples: list[str] = []
        connection.execute(_STAGE)
        connection.execute(_BARS)

    def take(self, part: Part) -> None:
        """Hold gold against this part of the window, and replace what differs."""
        self._given |= {"start": part.start, "end": part.end}
        bars = self._copy(part)
        if self._connection.execute(_GOLD.format(what="1") + "LIMIT 1", self._given).fetchone():
            self._connection.execute(_DIFFERENT, self._given)
            different, old = self._connection.execute(_COUNTS).fetchone() or (0, 0)
            self._replace(different, old, _TOUCHED)
            self._connection.execute("DROP TABLE different")
        else:
            self._connection.execute(_ALL_DIFFERENT)
            self._replace(bars, 0, _ALL_TOUCHED)
            self._connection.execute("DROP VIEW different")
        self.bars += bars

    def _copy(self, part: Part) -> int:
        self._connection.execute("TRUNCATE lake_csv")
        copy = sql.SQL("COPY lake_csv ({}) FROM STDIN (FORMAT csv)").format(
            sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
        )
        with part.path.open("rb") as file, self._connection.cursor() as cursor:
            with cursor.copy(copy) as stream:
                while block := file.read(1 << 20):
                    stream.write(block)
            return cursor.rowcount

    def _replace(self, different: int, old: int, touched: str) -> None:
        """``old``: how many of them gold has."""
        if not different:
            return
        self.different += different
        if missing := _SHOWN - len(self.examples):
            found = self._connection.execute(_EXAMPLES, [missing])
            self.examples += [f"{market} {at:%Y-%m-%d %H:%M}: {finding}" for market, at, finding in found]
        if self._dry_run:
            return
        if "build" not in self._given:
            (self._given["build"],) = self._connection.execute(_BUILD, self._given).fetchone() or (None,)
        if old:
            self._connection.execute(_DELETE, self._given)
        self._connection.execute(_INSERT, self._given)
        self._connection.execute(touched, self._given)
