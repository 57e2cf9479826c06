"""Fetch the list of markets over REST, with their names and warnings.

Lives here: which series to ask. Doesn't: landing (``jobs.fetching``), loading (``jobs.load``).
"""

from __future__ import annotations

from typing import Final

from tidemark.jobs.fetching import FetchSummary, Progress, Series, fetcher, finish
from tidemark.settings import Settings

DATASET: Final = "market"


def run(settings: Settings, exchange: str, *, dry_run: bool = False, progress: Progress | None = None) -> FetchSummary:
    """Land what the exchange lists: one object, and none while the list stays as it was.

    Raises:
        FetchError: the question failed.
    """
    with fetcher(settings, exchange) as fetch:
        series = [Series(f"{exchange} {DATASET}", fetch.exchange.rest.markets(settings.exchanges[exchange].codes))]
        if dry_run:
            return fetch.plan(DATASET, [one.key for one in series], series)
        return finish(fetch.fetch(DATASET, series, progress))
