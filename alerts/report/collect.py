"""Facts of one KST date, from gold and ops and nowhere else.

Lives here: the queries, and what each figure means. Doesn't: sentences, checks of completeness (``tidemark.jobs``).

A KST day is 15:00Z to 15:00Z, so hourly bars tile it. Definitions:

* **close** of a market: the close of its last hourly bar of the day;
* **change**: close against the close of its last hourly bar of the KST day before, in percent; where it has no bar
  that day, against the day's first open (the fact's ``of`` says which: ``close`` or ``open``);
* **range**, by which volatility is ranked: (high - low) / low of the day, in percent;
* **turnover**: sum of price x size in the quote currency; its change is that of the markets that traded in every hour
  of both days;
* **move** of a price anomaly: the minute's return, or, where only that stood out, its close against the mean close of
  the five minutes before (the fact's ``of`` says which: ``return`` or ``mean``);
* **set aside**: frames of trades that no parser could read (dead letters), of loads received in the day or bringing
  trades of it; and trades of the day that silver refused (quarantine);
* **verified hour**: ``ops.hour_state`` of its trades is green on every exchange, or ``provisional`` (a check still
  waits for what is not loaded). Time without a connection is a gap, and named beside.

Markets quoted in KRW and all others are ranked apart; these are named with their exchange (``OKX:BTC-USDT``). A market
whose name holds other characters than capital letters and digits, or that is of no coin (a stock, a metal: by
``gold.asset``), is in the totals and has a place in each ranking, but is never named. Ids number the named ones; the
fact ``rank`` is the place among all. Of equal markets those that are not named come first, so a named market has the
first place only when no other is before it or beside it unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from psycopg.rows import class_row, dict_row

from alerts.report.facts import KST, Fact, FactSet, Series, Unit, is_market, name_of
from tidemark.completeness import summary
from tidemark.warehouse.connection import Connection

HOURS: Final = 24
#: Length of each ranking, KRW markets and others.
TOP: Final = {"krw": 5, "other": 3}
TOP_ANOMALIES: Final = 3
#: Part of a day's KRW turnover that markets comparable with the day before must carry.
COMPARABLE: Final = Decimal("0.95")
TOP_GAPS: Final = 5
_BARS: Final = "gold.ohlcv_1h"
_ROWS = dict_row


@dataclass(frozen=True)
class Day:
    """One market's KST day. ``before`` is the close of the day before, None where it had no bar."""

    exchange: str
    market: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    turnover: Decimal
    trades: int
    before: Decimal | None
    #: Whether it is a coin; stocks and metals have the same letters as coins.
    is_coin: bool = True

    @property
    def name(self) -> str:
        """What the report calls it; empty where it can't be named."""
        return name_of(self.exchange, self.market)

    @property
    def is_named(self) -> bool:
        """Whether rankings show it."""
        return bool(self.name) and self.is_coin

    @property
    def quote(self) -> str:
        """The currency it is quoted in."""
        return self.market.rpartition("-")[2]

    @property
    def change(self) -> Decimal:
        """Percent."""
        base = self.before if self.before is not None else self.open
        return (self.close / base - 1) * 100 if base else Decimal(0)

    @property
    def range(self) -> Decimal:
        """Percent of the low."""
        return (self.high / self.low - 1) * 100 if self.low else Decimal(0)


@dataclass
class _Book:
    """The facts so far."""

    facts: list[Fact] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)

    def add(self, fact_id: str, value: Decimal | int, unit: Unit, mart: str, **more: Any) -> None:
        self.facts.append(Fact(fact_id, Decimal(value), unit, mart, **more))


def window(report_date: date) -> tuple[datetime, datetime]:
    """First moment of a KST date and of the next."""
    start = datetime.combine(report_date, time(), KST)
    return start, start + timedelta(hours=HOURS)


def collect(connection: Connection, report_date: date) -> FactSet:
    """Every fact of one KST date. A day without any bar gives a set that says so, not an error."""
    book = _Book()
    _frame(book, report_date)
    days = _days(connection, report_date)
    book.add("day.markets", len(days), "count", _BARS, of="markets")
    book.add("day.trades", sum(day.trades for day in days), "count", _BARS, of="trades")
    for group, members in (
        ("krw", [d for d in days if d.quote == "KRW"]),
        ("other", [d for d in days if d.quote != "KRW"]),
    ):
        _group(book, group, members)
    _turnover_change(connection, book, report_date)
    _charts(connection, book, report_date)
    _price_anomalies(connection, book, report_date)
    _volume_anomalies(connection, book, report_date)
    _coverage(connection, book, report_date)
    _set_aside(connection, book, report_date)
    _gaps(connection, book, report_date)
    return FactSet(report_date, tuple(book.facts), tuple(book.series))


