"""Time in which a stream was not heard: between two connections, and after one that died without a word.

Lives here: the stretches of each connection from its records (``raw.system_v1``), and what they leave uncovered for
each dataset and market. Doesn't: frames lost within a connection (``socket``), the book of gaps (``gaps``).

A connection lasts from its ``open`` to its ``close`` record; one whose line went dead, until it was last heard. One
that was killed leaves no ``close``: it lasts until the last frame or ``alive`` record that reached raw. Gaps are
written once the ledger has caught up, so that a late load can't shorten them. A gap ends when the next connection was
sure to hear what it had asked for, not when it was opened: an exchange follows a subscription a moment later, and says
nothing. A stream that nobody has heard since stands with an open end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness import gaps
from tidemark.completeness.gaps import ALL, Gap
from tidemark.completeness.verdicts import Scope
from tidemark.warehouse.connection import Connection

_LOOK_BACK: Final = timedelta(days=7)
#: A connection of which nothing is on record for so long counts as gone (it says every minute that it is alive).
_SILENCE: Final = timedelta(minutes=5)

#: How a producer's reason begins when a connection stood and said nothing.
_NOTHING: Final = "nothing "
_RECORDS: Final = """
SELECT
    connection, worker, kind, event_at, reason, subscription,
    least(event_at, (extra ->> 'heard_until')::timestamptz) AS heard_until,
    greatest(event_at, (extra ->> 'listening_by')::timestamptz) AS listening_by
FROM raw.system_v1
WHERE exchange = %(exchange)s AND received_at >= %(first)s AND event_at < %(last)s ORDER BY event_at
"""
_LAST_ROW: Final = """
SELECT max(received_at) FROM {table} WHERE load_id = ANY(%(loads)s) AND connection_id = %(connection)s
"""
_NEXT_ROW: Final = """
SELECT min(received_at) FROM {table} WHERE exchange = %(exchange)s AND received_at > %(after)s AND frame_no IS NOT NULL
"""
_KILLED: Final = """
SELECT gap_id, detail ->> 'before', from_at FROM ops.gap
WHERE exchange = %s AND cause = 'killed' AND state IN ('open', 'not_served') AND detail ? 'before'
    AND from_at >= %s
"""
_LAST_RECORD: Final = """
SELECT max(event_at) FROM raw.system_v1 WHERE exchange = %s AND connection = %s AND received_at >= %s
"""
_OPEN: Final = "SELECT stream, from_at, cause, detail FROM ops.gap WHERE exchange = %s AND to_at IS NULL"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One connection: from when to when it listened (None: it still does), to what, and why it ended.

    ``listening_by`` is when it was sure to hear what it had asked for (None: as soon as it was opened).
    """

    connection: str
    worker: str
    opened_at: datetime
    ended_at: datetime | None
    streams: frozenset[tuple[str, str]]
    cause: str = ""
    reason: str = ""
    listening_by: datetime | None = None

    @property
    def sure_at(self) -> datetime:
        """From when on nothing can have been missed."""
        return self.listening_by or self.opened_at


def find(connection: Connection, frame: Scope, heard_until: datetime | None = None) -> list[Gap]:
    """The gaps that ended within the window, and those that have not ended.

    ``heard_until`` is the moment up to which the ledger holds all that the broker got (None: not known): what has been
    silent until then is a gap with an open end.
    """
    found = uncovered(_stretches(connection, frame, heard_until), heard_until)
    known = {(gap.stream, gap.from_at, gap.cause) for gap in found}
    for stream, from_at, cause, detail in connection.execute(_OPEN, [frame.exchange]).fetchall():
        if (stream, from_at, cause) not in known:
            found.append(Gap(stream, from_at, _next_frame(connection, frame.exchange, from_at), cause, detail))
    return [gap for gap in found if gap.to_at is None or gap.to_at >= frame.start]


def refuted(connection: Connection, exchange: str, now: datetime) -> dict[int, datetime]:
    """Gaps of connections that were not killed: what was loaded since proves them alive. By id, when that was.

    Gaps that began more than a week before ``now`` (aware) stay as they are: no load is that late.
    """
    found = {}
    for gap_id, name, from_at in connection.execute(_KILLED, [exchange, now - _LOOK_BACK]).fetchall():
        row = connection.execute(_LAST_RECORD, [exchange, name, from_at]).fetchone()
        signs = [row[0] if row else None, _last_frame(connection, name)]
        alive_at = max((at for at in signs if at is not None), default=from_at)
        if alive_at > from_at:
            found[gap_id] = alive_at
    return found


