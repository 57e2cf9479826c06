"""Load what has landed of one dataset into raw.

Lives here: opening lake and warehouse, and failing at the end when an object could not be loaded. Doesn't: the load
itself (``warehouse.load``).
"""

from __future__ import annotations

import logging
from contextlib import ExitStack

from tidemark.lake.store import open_store
from tidemark.settings import Settings
from tidemark.warehouse import load as warehouse
from tidemark.warehouse.connection import connect
from tidemark.warehouse.load import LoadSummary

log = logging.getLogger(__name__)


class LoadError(Exception):
    """Some objects could not be loaded; the others are in. ``summary`` has all of it."""

    def __init__(self, summary: LoadSummary) -> None:
        named = "\n".join(f"  {f.path}: {f.problem}" for f in summary.failures[:10])
        more = f"\n  and {len(summary.failures) - 10} more" if len(summary.failures) > 10 else ""
        super().__init__(f"{summary}. They stay in the lake; run again after mending:\n{named}{more}")
        self.summary = summary


def run(
    settings: Settings, dataset: str, exchange: str, *, dry_run: bool = False, limit: int | None = None
) -> LoadSummary:
    """Load every landing object of ``dataset`` that the ledger doesn't hold; ``limit`` bounds how many.

    Run it twice, or two at once: the same rows.

    Raises:
        LoadError: an object vanished or is corrupt; all others were loaded.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
    """
    store = open_store(settings.lake)
    with ExitStack() as opened:
        connections = [
            opened.enter_context(connect(settings.warehouse.url, f"load {exchange} {dataset}"))
            for _ in range(settings.warehouse.load_connections)
        ]
        summary = warehouse.load(connections, store, dataset, exchange, dry_run=dry_run, limit=limit)
    log.info("%s", summary)
    if summary.failures:
        raise LoadError(summary)
    return summary
