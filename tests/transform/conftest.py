"""A real warehouse for the transform tests: migrated, with every dbt model made once, copied for each test.

Lives here: the fixtures, and ``Warehouse``, through which a test loads raw rows, runs dbt and reads tables. Doesn't:
rows (``rows``), the PostgreSQL server (``tests/servers.py``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.transform.rows import DAY, Row
from tidemark.local.postgres import PostgresServer
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.migrate import migrate

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
DATASETS = ("market", "trade", "ticker", "orderbook", "candle", "snapshot")
SILVER = tuple(f"silver.{name}" for name in (*DATASETS, "duplicate", "superseded", "quarantine"))
BARS = tuple(f"gold.ohlcv_{width}" for width in ("1m", "5m", "15m", "1h", "4h", "1d"))
TABLES = (
    *BARS,
    "gold.ohlcv_1d_kst",
    "gold.book_depth_1h",
    "gold.daily_volatility",
    "gold.kimchi_premium_1m",
    "gold.large_trade",
    "gold.market_correlation_1h",
    "gold.market_stats_24h",
    "gold.market_summary_5m",
    "gold.moving_average_1d",
    "gold.price_anomaly_1m",
    "gold.receipt_latency_1h",
    "gold.suspect_premium_1m",
    "gold.technical_indicator_1h",
    "gold.volume_anomaly_1h",
)
VIEWS = (
    "gold.asset",
    *(f"{bars}_filled" for bars in BARS),
    "gold.cumulative_volume_1m",
    "gold.data_coverage",
    "gold.history_1d",
    "gold.history_1h",
    "gold.market",
    "gold.ohlcv",
    "gold.ohlcv_reconciliation",
    "gold.trade_hourly",
)
GOLD = (*TABLES, *VIEWS)
#: Models whose relation has another name: no two models of a dbt project share one.
ALIASES = {"gold_market": "market"}
#: What a test about bars builds: dbt names, in place of "trade+", which is most of gold.
BARS_OF_TRADES = ("trade", *(name.removeprefix("gold.") for name in BARS), "price_anomaly_1m", "volume_anomaly_1h")


class Dbt:
    """dbt in this process, over one parsed project. The database's name is in the manifest, so it never changes."""

    def __init__(self, server: PostgresServer, database: str, folder: Path) -> None:
        """Parse the project."""
        self.environment = {
            "TIDEMARK_DBT_HOST": "127.0.0.1",
            "TIDEMARK_DBT_PORT": str(server.port),
            "TIDEMARK_DBT_DBNAME": database,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        self.folder = folder
        os.environ.update(self.environment)
        self._runner = dbtRunner()
        parsed = self._invoke("parse")
        assert parsed.success, parsed.exception
        self._runner = dbtRunner(manifest=parsed.result)
        self.checks: dict[str, str] = {}

    def compile_checks(self) -> None:
        """Make plain SQL of the singular tests, looking back without end."""
        everything = json.dumps({"test_look_back_days": 0})
        result = self._invoke("compile", "--select", "test_type:singular", "--vars", everything)
        assert result.success, result.exception
        self.checks = {r.node.name: r.node.compiled_code for r in result.result.results}
        assert len(self.checks) == len(list(PROJECT.glob("tests/singular/*.sql")))

    def arguments(self, *arguments: str) -> list[str]:
        """The command line of dbt for this project."""
        place = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
        files = ["--target-path", str(self.folder), "--log-path", str(self.folder), "--no-write-json"]
        return [*arguments, *place, *files, "--quiet"]

    def __call__(self, *arguments: str) -> dbtRunnerResult:
        """Run one dbt command, failed or not."""
        return self._invoke(*arguments)

    def _invoke(self, *arguments: str) -> dbtRunnerResult:
        return self._runner.invoke(self.arguments(*arguments))


@dataclass
class Warehouse:
    """One test's database and dbt."""

    connection: psycopg.Connection[dict[str, Any]]
    dbt: Dbt
    _paths: int = field(default=0)

    def load(self, dataset: str, rows: Sequence[Row], connection: Any = None) -> int:
        """Put rows into raw as one load, in one transaction (the caller's, where a connection is given)."""
        to = connection or self.connection
        self._paths += 1
        load_id = to.execute(
            """
            insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset,
                end_offset, rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
            values (%s, 'data', 'upbit', %s, '', '', 0, 0, 0, 0, %s, %s, 0, 0, %s, 1, '', '') returning load_id
            """,
            [f"{id(self)}/{self._paths}", dataset, len(rows), len(rows), DAY],
        ).fetchone()["load_id"]
        for row in rows:
            values = {"load_id": load_id, **row}
            query = sql.SQL("insert into {} ({}) values ({})").format(
                sql.Identifier("raw", f"{dataset}_v1"),
                sql.SQL(", ").join(map(sql.Identifier, values)),
                sql.SQL(", ").join([sql.Placeholder()] * len(values)),
            )
            to.execute(query, [Jsonb(v) if isinstance(v, dict) else v for v in values.values()])
        return int(load_id)

    def run(self, *select: str) -> None:
        """``dbt run``, which must succeed."""
        result = self.dbt("run", *(["--select", *select] if select else []))
        assert result.success, failures(result)

    def fails(self, *select: str) -> str:
        """``dbt run``, which must fail; returns what it said."""
        result = self.dbt("run", *(["--select", *select] if select else []))
        assert not result.success, "dbt succeeded, and should not have"
        return failures(result)

    def run_apart(self, *select: str) -> subprocess.Popen[bytes]:
        """``dbt run`` in a process of its own."""
        arguments = self.dbt.arguments("run", *(["--select", *select] if select else []))
        program = "import sys; from dbt.cli.main import cli; cli(sys.argv[1:])"
        environment = {**os.environ, **self.dbt.environment}
        return subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment)

    def check(self) -> None:
        """The project's tests that add up, over everything there is: every raw row has one place, bars equal trades
        and roll up exactly.
        """
        for name, query in self.dbt.checks.items():
            assert self.rows(query) == [], name

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        return self.connection.execute(query.encode(), values or None).fetchall()

    def count(self, relation: str, condition: str = "true") -> int:
        """How many rows of a relation meet a condition."""
        return int(self.rows(f"select count(*) as n from {relation} where {condition}")[0]["n"])

    def contents(self, relations: Sequence[str] = (*SILVER, *GOLD)) -> dict[str, list[str]]:
        """Every row of the relations as text in a fixed order, without what depends on loads and clocks."""
        query = "select (to_jsonb(t) - 'load_id' - 'quarantined_at')::text as row from {} as t order by 1"
        return {name: [r["row"] for r in self.rows(query.format(name))] for name in relations}


