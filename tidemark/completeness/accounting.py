"""Identity 3: raw = silver + duplicates + superseded + quarantined, for each event hour, exactly.

Lives here: counting each side by load, so that a loss in one and a double in another can't cancel out, and naming the
rows. Doesn't: deciding what is a duplicate (dbt).

An hour with conflicts (the same natural key with other content, quarantined) is red too, however exact the sums: the
exchange contradicted itself, and someone has to judge.

Counted are the loads that the silver model has taken (its marks); while others wait, the hour is open.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness.loads import dropped, table_exists
from tidemark.completeness.verdicts import HOUR, NAMED, Scope, Status, Verdict, stretches
from tidemark.contracts import plausible
from tidemark.contracts.fields import ROW_KEY
from tidemark.warehouse.connection import Connection

IDENTITY: Final = 3
DATASETS: Final = ("trade", "ticker", "orderbook", "candle")
_PARTS: Final = ("silver", "duplicate", "superseded", "quarantine")

_LOADS: Final = """
SELECT b.hour_at, l.load_id, l.received_min, l.received_max,
    EXISTS (SELECT FROM ops.load_mark AS m WHERE m.load_id = l.load_id AND m.consumer = %(consumer)s)
FROM ops.load_hour AS b JOIN ops.load_ledger AS l USING (load_id)
WHERE l.exchange = %(exchange)s AND l.dataset = %(dataset)s AND b.hour_at = ANY(%(hours)s)
"""
_RAW: Final = """
SELECT date_trunc('hour', {counted_at}) AS hour_at, load_id, count(*)
FROM {raw}
WHERE load_id = ANY(%(ids)s) AND received_at BETWEEN %(received_min)s AND %(received_max)s
GROUP BY 1, 2
"""
_SILVER: Final = """
SELECT date_trunc('hour', event_at), load_id, count(*) FROM {table}
WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s
GROUP BY 1, 2
"""
_ACCOUNT: Final = """
SELECT date_trunc('hour', event_at), load_id, count(*) FROM {table}
WHERE exchange = %(exchange)s AND dataset = %(dataset)s AND event_at >= %(first)s AND event_at < %(last)s
GROUP BY 1, 2
"""
# The exchange may be what a quarantined row lacks: its load tells whose it is.
_QUARANTINE: Final = """
SELECT hour_at, load_id, count(*) FROM {table}
WHERE dataset = %(dataset)s AND hour_at >= %(first)s AND hour_at < %(last)s
    AND load_id IN (SELECT load_id FROM ops.load_ledger WHERE exchange = %(exchange)s AND dataset = %(dataset)s)
