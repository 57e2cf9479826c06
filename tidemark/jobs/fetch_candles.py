"""Fetch the exchange's own candles of a window over REST.

Lives here: which series to ask. Doesn't: paging and landing (``jobs.fetching``), loading (``jobs.load``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tidemark.exchanges.base import NotServedError, Unparsable
from tidemark.jobs.arguments import check_window
from tidemark.jobs.fetching import FetchFailure, FetchSummary, Progress, Series, fetcher, finish
from tidemark.settings import Settings

DATASET: Final = "candle"
INTERVALS: Final = ("1d", "1h")


def run(
    settings: Settings,
    exchange: str,
    interval: str | Sequence[str] | None,
    window_start: datetime,
    window_end: datetime,
    codes: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> FetchSummary:
    """Land the bars that start from ``window_start`` up to ``window_end`` (aware): an object a market and interval.

    ``interval``: one or several as the contract names them; None: daily and hourly. ``codes``: markets in either
    spelling; none: those of the settings, else all it lists. Bars without trades don't exist. A dry run asks for the
    list of markets only.

    Raises:
        FetchError: some series failed, or are not served; the others have landed.
        TransportError: the list of markets can't be had, or the exchange has banned this address.
        ValueError: an empty window or one in the future, an interval that isn't served, or a market that the exchange
            does not have.
    """
    check_window(window_start, window_end)
    intervals = INTERVALS if interval is None else (interval,) if isinstance(interval, str) else tuple(interval)
    with fetcher(settings, exchange) as fetch:
        named = fetch.known_codes(codes) if codes else fetch.codes(None)
        series: list[Series] = []
        refused: list[FetchFailure] = []
        for width in intervals:
            for code in named:
                try:
                    series += fetch.history(DATASET, code, window_start, window_end, width)
                except (NotServedError, Unparsable) as error:
                    refused.append(FetchFailure(f"{exchange} {DATASET} {code} {width}", str(error), refused=True))
        if dry_run:
            return fetch.plan(DATASET, [one.key for one in series], series, refused)
        return finish(fetch.fetch(DATASET, series, progress, refused, chosen=bool(codes)))
