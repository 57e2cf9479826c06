"""Check what was loaded before silver takes it.

Lives here: opening the warehouse, the summary. Doesn't: checking (``tidemark.quality``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tidemark.quality import books
from tidemark.settings import Settings
from tidemark.warehouse.connection import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QualitySummary:
    """What a run checked: batches, rows, broken expectations in words, and the closed gates (``okx ticker``)."""

    batches: int
    rows: int
    broken: tuple[str, ...]
    closed: dict[str, str]
    dry_run: bool = False

    def __str__(self) -> str:
        """For a person."""
        verb = "would check" if self.dry_run else "checked"
        broken = "".join(f"\n  {one}" for one in self.broken)
        closed = "".join(f"\n  gate of {name} CLOSED: {why}" for name, why in self.closed.items())
        return f"{verb} {self.batches} batches with {self.rows:,} rows{broken}{closed}"


def run(
    settings: Settings,
    exchange: str | None = None,
    *,
    datasets: Sequence[str] | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> QualitySummary:
    """Check every load that was not checked yet and set the gates. Run twice, the second finds nothing to check.

    Raises:
        WarehouseError: the warehouse doesn't answer.
    """
    moment = now or datetime.now(UTC)
    names = [exchange] if exchange else list(settings.exchanges)
    url = settings.warehouse.url.get_secret_value()
    with connect(settings.warehouse.url, "quality gate") as connection:
        batches = [b for name in names for b in books.new_batches(connection, name, datasets or books.DATASETS)]
        rows = sum(batch.rows for batch in batches)
        if dry_run or not batches:
            return QualitySummary(len(batches), rows, (), books.closed(connection), dry_run=dry_run)
        from tidemark.quality import gate  # takes seconds to import

        verdicts = gate.check(connection, url, batches, moment, settings.quality.pages_dir)
        books.record(connection, verdicts)
        broken = [
            f"{v.batch.exchange} {v.batch.dataset}, {f.severity}: {f}"
            for v in verdicts
            for f in v.findings
            if not f.success
        ]
        summary = QualitySummary(len(batches), rows, tuple(broken), books.closed(connection))
    log.info("%s", summary)
    return summary
