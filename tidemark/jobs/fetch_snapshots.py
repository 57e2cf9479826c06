"""Fetch what an exchange says of the state of every market, as documents.

Lives here: which series to ask. Doesn't: paging and landing (``jobs.fetching``), loading (``jobs.load``).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tidemark.jobs.fetching import FetchSummary, Progress, Series, fetcher, finish, instant
from tidemark.settings import Settings

DATASET: Final = "snapshot"


def run(
    settings: Settings,
    exchange: str,
    at: datetime,
    codes: Sequence[str] | None = None,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> FetchSummary:
    """Land the present state of the markets ``codes`` (none: those of the settings, else all): one object.

    ``at`` (aware) is the time that the snapshot is due for: the same state at another time is another snapshot.

    Raises:
        FetchError: the question failed.
        TransportError: the list of markets can't be had, or the exchange has blocked this address.
    """
    with fetcher(settings, exchange) as fetch:
        named = fetch.codes(codes, ask=not dry_run)
        key = f"{exchange} {DATASET} {instant(at)} {','.join(named)}"
        series = [Series(key, fetch.exchange.rest.snapshots(named))]
        if dry_run:
            return fetch.plan(DATASET, series)
        return finish(fetch.fetch(DATASET, series, progress))
