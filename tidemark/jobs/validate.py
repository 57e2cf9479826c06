"""What can be said of one market's data in a window, for a person: is it whole, is it sound.

Lives here: the questions to the warehouse, the findings and the verdict. Doesn't: computing identities
(``tidemark.completeness``), the gate (``tidemark.quality``): their verdicts are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg.rows import dict_row

from tidemark.exchanges import registry
from tidemark.exchanges.base import Unparsable
from tidemark.jobs.arguments import check_window
from tidemark.settings import Settings
from tidemark.warehouse.connection import Connection, connect

_TRADES: Final = """
SELECT count(*) AS trades, min(event_at) AS first, max(event_at) AS last,
    max(event_at - before) AS silence, (array_agg(before ORDER BY event_at - before DESC NULLS LAST))[1] AS silent_from,
    count(*) FILTER (WHERE source = 'rest') AS fetched
FROM (
    SELECT event_at, source, lag(event_at) OVER (ORDER BY event_at) AS before FROM silver.trade
    WHERE exchange = %(exchange)s AND market = %(market)s AND event_at >= %(start)s AND event_at < %(end)s
) AS trade
"""
_BARS: Final = """
SELECT finding, cause, count(*) AS bars, min(bucket_at) AS first FROM gold.ohlcv_reconciliation
WHERE exchange = %(exchange)s AND market = %(market)s AND bucket_at >= %(start)s AND bucket_at < %(end)s
GROUP BY 1, 2 ORDER BY 1, 2
"""
_GAPS: Final = """
SELECT stream, cause, state, count(*) AS gaps, min(from_at) AS first,
    sum(least(coalesce(to_at, %(end)s), %(end)s) - greatest(from_at, %(start)s)) AS length
