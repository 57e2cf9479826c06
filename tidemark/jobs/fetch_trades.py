"""Fetch the trades of past days over REST: what the socket missed is filled in.

Lives here: which series to ask. Doesn't: paging and landing (``jobs.fetching``), loading (``jobs.load``). Trades that
are there already become duplicates in silver, never a second trade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

from tidemark.jobs.fetching import FetchSummary, Progress, Series, check_window, fetcher, finish, instant, within
from tidemark.settings import Settings

DATASET: Final = "trade"


def run(
    settings: Settings,
    exchange: str,
    window_start: datetime,
    window_end: datetime,
    codes: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> FetchSummary:
    """Land the trades executed from ``window_start`` up to ``window_end`` (aware): an object a market and UTC day.

    Exchanges serve whole UTC days, counted back from ``now`` (default: the clock), and only a few of them. A fetch that
    is still asking when a new day begins fails, since its questions would mean other days: run it again.
    ``codes``: the exchange's own; none: those of the settings, else all it lists.

    Raises:
        FetchError: some series failed; the others have landed.
        TransportError: the list of markets can't be had, or the exchange has blocked this address.
        ValueError: an empty window, or a day too far back.
    """
    check_window(window_start, window_end)
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    with fetcher(settings, exchange) as fetch:
        rest = fetch.exchange.rest
        named = fetch.codes(codes, ask=not dry_run)
        series = [
            Series(
                f"{exchange} {DATASET} {code} {instant(first)}/{instant(last)}",
                rest.ticks(code, days_ago=(today - day).days, since=first, today=None if now else today),
                within(first, last),
            )
            for day, first, last in _days(window_start, window_end)
            for code in named
        ]
        if dry_run:
            return fetch.plan(DATASET, series)
        return finish(fetch.fetch(DATASET, series, progress))


def _days(start: datetime, end: datetime) -> Iterator[tuple[date, datetime, datetime]]:
    """The UTC days that a window touches, each with the part of the window that lies in it."""
    midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        following = midnight + timedelta(days=1)
        yield midnight.date(), max(start, midnight), min(end, following)
        midnight = following
