"""Identity 0: within each connection the frame numbers 1, 2, 3 … have no hole up to the broker.

Lives here: the arithmetic over the ledger's frame sums, and naming missing numbers. Doesn't: time without a connection
(``gaps``).

The producer numbers every frame of a connection, whatever topic it goes to; landing objects carry count, least,
greatest and sum of the numbers of each connection and hour, for parsed, dead and ignored frames alike. The topics land
and load at their own pace, so a hole is open until the ledger has caught up with the hour, and red then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness.verdicts import HOUR, NAMED, Scope, Status, Verdict, hour_of, span
from tidemark.warehouse.connection import Connection

IDENTITY: Final = 0
DATASET: Final = "system"

_SUMS: Final = """
SELECT f.connection_id, f.hour_at, sum(f.frame_count)::bigint, min(f.frame_min), max(f.frame_max), sum(f.frame_sum)
FROM ops.frame_ledger AS f JOIN ops.load_ledger AS l USING (load_id)
WHERE l.exchange = %(exchange)s AND f.connection_id IN (
    SELECT w.connection_id FROM ops.frame_ledger AS w WHERE w.hour_at = ANY(%(hours)s)
    UNION ALL
    SELECT unnest(%(closed)s::text[])
)
GROUP BY 1, 2 ORDER BY 1, 2
"""
_CLOSED: Final = """
SELECT connection, event_at, frames FROM raw.system_v1
WHERE exchange = %(exchange)s AND kind = 'close' AND frames IS NOT NULL AND received_at >= %(first)s
"""
_ISLANDS: Final = """
SELECT frame_no + 1, following - 1 FROM (
    SELECT frame_no, lead(frame_no, 1, %(last)s + 1) OVER (ORDER BY frame_no) AS following
    FROM (SELECT %(first)s - 1 AS frame_no UNION {frames}) AS seen
) AS pairs
WHERE following > frame_no + 1 ORDER BY frame_no LIMIT %(limit)s
"""
_FRAMES: Final = """
SELECT frame_no FROM {table} WHERE load_id = ANY(%(loads)s) AND connection_id = %(connection)s
    AND frame_no BETWEEN %(first)s AND %(last)s
"""


@dataclass(frozen=True, slots=True)
class FrameHour:
    """What the ledger holds of one connection and hour."""

    hour_at: datetime
    count: int
    least: int
    greatest: int
    total: int


@dataclass(frozen=True, slots=True)
class Hole:
    """An hour of a connection whose numbers don't add up: ``first`` to ``last`` should be there, each once."""

    hour_at: datetime
    first: int
    last: int
    count: int

    @property
    def missing(self) -> int:
        """How many numbers lack (negative: more came than there are)."""
        return self.last - self.first + 1 - self.count


@dataclass
class _Hour:
    expected: int = 0
    actual: int = 0
    connections: set[str] = field(default_factory=set)
    holes: list[tuple[str, Hole]] = field(default_factory=list)


def check(connection: Connection, frame: Scope, has_caught_up: Callable[[datetime], bool]) -> list[Verdict]:
    """Verdicts for the window's receive hours, and for hours that were not green.

    ``has_caught_up`` says whether the ledger holds all that the broker got in an hour.
    """
    wanted = set(frame.hours()) | {h for _, h in frame.unsettled(IDENTITY)}
    if not wanted:
        return []
    closed = _closed(connection, frame, min(wanted))
    hours: dict[datetime, _Hour] = defaultdict(_Hour)
    for name, frames in _sums(connection, frame, wanted, closed).items():
        for entry in frames:
            _count(hours[entry.hour_at], name, entry.count, entry.count)
        for hole in holes(frames, closed.get(name)):
            _count(hours[hole.hour_at], name, hole.missing, 0)
            hours[hole.hour_at].holes.append((name, hole))
    return [
        _verdict(connection, hour_at, hours[hour_at], has_caught_up) for hour_at in sorted(wanted) if hour_at in hours
    ]