def coverage_complete(connection: Connection, report_date: date) -> bool:
    """Whether every hour of a KST date is verified (see the module's docstring)."""
    states = summary.trade_states(connection, *window(report_date))
    return len(states) == HOURS and all(state in ("green", "provisional") for state in states)


def _frame(book: _Book, report_date: date) -> None:
    start, end = window(report_date)
    book.add("report.date", int(start.timestamp()), "date", "calendar")
    book.add("window.start", int(start.timestamp()), "time", "calendar")
    book.add("window.end", int(end.timestamp()), "time", "calendar")
    book.add("window.hours", HOURS, "hours", "calendar")


# --- bars ---------------------------------------------------------------------------------------------------


def _days(connection: Connection, report_date: date) -> list[Day]:
    query = """
        with today as (
            select exchange, market, (array_agg(open order by bucket_at))[1] as open, max(high) as high,
                   min(low) as low, (array_agg(close order by bucket_at desc))[1] as close,
                   sum(volume_quote) as turnover, sum(trade_count)::bigint as trades
            from gold.ohlcv_1h where bucket_at >= %(start)s and bucket_at < %(end)s and trade_count > 0
            group by exchange, market),
        yesterday as (
            select exchange, market, (array_agg(close order by bucket_at desc))[1] as before
            from gold.ohlcv_1h where bucket_at >= %(before)s and bucket_at < %(start)s and trade_count > 0
            group by exchange, market)
        select today.*, yesterday.before, not exists (
            select from gold.asset as asset where asset.exchange = today.exchange and asset.market = today.market
                and asset.kind <> 'coin') as is_coin
        from today left join yesterday using (exchange, market)
        order by exchange, market"""
    with connection.cursor(row_factory=class_row(Day)) as cursor:
        return cursor.execute(query, _bounds(report_date)).fetchall()


def _bounds(report_date: date) -> dict[str, datetime]:
    start, end = window(report_date)
    return {"start": start, "end": end, "before": start - timedelta(hours=HOURS)}


def _group(book: _Book, group: str, days: Sequence[Day]) -> None:
    if not days:
        return
    _totals(book, group, days)
    total = sum((day.turnover for day in days), Decimal(0))
    rankings: tuple[tuple[str, Iterable[Day], Callable[[Day], Decimal]], ...] = (
        ("gainer", (d for d in days if d.change > 0), lambda d: d.change),
        ("loser", (d for d in days if d.change < 0), lambda d: -d.change),
        ("volatility", (d for d in days if d.range > 0), lambda d: d.range),
        ("volume", days if group == "krw" else (), lambda d: d.turnover),
    )
    for name, candidates, key in rankings:
        ordered = sorted(candidates, key=lambda d, key=key: (-key(d), d.is_named, -d.turnover, d.market, d.exchange))  # type: ignore[misc]
        named = [(place, day) for place, day in enumerate(ordered, 1) if day.is_named]
        for number, (place, day) in enumerate(named[: TOP[group]], 1):
            _entry(book, f"{group}.{name}.{number}", day, place, total if name == "volume" else None)


def _totals(book: _Book, group: str, days: Sequence[Day]) -> None:
    book.add(f"{group}.markets", len(days), "count", _BARS, of="markets")
    book.add(f"{group}.trades", sum(d.trades for d in days), "count", _BARS, of="trades")
    moves = [(d.change > 0) - (d.change < 0) for d in days]
    for name, direction in (("advancing", 1), ("declining", -1), ("unchanged", 0)):
        more = {"of": "markets", "direction": direction}
        book.add(f"{group}.{name}", moves.count(direction), "count", _BARS, **more)
    if group == "krw":
        book.add("krw.turnover", sum((d.turnover for d in days), Decimal(0)), "krw", _BARS)
    if left_out := sum(not d.is_named for d in days):
        book.add(f"{group}.left_out", left_out, "count", _BARS, of="markets")
    if fresh := sum(d.before is None for d in days):
        book.add(f"{group}.from_open", fresh, "count", _BARS, of="markets")


def _entry(book: _Book, prefix: str, day: Day, rank: int, total: Decimal | None) -> None:
    about = {"mart": _BARS, "subject": day.name, "exchange": day.exchange}
    unit: Unit = "krw" if day.quote == "KRW" else "asset"
    price = {**about, "of": "price" if unit == "krw" else day.quote}
    amount = {**about, "of": "" if unit == "krw" else day.quote}
    book.add(f"{prefix}.rank", rank, "rank", **about)
    basis = "close" if day.before is not None else "open"
    book.add(f"{prefix}.change", day.change, "percent", signed=True, of=basis, **about)
    book.add(f"{prefix}.close", day.close, unit, **price)
    book.add(f"{prefix}.high", day.high, unit, **price)
    book.add(f"{prefix}.low", day.low, unit, **price)
    book.add(f"{prefix}.range", day.range, "percent", **about)
    book.add(f"{prefix}.turnover", day.turnover, unit, **amount)
    if total:
        book.add(f"{prefix}.share", day.turnover / total * 100, "percent", **about)


