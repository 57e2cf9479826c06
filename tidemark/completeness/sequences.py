"""The witness by number: what an exchange numbers one by one has no number missing.

Lives here: holes between the ids of trades, between bars of one length, and in the chain of a book's changes. Doesn't:
volumes (``volumes``), verdicts (``witness``).

An exchange says what its ids prove (``Exchange.trade_ids``). Only bars of exchanges that say when one is closed must
follow each other; elsewhere a bar without trades doesn't exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tidemark.completeness.gaps import Gap
from tidemark.completeness.verdicts import span
from tidemark.contracts import plausible
from tidemark.warehouse.connection import Connection

#: How far back the number before the first of a window is looked for; a longer silence is a gap of its connection.
_REACH: Final = timedelta(days=1)
#: How long after its end a bar may take to be closed.
_CLOSING: Final = timedelta(minutes=10)
#: Lengths of bars that follow each other without exception.
BARS: Final = {
    name: timedelta(minutes=minutes)
    for name, minutes in (
        ("1s", 1 / 60), ("1m", 1), ("3m", 3), ("5m", 5), ("15m", 15), ("30m", 30), ("1h", 60), ("2h", 120),
        ("4h", 240), ("6h", 360), ("8h", 480), ("12h", 720), ("1d", 1440),
    )
}  # fmt: skip

# Ids that one row stands for: itself (steps), or all that it sums up (spans).
_IDS: Final = """
WITH inside AS MATERIALIZED (
    SELECT market, code, event_at, {least} AS least, {greatest} AS greatest, trade_id
    FROM silver.trade
    WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s
),

numbered AS (
    SELECT market, code, event_at, least, greatest FROM inside
    UNION ALL
    SELECT edge.market, before.code, before.event_at, before.least, before.greatest
    FROM (SELECT market, min(trade_id) AS trade_id FROM inside GROUP BY market) AS edge
    CROSS JOIN LATERAL (
        SELECT code, event_at, {least} AS least, {greatest} AS greatest
        FROM silver.trade
        WHERE exchange = %(exchange)s AND market = edge.market AND trade_id < edge.trade_id
        ORDER BY trade_id DESC LIMIT 1
    ) AS before
    WHERE before.event_at >= %(reach)s
)

