"""A day made up for the tests of the report: markets whose names hold digits, both directions, gaps, anomalies.

Lives here: one set of facts. Doesn't: facts from a warehouse (``tests/integration/alerts``).
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from alerts.report.facts import KST, Fact, FactSet, Series, Unit

DATE = date(2026, 4, 13)
START = int(datetime(2026, 4, 13, tzinfo=KST).timestamp())


def fact(fact_id: str, value: str | int, unit: Unit, **more: Any) -> Fact:
    return Fact(fact_id, Decimal(value), unit, "gold.ohlcv_1h", **more)


def entry(
    prefix: str, market: str, change: str, close: str, turnover: str, rank: int, basis: str = "close"
) -> list[Fact]:
    about = {"subject": market, "exchange": "upbit"}
    return [
        fact(f"{prefix}.rank", rank, "rank", **about),
        fact(f"{prefix}.change", change, "percent", signed=True, of=basis, **about),
        fact(f"{prefix}.close", close, "krw", of="price", **about),
        fact(f"{prefix}.high", str(Decimal(close) * 2), "krw", of="price", **about),
        fact(f"{prefix}.low", str(Decimal(close) / 2), "krw", of="price", **about),
        fact(f"{prefix}.range", "300.0", "percent", **about),
        fact(f"{prefix}.turnover", turnover, "krw", **about),
        fact(f"{prefix}.share", "41.236", "percent", **about),
    ]


def a_day(*extra: Fact) -> FactSet:
    """A lively day; ``extra`` facts are added."""
    day = START
    facts = [
        fact("report.date", day, "date"),
        fact("window.start", day, "time"),
        fact("window.end", day + 86400, "time"),
        fact("window.hours", 24, "hours"),
        fact("day.markets", 20, "count", of="markets"),
        fact("day.trades", 151234, "count", of="trades"),
        fact("krw.markets", 20, "count", of="markets"),
        fact("krw.trades", 151234, "count", of="trades"),
        fact("krw.advancing", 12, "count", of="markets", direction=1),
        fact("krw.declining", 7, "count", of="markets", direction=-1),
        fact("krw.unchanged", 1, "count", of="markets"),
        fact("krw.turnover", "1234567890123.45", "krw"),
        fact("krw.turnover.change", "-5.126", "percent", signed=True),
        *entry("krw.gainer.1", "1INCH-KRW", "12.3456", "512.5", "81234567890", 1),
        *entry("krw.gainer.2", "BTC-KRW", "3.2149", "95000000", "512345678901", 2, "open"),
        *entry("krw.loser.1", "ETH-KRW", "-7.5", "4123000", "312345678901", 1),
        *entry("krw.loser.2", "0G-KRW", "-0.004", "0.00001234", "12345", 2),
        *entry("krw.volume.1", "BTC-KRW", "3.2149", "95000000", "512345678901", 1),
        *entry("krw.volatility.1", "1INCH-KRW", "12.3456", "512.5", "81234567890", 1),
        fact("anomaly.price.count", 3, "count", of="anomalies"),
        fact("anomaly.price.1.at", day + 14 * 3600 + 35 * 60, "time", subject="ETH-KRW", exchange="upbit"),
        fact("anomaly.price.1.move", "-4.25", "percent", signed=True, of="return", subject="ETH-KRW", exchange="upbit"),
        fact("anomaly.volume.count", 1, "count", of="anomalies"),
        fact("anomaly.volume.1.at", day + 21 * 3600, "time", subject="1INCH-KRW", exchange="upbit"),
        fact("anomaly.volume.1.ratio", "5.24", "ratio", subject="1INCH-KRW", exchange="upbit"),
        fact("coverage.share", "95.83333333", "percent"),
        fact("coverage.hours.green", 23, "hours"),
        fact("coverage.hours.red", 1, "hours"),
        fact("gap.count", 1, "count", of="gaps"),
        fact("gap.open", 0, "count", of="gaps"),
        fact("gap.1.minutes", "12.5", "minutes", subject="trade", exchange="upbit", of="connection-lost"),
        fact("gap.1.from", day + 3600, "time", subject="trade", exchange="upbit"),
        fact("gap.1.to", day + 3600 + 750, "time", subject="trade", exchange="upbit"),
        *extra,
    ]
    hours = tuple(Decimal(value) for value in range(1, 25))
    series = (
        Series("krw.turnover", "gold.ohlcv_1h", hours),
        Series("close.BTC-KRW", "gold.ohlcv_1h", (None, *hours[1:]), "BTC-KRW"),
        Series("coverage", "ops.completeness", tuple(Decimal(2 if h else -1) for h in range(24))),
    )
    return FactSet(DATE, tuple(facts), series)


def a_quiet_day() -> FactSet:
    """A day without a single trade, nothing checked."""
    facts = [
        fact("report.date", START, "date"),
        fact("window.start", START, "time"),
        fact("window.end", START + 86400, "time"),
        fact("window.hours", 24, "hours"),
        fact("day.markets", 0, "count", of="markets"),
        fact("day.trades", 0, "count", of="trades"),
        fact("anomaly.price.count", 0, "count", of="anomalies"),
        fact("anomaly.volume.count", 0, "count", of="anomalies"),
        fact("coverage.share", 0, "percent"),
        fact("coverage.hours.green", 0, "hours"),
        fact("coverage.hours.unchecked", 24, "hours"),
        fact("gap.count", 0, "count", of="gaps"),
    ]
    return FactSet(DATE, tuple(facts))