def _turnover_change(connection: Connection, book: _Book, report_date: date) -> None:
    """The KRW turnover of the day against the day before, over the markets that traded in every hour of both.

    No such fact where they carry less than :data:`COMPARABLE` of either day's turnover: the rest was added, delisted or
    not heard, and would decide the figure.
    """
    row = connection.execute(
        """
        with markets as (
            select
                coalesce(sum(volume_quote) filter (where bucket_at < %(start)s), 0) as before,
                coalesce(sum(volume_quote) filter (where bucket_at >= %(start)s), 0) as today,
                count(*) = %(hours)s as is_whole
            from gold.ohlcv_1h
            where market like '%%-KRW' and bucket_at >= %(before)s and bucket_at < %(end)s and trade_count > 0
            group by exchange, market
        )
        select sum(before) filter (where is_whole), sum(today) filter (where is_whole), sum(before), sum(today)
        from markets
        """,
        {**_bounds(report_date), "hours": 2 * HOURS},
    ).fetchone()
    before, today, all_before, all_today = row or (None,) * 4
    if before and today and before >= COMPARABLE * all_before and today >= COMPARABLE * all_today:
        book.add("krw.turnover.change", (today / before - 1) * 100, "percent", _BARS, signed=True)


def _charts(connection: Connection, book: _Book, report_date: date) -> None:
    """Hourly series: KRW turnover, and the closes of every market that a fact is about."""
    named = sorted({fact.subject for fact in book.facts if is_market(fact.subject)})
    rows = connection.execute(
        "select exchange, market, extract(epoch from bucket_at - %(start)s)::int / 3600, close, volume_quote "
        "from gold.ohlcv_1h where bucket_at >= %(start)s and bucket_at < %(end)s and trade_count > 0 "
        "order by exchange, market, bucket_at",
        _bounds(report_date),
    ).fetchall()
    turnover = [Decimal(0)] * HOURS
    closes: dict[str, list[Decimal | None]] = {name: [None] * HOURS for name in named}
    for exchange, market, hour, close, volume in rows:
        if market.endswith("-KRW"):
            turnover[hour] += volume
        if (name := name_of(exchange, market)) in closes:
            closes[name][hour] = close
    if any(turnover):
        book.series.append(Series("krw.turnover", _BARS, tuple(turnover)))
    book.series.extend(Series(f"close.{name}", _BARS, tuple(values), name) for name, values in closes.items())


# --- anomalies ----------------------------------------------------------------------------------------------


def _price_anomalies(connection: Connection, book: _Book, report_date: date) -> None:
    mart = "gold.price_anomaly_1m"
    rows = _query(connection, _PRICE_ANOMALIES, report_date)
    book.add("anomaly.price.count", len(rows), "count", mart, of="anomalies")
    for number, (place, row) in enumerate(_named(rows, lambda row: abs(row["move"]))[:TOP_ANOMALIES], 1):
        about = {"mart": mart, "subject": row["name"], "exchange": row["exchange"]}
        prefix = f"anomaly.price.{number}"
        book.add(f"{prefix}.rank", place, "rank", **about)
        book.add(f"{prefix}.at", int(row["bucket_at"].timestamp()), "time", **about)
        book.add(f"{prefix}.move", row["move"] * 100, "percent", signed=True, of=row["basis"], **about)
        unit: Unit = "krw" if row["market"].endswith("-KRW") else "asset"
        of = "price" if unit == "krw" else row["market"].rpartition("-")[2]
        book.add(f"{prefix}.close", row["close"], unit, of=of, **about)


def _named(rows: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> list[tuple[int, dict[str, Any]]]:
    """Those whose market can be named, with its name and their place among all; of equals they come last."""
    rows = [{**row, "name": name_of(row["exchange"], row["market"])} for row in rows]
    ordered = sorted(rows, key=lambda row: (-key(row), bool(row["name"])))
    return [(place, row) for place, row in enumerate(ordered, 1) if row["name"]]


def _volume_anomalies(connection: Connection, book: _Book, report_date: date) -> None:
    mart = "gold.volume_anomaly_1h"
    rows = _query(connection, _VOLUME_ANOMALIES, report_date)
    book.add("anomaly.volume.count", len(rows), "count", mart, of="anomalies")
    for number, (place, row) in enumerate(_named(rows, lambda row: row["ratio"])[:TOP_ANOMALIES], 1):
        about = {"mart": mart, "subject": row["name"], "exchange": row["exchange"]}
        prefix = f"anomaly.volume.{number}"
        book.add(f"{prefix}.rank", place, "rank", **about)
        book.add(f"{prefix}.at", int(row["bucket_at"].timestamp()), "time", **about)
        book.add(f"{prefix}.ratio", row["ratio"], "ratio", **about)


_PRICE_ANOMALIES: Final = """
    select * from (
        select exchange, market, bucket_at, close,
               case when detected_by = 'mean' then 'mean' else 'return' end as basis,
               case when detected_by = 'mean' then deviation_from_5m_mean else return end as move
        from gold.price_anomaly_1m where bucket_at >= %(start)s and bucket_at < %(end)s) as anomalies
    order by abs(move) desc, bucket_at, exchange, market"""
_VOLUME_ANOMALIES: Final = """
    select exchange, market, bucket_at, ratio_to_median as ratio from gold.volume_anomaly_1h
    where bucket_at >= %(start)s and bucket_at < %(end)s
    order by ratio desc, bucket_at, exchange, market"""


def _query(connection: Connection, query: str, report_date: date) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=_ROWS) as cursor:
        return cursor.execute(query, _bounds(report_date)).fetchall()