SELECT market, code, reached, reached_at, least, event_at
FROM (
    SELECT
        *, max(greatest) OVER before AS reached,
        lag(event_at) OVER (PARTITION BY market ORDER BY least, greatest) AS reached_at
    FROM numbered
    WINDOW before AS (
        PARTITION BY market ORDER BY least, greatest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
) AS followed
WHERE least > reached + 1
ORDER BY market, least
"""
_COLUMNS: Final = {
    "steps": {"least": "trade_id", "greatest": "trade_id"},
    "spans": {"least": "coalesce(first_trade_id, trade_id)", "greatest": "coalesce(last_trade_id, trade_id)"},
}
_BARS: Final = """
SELECT market, code, interval, event_at, is_closed, before_at FROM (
    SELECT
        market, code, interval, event_at, is_closed, source,
        lag(event_at) OVER (PARTITION BY market, interval ORDER BY event_at) AS before_at
    FROM silver.candle
    WHERE exchange = %(exchange)s AND event_at >= %(reach)s AND event_at < %(last)s AND is_closed IS NOT NULL
) AS followed
WHERE event_at >= %(first)s ORDER BY market, interval, event_at
"""
#: Two connections that overlap may cut the same changes into other events: one that begins within what was reached and
#: goes on beyond it leaves nothing out.
_CHANGES: Final = f"""
SELECT market, code, reached, reached_at, prev_update_id, event_at FROM (
    SELECT
        market, code, event_at, prev_update_id,
        lag(last_update_id) OVER (PARTITION BY market ORDER BY last_update_id) AS reached,
        lag(event_at) OVER (PARTITION BY market ORDER BY last_update_id) AS reached_at
    FROM (
        SELECT DISTINCT ON (market, last_update_id) market, code, {plausible.counted_at()} AS event_at, prev_update_id,
            last_update_id
        FROM raw.depth_v1
        WHERE exchange = %(exchange)s AND kind = 'update' AND load_id = ANY(%(loads)s)
        ORDER BY market, last_update_id, prev_update_id, event_at
    ) AS changes
) AS followed
WHERE event_at >= %(first)s AND event_at < %(last)s
    AND (reached IS NULL OR prev_update_id IS NULL OR prev_update_id > reached)
ORDER BY market, event_at
"""  # noqa: S608 - own names only
_LOADS: Final = """
SELECT DISTINCT load_id FROM ops.load_hour JOIN ops.load_ledger USING (load_id)
WHERE exchange = %(exchange)s AND dataset = 'depth' AND load_hour.hour_at >= %(reach)s AND load_hour.hour_at < %(last)s
"""
_COUNTS: Final = {
    "trade": "SELECT date_trunc('hour', event_at), count(*) FROM silver.trade",
    "depth": "SELECT date_trunc('hour', event_at), count(DISTINCT (market, last_update_id)) FROM raw.depth_v1",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the exchange, and the one before it of the same market and length, if there is one."""

    market: str
    code: str
    interval: str
    event_at: datetime
    is_closed: bool
    before_at: datetime | None


def trades(connection: Connection, exchange: str, rule: str, first: datetime, last: datetime) -> list[Gap]:
    """Holes between ids of trades from ``first`` up to ``last``; ``rule`` is ``steps`` or ``spans``."""
    query = _IDS.format(**_COLUMNS[rule])
    values = {"exchange": exchange, "first": first, "last": last, "reach": first - _REACH}
    holes: dict[tuple[str, datetime], tuple[str, datetime, list[tuple[int, int]]]] = {}
    for market, code, reached, reached_at, least, event_at in connection.execute(query.encode(), values):
        from_at, to_at = sorted((reached_at, event_at))
        _, until, ids = holes.setdefault((market, from_at), (code, to_at, []))
        ids.append((reached + 1, least - 1))
        holes[market, from_at] = (code, max(until, to_at), ids)
    return [_ids(market, code, from_at, to_at, ids) for (market, from_at), (code, to_at, ids) in holes.items()]


def _ids(market: str, code: str, from_at: datetime, to_at: datetime, ids: Sequence[tuple[int, int]]) -> Gap:
    missing = sum(last - first + 1 for first, last in ids)
    named = ", ".join(span(*pair) for pair in ids[:20])
    detail = {"what": "ids of trades are missing", "ids": named, "missing": missing, "codes": [code]}
    return Gap(f"trade/{market}", from_at, to_at, "sequence", detail, market)


def bars(connection: Connection, exchange: str, first: datetime, last: datetime) -> list[Bar]:
    """The bars that begin from ``first`` up to ``last``, of an exchange that says when one is closed."""
    values = {"exchange": exchange, "first": first, "last": last, "reach": first - _REACH}
    return [Bar(*row) for row in connection.execute(_BARS, values)]


def missing_bars(found: Iterable[Bar], now: datetime) -> Iterator[Gap]:
    """Bars that were left out, and bars that are over and were never closed."""
    for bar in found:
        width = BARS.get(bar.interval)
        if width is None:
            continue
        if bar.before_at is not None and bar.event_at - bar.before_at > width:
            yield _bars(bar, bar.before_at + width, bar.event_at, "bars are missing")
        if not bar.is_closed and bar.event_at + width + _CLOSING <= now:
            yield _bars(bar, bar.event_at, bar.event_at + width, "the bar was never closed")


def _bars(bar: Bar, first: datetime, last: datetime, what: str) -> Gap:
    detail = {"what": what, "interval": bar.interval, "codes": [bar.code]}
    return Gap(f"candle/{bar.market}/{bar.interval}", first, last, "sequence", detail, bar.market)


def depth(connection: Connection, exchange: str, first: datetime, last: datetime) -> list[Gap]:
    """Breaks in the chain of changes of each book, from ``first`` up to ``last``: each names the number before it."""
    values: dict[str, Any] = {"exchange": exchange, "first": first, "last": last, "reach": first - timedelta(hours=1)}
    values["loads"] = [row[0] for row in connection.execute(_LOADS, values)]
    found: dict[tuple[str, datetime], Gap] = {}
    for market, code, reached, reached_at, prev_update_id, event_at in connection.execute(_CHANGES, values):
        if reached is None:
            continue  # the first change there is: nothing tells what came before it
        numbers = f"{reached} was followed by a change of {prev_update_id}"
        detail = {"what": "changes of the book are missing", "numbers": numbers, "codes": [code]}
        from_at, to_at = sorted((reached_at, event_at))
        found.setdefault((market, from_at), Gap(f"depth/{market}", from_at, to_at, "sequence", detail, market))
    return list(found.values())


def counts(connection: Connection, dataset: str, exchange: str, first: datetime, last: datetime) -> dict[datetime, int]:
    """How many numbered rows each hour has."""
    where = " WHERE exchange = %(exchange)s AND event_at >= %(first)s AND event_at < %(last)s"
    values: dict[str, Any] = {"exchange": exchange, "first": first, "last": last}
    if dataset == "depth":
        values["loads"] = [row[0] for row in connection.execute(_LOADS, {**values, "reach": first})]
        where += " AND kind = 'update' AND load_id = ANY(%(loads)s)"
    query = f"{_COUNTS[dataset]}{where} GROUP BY 1"
    return dict(connection.execute(query.encode(), values).fetchall())
