"""A warehouse with a made-up day in gold, Slack and a language model: what the report needs around it.

Lives here: fixtures. Doesn't: the servers (``doubles``, ``tests.servers``).

Gold is made by plain DDL with the columns of ``dbt/models/gold``, as dbt's role; the report reads it as the loader.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from alerts.report.facts import KST
from tests.integration.alerts.doubles import CHANNEL, KEY, TOKEN, FakeAnthropic, FakeSlack
from tidemark.local.postgres import PostgresServer
from tidemark.settings import LlmSettings, ReportSettings, Settings, SlackSettings, WarehouseSettings
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.migrate import migrate

DATE = date(2026, 4, 13)
START = datetime(2026, 4, 13, tzinfo=KST)
HOUR = timedelta(hours=1)
GOLD = """
set role tidemark_dbt;
create table gold.ohlcv_1h (exchange text not null, market text not null, bucket_at timestamptz not null, open numeric,
    high numeric, low numeric, close numeric, volume_base numeric, volume_quote numeric, vwap numeric,
    trade_count bigint, buy_volume_base numeric, sell_volume_base numeric, unique (exchange, market, bucket_at));
create table gold.asset (exchange text, market text, kind text);
create table gold.price_anomaly_1m (exchange text, market text, bucket_at timestamptz, close numeric,
    previous_close numeric, return numeric, z double precision, mad_score double precision,
    deviation_from_5m_mean numeric, direction text, detected_by text, severity text);
create table gold.volume_anomaly_1h (exchange text, market text, bucket_at timestamptz, volume_base numeric,
    volume_quote numeric, median_volume_base numeric, ratio_to_median numeric, z double precision, history_hours bigint,
    severity text);
