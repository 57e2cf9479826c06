"""Each role may do what it needs and nothing else."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.integration.warehouse.landed import T0, chain, land, trades
from tests.integration.warehouse.place import Place
from tidemark.jobs import load as job

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks"
DENIED = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)


@pytest.fixture
def filled(place: Place) -> Place:
    land(place.store, chain(), trades(chain(), 0, 5))
    job.run(place.settings, "trade", "upbit")
    dbt = place.connect("tidemark_dbt")
    dbt.execute("CREATE TABLE silver.trade AS SELECT * FROM raw.trade_v1")
    dbt.execute("CREATE TABLE gold.ohlcv_1h AS SELECT market, count(*) AS trade_count FROM silver.trade GROUP BY 1")
    return place


@pytest.mark.parametrize("writable", [False, True])
def test_a_reader_reads_gold_only(filled: Place, writable: bool) -> None:
    reader = filled.connect("tidemark_gold_ro")
    if writable:  # the default is a courtesy: rights don't depend on it
        reader.execute("SET default_transaction_read_only TO off")
    for statement in (
        "DELETE FROM gold.ohlcv_1h",
        "INSERT INTO gold.ohlcv_1h VALUES ('x', 1)",
        "UPDATE gold.ohlcv_1h SET trade_count = 0",
        "TRUNCATE gold.ohlcv_1h",
        "DROP TABLE gold.ohlcv_1h",
        "CREATE TABLE gold.mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "SELECT * FROM silver.trade",
        "SELECT * FROM raw.trade_v1",
        "SELECT * FROM raw.trade_v1_20260413",
        "SELECT * FROM ops.load_ledger",
        "SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20300101', '2030-01-01')",
    ):
        with pytest.raises(DENIED):
            reader.execute(statement.encode())


@pytest.mark.parametrize("writable", [False, True])
def test_people_on_call_read_everything_and_change_nothing(filled: Place, writable: bool) -> None:
    reader = filled.connect("tidemark_ops_ro")
    for name in (
        "completeness",  # without a schema: as runbooks and README have it
        "ops.gap",
        "silver.trade",
        "silver.quarantine",
        "gold.ohlcv_1h",
        "ohlcv_1h",
        "raw.trade_v1",
        "trade_v1",
        "raw.trade_v1_20260413",
    ):
        reader.execute(f"SELECT * FROM {name}".encode())
    assert reader.execute("SELECT count(*) FROM raw.trade_v1, gold.ohlcv_1h").fetchone() == (5,)
    if writable:
        reader.execute("SET default_transaction_read_only TO off")
    for statement in (
        "DELETE FROM gold.ohlcv_1h",
        "UPDATE silver.trade SET price = 0",
        "INSERT INTO ops.gap (exchange, stream, from_at, cause) VALUES ('x', 'x', now(), 'x')",
        "DELETE FROM ops.completeness",
        "TRUNCATE raw.trade_v1",
        "CREATE TABLE ops.mine (x int)",
        "CREATE TEMPORARY TABLE mine (x int)",
        "SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20300101', '2030-01-01')",
    ):
        with pytest.raises(DENIED):
            reader.execute(statement.encode())


def _runbook_queries() -> list[str]:
    """The queries of the runbooks as they are written, with their placeholders filled in."""
    found = []
    for page in sorted(RUNBOOKS.glob("*.md")):
        text = page.read_text("utf-8")
        blocks = [
            *re.findall(r"```sql\n(.*?)```", text, re.DOTALL),
            *re.findall(r"(?<!`)`(select [^`]+ from [^`]+)`", text),
        ]
        for statement in ";".join(blocks).split(";"):
            if statement.strip().startswith("select") and "read_parquet" not in statement:
                found.append(statement.replace("…", "1").strip())
    return found


def test_the_queries_of_runbooks_run_as_people_on_call(place: Place) -> None:
    queries = _runbook_queries()
    assert len(queries) >= 10
    reader = place.connect("tidemark_ops_ro")
    for query in queries:
        reader.execute(query.encode())


def test_people_on_call_read_what_is_made_later(filled: Place) -> None:
    """Tables that a later release or dbt makes."""
    filled.connect().execute("CREATE TABLE ops.later AS SELECT 1 AS x")
    filled.connect("tidemark_dbt").execute("CREATE TABLE silver.later AS SELECT 1 AS x")
    reader = filled.connect("tidemark_ops_ro")
    assert reader.execute("SELECT count(*) FROM ops.later, silver.later").fetchone() == (1,)


@pytest.mark.parametrize("role", ["tidemark_gold_ro", "tidemark_ops_ro"])
def test_a_reader_that_leaves_a_transaction_open_is_ended(filled: Place, role: str) -> None:
    reader = filled.connect(role)
    (bound,) = reader.execute("SHOW idle_in_transaction_session_timeout").fetchone() or ("",)
    assert bound == "1min"
    reader.execute("SET idle_in_transaction_session_timeout TO '300ms'")  # as the role's, in less time
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM gold.ohlcv_1h")
    time.sleep(1)
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        reader.execute("SELECT 1")


def test_no_statement_of_dbt_lasts_for_ever(filled: Place) -> None:
    """Airflow's own time-out can't end one."""
    dbt = filled.connect("tidemark_dbt")
    assert dbt.execute("SHOW statement_timeout").fetchone() == ("25min",)
    assert dbt.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("30min",)


def test_a_reader_reads_tables_that_dbt_made_and_not_for_ever(filled: Place) -> None:
    reader = filled.connect("tidemark_gold_ro")
    assert reader.execute("SELECT count(*) FROM ohlcv_1h").fetchone() == (1,)
    assert reader.execute("SELECT market, trade_count FROM gold.ohlcv_1h").fetchall() == [("BTC-KRW", 5)]
    assert reader.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    assert reader.execute("SHOW statement_timeout").fetchone() == ("30s",)


def test_dbt_writes_neither_raw_nor_the_ledger(filled: Place) -> None:
    dbt = filled.connect("tidemark_dbt")
    for statement in (
        "INSERT INTO raw.trade_v1 SELECT * FROM raw.trade_v1",
        "DELETE FROM raw.trade_v1",
        "DROP TABLE raw.trade_v1",
        "CREATE TABLE raw.mine (x int)",
        "SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20300101', '2030-01-01')",
        "INSERT INTO ops.gap (exchange, stream, from_at, cause) VALUES ('x', 'x', now(), 'x')",
        "DELETE FROM ops.load_ledger",
        "UPDATE ops.load_ledger SET rows = 0",
        "DROP TABLE silver.quarantine",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(DENIED):
            dbt.execute(statement.encode())


def test_dbt_keeps_its_marks_and_accounts(filled: Place) -> None:
    dbt = filled.connect("tidemark_dbt")
    dbt.execute("INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, 'silver.trade' FROM ops.load_ledger")
    dbt.execute("INSERT INTO ops.build (dataset) VALUES ('trade')")
    dbt.execute("""
        INSERT INTO ops.touched_bucket
        SELECT build_id, 'upbit', 'BTC-KRW', now(), now() + interval '1 minute' FROM ops.build
    """)
    dbt.execute("INSERT INTO ops.build_mark (build_id, consumer) SELECT build_id, 'gold.ohlcv_1m' FROM ops.build")
    for table in (
        "ops.load_mark",
        "ops.build_mark",
        "ops.touched_bucket",
        "ops.build",
        "silver.duplicate",
        "silver.quarantine",
    ):
        dbt.execute(f"DELETE FROM {table}".encode())


def test_the_loader_only_appends(filled: Place) -> None:
    loader = filled.loader()
    for statement in (
        "DELETE FROM raw.trade_v1",
        "UPDATE raw.trade_v1 SET price = 0",
        "TRUNCATE raw.trade_v1",
        "DELETE FROM raw.trade_v1_20260413",
        "DROP TABLE raw.trade_v1_20260413",
        "UPDATE ops.load_ledger SET rows = 0",
        "DELETE FROM ops.load_ledger",
        "DELETE FROM ops.completeness",
        "DELETE FROM silver.trade",
        "DELETE FROM gold.ohlcv_1h",
        "CREATE TABLE gold.mine (x int)",
        "INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, 'x' FROM ops.load_ledger",
    ):
        with pytest.raises(DENIED):
            loader.execute(statement.encode())


def test_the_loader_reads_all_layers_and_keeps_reports(filled: Place) -> None:
    loader = filled.loader()
    for table in ("raw.trade_v1", "silver.trade", "gold.ohlcv_1h", "ops.load_mark", "silver.quarantine"):
        loader.execute(f"SELECT count(*) FROM {table}".encode())
    loader.execute("INSERT INTO ops.slack_outbox (key, channel, payload, state) VALUES ('k', 'c', '{}', 'pending')")
    loader.execute("UPDATE ops.slack_outbox SET state = 'sent'")


def test_partitions_are_made_once_whoever_asks(filled: Place) -> None:
    ask = "SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20300101', '2030-01-01')"
    assert [filled.loader().execute(ask.encode()).fetchone() for _ in range(2)] == [(True,), (False,)]
    bounds = "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'trade_v1_20300101'"
    assert filled.value(bounds) == "FOR VALUES FROM ('2030-01-01 00:00:00+00') TO ('2030-01-02 00:00:00+00')"


def test_a_new_day_does_not_wait_for_readers(filled: Place) -> None:
    reader = filled.connect("tidemark_dbt")
    with reader.transaction():
        reader.execute("SELECT count(*) FROM raw.trade_v1")
        loader = filled.loader()
        loader.execute("SET lock_timeout TO '2s'")
        land(filled.store, chain(partition=1), trades(chain(partition=1), 0, 5, T0 + timedelta(days=9)))
        assert loader.execute(
            "SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20260422', '2026-04-22')"
        ).fetchone() == (True,)
        assert job.run(filled.settings, "trade", "upbit").rows == 5
