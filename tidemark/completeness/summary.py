"""How complete a day is: what the digest, the home page and the end of ``make up`` show of it.

Contains: reading ``ops.hour_state``, ``ops.completeness`` and ``ops.gap`` back, and a table for people. Does not
contain: computing verdicts (``check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from tidemark.completeness.verdicts import Verdict
from tidemark.warehouse.connection import Connection

NAMES: Final = {0: "socket", 1: "chain", 2: "counts", 3: "accounting", 4: "arithmetic", 5: "witness"}

_COVERAGE: Final = """
SELECT (hour_at AT TIME ZONE %(zone)s)::date, dataset, identity,
    count(*) FILTER (WHERE status = 'green'), count(*) FILTER (WHERE status = 'red'),
    count(*) FILTER (WHERE status = 'open')
FROM ops.completeness
WHERE exchange = %(exchange)s AND hour_at >= %(first)s AND hour_at < %(last)s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_GAPS: Final = """
SELECT stream, greatest(from_at, %(first)s), least(coalesce(to_at, %(last)s), %(last)s), cause, repaired_at IS NOT NULL
FROM ops.gap
WHERE exchange = %(exchange)s AND from_at < %(last)s AND coalesce(to_at, %(last)s) > %(first)s
ORDER BY from_at, stream
"""


#: One row an hour: the worst that is known of trades on any exchange that has verdicts or bars in the window. An hour
#: of which no dataset but the socket has a verdict is what the socket says.
_TRADE_STATES: Final = """
WITH hours AS (SELECT generate_series(%(first)s, %(last)s - interval '1 hour', interval '1 hour') AS hour_at),

exchanges AS (
    SELECT DISTINCT exchange FROM ops.completeness
    WHERE dataset IN ('trade', 'system') AND hour_at >= %(first)s AND hour_at < %(last)s
    UNION SELECT DISTINCT exchange FROM gold.ohlcv_1h WHERE bucket_at >= %(first)s AND bucket_at < %(last)s
),

states AS (
    SELECT hours.hour_at, coalesce(trades.state, socket.state, 'unchecked') AS state
    FROM hours CROSS JOIN exchanges
    LEFT JOIN LATERAL (
        SELECT state FROM ops.hour_state AS one
        WHERE one.exchange = exchanges.exchange AND one.dataset = 'trade' AND one.hour_at = hours.hour_at
    ) AS trades ON true
    LEFT JOIN LATERAL (
        SELECT CASE status WHEN 'open' THEN 'unchecked' ELSE status END AS state FROM ops.completeness AS one
        WHERE one.exchange = exchanges.exchange AND one.dataset = 'system' AND one.identity = 0
            AND one.hour_at = hours.hour_at
    ) AS socket ON true
)

SELECT CASE
    WHEN bool_or(state = 'red') THEN 'red'
    WHEN bool_or(state = 'unchecked') THEN 'unchecked'
    WHEN bool_or(state = 'provisional') THEN 'provisional'
    ELSE 'green'
END AS state
FROM states GROUP BY hour_at ORDER BY hour_at
"""


@dataclass(frozen=True, slots=True)
class Coverage:
    """One identity of one dataset on one day: how many hours are green, red and open."""

    day: date
    dataset: str
    identity: int
    green: int
    red: int
    open: int

    @property
    def share(self) -> float:
        """Green hours among those with anything to check, from 0 to 1."""
        hours = self.green + self.red + self.open
        return self.green / hours if hours else 1.0


@dataclass(frozen=True, slots=True)
class KnownGap:
    """A stretch without a connection, cut to the time that was asked about."""

    stream: str
    from_at: datetime
    to_at: datetime
    cause: str
    repaired: bool

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.to_at - self.from_at).total_seconds()


def coverage(
    connection: Connection, exchange: str, start: datetime, end: datetime, *, zone: str = "UTC"
) -> tuple[Coverage, ...]:
    """Verdicts counted for each day, dataset and identity, of the hours from ``start`` up to ``end`` (aware).

    ``zone`` says where a day begins (``Asia/Seoul`` for the report's). Days without anything to check are not in it.
    """
    values = {"exchange": exchange, "first": start, "last": end, "zone": zone}
    return tuple(Coverage(*row) for row in connection.execute(_COVERAGE, values))


def trade_states(connection: Connection, start: datetime, end: datetime) -> list[str]:
    """``green``, ``provisional``, ``unchecked`` or ``red`` for each hour from ``start`` up to ``end`` (aware).

    This is the platform's one definition of coverage (``ops.hour_state``), over all exchanges. Empty where nothing is
    known of the window.
    """
    return [row[0] for row in connection.execute(_TRADE_STATES, {"first": start, "last": end})]


def proven_hours(states: Sequence[str]) -> int:
    """How many of the hours are proven, for good or so far."""
    return sum(state in ("green", "provisional") for state in states)


def gaps(connection: Connection, exchange: str, start: datetime, end: datetime) -> tuple[KnownGap, ...]:
    """Gaps that reach into the time from ``start`` up to ``end`` (aware)."""
    values = {"exchange": exchange, "first": start, "last": end}
    return tuple(KnownGap(*row) for row in connection.execute(_GAPS, values))


def table(verdicts: Iterable[Verdict]) -> str:
    """Verdicts as text: a line for each identity and dataset, then a line for each that is red or open."""
    found = sorted(verdicts, key=lambda v: (v.identity, v.dataset, v.hour_at))
    lines = [f"{'identity':<14}{'dataset':<12}{'green':>7}{'red':>6}{'open':>6}{'expected':>15}{'actual':>15}"]
    groups: dict[tuple[int, str], list[Verdict]] = {}
    for verdict in found:
        groups.setdefault((verdict.identity, verdict.dataset), []).append(verdict)
    lines += [_line(identity, dataset, group) for (identity, dataset), group in groups.items()]
    lines += [problem(v) for v in found if v.status != "green"]
    return "\n".join(lines)


def problem(verdict: Verdict) -> str:
    """One line about a verdict that isn't green: what, where, and the first ranges."""
    detail = verdict.detail
    named = detail.get("problems") or detail.get("behind") or []
    said = "; ".join(" ".join(f"{k}={v}" for k, v in one.items()) for one in named[:3])
    more = f"; {detail['problem_count'] - 3} more" if detail.get("problem_count", 0) > 3 else ""
    waits = ", ".join(f"{k}={v}" for k, v in detail.items() if k.startswith("wait"))
    where = f"{verdict.identity} {NAMES[verdict.identity]:<11} {verdict.dataset:<10} {verdict.hour_at:%Y-%m-%d %H:00}"
    sums = f"expected {verdict.expected} actual {verdict.actual}"
    return f"{verdict.status.upper():<6}{where} {sums} {said}{more}{waits}".rstrip()


def _line(identity: int, dataset: str, group: Sequence[Verdict]) -> str:
    counts = [sum(v.status == status for v in group) for status in ("green", "red", "open")]
    expected, actual = sum(v.expected for v in group), sum(v.actual for v in group)
    name = f"{identity} {NAMES[identity]}"
    return f"{name:<14}{dataset:<12}{counts[0]:>7}{counts[1]:>6}{counts[2]:>6}{expected:>15}{actual:>15}"
