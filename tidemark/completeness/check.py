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
from tidemark.completeness import (
    accounting,
    arithmetic,
    chain,
    counts,
    gaps,
    lost,
    silence,
    socket,
    watermarks,
    witness,
)
from tidemark.completeness.gaps import Gap, KnownGap
from tidemark.completeness.loads import Landing, landing, table_exists
from tidemark.completeness.verdicts import HOUR, LANDING_GRACE, Scope, Verdict, hour_of, scope, settled, write
from tidemark.completeness.watermarks import Watermark
from tidemark.completeness.witness import Carried
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
    carried: Carried,
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
    note = watermarks.capture(connection, kafka, frame, carried.datasets)
    with _snapshot(connection):
        row = connection.execute("SELECT now()").fetchone()
        checked_at = row[0] if row else now
        datasets = [name for name in naming.DATASETS if name in (*carried.datasets, *naming.REST_DATASETS)]
        landings = {d: landing(connection, store, naming.raw_topic(exchange, d)) for d in datasets}
        marks = {
            d: watermarks.known(connection, naming.raw_topic(exchange, d)) for d in datasets if d in carried.datasets
        }
        found = _verdicts(connection, frame, landings, marks, timeless=kafka.memory)
        looked = _looked(connection, carried)
        losses = lost.find(connection, exchange, found, landings)
        holes = [*_silences(connection, frame, landings, marks if note is None else {}), *(one.gap for one in losses)]
        known = _known(connection, frame, holes)
        found = lost.explained(found, losses, {one.gap.key: one for one in known})
        loaded = _loaded(connection, frame, landings, marks, answered=note is None)
        witnessed = witness.check(connection, frame, carried, loaded, known)
    verdicts = settled(frame, [*found, *witnessed.verdicts], looked)
    if not dry_run:
        write(connection, frame, verdicts, checked_at)
        gaps.write(connection, exchange, holes)
        gaps.reconcile(connection, exchange, witnessed.gaps, witnessed.judged)
    return Checked(exchange, tuple(verdicts), (*holes, *witnessed.gaps), (note,) if note else ())


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
    for dataset in (name for name in accounting.DATASETS if name in landings):
        found += accounting.check(connection, frame, dataset)
    return found + arithmetic.check(connection, frame)


def _looked(connection: Connection, carried: Carried) -> set[tuple[str, int]]:
    """Datasets and identities that have what they look at: dbt makes silver's tables, and someone may drop one."""
    mine = [dataset for dataset in accounting.DATASETS if dataset in carried.datasets]
    built = [dataset for dataset in mine if table_exists(connection, f"silver.{dataset}")]
    witnesses = [("trade", {"trade", "candle"}), ("candle", {"candle"})]
    return {
        (socket.DATASET, socket.IDENTITY),
        *((dataset, chain.IDENTITY) for dataset in carried.datasets),
        *((dataset, counts.IDENTITY) for dataset in (*carried.datasets, *naming.REST_DATASETS)),
        *((dataset, accounting.IDENTITY) for dataset in built),
        *((dataset, arithmetic.IDENTITY) for dataset in built if dataset == arithmetic.DATASET),
        *((dataset, witness.IDENTITY) for dataset, needed in witnesses if needed <= set(built)),
        *((dataset, witness.IDENTITY) for dataset in carried.datasets if dataset == "depth"),
    }


def _silences(
    connection: Connection, frame: Scope, landings: dict[str, Landing], marks: dict[str, list[Watermark]]
) -> list[Gap]:
    """Gaps that no load can shorten any more. Without a broker nothing is known about that: ``marks`` are empty."""
    caught_up = _caught_up(frame, landings, marks)
    everything = [mark for found in marks.values() for mark in found]
    all_loaded = chain.caught_up(landings.values(), everything, None)
    settled_hours = [mark.hour_at + HOUR for mark in everything if caught_up(mark.hour_at)]
    heard_until = frame.now if all_loaded else max(settled_hours, default=None)
    found = silence.find(connection, frame, heard_until)
    return [g for g in found if g.to_at is None or all_loaded or caught_up(hour_of(g.to_at))]


def _known(connection: Connection, frame: Scope, holes: list[Gap]) -> list[KnownGap]:
    """The gaps of the book that reach into any hour that is looked at, and those found just now, which are open."""
    earliest = min((hour for _, hour, _ in frame.standing), default=frame.start)
    book = gaps.known(connection, frame.exchange, start=min(earliest, frame.start))
    there = {one.gap.key: one for one in book}
    grown = {gap.key for gap in holes if gap.key not in there or there[gap.key].gap.to_at != gap.to_at}
    fresh = [KnownGap(0, gap, "open", "", 0, None, 0) for gap in holes if gap.key in grown]
    return [one for one in book if one.gap.key not in grown] + fresh


def _loaded(
    connection: Connection,
    frame: Scope,
    landings: dict[str, Landing],
    marks: dict[str, list[Watermark]],
    *,
    answered: bool,
) -> Callable[[datetime], bool]:
    """Whether the ledger holds all that came in of an event hour, and what followed it in the next receive hour.

    What happened in an hour is mostly received in it; a day that is played again is received later.
    """
    everything = [mark for found in marks.values() for mark in found]
    received: dict[datetime, datetime] = dict(
        connection.execute(
            """SELECT b.hour_at, max(l.hour_at) FROM ops.load_hour AS b JOIN ops.load_ledger AS l USING (load_id)
            WHERE l.exchange = %s AND l.kind = 'data' AND b.hour_at >= %s GROUP BY 1""",
            [frame.exchange, min((h for _, h, _ in frame.standing), default=frame.start)],
        ).fetchall()
    )

    @cache
    def answer(hour_at: datetime) -> bool:
        if not (answered and frame.over(hour_at, LANDING_GRACE)):
            return False
        until = max(received.get(hour_at, hour_at), hour_at + HOUR)
        due = [mark for mark in everything if mark.hour_at <= until]
        return not due or chain.caught_up(landings.values(), due, until)

    return answer


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
