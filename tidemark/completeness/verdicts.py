"""What an identity says of one hour, and how that is kept.

Lives here: the verdict, the frame of a check (window, now), writing to ``ops.completeness`` with seals. Doesn't: the
identities.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from tidemark.warehouse.connection import Connection

HOUR: Final = timedelta(hours=1)
#: How long what happened in an hour may take to be received: an exchange closes a bar late, a record is sent again.
RECEIVING_GRACE: Final = timedelta(minutes=5)
#: How long after an hour its objects may take to land and to be loaded, before that counts as broken.
LOADING_GRACE: Final = HOUR
_SEAL_AFTER: Final = HOUR
#: How many ranges, paths or rows a verdict names.
NAMED: Final = 20

Status = Literal["green", "red", "open"]
_UPSERT: Final = """
INSERT INTO ops.completeness
    (exchange, dataset, hour_at, identity, status, expected, actual, detail, checked_at, sealed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (exchange, dataset, hour_at, identity) DO UPDATE SET
    status = excluded.status,
    expected = excluded.expected,
    actual = excluded.actual,
    detail = excluded.detail,
    checked_at = excluded.checked_at,
    sealed_at = CASE WHEN excluded.status = 'green' THEN coalesce(completeness.sealed_at, excluded.sealed_at) END
WHERE completeness.checked_at <= excluded.checked_at
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one identity says of one hour. ``kept``: its inputs are gone, a sealed verdict stands."""

    dataset: str
    hour_at: datetime
    identity: int
    status: Status
    expected: int | Decimal
    actual: int | Decimal
    detail: dict[str, Any] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check is about: one exchange, the hours from ``start`` up to ``end``, seen at ``now`` (all UTC).

    ``standing`` are the verdicts already there, by (dataset, hour, identity): status and whether it is sealed.
    """

    exchange: str
    start: datetime
    end: datetime
    now: datetime
    standing: dict[tuple[str, datetime, int], tuple[str, bool]]

    def hours(self) -> Iterator[datetime]:
        """The window's hours that have begun."""
        hour = self.start
        while hour < self.end and hour <= self.now:
            yield hour
            hour += HOUR

    def over(self, hour: datetime, grace: timedelta = timedelta(0)) -> bool:
        """Whether ``hour`` ended at least ``grace`` ago."""
        return hour + HOUR + grace <= self.now

    def sealed(self, dataset: str, hour: datetime, identity: int) -> bool:
        """Whether a verdict stands that outlives its inputs."""
        return self.standing.get((dataset, hour, identity), ("", False))[1]

    def unsettled(self, identity: int) -> set[tuple[str, datetime]]:
        """Datasets and hours, in the window or not, that were not green: they are looked at again."""
        return {(d, h) for (d, h, i), (status, _) in self.standing.items() if i == identity and status != "green"}


def hour_of(moment: datetime) -> datetime:
    """The start of the hour (UTC) that ``moment`` lies in."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def scope(connection: Connection, exchange: str, start: datetime, end: datetime, now: datetime) -> Scope:
    """The frame of a check of whole hours: ``start`` is rounded down, ``end`` up."""
    last = hour_of(end)
    rows = connection.execute(
        """SELECT dataset, hour_at, identity, status, sealed_at IS NOT NULL FROM ops.completeness
        WHERE exchange = %s AND (status <> 'green' OR hour_at >= %s AND hour_at < %s)""",
        [exchange, hour_of(start), end],
    )
    standing = {(d, h, i): (status, sealed) for d, h, i, status, sealed in rows}
    return Scope(exchange, hour_of(start), last if last == end else last + HOUR, now, standing)


def settled(frame: Scope, found: Sequence[Verdict], looked: Collection[tuple[str, int]]) -> list[Verdict]:
    """``found`` and, for each standing verdict that nothing was said about, green with 0 = 0.

    ``looked`` are the datasets and identities that could look: only their silence means that nothing is there. What
    the others said before stands.
    """
    said = {(v.dataset, v.hour_at, v.identity) for v in found}
    silent = [
        (d, h, i)
        for (d, h, i), (_, sealed) in frame.standing.items()
        if (d, i) in looked and (d, h, i) not in said and not sealed
    ]
    return [v for v in found if not v.kept] + [Verdict(d, h, i, "green", 0, 0) for d, h, i in silent]


def write(connection: Connection, frame: Scope, verdicts: Iterable[Verdict], checked_at: datetime) -> None:
    """Keep verdicts; one that is older than what stands there changes nothing."""
    rows = []
    for v in sorted(verdicts, key=lambda v: (v.dataset, v.hour_at, v.identity)):  # one order for all: no deadlock
        sealed_at = frame.now if v.status == "green" and frame.over(v.hour_at, _SEAL_AFTER) else None
        detail = json.dumps(v.detail, default=str, ensure_ascii=False)
        rows.append(
            (
                frame.exchange,
                v.dataset,
                v.hour_at,
                v.identity,
                v.status,
                v.expected,
                v.actual,
                detail,
                checked_at,
                sealed_at,
            )
        )
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)


def stretches(moments: Iterable[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Moments joined where one follows another by ``step``: (first instant, first instant behind) of each stretch."""
    found: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        if found and found[-1][1] == moment:
            found[-1] = (found[-1][0], moment + step)
        else:
            found.append((moment, moment + step))
    return found


def span(first: int, last: int) -> str:
    """``7`` or ``7-12``."""
    return str(first) if first == last else f"{first}-{last}"
