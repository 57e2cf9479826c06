"""Apply the retention policy: drop what is older than it says, where nothing is lost by that.

Lives here: going through the tables, one day at a time, and the summary. Doesn't: the policy (``ops.retention``), what
stands in the way (``warehouse.retention``), deleting from the lake (Parquet is kept for ever).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemark import naming
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import Settings
from tidemark.warehouse import retention
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.definition_change import DefinitionHeldError
from tidemark.warehouse.retention import Due

log = logging.getLogger(__name__)
#: Changes of silver are remembered so long after every mart has followed them.
_BUILDS_KEPT: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one table: days and rows that were (or would be) dropped, and why others stay."""

    relation: str
    before: datetime
    days: int
    rows: int = 0
    stays: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for a person."""
        rows = f", {self.rows:,} rows" if self.rows else ""
        kept = f"; {len(self.stays)} stay: {self.stays[0]}" if self.stays else ""
        return f"{self.relation:30} before {self.before:%Y-%m-%d}  {self.days} days{rows}{kept}"


@dataclass
class RetainSummary:
    """What a run did, or of a dry run what it would do."""

    dry_run: bool
    outcomes: list[Outcome] = field(default_factory=list)
    builds: int = 0

    def __str__(self) -> str:
        """A line a table that had something to drop."""
        verb = "would drop" if self.dry_run else "dropped"
        lines = [str(one) for one in self.outcomes if one.days or one.stays]
        days = sum(one.days for one in self.outcomes)
        return "\n".join([f"{verb} {days} days of {len(self.outcomes)} tables", *lines])


def run(settings: Settings, *, dry_run: bool = False, now: datetime | None = None) -> RetainSummary:
    """Drop what ``ops.retention`` no longer keeps. Run as often as you like.

    A day of raw goes when its objects lie in the lake as they were loaded, silver has taken all of it and its verdicts
    are sealed; rows of silver and gold go when every mart has followed every change and their verdicts are sealed.
    What stays is named with its reason, and looked at again by the next run.

    Raises:
        PolicyError: the policy contradicts itself.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
    """
    summary = RetainSummary(dry_run)
    with connect(settings.warehouse.url, "retain") as connection:
        connection.execute("SET lock_timeout TO '30s'")  # a build of the same table; readers are waited for briefly
        tables = retention.due(connection, now or datetime.now(UTC))
        store = open_store(settings.lake)
        for table in tables:
            clear = _clear_raw if table.layer == "raw" else _clear_rows
            outcome = clear(connection, store, settings, table, dry_run)
            summary.outcomes.append(outcome)
            log.info("%s", outcome)
        behind = any(retention.why_rows_stay(connection, t) for t in tables if t.layer == "gold")
        if not dry_run and not behind:
            summary.builds = retention.prune_builds(connection, (now or datetime.now(UTC)) - _BUILDS_KEPT)
    return summary


def _clear_raw(connection: Connection, store: ObjectStore, settings: Settings, table: Due, dry_run: bool) -> Outcome:
    days = retention.raw_days(connection, table)
    lake = _versions(store, settings.exchanges, table.dataset) if days else {}
    stays, gone = [], 0
    for day, partition in days:
        reason = retention.why_raw_stays(connection, table, day, lake)
        if not reason and not dry_run:
            try:
                gone += retention.drop_raw_day(connection, table, day, partition)
            except DefinitionHeldError as error:
                reason = str(error)
        elif not reason:
            gone += 1
        if reason:
            stays.append(f"{day} because {reason}")
    return Outcome(table.relation, table.before, gone, stays=tuple(stays))


def _clear_rows(connection: Connection, store: ObjectStore, settings: Settings, table: Due, dry_run: bool) -> Outcome:
    ends = retention.older_days(connection, table)
    reason = retention.why_rows_stay(connection, table) if ends else ""
    if reason:
        return Outcome(table.relation, table.before, 0, stays=(f"{len(ends)} days because {reason}",))
    rows = 0 if dry_run else sum(retention.prune(connection, table, end) for end in ends)
    return Outcome(table.relation, table.before, len(ends), rows)


def _versions(store: ObjectStore, exchanges: Iterable[str], dataset: str) -> dict[str, str]:
    """The version of every object of a dataset that lies in landing, by path."""
    topics = [naming.raw_topic(exchange, dataset) for exchange in exchanges]
    return {one.path: one.version for topic in topics for one in store.list(naming.landing_prefix(topic))}
