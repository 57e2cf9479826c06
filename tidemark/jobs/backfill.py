"""``tidemark backfill``: history of markets, of any length, in bounded pieces.

Contains: cutting a window into chunks, skipping those that are done, estimating what is left, and reporting progress.
Does not contain: what an exchange serves (``exchanges``), landing (``jobs.fetching``), loading (``warehouse.load``).

Chunks have fixed edges (UTC days of trades, 2,000 bars of candles), whatever window was asked for. Each is landed,
loaded and recorded in ``ops.backfill_chunk``; a run that was stopped continues behind the last one. A chunk is done
when it has rows and has ended: one that the exchange does not serve, or that is still going on, is asked for again by
the next run.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from tidemark.completeness.sequences import BARS
from tidemark.exchanges.base import NotServedError, UnknownMarketError
from tidemark.jobs import arguments
from tidemark.jobs.fetch_trades import days
from tidemark.jobs.fetching import SERIES_ERRORS, Fetcher, Progress, fetcher, instant, is_refusal
from tidemark.lake.store import ObjectStore, StoreError, open_store
from tidemark.settings import Settings
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.load import load_path

log = logging.getLogger(__name__)
DATASETS: Final = ("candle", "trade")
_BARS_A_CHUNK: Final = 2_000
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
#: How long after its end a chunk may still gain rows.
_SETTLING: Final = timedelta(minutes=5)

#: Chunks and failures that a summary names one by one.
_NAMED: Final = 10
_KEPT: Final = 100
_DAY: Final = timedelta(days=1)

_DONE: Final = """
SELECT code, interval, from_at, to_at FROM ops.backfill_chunk WHERE exchange = %s AND dataset = %s AND rows > 0
"""
_RECORD: Final = """
INSERT INTO ops.backfill_chunk (exchange, dataset, code, interval, from_at, to_at, rows, said)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (exchange, dataset, code, interval, from_at, to_at)
DO UPDATE SET rows = excluded.rows, said = excluded.said, done_at = now()
"""
#: Trades a day of each market, by the newest bars that there are.
_TRADES_A_DAY: Final = """
SELECT market, avg(trade_count) FROM gold.ohlcv_1d
WHERE exchange = %s AND market = ANY(%s) AND bucket_at >= now() - interval '30 days' GROUP BY market
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of history: a market, for candles an interval, from ``start`` up to ``end``."""

    code: str
    interval: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return " ".join(w for w in (self.code, self.interval, f"{instant(self.start)}/{instant(self.end)}") if w)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What asking for chunks takes: requests, and seconds at the exchange's rate limit.

    ``unknown`` are markets whose number of trades a day is unknown: for these one request a question is counted.
    """

    requests: int = 0
    seconds: float = 0.0
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For a person; a lower bound where something is unknown."""
        if not self.requests:
            return "nothing to ask"
        least = "at least" if self.unknown else "about"
        text = f"{least} {self.requests:,} requests, {arguments.duration(self.seconds)} at the exchange's rate limit"
        if not self.unknown:
            return text
        some = ", ".join(arguments.first_lines(self.unknown, 5))
        return f"{text} (the number of trades a day is unknown for {some})"


@dataclass(frozen=True, slots=True)
class BackfillSummary:
    """What a run did: chunks in all, those loaded now, those that were done before, and what went wrong.

    ``unserved`` counts chunks that the exchange does not serve; ``not_served`` and ``failures`` name the first ones.
    ``refused``: whether trying again is futile for all that failed. Of a dry run ``estimate`` and ``plan``, a line for
    each market.
    """

    exchange: str
    dataset: str
    chunks: int
    loaded: int
    done_before: int
    rows: int
    not_served: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    dry_run: bool = False
    unserved: int = 0
    failed: int = 0
    refused: bool = False
    estimate: Estimate | None = None
    plan: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line, and the exchange's words for what it does not serve."""
        if self.dry_run:
            left = self.chunks - self.done_before
            head = f"would ask for {left:,} of {self.chunks:,} chunks ({self.done_before:,} are done): {self.estimate}"
        else:
            head = (
                f"{self.chunks:,} chunks, {self.loaded:,} loaded with {self.rows:,} rows, "
                f"{self.done_before:,} done before"
            )
        failed = f", {self.failed:,} FAILED" if self.failed else ""
        refused = f", {self.unserved:,} not served" if self.unserved else ""
        lines = [*arguments.first_lines(self.plan, _NAMED), *self.not_served[:5], *self.failures[:_NAMED]]
        return "\n".join([f"{self.exchange} {self.dataset}: {head}{refused}{failed}", *(f"  {one}" for one in lines)])


class BackfillError(Exception):
    """Some chunks failed; the others are loaded. ``summary`` has all of it."""

    advice = "Run it again: it goes on with what is left"

    def __init__(self, summary: BackfillSummary) -> None:
        super().__init__(f"{summary}\n{self.advice}")
        self.summary = summary


