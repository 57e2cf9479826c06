"""One check of one exchange: every identity over one window, seen at one moment.

Lives here: the order in which things are looked at, and what is kept. Doesn't: the identities (their modules).

The order matters. Watermarks come first, then a snapshot of the warehouse, then the lake: so what the books hold is in
the lake, and what came in meanwhile can make a verdict open but never red.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from tidemark import naming
from tidemark.completeness import accounting, arithmetic, chain, counts, gaps, socket, watermarks
from tidemark.completeness.gaps import Gap
from tidemark.completeness.loads import Landing, landing, table_exists
from tidemark.completeness.verdicts import HOUR, LANDING_GRACE, Scope, Verdict, hour_of, scope, settled, write
from tidemark.completeness.watermarks import Watermark
from tidemark.lake.store import ObjectStore
from tidemark.settings import KafkaSettings
from tidemark.warehouse.connection import Connection


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check of one exchange found."""

    exchange: str
    verdicts: tuple[Verdict, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]


def check(
    connection: Connection,
    store: ObjectStore,
    kafka: KafkaSettings,
    exchange: str,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    dry_run: bool = False,
) -> Checked:
    """Compute the identities of the hours from ``start`` to ``end`` (aware), and keep them unless ``dry_run``.

    Raises:
        StoreUnavailableError: the lake doesn't answer.
    """
    frame = scope(connection, exchange, start, end, now)
    note = watermarks.capture(connection, kafka, frame)
    with _snapshot(connection):
        row = connection.execute("SELECT now()").fetchone()
        checked_at = row[0] if row else now
        landings = {d: landing(connection, store, naming.raw_topic(exchange, d)) for d in naming.DATASETS}
        marks = {d: watermarks.known(connection, naming.raw_topic(exchange, d)) for d in naming.STREAM_DATASETS}
        found = _verdicts(connection, frame, landings, marks, timeless=kafka.memory)
        looked = _looked(connection)
        holes = _gaps(connection, frame, landings, marks if note is None else {})
    verdicts = settled(frame, found, looked)
    if not dry_run:
        write(connection, frame, verdicts, checked_at)
        gaps.write(connection, exchange, holes)
    return Checked(exchange, tuple(verdicts), tuple(holes), (note,) if note else ())


def _verdicts(
    connection: Connection,
    frame: Scope,
    landings: dict[str, Landing],
    marks: dict[str, list[Watermark]],
    *,
    timeless: bool,
) -> list[Verdict]:
    found = socket.check(connection, frame, _caught_up(frame, landings, marks))
    for dataset, seen in landings.items():
        if dataset in marks:
            found += chain.check(frame, dataset, seen, marks[dataset], timeless=timeless)
        found += counts.check(connection, frame, dataset, seen)
    for dataset in accounting.DATASETS:
        found += accounting.check(connection, frame, dataset)
    return found + arithmetic.check(connection, frame)


def _looked(connection: Connection) -> set[tuple[str, int]]:
    """Datasets and identities that have what they look at: dbt makes silver's tables, and someone may drop one."""
    built = [dataset for dataset in accounting.DATASETS if table_exists(connection, f"silver.{dataset}")]
    return {
        (socket.DATASET, socket.IDENTITY),
        *((dataset, chain.IDENTITY) for dataset in naming.STREAM_DATASETS),
        *((dataset, counts.IDENTITY) for dataset in naming.DATASETS),
        *((dataset, accounting.IDENTITY) for dataset in built),
        *((dataset, arithmetic.IDENTITY) for dataset in built if dataset == arithmetic.DATASET),
    }


def _gaps(
    connection: Connection, frame: Scope, landings: dict[str, Landing], marks: dict[str, list[Watermark]]
) -> list[Gap]:
    """Gaps that no load can shorten any more. Without a broker nothing is known about that: ``marks`` are empty."""
    caught_up = _caught_up(frame, landings, marks)
    everything = [mark for found in marks.values() for mark in found]
    all_loaded = chain.caught_up(landings.values(), everything, None)
    settled_hours = [mark.hour_at + HOUR for mark in everything if caught_up(mark.hour_at)]
    heard_until = frame.now if all_loaded else max(settled_hours, default=None)
    found = gaps.find(connection, frame, heard_until)
    found = [g for g in found if g.to_at is None or all_loaded or caught_up(hour_of(g.to_at))]
    for dataset, seen in landings.items():
        found += gaps.dropped_by_log(seen, dataset)
    return found


def _caught_up(
    frame: Scope, landings: dict[str, Landing], marks: dict[str, list[Watermark]]
) -> Callable[[datetime], bool]:
    """Whether the ledger holds all that the broker got in an hour, and in the next: a record may be late by a retry."""
    everything = [mark for found in marks.values() for mark in found]
    hours = {mark.hour_at for mark in everything}

    @cache
    def answer(hour_at: datetime) -> bool:
        over = frame.over(hour_at, LANDING_GRACE) and hour_at in hours
        return over and chain.caught_up(landings.values(), everything, hour_at + HOUR)

    return answer


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """All queries inside see the warehouse at one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
