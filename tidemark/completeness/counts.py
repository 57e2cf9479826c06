"""Identity 2: an object's offsets = parsed + dead + ignored; rows in the lake = rows in the ledger = rows in raw.

Lives here: counting, object by object, and naming those that don't agree. Doesn't: which offsets there should be
(``chain``).

A gap object is red: it stands for offsets that the log had dropped before anyone read them. Dead letters that a later
parser could read (``ops.revived``) are parsed or ignored; their object goes on saying what it said when written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness.loads import Landed, Landing, Load, days_of, dropped
from tidemark.completeness.verdicts import LOADING_GRACE, NAMED, Scope, Status, Verdict, hour_of, span
from tidemark.warehouse.connection import Connection

IDENTITY = 2


_REVIVED: Final = """
SELECT l.load_id, r.outcome, r.reason, count(*)
FROM ops.load_ledger AS l
JOIN ops.revived AS r
    ON (r.topic, r.cluster, r.epoch, r.partition) = (l.topic, l.cluster, l.epoch, l.partition)
    AND r.kafka_offset BETWEEN l.start_offset AND l.end_offset
WHERE l.load_id = ANY(%s)
GROUP BY 1, 2, 3
"""


@dataclass
class _Revived:
    """Dead letters of one object that are none any more: how many are parsed and ignored by now, and why they were."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def offsets(self) -> int:
        """How many they are."""
        return self.outcomes.total()


@dataclass
class _Hour:
    loads: list[Load] = field(default_factory=list)
    waiting: list[Landed] = field(default_factory=list)


def check(connection: Connection, frame: Scope, dataset: str, landing: Landing) -> list[Verdict]:
    """Verdicts of one dataset for the window's hours, and for hours that were not green or lack an object."""
    wanted = set(frame.hours()) | {h for d, h in frame.unsettled(IDENTITY) if d == dataset}
    wanted |= {load.hour_at for load in landing.missing} | {load.hour_at for load, _ in landing.rewritten}
    hours: dict[datetime, _Hour] = {}
    for load in landing.loads:
        if load.hour_at in wanted:
            hours.setdefault(load.hour_at, _Hour()).loads.append(load)
    for landed in landing.unknown:
        hour_at = landed.hour(hour_of(frame.now))
        if hour_at in wanted:
            hours.setdefault(hour_at, _Hour()).waiting.append(landed)
    return [_verdict(connection, frame, dataset, hour_at, hour, landing) for hour_at, hour in sorted(hours.items())]


def _verdict(
    connection: Connection, frame: Scope, dataset: str, hour_at: datetime, hour: _Hour, landing: Landing
) -> Verdict:
    gone = dropped(connection, dataset, [(load.received_min, load.received_max) for load in hour.loads])
    if gone and frame.sealed(dataset, hour_at, IDENTITY):
        return Verdict(dataset, hour_at, IDENTITY, "green", 0, 0, kept=True)
    in_raw = raw_counts(connection, dataset, hour.loads)
    revived = _revived(connection, hour.loads)
    expected = sum(load.rows for load in hour.loads) + sum(w.footer.rows for w in hour.waiting if w.footer)
    problems = _problems(hour.loads, in_raw, revived, landing, gone)
    late = hour.waiting if frame.over(hour_at, LOADING_GRACE) else [w for w in hour.waiting if w.problem]
    problems += [{"what": w.problem or "not loaded", "path": w.listed.path} for w in late]
    status: Status = "red" if problems else "open" if hour.waiting else "green"
    detail: dict[str, Any] = _totals(hour.loads, revived)
    if problems:
        detail |= {"problems": problems[:NAMED], "problem_count": len(problems)}
    if hour.waiting:
        detail["waiting_objects"] = len(hour.waiting)
    return Verdict(dataset, hour_at, IDENTITY, status, expected, sum(in_raw.values()), detail)


def raw_counts(connection: Connection, dataset: str, loads: Sequence[Load]) -> dict[int, int]:
    """Rows that raw really holds of each load."""
    received = [moment for load in loads for moment in (load.received_min, load.received_max) if moment is not None]
    if not received:
        return {}
    schema, _, table = naming.raw_table(dataset).partition(".")
    query = sql.SQL(
        "SELECT load_id, count(*) FROM {} WHERE load_id = ANY(%s) AND received_at BETWEEN %s AND %s GROUP BY load_id"
    ).format(sql.Identifier(schema, table))
    ids = [load.load_id for load in loads]
    return dict(connection.execute(query, [ids, min(received), max(received)]).fetchall())


def _revived(connection: Connection, loads: Iterable[Load]) -> dict[int, _Revived]:
    """What was revived of each chain object's dead letters."""
    ids = [load.load_id for load in loads if load.kind == "data" and load.dead]
    found: dict[int, _Revived] = defaultdict(_Revived)
    for load_id, outcome, reason, count in connection.execute(_REVIVED, [ids]) if ids else ():
        found[load_id].outcomes[outcome] += count
        found[load_id].reasons[reason] += count
    return found


def _problems(
    loads: Iterable[Load],
    in_raw: dict[int, int],
    revived: dict[int, _Revived],
    landing: Landing,
    gone: Collection[datetime],
) -> list[dict[str, Any]]:
    missing = {load.path for load in landing.missing}
    rewritten = {load.path: landed for load, landed in landing.rewritten}
    found = []
    for load in loads:
        for what in _wrong(load, in_raw.get(load.load_id, 0), gone):
            found.append(_named(load, what))
        again = revived.get(load.load_id, _Revived())
        if again.offsets > load.dead:
            found.append(_named(load, f"{load.dead} dead letters, {again.offsets} of them revived"))
        if load.path in missing:
            found.append(_named(load, f"object missing; {load.rows} rows stand in raw"))
        if load.path in rewritten:
            footer = rewritten[load.path].footer
            found.append(_named(load, f"object rewritten: {load.rows} rows then, {footer.rows if footer else '?'} now"))
    return found


def _wrong(load: Load, in_raw: int, gone: Collection[datetime]) -> list[str]:
    if load.kind == "gap":
        return [f"{load.offsets} offsets were dropped by the log before they were read"]
    found = []
    accounted = load.parsed + load.dead + load.ignored
    if load.kind == "data" and accounted != load.offsets:
        found.append(f"{load.offsets} offsets, {accounted} accounted for")
    if days_of(load.received_min, load.received_max) & set(gone):
        found.append("its day of raw is gone, and the hour was not sealed")
    elif in_raw != load.rows:
        found.append(f"{load.rows} rows loaded, {in_raw} in raw")
    return found


def _named(load: Load, what: str) -> dict[str, Any]:
    return {
        "what": what,
        "load_id": load.load_id,
        "path": load.path,
        "partition": load.partition,
        "offsets": span(load.start, load.end),
    }


def _totals(loads: Iterable[Load], revived: dict[int, _Revived]) -> dict[str, Any]:
    totals: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for load in loads:
        totals.update(objects=1)
        if load.kind == "revived":
            continue  # its offsets are those of a chain object, of this topic or another
        again = revived.get(load.load_id, _Revived())
        totals.update(parsed=load.parsed, dead=load.dead - again.offsets, ignored=load.ignored)
        totals.update(again.outcomes)
        reasons.update(load.dead_reasons)
        reasons.subtract(again.reasons)
        totals.update({"revived": again.offsets} if again.offsets else {})
    left = {reason: count for reason, count in reasons.items() if count}
    return {**totals, **({"dead_reasons": left} if left else {})}