def holes(frames: list[FrameHour], closed: tuple[datetime, int] | None) -> list[Hole]:
    """The hours of one connection that don't add up; ``closed`` is when it ended and after how many frames.

    Without any frame all that it sent are missing. Where the numbers of the whole connection are complete, hours may
    interleave (a clock that was set back).
    """
    last = max((entry.greatest for entry in frames), default=0)
    whole = (sum(e.count for e in frames), sum(e.total for e in frames)) == (last, last * (last + 1) // 2)
    found = [] if whole else _by_hour(frames)
    if closed is not None and closed[1] != last:
        hour_at, sent = hour_of(closed[0]), closed[1]
        found.append(Hole(hour_at, last + 1, sent, 0) if sent > last else Hole(hour_at, sent + 1, sent, last - sent))
    return found


def _by_hour(frames: list[FrameHour]) -> list[Hole]:
    found = []
    reached = 0
    for entry in sorted(frames, key=lambda e: e.hour_at):
        first, last = reached + 1, max(entry.greatest, reached)
        exact = (last - first + 1, (first + last) * (last - first + 1) // 2)
        if entry.least < first or (entry.count, entry.total) != exact:
            found.append(Hole(entry.hour_at, first, last, entry.count))
        reached = last
    return found


def _sums(
    connection: Connection, frame: Scope, wanted: set[datetime], closed: dict[str, tuple[datetime, int]]
) -> dict[str, list[FrameHour]]:
    """All hours of each connection that has frames in a wanted hour, or that ended in one: its tail may be lost."""
    ended = [name for name, (at, sent) in closed.items() if sent > 0 and hour_of(at) in wanted]
    sums: dict[str, list[FrameHour]] = {name: [] for name in ended}
    values = {"exchange": frame.exchange, "hours": sorted(wanted), "closed": ended}
    for name, *entry in connection.execute(_SUMS, values):
        sums.setdefault(name, []).append(FrameHour(*entry))
    return sums


def _closed(connection: Connection, frame: Scope, first: datetime) -> dict[str, tuple[datetime, int]]:
    """When each connection that was there at ``first`` or later ended, and after how many frames."""
    # An hour more, for a clock that was set back between the last frame and the end.
    rows = connection.execute(_CLOSED, {"exchange": frame.exchange, "first": first - HOUR})
    return {name: (at, frames) for name, at, frames in rows}


def _count(hour: _Hour, name: str, expected: int, actual: int) -> None:
    hour.connections.add(name)
    hour.expected += expected
    hour.actual += actual


def _verdict(
    connection: Connection, hour_at: datetime, hour: _Hour, has_caught_up: Callable[[datetime], bool]
) -> Verdict:
    detail: dict[str, Any] = {"connections": len(hour.connections)}
    status: Status = "green"
    if hour.holes:
        status = "red" if has_caught_up(hour_at) else "open"
        key = "problems" if status == "red" else "behind"
        detail[key] = [_named(connection, name, hole) for name, hole in hour.holes[:NAMED]]
        detail["problem_count"] = len(hour.holes)
    return Verdict(DATASET, hour_at, IDENTITY, status, hour.expected, hour.actual, detail)


def _named(connection: Connection, name: str, hole: Hole) -> dict[str, Any]:
    said: dict[str, Any] = {"connection": name, "frames": span(hole.first, hole.last), "missing": hole.missing}
    if hole.missing <= 0:
        return said | {"what": "more frames than numbers: some came twice"}
    ranges = missing_frames(connection, name, hole)
    named = sum(last - first + 1 for first, last in ranges)
    # Dead-lettered and ignored frames are in the sums but not in raw: then the missing are some of those named.
    what = (
        "missing frames" if named == hole.missing else f"{hole.missing} of these are missing, the others carry no rows"
    )
    return said | {"what": what, "numbers": [span(*r) for r in ranges]}


def missing_frames(connection: Connection, name: str, hole: Hole) -> list[tuple[int, int]]:
    """Ranges of frame numbers within ``hole`` that no row of raw came from, at most :data:`NAMED` of them."""
    rows = connection.execute("SELECT DISTINCT load_id FROM ops.frame_ledger WHERE connection_id = %s", [name])
    loads = [row[0] for row in rows]
    tables = [naming.raw_table(dataset).split(".") for dataset in naming.STREAM_DATASETS]
    frames = sql.SQL(" UNION ").join(sql.SQL(_FRAMES).format(table=sql.Identifier(*table)) for table in tables)
    query = sql.SQL(_ISLANDS).format(frames=frames)
    values = {"connection": name, "loads": loads, "first": hole.first, "last": hole.last, "limit": NAMED}
    return [(int(first), int(last)) for first, last in connection.execute(query, values)]
