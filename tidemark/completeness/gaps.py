"""Gaps: stretches of one stream that may lack rows, and what came of asking the exchange for them.

Contains: what a gap is, and their ledger, ``ops.gap``: written when found, settled when asked for or when the identity
that found it holds again; and what came of asking, market by market (``ops.gap_code``). Does not contain: finding them
(``silence``, ``lost``, ``sequences``, ``volumes``), asking (``jobs.repair``).

A gap goes from *open* to one of three: *repaired* (rows came), *nothing_missing* (asked, and all was there) or
*not_served* (the exchange doesn't have some of it any more; ``said`` is why). An identity that still fails opens it
again, until all its questions were answered in vain :data:`ATTEMPTS` times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from tidemark.completeness.verdicts import HOUR
from tidemark.warehouse.connection import Connection

State = Literal["open", "repaired", "nothing_missing", "not_served"]
#: What came of asking for one market: all its questions answered, refused for good, or to be asked again.
CodeState = Literal["answered", "refused", "failed"]
#: How many times all questions of a gap are answered before "the answer adds nothing" is the exchange's last word.
ATTEMPTS: Final = 3
#: Every market that is taken.
ALL: Final = "*"
#: Gaps that an identity finds anew at each look, and no longer finds once the rows are there.
JUDGED: Final = ("sequence", "witness")

_WRITE: Final = """
INSERT INTO ops.gap (exchange, stream, market, from_at, to_at, cause, detail) VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (exchange, stream, from_at, cause) DO UPDATE SET
    to_at = excluded.to_at, detail = excluded.detail, market = excluded.market,
    state = CASE WHEN gap.to_at IS DISTINCT FROM excluded.to_at THEN 'open' ELSE gap.state END,
    attempts = CASE WHEN gap.to_at IS DISTINCT FROM excluded.to_at THEN 0 ELSE gap.attempts END,
    answers = CASE WHEN gap.to_at IS DISTINCT FROM excluded.to_at THEN 0 ELSE gap.answers END,
    repaired_at = CASE WHEN gap.to_at IS DISTINCT FROM excluded.to_at THEN NULL ELSE gap.repaired_at END
"""
_REOPEN: Final = """
UPDATE ops.gap SET state = 'open', repaired_at = NULL
WHERE exchange = %s AND stream = %s AND from_at = %s AND cause = %s AND state IN ('repaired', 'nothing_missing')
"""
_HOLDS: Final = """
SELECT gap_id, dataset, stream, from_at, to_at, cause FROM ops.gap
WHERE exchange = %s AND cause = ANY(%s) AND state IN ('open', 'not_served')
"""
_SETTLE: Final = """
UPDATE ops.gap SET
    state = CASE WHEN repaired_rows > 0 THEN 'repaired' ELSE 'nothing_missing' END,
    repaired_at = coalesce(repaired_at, now()),
    said = CASE WHEN repaired_rows > 0 THEN said ELSE 'it was only late' END
WHERE gap_id = ANY(%s)
"""
_REFUTE: Final = """
UPDATE ops.gap SET state = 'nothing_missing', to_at = coalesce(to_at, %s), repaired_at = now(),
    said = 'the connection was alive: it was only quiet, or its frames were loaded late'
WHERE gap_id = %s
"""
_KNOWN: Final = """
SELECT gap_id, stream, market, from_at, to_at, cause, detail, state, said, attempts, asked_at,
    coalesce(repaired_rows, 0), answers