FROM ops.gap WHERE exchange = %(exchange)s AND dataset = 'trade' AND (market IS NULL OR market = %(market)s)
    AND from_at < %(end)s AND coalesce(to_at, 'infinity') > %(start)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ACCOUNTS: Final = """
SELECT 'quarantined: ' || reason AS account, count(*) AS rows FROM silver.quarantine
WHERE dataset = 'trade' AND exchange = %(exchange)s AND market = %(market)s
    AND hour_at >= date_trunc('hour', %(start)s) AND hour_at < %(end)s GROUP BY 1
UNION ALL
SELECT 'duplicates', count(*) FROM silver.duplicate
WHERE dataset = 'trade' AND exchange = %(exchange)s AND market = %(market)s
    AND event_at >= %(start)s AND event_at < %(end)s
ORDER BY 1
"""
#: Identities 0 to 2 of the hours in which the window's trades were received, 3 to 5 of its own hours.
_VERDICTS: Final = """
WITH received AS (
    SELECT DISTINCT ledger.hour_at FROM ops.load_hour AS bridge JOIN ops.load_ledger AS ledger USING (load_id)
    WHERE ledger.exchange = %(exchange)s AND ledger.dataset = 'trade'
        AND bridge.hour_at >= date_trunc('hour', %(start)s) AND bridge.hour_at < %(end)s
), hours AS (
    SELECT hour_at, identity FROM received CROSS JOIN generate_series(0, 2) AS identity
    UNION ALL
    SELECT hour_at, identity
    FROM generate_series(date_trunc('hour', %(start)s), %(end)s - interval '1 us', interval '1 hour') AS hour_at
    CROSS JOIN generate_series(3, 5) AS identity
)
SELECT hours.identity, coalesce(verdict.status, 'never checked') AS status, count(*) AS hours,
    min(hours.hour_at) AS first
FROM hours LEFT JOIN ops.completeness AS verdict
    ON verdict.exchange = %(exchange)s AND verdict.hour_at = hours.hour_at AND verdict.identity = hours.identity
        AND verdict.dataset = CASE hours.identity WHEN 0 THEN 'system' ELSE 'trade' END
GROUP BY 1, 2 ORDER BY 1, 2
"""
_QUALITY: Final = """
SELECT quality.expectation, quality.about, quality.severity, count(*) AS checks, min(run.checked_at) AS first
FROM ops.quality_run AS run JOIN ops.quality AS quality USING (run_id)
WHERE run.exchange = %(exchange)s AND run.dataset = 'trade' AND NOT quality.success
    AND run.from_at < %(end)s AND run.to_at >= %(start)s GROUP BY 1, 2, 3 ORDER BY 3, 1, 2
"""
_IDENTITIES: Final[Mapping[int, str]] = {
    0: "no frame missing", 1: "objects tile every partition", 2: "rows counted from offset to table",
    3: "raw is silver and its accounts", 4: "bars are trades", 5: "the exchange says the same",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One thing found: whether it is as it should be (None: only told), and the words for it.

    ``unknown``: something must still be loaded or checked before it can be judged.
    """

    good: bool | None
    text: str
    unknown: bool = False

    def __str__(self) -> str:
        """With a mark before it."""
        return f"  {'·' if self.good is None else '✓' if self.good else '✗'} {self.text}"


@dataclass(frozen=True, slots=True)
class Validation:
    """All that is known of one market on one exchange in a window (UTC, the end not included)."""

    exchange: str
    market: str
    start: datetime
    end: datetime
    lines: tuple[Line, ...]

    @property
    def proven(self) -> bool:
        """Whether nothing that was found is wrong or unknown."""
        return all(line.good is not False and not line.unknown for line in self.lines)

    def __str__(self) -> str:
        """A heading, a line each, and the verdict."""
        head = f"{self.market} on {self.exchange}, {_at(self.start)} to {_at(self.end)} UTC"
        wrong = sum(line.good is False for line in self.lines)
        unknown = sum(line.unknown for line in self.lines)
        verdict = "PROVEN: nothing is missing and nothing is wrong"
        if wrong:
            verdict = f"NOT PROVEN: {wrong} findings"
        elif unknown:
            verdict = f"NOT KNOWN YET: {unknown} checks wait, and are computed again at :25 and :55"
        return "\n".join([head, *map(str, self.lines), f"  {verdict}"])


def run(
    settings: Settings, symbol: str, start: datetime, end: datetime, exchange: str | None = None
) -> list[Validation]:
    """Say what is known of a market's trades and bars in [start, end), on each exchange that has it.

    ``symbol`` is canonical (``BTC-KRW``) or the exchange's own code (``KRW-BTC``).

    Raises:
        ValueError: the window is empty or in the future, there is no such exchange, or no exchange has such a market.
        WarehouseError: the warehouse doesn't answer.
    """
    check_window(start, end)
    names = [exchange] if exchange else list(settings.exchanges)
    unknown = set(names) - set(settings.exchanges)
    if unknown:
        raise ValueError(f"no exchange {', '.join(unknown)}; there are {', '.join(settings.exchanges)}")
    with connect(settings.warehouse.url, "validate") as connection:
        found = [
            _validate(connection, name, market, start, end)
            for name in names
            if (market := _market(connection, name, symbol)) is not None
        ]
    if not found:
        raise ValueError(
            f"{' and '.join(names)} list no market {symbol!r}; such as BTC-KRW, or the exchange's own code"
        )
    return found


def _market(connection: Connection, exchange: str, symbol: str) -> str | None:
    """The canonical name of a listed market."""
    try:
        names = [symbol, registry.get(exchange).market(symbol)]
    except Unparsable:
        names = [symbol]
    row = connection.execute(
        "SELECT market FROM silver.market WHERE exchange = %s AND (market = ANY(%s) OR code = %s) LIMIT 1",
        [exchange, names, symbol],
    ).fetchone()
    return str(row[0]) if row else None


def _validate(connection: Connection, exchange: str, market: str, start: datetime, end: datetime) -> Validation:
    where = {"exchange": exchange, "market": market, "start": start, "end": end}

    def ask(query: str) -> list[dict[str, Any]]:
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), where).fetchall()

    lines = [
        *_trades(ask(_TRADES)[0]),
        *(_bar(row) for row in ask(_BARS)),
        *(_gap(row) for row in ask(_GAPS)),
        *(Line(row["account"] == "duplicates" or None, f"{row['rows']:,} {row['account']}") for row in ask(_ACCOUNTS)),
        *_verdicts(ask(_VERDICTS)),
        *(_broken(row) for row in ask(_QUALITY)),
    ]
    return Validation(exchange, market, start, end, tuple(lines))


def _trades(row: dict[str, Any]) -> list[Line]:
    if not row["trades"]:
        return [Line(None, "no trade")]
    fetched = f", {row['fetched']:,} of them fetched over REST" if row["fetched"] else ""
    told = [Line(None, f"{row['trades']:,} trades, {_at(row['first'])} to {_at(row['last'])}{fetched}")]
    if row["silence"]:
        told.append(Line(None, f"longest time without a trade {_span(row['silence'])}, from {_at(row['silent_from'])}"))
    return told


def _bar(row: dict[str, Any]) -> Line:
    if row["finding"] == "equal":
        return Line(True, f"{row['bars']:,} bars equal the exchange's own")
    what = f"{row['bars']:,} bars differ from the exchange's own ({row['finding']}, {row['cause']})"
    settled = None if row["cause"] == "their_bar_is_older" else False
    return Line(settled, f"{what.replace('_', ' ')}, first {_at(row['first'])}")


def _gap(row: dict[str, Any]) -> Line:
    settled = row["state"] in ("repaired", "nothing_missing")
    words = f"{row['gaps']} gaps ({row['cause']}) {row['state'].replace('_', ' ')}, {_span(row['length'])} in all"
    return Line(settled, f"{words}, first {_at(row['first'])}")


def _verdicts(rows: list[dict[str, Any]]) -> list[Line]:
    told = []
    for identity, words in _IDENTITIES.items():
        mine = {row["status"]: row for row in rows if row["identity"] == identity}
        green = mine.pop("green", {"hours": 0})["hours"]
        other = [f"{row['hours']} {status}, first {_at(row['first'])}" for status, row in mine.items()]
        good = False if "red" in mine else None if mine else True
        told.append(
            Line(
                good, f"identity {identity}, {words}: {'; '.join([f'{green} hours green', *other])}", unknown=bool(mine)
            )
        )
    return told


def _broken(row: dict[str, Any]) -> Line:
    words = f"{row['expectation'].removeprefix('expect_').replace('_', ' ')} {row['about']}".strip()
    return Line(
        False if row["severity"] == "critical" else None,
        f"{row['severity']} of the gate, {row['checks']} checks: {words}, first {_at(row['first'])}",
    )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _span(length: timedelta) -> str:
    return str(length - timedelta(microseconds=length.microseconds))