class BackfillRefusedError(BackfillError):
    """Every chunk that failed was refused for what it asks: the next try would be refused as well."""

    advice = "The exchange refuses these questions. Trying again is futile: correct the markets, window or interval"


class NothingServedError(BackfillError):
    """The exchange serves nothing of what was asked for."""

    advice = (
        "Nothing was loaded: the exchange serves none of it. Choose a window that it serves; "
        "the next run of the same window asks again"
    )


def run(
    settings: Settings,
    exchange: str,
    dataset: str,
    window_start: datetime,
    window_end: datetime,
    codes: Sequence[str] = (),
    interval: str | Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> BackfillSummary:
    """Load what happened from ``window_start`` up to ``window_end`` (aware) on some markets.

    ``codes``: markets in either spelling; none: those of the settings, else all it lists. ``interval``: of candles, one
    or several; none: those of the settings. Run it twice, or two at once: the same rows. A dry run checks all of that,
    asks the exchange for its markets only, and estimates the rest.

    Raises:
        BackfillError: some chunks failed (BackfillRefusedError: trying again is futile).
        NothingServedError: nothing was loaded, now or before, because the exchange serves nothing of it.
        TransportError: the list of markets can't be had, or the exchange has banned this address.
        ValueError: an empty window or one in the future, a dataset or interval whose past nobody serves, or a market
            that the exchange does not have.
    """
    arguments.check_window(window_start, window_end, now)
    if dataset not in DATASETS:
        raise ValueError(f"no history of {dataset!r}: exchanges serve that of {' and '.join(DATASETS)}")
    store = open_store(settings.lake)
    with (
        connect(settings.warehouse.url, f"backfill {exchange}") as connection,
        fetcher(settings, exchange, now) as fetch,
    ):
        widths = _intervals(settings, fetch, dataset, interval)
        named = fetch.known_codes(codes) if codes else fetch.codes(None)
        wanted = list(_chunks(named, widths, window_start, min(window_end, fetch.now)))
        done = {Chunk(*row) for row in connection.execute(_DONE, [fetch.exchange.name, dataset])}
        left = [one for one in wanted if one not in done]
        if dry_run:
            summary = _plan(connection, fetch, dataset, wanted, left)
            log.info("%s", summary)
            return summary
        summary = _each(connection, store, fetch, dataset, wanted, left, bool(codes), progress)
    log.info("%s", summary)
    if summary.failures:
        raise BackfillRefusedError(summary) if summary.refused else BackfillError(summary)
    if summary.unserved and not summary.loaded and not summary.done_before:
        raise NothingServedError(summary)
    return summary


def _intervals(settings: Settings, fetch: Fetcher, dataset: str, chosen: str | Sequence[str] | None) -> tuple[str, ...]:
    """The widths of candles to ask for; of trades one empty width.

    Raises:
        ValueError: the exchange serves no candles of that width.
    """
    if dataset != "candle":
        return ("",)
    if chosen is None:
        return settings.exchanges[fetch.exchange.name].candle_intervals
    widths = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    served = fetch.exchange.rest.intervals
    for width in widths:
        if width not in served:
            raise ValueError(f"{fetch.exchange.name} serves no candles of {width!r}; it serves {', '.join(served)}")
    return widths


def _chunks(codes: Sequence[str], intervals: Sequence[str], start: datetime, end: datetime) -> Iterator[Chunk]:
    for code in codes:
        for interval in intervals:
            edges = _bars(interval, start, end) if interval else days(start, end)
            yield from (Chunk(code, interval, first, last) for first, last in edges)


def _bars(interval: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """2,000 bars at a time, at edges that depend on the interval alone."""
    width = BARS.get(interval, timedelta(days=31)) * _BARS_A_CHUNK
    edge = _EPOCH + (start - _EPOCH) // width * width
    while edge < end:
        yield max(start, edge), min(end, edge + width)
        edge += width


def _plan(
    connection: Connection, fetch: Fetcher, dataset: str, wanted: Sequence[Chunk], left: Sequence[Chunk]
) -> BackfillSummary:
    """What would be asked for, and what it takes."""
    a_day = _trades_a_day(connection, fetch, {one.code for one in left}) if dataset == "trade" else {}
    limits, page = fetch.exchange.rest.limits, fetch.exchange.rest.page_rows[dataset]
    requests, seconds = 0, 0.0
    served: dict[tuple[str, str], list[Chunk]] = {}
    refused: list[str] = []
    for one in left:
        try:
            series = fetch.history(dataset, one.code, one.start, one.end, one.interval)
        except NotServedError as error:
            refused.append(f"{one}: {error}")
            continue
        served.setdefault((one.code, one.interval), []).append(one)
        count = max(len(series), -(-_rows_expected(one, a_day) // page))
        requests += count
        seconds += count / limits[series[0].query.request.group]
    unknown = {code for code, _ in served if dataset == "trade" and code not in a_day}
    plan = [
        f"{Chunk(code, interval, some[0].start, some[-1].end)}: {len(some):,} chunks"
        for (code, interval), some in served.items()
    ]
    return BackfillSummary(
        fetch.exchange.name, dataset, len(wanted), 0, len(wanted) - len(left), 0, tuple(refused[:_KEPT]),
        dry_run=True, unserved=len(refused), estimate=Estimate(requests, seconds, tuple(sorted(unknown))),
        plan=tuple(plan),
    )  # fmt: skip


def _rows_expected(chunk: Chunk, a_day: Mapping[str, float]) -> int:
    """How many rows a chunk may have; 0: unknown."""
    length = chunk.end - chunk.start
    if chunk.interval:
        return -(-length // BARS.get(chunk.interval, timedelta(days=31)))
    return math.ceil(a_day.get(chunk.code, 0.0) * (length / _DAY))


def _trades_a_day(connection: Connection, fetch: Fetcher, codes: Collection[str]) -> dict[str, float]:
    """The mean number of trades a day of each market, by gold's daily bars; markets without bars are left out."""
    markets = {fetch.exchange.market(code): code for code in codes}
    try:
        rows = connection.execute(_TRADES_A_DAY, [fetch.exchange.name, list(markets)]).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):  # gold was never built
        return {}
    return {markets[market]: float(mean) for market, mean in rows if mean is not None}


def _each(
    connection: Connection,
    store: ObjectStore,
    fetch: Fetcher,
    dataset: str,
    wanted: Sequence[Chunk],
    left: Sequence[Chunk],
    chosen: bool,
    progress: Progress | None,
) -> BackfillSummary:
    """Load what is left. A market that the exchange does not know is asked for once.

    Where a person chose that market, it is a failure (a misspelt code must not look done); else it is not served.
    """
    before = len(wanted) - len(left)
    tally = _Tally()
    for number, one in enumerate(left, 1):
        try:
            if one.code in tally.unknown:
                raise UnknownMarketError(tally.unknown[one.code])
            brought, said = _load(connection, store, fetch, dataset, one)
            _record(connection, fetch, dataset, one, brought, said)
            tally.answered(one, brought, said)
        except UnknownMarketError as error:
            if chosen:
                tally.failed(one, error)
            else:
                _record(connection, fetch, dataset, one, 0, str(error))
                tally.not_served(one, str(error))
            tally.unknown[one.code] = str(error)
        except NotServedError as error:
            _record(connection, fetch, dataset, one, 0, str(error))
            tally.not_served(one, str(error))
        except (*SERIES_ERRORS, StoreError) as error:
            log.warning("%s can't be loaded: %s", one, error)
            tally.failed(one, error)
        log.info("%s of %s chunks: %s", number + before, len(wanted), one)
        if progress is not None:
            progress(number, len(left), str(one))
    return BackfillSummary(
        fetch.exchange.name, dataset, len(wanted), tally.loaded, before, tally.rows, tuple(tally.unserved[:_KEPT]),
        tuple(tally.failures[:_KEPT]), unserved=len(tally.unserved), failed=len(tally.failures),
        refused=tally.all_refused,
    )  # fmt: skip


@dataclass
class _Tally:
    """What came of the chunks so far; ``unknown`` are markets that the exchange does not know, with its words."""

    loaded: int = 0
    rows: int = 0
    unserved: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    all_refused: bool = True
    unknown: dict[str, str] = field(default_factory=dict)

    def answered(self, chunk: Chunk, rows: int, said: str) -> None:
        if not rows:
            self.not_served(chunk, said)
            return
        self.loaded += 1
        self.rows += rows

    def not_served(self, chunk: Chunk, said: str) -> None:
        self.unserved.append(f"{chunk}: {said}")

    def failed(self, chunk: Chunk, error: Exception) -> None:
        if chunk.code in self.unknown:
            return  # its first chunk says it
        self.failures.append(f"{chunk}: {type(error).__name__}: {error}")
        self.all_refused = self.all_refused and is_refusal(error)


def _load(connection: Connection, store: ObjectStore, fetch: Fetcher, dataset: str, chunk: Chunk) -> tuple[int, str]:
    """Ask for a chunk and load what was answered; how many rows it has, and where none the exchange's words."""
    series = fetch.history(dataset, chunk.code, chunk.start, chunk.end, chunk.interval)
    answers = [fetch.land(dataset, one) for one in series]
    for answer in answers:
        if answer.rows:
            load_path(connection, store, answer.path)
    rows = sum(answer.rows for answer in answers)
    return rows, "" if rows else next((answer.said for answer in answers if answer.said), "nothing was asked")


def _record(connection: Connection, fetch: Fetcher, dataset: str, chunk: Chunk, rows: int, said: str) -> None:
    if chunk.end + _SETTLING <= fetch.now:
        connection.execute(_RECORD, [*_key(fetch, dataset, chunk), rows, said])


def _key(fetch: Fetcher, dataset: str, chunk: Chunk) -> list[object]:
    return [fetch.exchange.name, dataset, chunk.code, chunk.interval, chunk.start, chunk.end]