GROUP BY 1, 2
"""
# Of any hour: a conflict may come with a late fetch, long after the hour was green.
_CONFLICTS: Final = """
SELECT hour_at, count(*), (array_agg(DISTINCT natural_key ORDER BY natural_key))[:%(limit)s]
FROM silver.quarantine
WHERE dataset = %(dataset)s AND exchange = %(exchange)s AND reason = 'conflict'
GROUP BY 1
"""
_NAMES: Final = """
SELECT key FROM (
    SELECT concat_ws('/', {row_key}) AS key, 1 AS side FROM {raw}
    WHERE load_id = %(load)s AND date_trunc('hour', {counted_at}) = %(hour)s
    UNION ALL
    SELECT concat_ws('/', {row_key}), -1 FROM {silver}
    WHERE load_id = %(load)s AND date_trunc('hour', event_at) = %(hour)s
    UNION ALL
    SELECT concat_ws('/', {row_key}), -1 FROM silver.duplicate
    WHERE dataset = %(dataset)s AND load_id = %(load)s AND date_trunc('hour', event_at) = %(hour)s
    UNION ALL
    SELECT concat_ws('/', {row_key}), -1 FROM silver.superseded
    WHERE dataset = %(dataset)s AND load_id = %(load)s AND date_trunc('hour', event_at) = %(hour)s
    UNION ALL
    SELECT concat_ws('/', {row_key}), -1 FROM silver.quarantine
    WHERE dataset = %(dataset)s AND load_id = %(load)s AND hour_at = %(hour)s
) AS rows
GROUP BY key HAVING sum(side) <> 0 ORDER BY key LIMIT %(limit)s
"""

#: Of a raw row: the hour of its event or, where that has no plausible time, of its receipt.
_COUNTED_AT: Final = sql.SQL(plausible.counted_at())

_Counts = dict[tuple[datetime, int], int]


@dataclass
class _Hour:
    taken: dict[int, tuple[datetime | None, datetime | None]] = field(default_factory=dict)
    waiting: int = 0


def check(connection: Connection, frame: Scope, dataset: str) -> list[Verdict]:
    """Verdicts of one dataset for the window's event hours, for hours that were not green or have conflicts."""
    conflicts = _conflicts(connection, frame, dataset)
    unsettled = {h for d, h in frame.unsettled(IDENTITY) if d == dataset}
    hours = sorted({*frame.hours(), *unsettled, *conflicts})
    if not hours:
        return []
    consumer = f"silver.{dataset}"
    if not table_exists(connection, consumer):
        return _unbuilt(connection, frame, dataset, hours)
    loads = _loads(connection, frame, dataset, hours)
    parts = _parts(connection, frame, dataset, hours)
    raw = _raw(connection, dataset, loads)
    found = [_verdict(connection, frame, dataset, hour, loads[hour], raw, parts) for hour in hours]
    return [_contradicted(verdict, conflicts.get(verdict.hour_at)) for verdict in found if verdict is not None]


def _conflicts(connection: Connection, frame: Scope, dataset: str) -> dict[datetime, dict[str, Any]]:
    """The hours in which the exchange said two things of one event: how many rows, and the first natural keys."""
    values = {"dataset": dataset, "exchange": frame.exchange, "limit": NAMED}
    what = "the exchange contradicted itself: the same id with other content"
    rows = connection.execute(_CONFLICTS, values)
    return {hour: {"what": what, "conflicts": n, "natural_keys": keys} for hour, n, keys in rows}


def _contradicted(verdict: Verdict, conflict: dict[str, Any] | None) -> Verdict:
    """``verdict``, red if the hour has a conflict; a sealed one doesn't outlive that."""
    if conflict is None:
        return verdict
    # What a kept verdict says itself is only that raw is gone.
    known = [] if verdict.kept else verdict.detail.get("problems", [])
    count = 1 + (0 if verdict.kept else verdict.detail.get("problem_count", len(known)))
    detail = {**verdict.detail, "problems": [conflict, *known], "problem_count": count}
    return replace(verdict, status="red", detail=detail, kept=False)


def _verdict(
    connection: Connection,
    frame: Scope,
    dataset: str,
    hour_at: datetime,
    hour: _Hour,
    raw: _Counts,
    parts: dict[str, _Counts],
) -> Verdict | None:
    sums = {name: sum(n for (h, _), n in counts.items() if h == hour_at) for name, counts in parts.items()}
    ids = hour.taken.keys() | {i for counts in (raw, *parts.values()) for h, i in counts if h == hour_at}
    there = {i: raw.get((hour_at, i), 0) for i in ids}
    made = {i: sum(counts.get((hour_at, i), 0) for counts in parts.values()) for i in ids}
    if not ids and not hour.waiting:
        return None
    if dropped(connection, dataset, hour.taken.values()):
        kept = frame.sealed(dataset, hour_at, IDENTITY)
        what = {"problems": [{"what": "raw was dropped before the hour was sealed"}], **sums}
        return Verdict(dataset, hour_at, IDENTITY, "red", 0, sum(sums.values()), what, kept=kept)
    wrong = sorted(i for i in ids if there[i] != made[i])
    detail: dict[str, Any] = {**sums, **({"waiting_loads": hour.waiting} if hour.waiting else {})}
    if wrong:
        detail["problems"] = [_named(connection, dataset, hour_at, i, there[i], made[i]) for i in wrong[:NAMED]]
        detail["problem_count"] = len(wrong)
    status: Status = "red" if wrong else "open" if hour.waiting else "green"
    return Verdict(dataset, hour_at, IDENTITY, status, sum(there.values()), sum(made.values()), detail)


