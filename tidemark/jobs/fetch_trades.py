"""Fetch the trades of past days over REST: what the socket missed is filled in.

Lives here: which series to ask. Doesn't: paging and landing (``jobs.fetching``), loading (``jobs.load``). Trades that
are there already become duplicates in silver, never a second trade.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemark.exchanges.base import NotServedError, Unparsable
from tidemark.jobs.arguments import check_window
from tidemark.jobs.fetching import FetchFailure, FetchSummary, Progress, Series, fetcher, finish
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

    Exchanges serve only so many days back from ``now`` (default: the clock); a fetch that is still asking when a new
    day begins may fail where questions name days by their age: run it again. ``codes``: markets in either spelling;
    none: those of the settings, else all it lists. A dry run asks for the list of markets only.

    Raises:
        FetchError: some series failed, or are not served any more; the others have landed.
        TransportError: the list of markets can't be had, or the exchange has blocked this address.
        ValueError: an empty window or one in the future, or a market that the exchange does not have.
    """
    check_window(window_start, window_end)
    series: list[Series] = []
    refused: list[FetchFailure] = []
    with fetcher(settings, exchange, now) as fetch:
        named = fetch.known_codes(codes) if codes else fetch.codes(None)
        for first, last in days(window_start, window_end):
            for code in named:
                try:
                    series += fetch.history(DATASET, code, first, last)
                except (NotServedError, Unparsable) as error:
                    refused.append(
                        FetchFailure(f"{exchange} {DATASET} {code} {first:%Y-%m-%d}", str(error), refused=True)
                    )
        if dry_run:
            return fetch.plan(DATASET, [one.key for one in series], series, refused)
        return finish(fetch.fetch(DATASET, series, progress, refused, chosen=bool(codes)))


def days(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The parts of a window that lie in one UTC day each."""
    midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight < end:
        following = midnight + timedelta(days=1)
        yield max(start, midnight), min(end, following)
        midnight = following
