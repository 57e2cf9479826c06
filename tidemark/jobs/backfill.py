"""``tidemark backfill``: history of markets, of any length, in bounded pieces.

Lives here: cutting a window into chunks, skipping those that are done, and saying how far it is. Doesn't: what an
exchange serves (``exchanges``), landing (``jobs.fetching``), loading (``warehouse.load``).

Chunks have fixed edges (UTC days of trades, so many bars of candles), whatever window was asked for. Each is landed,
loaded and booked in ``ops.backfill_chunk``; a run that was stopped goes on behind the last one. What is still going on
isn't booked, so it is asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemark.completeness.sequences import BARS
from tidemark.exchanges.base import NotServedError, UnknownMarketError
from tidemark.jobs.fetch_trades import days
from tidemark.jobs.fetching import SERIES_ERRORS, Fetcher, Progress, check_window, fetcher, instant
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

_DONE: Final = """
SELECT 1 FROM ops.backfill_chunk
WHERE (exchange, dataset, code, interval, from_at, to_at) = (%s, %s, %s, %s, %s, %s)
"""
_BOOK: Final = """
INSERT INTO ops.backfill_chunk (exchange, dataset, code, interval, from_at, to_at, rows, said)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
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
class BackfillSummary:
    """What a run did: chunks in all, those loaded now, those that were done before, and what went wrong."""

    exchange: str
    dataset: str
    chunks: int
    loaded: int
    done_before: int
    rows: int
    not_served: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    dry_run: bool = False

    def __str__(self) -> str:
        """A line, and the exchange's words for what it doesn't serve."""
        if self.dry_run:
            head = f"would ask {self.chunks - self.done_before} of {self.chunks} chunks, {self.done_before} are done"
        else:
            head = f"{self.chunks} chunks, {self.loaded} loaded with {self.rows} rows, {self.done_before} done before"
        failed = f", {len(self.failures)} FAILED" if self.failures else ""
        refused = f", {len(self.not_served)} not served" if self.not_served else ""
        lines = [*self.not_served[:5], *self.failures[:10]]
        return "\n".join([f"{self.exchange} {self.dataset}: {head}{refused}{failed}", *(f"  {one}" for one in lines)])


class BackfillError(Exception):
    """Some chunks failed; the others are loaded. ``summary`` has all of it."""

    def __init__(self, summary: BackfillSummary) -> None:
        super().__init__(f"{summary}\nRun it again: it goes on with what is left")
        self.summary = summary


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

    ``codes``: the exchange's own; none: those of the settings, else all it lists. ``interval``: of candles, one or
    several; none: those of the settings. Run it twice, or two at once: the same rows.

    Raises:
        BackfillError: some chunks failed.
        TransportError: the list of markets can't be had, or the exchange has banned this address.
        ValueError: an empty window, or a dataset or interval whose past nobody serves.
    """
    check_window(window_start, window_end)
    if dataset not in DATASETS:
        raise ValueError(f"no history of {dataset!r}: exchanges serve that of {' and '.join(DATASETS)}")
    store = open_store(settings.lake)
    with (
        connect(settings.warehouse.url, f"backfill {exchange}") as connection,
        fetcher(settings, exchange, now) as fetch,
    ):
        widths = _intervals(settings, exchange, dataset, interval)
        named = fetch.codes(codes, ask=not dry_run)
        wanted = list(_chunks(named, widths, window_start, min(window_end, fetch.now)))
        left = [one for one in wanted if not _done(connection, fetch, dataset, one)]
        if dry_run:
            for one in left:
                log.info("would ask for %s %s %s", exchange, dataset, one)
            before = len(wanted) - len(left)
            return BackfillSummary(exchange, dataset, len(wanted), 0, before, 0, dry_run=True)
        summary = _each(connection, store, fetch, dataset, wanted, left, bool(codes), progress)
    log.info("%s", summary)
    if summary.failures:
        raise BackfillError(summary)
    return summary


def _intervals(settings: Settings, exchange: str, dataset: str, chosen: str | Sequence[str] | None) -> tuple[str, ...]:
    if dataset != "candle":
        return ("",)
    if chosen is None:
        return settings.exchanges[exchange].candle_intervals
    return (chosen,) if isinstance(chosen, str) else tuple(chosen)


def _chunks(codes: Sequence[str], intervals: Sequence[str], start: datetime, end: datetime) -> Iterator[Chunk]:
    for code in codes:
        for interval in intervals:
            edges = _bars(interval, start, end) if interval else days(start, end)
            yield from (Chunk(code, interval, first, last) for first, last in edges)


def _bars(interval: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """So many bars at a time, at edges that depend on the interval alone."""
    width = BARS.get(interval, timedelta(days=31)) * _BARS_A_CHUNK
    edge = _EPOCH + (start - _EPOCH) // width * width
    while edge < end:
        yield max(start, edge), min(end, edge + width)
        edge += width


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

    Where a person chose that market, it is a failure (a misspelt code must not look done); else it is booked as not
    served.
    """
    refused, failed = [], []
    unknown: dict[str, str] = {}
    loaded = rows = 0
    for number, one in enumerate(left, 1):
        try:
            if one.code in unknown:
                raise UnknownMarketError(unknown[one.code])
            brought = _load(connection, store, fetch, dataset, one)
            _book(connection, fetch, dataset, one, brought, "")
            loaded, rows = loaded + 1, rows + brought
        except NotServedError as error:
            is_unknown = isinstance(error, UnknownMarketError)
            if not (is_unknown and chosen):
                _book(connection, fetch, dataset, one, 0, str(error))
                refused.append(f"{one}: {error}")
            elif one.code not in unknown:
                failed.append(f"{one}: {type(error).__name__}: {error}")
            if is_unknown:
                unknown[one.code] = str(error)
        except (*SERIES_ERRORS, StoreError) as error:
            log.warning("%s can't be loaded: %s", one, error)
            failed.append(f"{one}: {type(error).__name__}: {error}")
        log.info("%s of %s chunks: %s", number + len(wanted) - len(left), len(wanted), one)
        if progress is not None:
            progress(number, len(left), str(one))
    name, before = fetch.exchange.name, len(wanted) - len(left)
    return BackfillSummary(name, dataset, len(wanted), loaded, before, rows, tuple(refused), tuple(failed))


def _load(connection: Connection, store: ObjectStore, fetch: Fetcher, dataset: str, chunk: Chunk) -> int:
    """Ask for a chunk and load what was answered; how many rows it has."""
    series = fetch.history(dataset, chunk.code, chunk.start, chunk.end, chunk.interval)
    answers = [fetch.land(dataset, one) for one in series]
    for answer in answers:
        if answer.rows:
            load_path(connection, store, answer.path)
    return sum(answer.rows for answer in answers)


def _done(connection: Connection, fetch: Fetcher, dataset: str, chunk: Chunk) -> bool:
    return connection.execute(_DONE, _key(fetch, dataset, chunk)).fetchone() is not None


def _book(connection: Connection, fetch: Fetcher, dataset: str, chunk: Chunk, rows: int, said: str) -> None:
    if chunk.end + _SETTLING <= fetch.now:
        connection.execute(_BOOK, [*_key(fetch, dataset, chunk), rows, said])


def _key(fetch: Fetcher, dataset: str, chunk: Chunk) -> list[object]:
    return [fetch.exchange.name, dataset, chunk.code, chunk.interval, chunk.start, chunk.end]