def _named(
    connection: Connection, dataset: str, hour_at: datetime, load_id: int, there: int, made: int
) -> dict[str, Any]:
    """One load that doesn't add up, with the row keys that only one side has (or one side has twice)."""
    key = sql.SQL(", ").join(sql.Identifier(name) for name in ROW_KEY)
    query = sql.SQL(_NAMES).format(
        row_key=key,
        raw=_table(naming.raw_table(dataset)),
        silver=_table(f"silver.{dataset}"),
        counted_at=_COUNTED_AT,
    )
    values = {"load": load_id, "hour": hour_at, "dataset": dataset, "limit": NAMED}
    rows = [row[0] for row in connection.execute(query, values)]
    what = f"raw holds {there} rows, silver and its accounts {made}"
    return {"what": what, "load_id": load_id, "rows": rows}


def _unbuilt(connection: Connection, frame: Scope, dataset: str, hours: list[datetime]) -> list[Verdict]:
    """Without silver's table hours wait; they are red where it has taken loads: then the table is lost."""
    loads = _loads(connection, frame, dataset, hours)
    raw = _raw(connection, dataset, loads)
    found = []
    for hour_at, hour in sorted(loads.items()):
        detail: dict[str, Any] = {"waiting_loads": hour.waiting} if hour.waiting else {}
        if hour.taken:
            what = f"silver.{dataset} is gone, and it had taken {len(hour.taken)} loads"
            detail["problems"] = [{"what": what, "loads": sorted(hour.taken)[:NAMED]}]
        else:
            detail["waits_for"] = f"silver.{dataset} has never been built"
        expected = sum(n for (h, load_id), n in raw.items() if h == hour_at and load_id in hour.taken)
        found.append(Verdict(dataset, hour_at, IDENTITY, "red" if hour.taken else "open", expected, 0, detail))
    return found


def _loads(connection: Connection, frame: Scope, dataset: str, hours: list[datetime]) -> dict[datetime, _Hour]:
    values = {"consumer": f"silver.{dataset}", "exchange": frame.exchange, "dataset": dataset, "hours": hours}
    found: dict[datetime, _Hour] = defaultdict(_Hour)
    for hour_at, load_id, first, last, taken in connection.execute(_LOADS, values):
        if taken:
            found[hour_at].taken[load_id] = (first, last)
        else:
            found[hour_at].waiting += 1
    return found


def _raw(connection: Connection, dataset: str, hours: dict[datetime, _Hour]) -> _Counts:
    taken = {load_id: times for hour in hours.values() for load_id, times in hour.taken.items()}
    received = [moment for times in taken.values() for moment in times if moment is not None]
    if not received:
        return {}
    query = sql.SQL(_RAW).format(raw=_table(naming.raw_table(dataset)), counted_at=_COUNTED_AT)
    values = {"ids": list(taken), "received_min": min(received), "received_max": max(received)}
    return {(hour, load_id): n for hour, load_id, n in connection.execute(query, values) if hour in hours}


def _parts(connection: Connection, frame: Scope, dataset: str, hours: list[datetime]) -> dict[str, _Counts]:
    queries = dict(zip(_PARTS, (_SILVER, _ACCOUNT, _ACCOUNT, _QUARANTINE), strict=True))
    wanted = set(hours)
    parts: dict[str, Counter[tuple[datetime, int]]] = {}
    for name, query in queries.items():
        table = _table(f"silver.{dataset}" if name == "silver" else f"silver.{name}")
        parts[name] = Counter()
        for first, last in stretches(hours, HOUR):
            values = {"exchange": frame.exchange, "dataset": dataset, "first": first, "last": last}
            rows = connection.execute(sql.SQL(query).format(table=table), values)
            parts[name].update({(hour, load_id): n for hour, load_id, n in rows if hour in wanted})
    return {name: dict(counts) for name, counts in parts.items()}


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))
