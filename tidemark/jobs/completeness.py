"""Check the identities: whether anything was lost or doubled in a window of hours.

Lives here: opening what the check looks at, and its outcome in a form for people and for DAGs. Doesn't: the identities
(``completeness``).
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from tidemark.completeness import summary
from tidemark.completeness.check import Checked, check
from tidemark.completeness.witness import Carried
from tidemark.exchanges import registry
from tidemark.lake.store import open_store
from tidemark.settings import Settings
from tidemark.warehouse.connection import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompletenessSummary:
    """What a check found: how many verdicts of each colour, a line for each that isn't green, and the table."""

    window_start: datetime
    window_end: datetime
    green: int
    red: int
    open: int
    gaps: int
    problems: tuple[str, ...]
    waiting: tuple[str, ...]
    notes: tuple[str, ...]
    table: str

    def __str__(self) -> str:
        """The table and a last line."""
        lines = [self.table, *self.notes]
        return "\n".join([*lines, f"{self.green} green, {self.red} red, {self.open} open; {self.gaps} gaps"])


def run(
    settings: Settings,
    window_start: datetime,
    window_end: datetime,
    now: datetime | None = None,
    *,
    exchange: str | None = None,
    dry_run: bool = False,
) -> CompletenessSummary:
    """Compute the identities of the hours from ``window_start`` up to ``window_end`` (aware; whole hours).

    Writes ``ops.completeness``, ``ops.watermark`` and ``ops.gap``; a dry run writes none but watermarks, which are
    observations. ``now`` says what counts as over (default: the clock). Red is an outcome, not an error: see ``red``.

    Raises:
        ValueError: the window is empty or without a time zone.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
    """
    if window_start.tzinfo is None or window_end.tzinfo is None or window_start >= window_end:
        raise ValueError(f"the window {window_start} to {window_end} must be two instants with a zone, in order")
    moment = now or datetime.now(UTC)
    store = open_store(settings.lake)
    with connect(settings.warehouse.url, "completeness") as connection:
        checked = [
            check(
                connection,
                store,
                settings.kafka,
                name,
                carried(settings, name),
                window_start,
                window_end,
                moment,
                dry_run=dry_run,
            )
            for name in settings.exchanges
            if exchange in (None, name)
        ]
    outcome = _summary(window_start, window_end, checked)
    log.info("completeness of %s to %s:\n%s", window_start, window_end, outcome)
    return outcome


def carried(settings: Settings, exchange: str) -> Carried:
    """What a check must know of an exchange, as it and the settings say."""
    known = registry.get(exchange)
    return Carried(known.datasets, known.trade_ids.value, settings.exchanges[exchange].candle_intervals)


def _summary(start: datetime, end: datetime, checked: list[Checked]) -> CompletenessSummary:
    verdicts = [verdict for one in checked for verdict in one.verdicts]
    count = Counter(verdict.status for verdict in verdicts)
    return CompletenessSummary(
        start,
        end,
        count["green"],
        count["red"],
        count["open"],
        sum(len(one.gaps) for one in checked),
        tuple(summary.problem(v) for v in verdicts if v.status == "red"),
        tuple(summary.problem(v) for v in verdicts if v.status == "open"),
        tuple(note for one in checked for note in one.notes),
        "\n".join(f"{one.exchange}\n{summary.table(one.verdicts)}" for one in checked),
    )
