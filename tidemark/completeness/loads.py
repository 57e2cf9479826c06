"""The ledger and the lake as a check sees them.

Lives here: loads by topic, the objects that are in landing, and which days of raw retention has dropped. Doesn't:
judging them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemark import naming
from tidemark.lake.parquet import CorruptObjectError, Footer, read_footer
from tidemark.lake.store import Listed, ObjectMissingError, ObjectStore
from tidemark.warehouse.connection import Connection

_COLUMNS: Final = """load_id, path, kind, cluster, epoch, partition, start_offset, end_offset, rows, parsed, dead,
    ignored, dead_reasons, fingerprint, received_min, received_max, hour_at, byte_size, version, retired_at"""


@dataclass(frozen=True, slots=True)
class Load:
    """One row of ``ops.load_ledger``."""

    load_id: int
    path: str
    kind: str
    cluster: str
    epoch: int
    partition: int
    start: int
    end: int
    rows: int
    parsed: int
    dead: int
    ignored: int
    dead_reasons: dict[str, int]
    fingerprint: str
    received_min: datetime | None
    received_max: datetime | None
    hour_at: datetime
    byte_size: int
    version: str
    retired_at: datetime | None

    @property
    def offsets(self) -> int:
        """How many offsets the object accounts for."""
        return self.end - self.start + 1

    @property
    def chained(self) -> bool:
        """Whether it is an object of a partition's chain: neither fetched by REST nor revived from dead letters."""
        return self.kind in ("data", "gap")


@dataclass(frozen=True, slots=True)
class Landed:
    """One object of landing that the ledger doesn't vouch for as it is now: not loaded, or written anew since."""

    listed: Listed
    footer: Footer | None
    problem: str = ""

    def hour(self, otherwise: datetime) -> datetime:
        """Its receive hour, or ``otherwise`` where its footer doesn't tell."""
        if self.footer is None:
            return otherwise
        if self.footer.received_min is not None:
            seconds = self.footer.received_min // 1_000_000_000
        elif self.footer.frames:
            seconds = min(frame.hour for frame in self.footer.frames)
        else:
            return otherwise
        return datetime.fromtimestamp(seconds - seconds % 3600, UTC)


@dataclass(frozen=True, slots=True)
class Landing:
    """One topic: what the ledger says, what lies in the lake, and the footers of what the ledger doesn't know."""

    topic: str
    loads: tuple[Load, ...]
    listed: dict[str, Listed]
    unknown: tuple[Landed, ...]
    rewritten: tuple[tuple[Load, Landed], ...]

    @property
    def missing(self) -> tuple[Load, ...]:
        """Loads whose object should be in the lake and isn't."""
        return tuple(load for load in self.loads if load.retired_at is None and load.path not in self.listed)


def landing(connection: Connection, store: ObjectStore, topic: str) -> Landing:
    """Ledger first, lake second: what is loaded in between is then in the lake too, and never looks lost."""
    loads = tuple(_query(connection, "topic = %s", [topic]))
    listed = {one.path: one for one in store.list(naming.landing_prefix(topic))}
    by_path = {load.path: load for load in loads}
    unknown = [_landed(store, one) for path, one in listed.items() if path not in by_path]
    changed = [load for load in loads if load.path in listed and listed[load.path].version != load.version]
    anew = [(load, _landed(store, listed[load.path])) for load in changed]
    rewritten = tuple((load, landed) for load, landed in anew if landed is not None and not _same(load, landed))
    return Landing(topic, loads, listed, tuple(one for one in unknown if one is not None), rewritten)


def dropped(
    connection: Connection, dataset: str, loads: Iterable[tuple[datetime | None, datetime | None]]
) -> set[datetime]:
    """Days (their start, UTC) among the loads' first and last receipts for which raw has no partition any more."""
    days = {day for first, last in loads for day in _days(first, last)}
    names = {day: naming.raw_partition(dataset, day) for day in days}
    rows = connection.execute(
        "SELECT n FROM unnest(%s::text[]) AS n WHERE to_regclass(n) IS NULL", [list(names.values())]
    )
    gone = {row[0] for row in rows}
    return {day for day, name in names.items() if name in gone}


def table_exists(connection: Connection, table: str) -> bool:
    """Whether there is such a table (dbt makes its tables when it first runs)."""
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table]).fetchone()
    return bool(row and row[0])


def days_of(first: datetime | None, last: datetime | None) -> set[datetime]:
    """The UTC days from ``first`` to ``last``; none without times."""
    return set(_days(first, last))


def _days(first: datetime | None, last: datetime | None) -> list[datetime]:
    if first is None or last is None:
        return []
    start = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [start + timedelta(days=n) for n in range((last - start).days + 1)]


def _query(connection: Connection, where: str, arguments: list[Any]) -> Iterable[Load]:
    query = f"SELECT {_COLUMNS} FROM ops.load_ledger WHERE {where} ORDER BY load_id"  # noqa: S608 - own text only
    return [Load(*row) for row in connection.execute(query.encode(), arguments)]


def _landed(store: ObjectStore, listed: Listed) -> Landed | None:
    try:
        return Landed(listed, read_footer(store, listed.path))
    except ObjectMissingError:
        return None  # deleted since it was listed; the next check will say so
    except CorruptObjectError as error:
        return Landed(listed, None, str(error))


def _same(load: Load, landed: Landed) -> bool:
    """Whether an object written anew says the same: then only its version is another."""
    footer = landed.footer
    return footer is not None and (
        (footer.start, footer.end, footer.rows, footer.parsed, footer.dead, footer.ignored, footer.fingerprint)
        == (load.start, load.end, load.rows, load.parsed, load.dead, load.ignored, load.fingerprint)
    )
