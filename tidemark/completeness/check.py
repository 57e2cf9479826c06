"""One check of one exchange: every identity over one window, seen at one moment.

Lives here: the order in which things are looked at, and what is kept. Doesn't: the identities (their modules).

The order matters. Watermarks come first, then a snapshot of the warehouse, then the lake: so what the books hold is in
the lake, and what came in meanwhile can make a verdict open but never red.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

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
from tidemark.completeness.verdicts import HOUR, RECEIVING_GRACE, Scope, Verdict, scope, settled, write
from tidemark.completeness.watermarks import Captured, Watermark
from tidemark.completeness.witness import Carried
from tidemark.lake.store import ObjectStore
from tidemark.settings import KafkaSettings
from tidemark.warehouse.connection import Connection

#: An object that holds the end of an hour may reach so far into the next one.
_OBJECT: Final = timedelta(minutes=15)


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
    captured = watermarks.capture(connection, kafka, frame, carried.datasets)
    with _snapshot(connection):
        row = connection.execute("SELECT now()").fetchone()
        checked_at = row[0] if row else now
        datasets = [name for name in naming.DATASETS if name in (*carried.datasets, *naming.REST_DATASETS)]
        landings = {d: landing(connection, store, naming.raw_topic(exchange, d)) for d in datasets}
        marks = {
            d: watermarks.known(connection, naming.raw_topic(exchange, d)) for d in datasets if d in carried.datasets
        }
        heard_until = _heard_until(frame, captured, landings, marks, timeless=kafka.memory)
        has_caught_up = _caught_up(frame, heard_until)
        found = _verdicts(connection, frame, landings, marks, has_caught_up, timeless=kafka.memory)
        looked = _looked(connection, carried)
        losses = lost.find(connection, exchange, found, landings)
        alive = silence.refuted(connection, exchange, frame.now)
        refuted = {one.gap.key for one in gaps.known(connection, exchange) if one.gap_id in alive} if alive else set()
        silences = [gap for gap in _silences(connection, frame, heard_until) if gap.key not in refuted]
        holes = [*silences, *(one.gap for one in losses)]
        known = [one for one in _known(connection, frame, holes) if one.gap_id not in alive]
        found = lost.explained(found, losses, {one.gap.key: one for one in known})
        witnessed = witness.check(connection, frame, carried, _loaded(connection, frame, heard_until), known)
    verdicts = settled(frame, [*found, *witnessed.verdicts], looked)
    if not dry_run:
        write(connection, frame, verdicts, checked_at)
        gaps.write(connection, exchange, holes)
        gaps.refute(connection, alive)
        gaps.reconcile(connection, exchange, witnessed.gaps, witnessed.judged)
    notes = (captured.note,) if captured.note else ()
    return Checked(exchange, tuple(verdicts), (*holes, *witnessed.gaps), notes)


def _verdicts(
    connection: Connection,
    frame: Scope,
    landings: dict[str, Landing],
    marks: dict[str, list[Watermark]],
    has_caught_up: Callable[[datetime], bool],
    *,
    timeless: bool,
) -> list[Verdict]:
    found = socket.check(connection, frame, has_caught_up)
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


def _heard_until(
    frame: Scope,
    captured: Captured,
    landings: dict[str, Landing],
    marks: dict[str, list[Watermark]],
    *,
    timeless: bool,
) -> datetime | None:
    """The moment up to which the ledger holds everything that the broker got; None: unknown.

    What is not loaded yet is no evidence of anything, so no verdict and no gap may rest on the time after it.
    """
    if not captured.frontiers:
        return None
    # A cluster or an epoch that the broker no longer has brings nothing more than what has landed of it.
    present = captured.frontiers[0].ends
    if any(chain.unloaded(seen) - present.keys() for seen in landings.values()):
        return None
    loaded = chain.loaded_spans(landings.values())
    for frontier in captured.frontiers:
        if chain.holds(loaded, frontier.ends):
            return frontier.moment
    received = chain.received_until(landings.values(), present, frame.now) if timeless else None
    mine = [mark for found in marks.values() for mark in found if mark.chain in present]
    past: dict[datetime, datetime] = {}
    for mark in mine:
        if mark.until is not None:
            past[mark.hour_at] = min(mark.until, past.get(mark.hour_at, mark.until))
    moments = [until for hour, until in past.items() if chain.caught_up(landings.values(), mine, hour)]
    return max([*moments, *([received] if received else [])], default=None)


def _silences(connection: Connection, frame: Scope, heard_until: datetime | None) -> list[Gap]:
    """Gaps that no load can shorten any more: those that ended before ``heard_until``, and those that had not then."""
    if heard_until is None:
        return []
    found = silence.find(connection, frame, heard_until)
    return [gap for gap in found if gap.to_at is None or gap.to_at <= heard_until]


def _known(connection: Connection, frame: Scope, holes: list[Gap]) -> list[KnownGap]:
    """The gaps of the book that reach into any hour that is looked at, and those found just now, which are open."""
    earliest = min((hour for _, hour, _ in frame.standing), default=frame.start)
    book = gaps.known(connection, frame.exchange, start=min(earliest, frame.start))
    there = {one.gap.key: one for one in book}
    grown = {gap.key for gap in holes if gap.key not in there or there[gap.key].gap.to_at != gap.to_at}
    fresh = [KnownGap(0, gap, "open", "", 0, None, 0) for gap in holes if gap.key in grown]
    return [one for one in book if one.gap.key not in grown] + fresh


def _loaded(connection: Connection, frame: Scope, heard_until: datetime | None) -> Callable[[datetime], bool]:
    """Whether the ledger holds all that came in of an event hour, and what followed it for ``RECEIVING_GRACE``.

    What happens in an hour is received in it or shortly after; a day that is played again is received later.
    """
    received: dict[datetime, datetime] = dict(
        connection.execute(
            """SELECT b.hour_at, max(l.received_max) FROM ops.load_hour AS b JOIN ops.load_ledger AS l USING (load_id)
            WHERE l.exchange = %s AND l.kind = 'data' AND b.hour_at >= %s AND l.received_max IS NOT NULL GROUP BY 1""",
            [frame.exchange, min((h for _, h, _ in frame.standing), default=frame.start)],
        ).fetchall()
    )

    def answer(hour_at: datetime) -> bool:
        if heard_until is None or not frame.over(hour_at, RECEIVING_GRACE):
            return False
        over = hour_at + HOUR
        last = received.get(hour_at, over)
        live = last <= over + _OBJECT
        return heard_until >= max(over + RECEIVING_GRACE, min(frame.now, last if live else last + RECEIVING_GRACE))

    return answer


def _caught_up(frame: Scope, heard_until: datetime | None) -> Callable[[datetime], bool]:
    """Whether the ledger holds all that the broker got in an hour, and shortly after it."""

    def answer(hour_at: datetime) -> bool:
        if heard_until is None or not frame.over(hour_at, RECEIVING_GRACE):
            return False
        return heard_until >= min(frame.now, hour_at + HOUR + RECEIVING_GRACE)

    return answer


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """All queries inside see the warehouse at one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
