"""What identities 0 and 2 say is lost, as gaps: stretches of time that can be asked for again.

Lives here: the time between the neighbours of lost frames, dropped offsets and deleted objects; a verdict that rests on
such a gap once it is settled. Doesn't: the identities (``socket``, ``chain``, ``counts``), asking (``jobs.repair``).

Times are the exchange's where its rows have any: that is what one asks by. A frame may have been of any dataset of
its connection, so each of them gets a gap. A deleted object stays red whatever was asked: the lake lacks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness import counts, gaps, socket
from tidemark.completeness.gaps import ALL, Gap, Key, KnownGap
from tidemark.completeness.loads import Landing, Load
from tidemark.completeness.verdicts import Verdict
from tidemark.contracts import plausible
from tidemark.warehouse.connection import Connection

#: Datasets whose rows are of the moment in which they came (a bar's time is its start).
_MOMENTARY: Final = tuple(name for name in naming.STREAM_DATASETS if name != "candle")
_DELETED: Final = "object deleted"
_BESIDE: Final = """
SELECT frame_no, {counted_at} FROM {table}
WHERE load_id = ANY(%(loads)s) AND connection_id = %(connection)s AND frame_no {than} %(number)s
ORDER BY frame_no {direction} LIMIT 1
"""
_TIMES: Final = """
SELECT min({counted_at}), max({counted_at}) FROM {table} WHERE load_id = %s AND received_at BETWEEN %s AND %s
"""
#: Of a row whose time is implausible, its receipt: a gap must not reach from 1970 to now.
_COUNTED_AT: Final = sql.SQL(plausible.counted_at())
_RECORDS: Final = """
SELECT kind, event_at, subscription FROM raw.system_v1 WHERE exchange = %s AND connection = %s ORDER BY event_at
"""


@dataclass(frozen=True, slots=True)
class Loss:
    """A gap, and which problem of which verdict it explains: (dataset, hour, identity) and the problem's place."""

    gap: Gap
    verdict: tuple[str, datetime, int]
    place: int


def find(
    connection: Connection, exchange: str, verdicts: Iterable[Verdict], landings: Mapping[str, Landing]
) -> list[Loss]:
    """The gaps behind every red verdict of identities 0 and 2, each with the problem it explains."""
    found: list[Loss] = []
    for verdict in verdicts:
        if verdict.status != "red" or verdict.kept:
            continue
        about = (verdict.dataset, verdict.hour_at, verdict.identity)
        for place, problem in enumerate(verdict.detail.get("problems", ())):
            if verdict.identity == socket.IDENTITY:
                lost = _frames(connection, exchange, problem)
            elif verdict.identity == counts.IDENTITY and verdict.dataset in landings:
                lost = _offsets(connection, landings[verdict.dataset], verdict.dataset, problem)
            else:
                lost = []
            found += [Loss(gap, about, place) for gap in lost]
    return found


def explained(verdicts: Iterable[Verdict], losses: Sequence[Loss], known: Mapping[Key, KnownGap]) -> list[Verdict]:
    """Verdicts, each problem with what came of asking; green where every loss was made good by REST."""
    by_verdict: dict[tuple[str, datetime, int], dict[int, list[Key]]] = {}
    for loss in losses:
        by_verdict.setdefault(loss.verdict, {}).setdefault(loss.place, []).append(loss.gap.key)
    return [
        _explained(verdict, by_verdict.get((verdict.dataset, verdict.hour_at, verdict.identity), {}), known)
        for verdict in verdicts
    ]


def _explained(verdict: Verdict, places: Mapping[int, Sequence[Key]], known: Mapping[Key, KnownGap]) -> Verdict:
    if not places:
        return verdict
    problems = [dict(problem) for problem in verdict.detail["problems"]]
    good = 0
    for place, keys in places.items():
        asked = [known[key] for key in keys if key in known]
        problems[place]["repair"] = "; ".join(sorted({f"{one.gap.dataset} {one.outcome}" for one in asked}))
        good += len(asked) == len(keys) and all(one.settled and one.gap.cause != _DELETED for one in asked)
    whole = good == verdict.detail.get("problem_count", len(problems))
    detail = {k: v for k, v in verdict.detail.items() if k not in ("problems", "problem_count")}
    if whole:
        return replace(verdict, status="green", detail={**detail, "repaired": problems})
    return replace(verdict, detail={**verdict.detail, "problems": problems})