def uncovered(stretches: Sequence[Stretch], heard_until: datetime | None = None) -> list[Gap]:
    """What connections leave uncovered of each (dataset, market), with markets that share a gap put together.

    With ``heard_until``, streams whose last connection ended well before it have a gap without an end.
    """
    by_stream: dict[tuple[str, str], list[Stretch]] = defaultdict(list)
    for stretch in sorted(stretches, key=lambda s: s.opened_at):
        for stream in stretch.streams:
            by_stream[stream].append(stretch)
    shared: dict[tuple[str, datetime, datetime | None, str], tuple[Stretch, Stretch | None, list[str]]] = {}
    for (dataset, code), heard in sorted(by_stream.items()):
        for from_at, before, after in _between(heard, heard_until):
            key = (dataset, from_at, after.sure_at if after else None, before.cause)
            shared.setdefault(key, (before, after, []))[2].append(code)
    everything = {dataset: sum(d == dataset for d, _ in by_stream) for dataset, _ in by_stream}
    return [
        Gap(_stream(dataset, codes, everything[dataset]), from_at, to_at, cause, _detail(before, after, codes))
        for (dataset, from_at, to_at, cause), (before, after, codes) in shared.items()
    ]


def _between(heard: Sequence[Stretch], heard_until: datetime | None) -> list[tuple[datetime, Stretch, Stretch | None]]:
    """Where time lies between connections: since when, the one that ended last, the one that opened next if any did."""
    found: list[tuple[datetime, Stretch, Stretch | None]] = []
    reached = heard[0]
    for stretch in heard[1:]:
        if reached.ended_at is not None and stretch.opened_at > reached.ended_at:
            found.append((reached.ended_at, reached, stretch))
        if reached.ended_at is not None and (stretch.ended_at is None or stretch.ended_at > reached.ended_at):
            reached = stretch
    if heard_until and reached.ended_at is not None and heard_until - reached.ended_at > _SILENCE:
        found.append((reached.ended_at, reached, None))
    return found


def _stream(dataset: str, codes: list[str], of: int) -> str:
    if len(codes) == of:
        return dataset
    return f"{dataset}/{gaps.part(codes)}"


def _detail(before: Stretch, after: Stretch | None, codes: list[str]) -> dict[str, Any]:
    following = after.connection if after else None
    return {"before": before.connection, "after": following, "reason": before.reason, "codes": codes}


def _stretches(connection: Connection, frame: Scope, heard_until: datetime | None) -> list[Stretch]:
    values = {"exchange": frame.exchange, "first": frame.start - _LOOK_BACK, "last": frame.end}
    records = connection.execute(_RECORDS, values).fetchall()
    alive: dict[str, datetime] = {name: at for name, _, kind, at, *_ in records if kind == "alive"}
    ends = {name: (heard, reason) for name, _, kind, _, reason, _, heard, _ in records if kind == "close"}
    opened = [
        _opened(name, worker, at, asked, sure)
        for name, worker, kind, at, _, asked, _, sure in records
        if kind == "open"
    ]
    return [
        _ended(connection, one, opened, ends.get(one.connection), alive.get(one.connection), heard_until)
        for one in opened
    ]


def _opened(
    name: str, worker: str, at: datetime, subscription: dict[str, Any] | None, listening_by: datetime
) -> Stretch:
    asked = subscription or {}
    streams = {(d, c) for d in asked.get("datasets") or (ALL,) for c in asked.get("codes") or (ALL,)}
    return Stretch(name, worker, at, None, frozenset(streams), listening_by=listening_by)


def _ended(
    connection: Connection,
    stretch: Stretch,
    opened: Sequence[Stretch],
    closed: tuple[datetime, str | None] | None,
    alive_at: datetime | None,
    heard_until: datetime | None,
) -> Stretch:
    if closed is not None:
        at, reason = closed[0], closed[1] or ""
        cause = "silent" if reason.startswith(_NOTHING) else "disconnected"
        return replace(stretch, ended_at=at, cause=cause, reason=reason)
    followed = any(
        other.worker == stretch.worker and other.opened_at > stretch.opened_at and other.streams & stretch.streams
        for other in opened
    )
    if not followed and heard_until is None:
        return stretch
    last = max(_last_frame(connection, stretch.connection) or stretch.opened_at, alive_at or stretch.opened_at)
    silent = heard_until is not None and heard_until - last > _SILENCE
    if not followed and not silent:
        return stretch
    # Its worker listens again to the same, or nothing comes any more: it was killed and left no record.
    return replace(stretch, ended_at=last, cause="killed", reason="no record of its end")


def _last_frame(connection: Connection, name: str) -> datetime | None:
    rows = connection.execute(
        """SELECT load_id FROM ops.frame_ledger WHERE connection_id = %(name)s
            AND hour_at = (SELECT max(hour_at) FROM ops.frame_ledger WHERE connection_id = %(name)s)""",
        {"name": name},
    )
    loads = [row[0] for row in rows]
    found = []
    for dataset in naming.STREAM_DATASETS:
        query = sql.SQL(_LAST_ROW).format(table=sql.Identifier(*naming.raw_table(dataset).split(".")))
        row = connection.execute(query, {"loads": loads, "connection": name}).fetchone()
        found += [row[0]] if row and row[0] is not None else []
    return max(found, default=None)


def _next_frame(connection: Connection, exchange: str, after: datetime) -> datetime | None:
    found = []
    for dataset in naming.STREAM_DATASETS:
        query = sql.SQL(_NEXT_ROW).format(table=sql.Identifier(*naming.raw_table(dataset).split(".")))
        row = connection.execute(query, {"exchange": exchange, "after": after}).fetchone()
        found += [row[0]] if row and row[0] is not None else []
    return min(found, default=None)
