"""Fetch the state of every market over REST, as a snapshot.

Lives here: which series to ask. Doesn't: paging and landing (``jobs.fetching``), loading (``jobs.load``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidemark.jobs.fetching import FetchSummary, Progress, Series, fetcher, finish
from tidemark.settings import Settings

DATASET: Final = "ticker"


def run(
    settings: Settings,
    exchange: str,
    codes: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> FetchSummary:
    """Land the present state of the markets ``codes`` (none: those of the settings, else all): one object.

    Raises:
        FetchError: the question failed.
        TransportError: the list of markets can't be had, or the exchange has blocked this address.
    """
    with fetcher(settings, exchange) as fetch:
        named = fetch.codes(codes, ask=not dry_run)
        series = [Series(f"{exchange} {DATASET} {','.join(named)}", fetch.exchange.rest.tickers(named))]
        if dry_run:
            return fetch.plan(DATASET, series)
        return finish(fetch.fetch(DATASET, series, progress))