# --- identity 0 ---------------------------------------------------------------------------------------------


def _frames(connection: Connection, exchange: str, problem: Mapping[str, Any]) -> list[Gap]:
    """A gap for each range of missing frame numbers and each dataset of the connection."""
    name = problem["connection"]
    records = connection.execute(_RECORDS, [exchange, name]).fetchall()
    asked = next((subscription for kind, _, subscription in records if kind == "open"), None) or {}
    found = []
    for numbers in problem.get("numbers", ()):
        first, _, last = numbers.partition("-")
        before = _beside(connection, name, int(first), before=True)
        after = _beside(connection, name, int(last or first), before=False)
        before = before or next((at for kind, at, _ in records if kind == "open"), None)
        after = after or next((at for kind, at, _ in records if kind == "close"), None)
        if before is None or after is None:
            continue  # it never said when it began or ended: nothing tells when these frames came
        detail = {"connection": name, "frames": numbers, "codes": asked.get("codes") or [ALL]}
        found += [
            Gap(
                f"{dataset}/{gaps.part([name, numbers])}", min(before, after), max(before, after), "frames lost", detail
            )
            for dataset in asked.get("datasets") or [ALL]
        ]
    return found


def _beside(connection: Connection, name: str, number: int, *, before: bool) -> datetime | None:
    """When the nearest frame before or after frame ``number`` happened, of those that carry rows of the moment."""
    rows = connection.execute("SELECT DISTINCT load_id FROM ops.frame_ledger WHERE connection_id = %s", [name])
    values = {"loads": [row[0] for row in rows], "connection": name, "number": number}
    than, direction = (sql.SQL("<"), sql.SQL("DESC")) if before else (sql.SQL(">"), sql.SQL("ASC"))
    found: list[tuple[int, datetime]] = []
    for dataset in _MOMENTARY:
        table = sql.Identifier(*naming.raw_table(dataset).split("."))
        query = sql.SQL(_BESIDE).format(counted_at=_COUNTED_AT, table=table, than=than, direction=direction)
        found += connection.execute(query, values).fetchall()
    nearest = max(found, default=None) if before else min(found, default=None)
    return nearest[1] if nearest else None


# --- identity 2 ---------------------------------------------------------------------------------------------


def _offsets(connection: Connection, landing: Landing, dataset: str, problem: Mapping[str, Any]) -> list[Gap]:
    """The gap of one object that stands for dropped offsets, or that somebody deleted."""
    load = next((load for load in landing.loads if load.path == problem.get("path")), None)
    if load is None or not load.chained:
        return []
    if load.kind == "gap":
        return _dropped(connection, landing, dataset, load)
    if load not in landing.missing:
        return []
    return _between(dataset, load, *_times(connection, dataset, load), _DELETED)


def _dropped(connection: Connection, landing: Landing, dataset: str, load: Load) -> list[Gap]:
    """From the last event before a gap object to the first after it."""
    same = (load.cluster, load.epoch, load.partition)
    others = [o for o in landing.loads if o.kind == "data" and o.rows and (o.cluster, o.epoch, o.partition) == same]
    before = max((o for o in others if o.end < load.start), key=lambda o: o.end, default=None)
    after = min((o for o in others if o.start > load.end), key=lambda o: o.start, default=None)
    if before is None or after is None:
        return []
    first, last = _times(connection, dataset, before)[1], _times(connection, dataset, after)[0]
    return _between(dataset, load, first, last, "log trimmed")


def _times(connection: Connection, dataset: str, load: Load) -> tuple[datetime | None, datetime | None]:
    """The first and the last event of a load; its receipts where raw has dropped it."""
    table = sql.Identifier(*naming.raw_table(dataset).split("."))
    query = sql.SQL(_TIMES).format(counted_at=_COUNTED_AT, table=table)
    row = connection.execute(query, [load.load_id, load.received_min, load.received_max]).fetchone()
    return (row[0] or load.received_min, row[1] or load.received_max) if row else (None, None)


def _between(dataset: str, load: Load, first: datetime | None, last: datetime | None, cause: str) -> list[Gap]:
    if first is None or last is None:
        return []
    detail = {"path": load.path, "offsets": [load.start, load.end], "codes": [ALL]}
    return [Gap(f"{dataset}/p{load.partition:04d}", min(first, last), max(first, last), cause, detail)]