# --- coverage -----------------------------------------------------------------------------------------------

_STATE_VALUES: Final[Mapping[str, int]] = {"green": 2, "provisional": 1, "unchecked": 0, "red": -1}


def _coverage(connection: Connection, book: _Book, report_date: date) -> None:
    mart = "ops.hour_state"
    states = summary.trade_states(connection, *window(report_date)) or ["unchecked"] * HOURS
    green = summary.proven_hours(states)
    book.add("coverage.share", Decimal(green * 100) / HOURS, "percent", mart)
    book.add("coverage.hours.green", green, "hours", mart)
    for state in ("red", "unchecked", "provisional"):
        if states.count(state):
            book.add(f"coverage.hours.{state}", states.count(state), "hours", mart)
    book.series.append(Series("coverage", mart, tuple(Decimal(_STATE_VALUES[s]) for s in states)))


def _set_aside(connection: Connection, book: _Book, report_date: date) -> None:
    """Trades of the day that are in no figure: dead letters (less those revived) and quarantined rows."""
    (row,) = _query(
        connection,
        """select
               (select coalesce(sum(dead - (
                   select count(*) from ops.revived again
                   where (again.topic, again.cluster, again.epoch, again.partition)
                       = (ledger.topic, ledger.cluster, ledger.epoch, ledger.partition)
                       and again.kafka_offset between ledger.start_offset and ledger.end_offset
                       and ledger.kind = 'data')), 0)
               from ops.load_ledger ledger where dataset = 'trade' and (
                   (hour_at >= %(start)s and hour_at < %(end)s) or exists (
                       select from ops.load_hour bridge where bridge.load_id = ledger.load_id
                       and bridge.hour_at >= %(start)s and bridge.hour_at < %(end)s))) as dead,
               (select count(*) from silver.quarantine where dataset = 'trade'
                   and hour_at >= %(start)s and hour_at < %(end)s) as quarantined""",
        report_date,
    )
    book.add("aside.dead", row["dead"], "count", "ops.load_ledger", of="frames")
    book.add("aside.quarantined", row["quarantined"], "count", "silver.quarantine", of="rows")


def _gaps(connection: Connection, book: _Book, report_date: date) -> None:
    """Known holes that touch the day, cut to it; the longest are named."""
    rows = _query(
        connection,
        """select exchange, stream, cause, repaired_at is not null as repaired, greatest(from_at, %(start)s) as from_at,
                  least(coalesce(to_at, %(end)s), %(end)s) as to_at
           from ops.gap where from_at < %(end)s and coalesce(to_at, %(end)s) > %(start)s
           order by least(coalesce(to_at, %(end)s), %(end)s) - greatest(from_at, %(start)s) desc, from_at, stream,
                    cause""",
        report_date,
    )
    book.add("gap.count", len(rows), "count", "ops.gap", of="gaps")
    if rows:
        book.add("gap.open", sum(not row["repaired"] for row in rows), "count", "ops.gap", of="gaps")
    for rank, row in enumerate(rows[:TOP_GAPS], 1):
        about = {"mart": "ops.gap", "subject": _slug(row["stream"]), "exchange": _slug(row["exchange"])}
        minutes = Decimal((row["to_at"] - row["from_at"]).total_seconds()) / 60
        book.add(f"gap.{rank}.minutes", minutes, "minutes", of=_slug(row["cause"]), **about)
        book.add(f"gap.{rank}.from", int(row["from_at"].timestamp()), "time", **about)
        book.add(f"gap.{rank}.to", int(row["to_at"].timestamp()), "time", **about)


def _slug(text: str) -> str:
    """A name from the warehouse in characters that can't be markup, digits that nobody proves, or a sentence."""
    return re.sub(r"[^A-Za-z_.:+-]+", "-", text).strip("-")[:60]