FROM ops.gap WHERE exchange = %(exchange)s
    AND (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
    AND (%(first)s::timestamptz IS NULL OR coalesce(to_at, 'infinity') > %(first)s)
    AND (%(last)s::timestamptz IS NULL OR from_at < %(last)s)
ORDER BY from_at, stream, cause
"""
# An answer counts for the end that the gap had then; a refusal is about the market, whatever the end.
_SETTLED_CODES: Final = """
SELECT code, state, said FROM ops.gap_code
WHERE gap_id = %s AND (state = 'refused' OR (state = 'answered' AND until_at = %s))
"""
_NOTE_CODE: Final = """
INSERT INTO ops.gap_code (gap_id, code, state, said, until_at, asked_at) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (gap_id, code) DO UPDATE SET
    state = excluded.state, said = excluded.said, until_at = excluded.until_at, asked_at = excluded.asked_at
"""
_FORGET_CODES: Final = "DELETE FROM ops.gap_code WHERE gap_id = %s AND state <> 'refused'"
Key = tuple[str, datetime, str]
#: Dataset, cause and event hour in which every gap would have been found.
Judged = tuple[str, str, datetime]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of one stream that may lack rows.

    ``stream`` is a dataset, or ``<dataset>/<part>``; ``detail`` names the exchange's own ``codes`` and, for bars, the
    ``interval``. ``to_at`` is None while the stream hasn't been heard again.
    """

    stream: str
    from_at: datetime
    to_at: datetime | None
    cause: str
    detail: dict[str, Any] = field(default_factory=dict)
    market: str | None = None

    @property
    def dataset(self) -> str:
        """The dataset."""
        return self.stream.partition("/")[0]

    @property
    def codes(self) -> tuple[str, ...]:
        """The exchange's own codes of the markets it is about; ``*``: all that are taken."""
        return tuple(self.detail.get("codes") or (ALL,))

    @property
    def key(self) -> Key:
        """What tells it from the other gaps of its exchange."""
        return (self.stream, self.from_at, self.cause)

    def touches(self, hour_at: datetime) -> bool:
        """Whether it reaches into an hour."""
        return self.from_at < hour_at + HOUR and (self.to_at is None or self.to_at > hour_at)


@dataclass(frozen=True, slots=True)
class KnownGap:
    """A gap as it stands in the book."""

    gap_id: int
    gap: Gap
    state: State
    said: str
    attempts: int
    asked_at: datetime | None
    rows: int
    answers: int = 0

    @property
    def settled(self) -> bool:
        """Whether nothing is missing any more."""
        return self.state in ("repaired", "nothing_missing")

    @property
    def outcome(self) -> str:
        """What came of it, for people."""
        brought = f", {self.rows} rows came" if self.rows else ""
        return f"{self.state.replace('_', ' ')}{brought}{': ' if self.said else ''}{self.said}"


def part(codes: Iterable[str]) -> str:
    """A short name for several codes, the same for the same ones."""
    return hashlib.sha256(",".join(codes).encode()).hexdigest()[:8]


def write(connection: Connection, exchange: str, gaps: Iterable[Gap]) -> None:
    """Keep gaps; one that is known stays as it is, unless it has grown: then it is open again."""
    ordered = sorted(gaps, key=lambda gap: gap.key)  # one order for all: no deadlock
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            _WRITE,
            [
                (exchange, g.stream, g.market, g.from_at, g.to_at, g.cause, json.dumps(g.detail, default=str))
                for g in ordered
            ],
        )


def reopen(connection: Connection, exchange: str, gaps: Iterable[Gap]) -> None:
    """Have settled gaps asked for once more."""
    with connection.cursor() as cursor:
        cursor.executemany(_REOPEN, [(exchange, *key) for key in sorted(gap.key for gap in gaps)])


def reconcile(connection: Connection, exchange: str, found: Sequence[Gap], judged: Collection[Judged]) -> None:
    """Keep what an identity found, and settle what it doesn't find any more.

    Only in the hours that were ``judged`` does silence mean that nothing is missing.
    """
    keys = {gap.key for gap in found}
    with connection.transaction():
        write(connection, exchange, found)
        reopen(connection, exchange, found)
        gone = [
            gap_id
            for gap_id, dataset, stream, from_at, to_at, cause in connection.execute(_HOLDS, [exchange, list(JUDGED)])
            if (stream, from_at, cause) not in keys and _judged(dataset, cause, from_at, to_at, judged)
        ]
        connection.execute(_SETTLE, [gone])


def refute(connection: Connection, alive: Mapping[int, datetime]) -> None:
    """Settle gaps whose connections were alive at these times, so that nothing was missed."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(_REFUTE, [(at, gap_id) for gap_id, at in sorted(alive.items())])


def known(
    connection: Connection,
    exchange: str,
    *,
    states: Sequence[State] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[KnownGap]:
    """Gaps of the book in these states (None: in any) that reach into the time from ``start`` up to ``end``."""
    wanted = None if states is None else list(states)
    rows = connection.execute(_KNOWN, {"exchange": exchange, "states": wanted, "first": start, "last": end})
    return [
        KnownGap(
            gap_id, Gap(stream, from_at, to_at, cause, detail, market), state, said, attempts, asked_at, n, answers
        )
        for gap_id, stream, market, from_at, to_at, cause, detail, state, said, attempts, asked_at, n, answers in rows
    ]


def settled_codes(connection: Connection, one: KnownGap) -> dict[str, tuple[CodeState, str]]:
    """The markets of a gap that need not be asked for again, with their state and the exchange's words."""
    rows = connection.execute(_SETTLED_CODES, [one.gap_id, one.gap.to_at])
    return {code: (state, said) for code, state, said in rows}


def note_codes(
    connection: Connection, one: KnownGap, outcomes: dict[str, tuple[CodeState, str]], now: datetime, *, keep: bool
) -> None:
    """Write what came of asking for these markets; ``keep=False``: of what was written before, only refusals stay."""
    rows = [(one.gap_id, code, state, said, one.gap.to_at, now) for code, (state, said) in sorted(outcomes.items())]
    with connection.transaction(), connection.cursor() as cursor:
        if not keep:
            cursor.execute(_FORGET_CODES, [one.gap_id])
        cursor.executemany(_NOTE_CODE, rows)


def _judged(dataset: str, cause: str, from_at: datetime, to_at: datetime | None, judged: Collection[Judged]) -> bool:
    """Whether every hour that a gap touches was judged."""
    hour = from_at.replace(minute=0, second=0, microsecond=0)
    while True:
        if (dataset, cause, hour) not in judged:
            return False
        hour += HOUR
        if to_at is None or hour >= to_at:
            return True