reset role;
"""


class Warehouse:
    """The test's own database: ``admin`` writes what other parts of the platform would, ``url`` is the loader's."""

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgres@", "tidemark_loader@")
        assert self.url != url
        self.admin = psycopg.connect(url, autocommit=True)

    def bar(
        self, market: str, hour: int, open_: str, high: str, low: str, close: str, turnover: str, *, trades: int = 10,
        exchange: str = "upbit",
    ) -> None:  # fmt: skip
        """One hourly bar, ``hour`` hours after the day's first moment (negative: the day before)."""
        price, value = Decimal(close), Decimal(turnover)
        self.admin.execute(
            "insert into gold.ohlcv_1h values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0)",
            (exchange, market, START + hour * HOUR, open_, high, low, close, value / price, value, price, trades),
        )

    def price_anomaly(self, market: str, minute: int, move: str, basis: str = "return") -> None:
        values = (move, None) if basis == "return" else (None, move)
        self.admin.execute(
            "insert into gold.price_anomaly_1m values ('upbit', %s, %s, 100, 99, %s, 9, 9, %s, 'up', %s, 'warning')",
            (market, START + timedelta(minutes=minute), *values, basis),
        )

    def volume_anomaly(self, market: str, hour: int, ratio: str) -> None:
        self.admin.execute(
            "insert into gold.volume_anomaly_1h values ('upbit', %s, %s, 10, 10, 1, %s, 5, 99, 'warning')",
            (market, START + hour * HOUR, ratio),
        )

    def verdict(self, hour: int, identity: int, status: str, dataset: str = "trade") -> None:
        self.admin.execute(
            "insert into ops.completeness (exchange, dataset, hour_at, identity, status) "
            "values ('upbit', %s, %s, %s, %s) "
            "on conflict (exchange, dataset, hour_at, identity) do update set status = excluded.status",
            (dataset, START + hour * HOUR, identity, status),
        )

    def all_green(self) -> None:
        for hour in range(24):
            for identity in range(5):
                self.verdict(hour, identity, "green", "trade" if identity else "system")

    def load_of(self, event_hour: int | None, receive_hour: int, *, dead: int = 0) -> None:
        """The books of one load: trades of ``event_hour`` (None: not one) received in ``receive_hour``."""
        received = START + receive_hour * HOUR
        row = self.admin.execute(
            "insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, "
            "start_offset, end_offset, rows, parsed, dead, ignored, hour_at, byte_size, checksum, version) values "
            "(%s, 'data', 'upbit', 'trade', 't', 'c', 0, 0, 0, 0, 1, 1, %s, 0, %s, 1, '', '') returning load_id",
            (f"{event_hour}-{receive_hour}", dead, received),
        ).fetchone()
        assert row is not None
        if event_hour is not None:
            self.admin.execute("insert into ops.load_hour values (%s, %s, 1)", (row[0], START + event_hour * HOUR))

    def quarantine(self, event_hour: int, offset: int) -> None:
        self.admin.execute(
            "insert into silver.quarantine (exchange, dataset, hour_at, reason, payload, source, load_id, received_at, "
            "kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item) "
            "values ('upbit', 'trade', %s, 'bad_price', '{}', 'ws', 1, now(), 'c', 0, 't', 0, %s, 0)",
            (START + event_hour * HOUR, offset),
        )

    def gap(self, minute: int, minutes: float, stream: str = "trade", *, repaired: bool = False) -> None:
        start = START + timedelta(minutes=minute)
        self.admin.execute(
            "insert into ops.gap (exchange, stream, from_at, to_at, cause, repaired_at) "
            "values ('upbit', %s, %s, %s, 'connection lost', case when %s then now() end)",
            (stream, start, start + timedelta(minutes=minutes), repaired),
        )

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.admin.execute(query, values).fetchall()

    def lively(self) -> None:
        """Five KRW markets over two days, one in BTC, anomalies, all hours green."""
        moves = {
            "BTC": ("90000000", "93000000"),
            "ETH": ("4000000", "3700000"),
            "1INCH": ("500", "560"),
            "XRP": ("800", "800"),
        }
        for hour in range(-24, 24):
            for base, (before, after) in moves.items():
                close = before if hour < 0 else after
                self.bar(f"{base}-KRW", hour, close, close, before if hour == 0 else close, close, f"{10**9 + hour}")
        self.bar("0G-KRW", 3, "10", "12", "10", "11", "5000000")
        self.bar("XRP-BTC", 3, "0.00001", "0.000012", "0.00001", "0.000011", "0.5")
        self.price_anomaly("ETH-KRW", 14 * 60 + 35, "-0.0425")
        self.price_anomaly("BTC-KRW", 9 * 60 + 5, "0.031", "mean")
        self.volume_anomaly("1INCH-KRW", 21, "5.24")
        self.all_green()


@pytest.fixture(scope="session")
def template(postgres_server: PostgresServer) -> str:
    """Name of a migrated database that tests copy: migrating one for each takes longer than the tests."""
    name = f"alerts_template_{os.getpid()}"
    url = postgres_server.url(name)
    migrate(WarehouseSettings(url=url, admin_url=url))
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(GOLD)
    return name


@pytest.fixture
def warehouse(fresh_database: Callable[..., str], template: str) -> Iterator[Warehouse]:
    made = Warehouse(fresh_database(template=template))
    yield made
    made.admin.close()


@pytest.fixture
def loader(warehouse: Warehouse) -> Iterator[Connection]:
    with connect(warehouse.url, "test") as connection:
        yield connection


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    double = FakeSlack()
    with double.running():
        yield double


@pytest.fixture
def anthropic() -> Iterator[FakeAnthropic]:
    double = FakeAnthropic()
    with double.running():
        yield double


@pytest.fixture
def settings(warehouse: Warehouse, slack: FakeSlack, anthropic: FakeAnthropic, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        warehouse=WarehouseSettings(url=warehouse.url),
        slack=SlackSettings(base_url=f"{slack.url}/api", token=TOKEN, channel=CHANNEL),
        llm=LlmSettings(base_url=anthropic.url, api_key=KEY, timeout_s=5, model="claude-sonnet-5-5"),
        report=ReportSettings(page_dir=str(tmp_path / "pages")),
    )
