"""Fetch the state of every market over REST, as a snapshot.

Contains: which question to ask. Does not contain: paging, markets that the exchange does not have (``jobs.states``),
landing (``jobs.fetching``), loading (``jobs.load``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidemark.jobs import states
from tidemark.jobs.fetching import FetchSummary, Progress, fetcher, finish
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
    """Land the present state of the markets ``codes``: one object.

    ``codes``: markets in either spelling; none: those of the settings, else all it lists. A market that the exchange
    does not have (any more) costs itself only: the summary names it.

    Raises:
        FetchError: some markets' states could not be had; those of the others have landed.
        TransportError: the list of markets can't be had, or the exchange has blocked this address.
    """
    with fetcher(settings, exchange) as fetch:
        named = fetch.codes(codes)
        key = f"{exchange} {DATASET} {','.join(named)}"
        if dry_run:
            return fetch.plan(DATASET, [key])
        return finish(states.land(fetch, DATASET, key, named, fetch.exchange.rest.tickers, progress))