def failures(result: dbtRunnerResult) -> str:
    """What a command of dbt said that failed."""
    bad = [r for r in getattr(result.result, "results", []) if r.status not in ("success", "pass")]
    return "\n".join(f"{r.node.unique_id}: {r.message}" for r in bad) or str(result.exception)


@pytest.fixture(scope="session")
def _dbt(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dbt, str]]:
    """dbt, and the name of a database in which all models are made and nothing is loaded."""
    database, template = f"transform_{os.getpid()}", f"transform_{os.getpid()}_empty"
    before = dict(os.environ)
    dbt = Dbt(postgres_server, database, tmp_path_factory.mktemp("dbt"))
    migrate(WarehouseSettings(url=postgres_server.url(database)))
    with psycopg.connect(postgres_server.url(database), autocommit=True) as connection:
        for dataset in (*DATASETS, "depth", "system"):
            connection.execute(f"create table raw.{dataset}_v1_any partition of raw.{dataset}_v1 default".encode())
            connection.execute(f"grant select on raw.{dataset}_v1_any to tidemark_dbt".encode())
    result = dbt("run")
    assert result.success, failures(result)
    dbt.compile_checks()
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        _move(connection, database, template)
    yield dbt, template
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection, suppress(psycopg.Error):
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(template)))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def warehouse(postgres_server: PostgresServer, _dbt: tuple[Dbt, str]) -> Iterator[Warehouse]:
    """A warehouse of this test's own: every table is there and empty."""
    dbt, template = _dbt
    database = dbt.environment["TIDEMARK_DBT_DBNAME"]
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as server:
        copy = sql.SQL("create database {} template {}").format(sql.Identifier(database), sql.Identifier(template))
        server.execute(copy)
        server.execute(sql.SQL("alter database {} set timezone to 'UTC'").format(sql.Identifier(database)))
        try:
            with psycopg.connect(postgres_server.url(database), autocommit=True, row_factory=dict_row) as connection:
                yield Warehouse(connection, dbt)
        finally:
            server.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(database)))


def _move(connection: psycopg.Connection[Any], database: str, to: str) -> None:
    connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database])
    connection.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(database), sql.Identifier(to)))
