"""Migrations: applied once, one at a time, never changed; and raw tables that follow their contracts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.integration.warehouse.place import Place
from tidemark.contracts import CONTRACTS, Field, Kind
from tidemark.settings import WarehouseSettings
from tidemark.warehouse import definition_change
from tidemark.warehouse import migrate as module
from tidemark.warehouse.connection import WarehouseError, connect
from tidemark.warehouse.migrate import MigrationError, migrate


@pytest.fixture
def admin(fresh_database: Callable[..., str]) -> WarehouseSettings:
    return WarehouseSettings.model_validate({"admin_url": fresh_database()})


def test_a_second_run_changes_nothing(admin: WarehouseSettings) -> None:
    first = migrate(admin)
    assert first.applied[0] == "0001_schemas_and_roles"
    assert set(CONTRACTS) <= set(first.applied)
    second = migrate(admin)
    assert (second.applied, second.unchanged) == ((), len(first.applied))


def test_four_at_once(admin: WarehouseSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = [len(done.applied) for done in pool.map(lambda _: migrate(admin), range(4))]
    assert sorted(applied)[:3] == [0, 0, 0]
    assert max(applied) > 0


def test_the_database_is_made_when_there_is_none(postgres_url: str) -> None:
    name = f"made_{uuid.uuid4().hex}"
    url = postgres_url.rpartition("/")[0] + f"/{name}"
    try:
        done = migrate(WarehouseSettings.model_validate({"admin_url": url}))
        assert done.created
        with connect(url, "test") as connection:
            assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def test_an_applied_file_that_was_changed_is_refused(
    admin: WarehouseSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    migrate(admin)
    for file in module._FOLDER.glob("*.sql"):
        (tmp_path / file.name).write_text(file.read_text() + ("-- more" if "0002" in file.name else ""))
    changed = module.migrations(tmp_path)
    monkeypatch.setattr(module, "migrations", lambda: changed)
    with pytest.raises(MigrationError, match="0002_ops was changed after it had been applied"):
        migrate(admin)


def test_a_failing_file_leaves_nothing_and_the_ones_before_stay(
    admin: WarehouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = module.Migration(9, "0009_bad", "CREATE TABLE ops.half (x int); SELECT 1/0;")
    real = module.migrations()
    monkeypatch.setattr(module, "migrations", lambda: (*real, bad))
    with pytest.raises(MigrationError, match="0009_bad failed and was rolled back: division by zero"):
        migrate(admin)
    with connect(admin.admin_url, "test") as connection:
        assert connection.execute("SELECT to_regclass('ops.half'), count(*) FROM ops.migration").fetchone() == (
            None,
            len(real),
        )


_OLD_ROWS = """
INSERT INTO raw.{dataset}_v1 (load_id, source, received_at, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition,
    kafka_offset, item, exchange, market, event_at)
SELECT 1, 'ws', '2026-04-13 10:00:01+00', 'test', 0, 'raw.upbit.{dataset}.v1', 0, n, 0, 'upbit', 'BTC-KRW', event_at
FROM unnest(ARRAY['2026-04-13 10:00+00', '2100-01-01+00', '1970-01-01+00']::timestamptz[])
    WITH ORDINALITY AS t (event_at, n);
CREATE TABLE silver.{dataset} AS SELECT * FROM raw.{dataset}_v1
"""


def test_rows_that_the_rule_of_times_would_have_refused_leave_silver(
    admin: WarehouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warehouse of the release before: its odd rows go to quarantine, gold is told, and closed gates stay closed."""
    everything = module.migrations()
    with monkeypatch.context() as before:
        before.setattr(module, "migrations", lambda: tuple(m for m in everything if m.version < 10))
        before.setattr(module, "put_asset_overrides", lambda connection: None)  # it knew no assets
        migrate(admin)
    with connect(admin.admin_url, "test") as connection:
        connection.execute(
            """INSERT INTO ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition,
                start_offset, end_offset, rows, parsed, dead, ignored, hour_at, byte_size, checksum, version,
                received_min, received_max)
            VALUES ('p', 'data', 'upbit', 'trade', 't', 'c', 0, 0, 0, 2, 3, 3, 0, 0, '2026-04-13 10:00+00', 1, '', '',
                '2026-04-13 10:00:01+00', '2026-04-13 10:00:01+00')"""
        )
        connection.execute(
            """INSERT INTO ops.load_hour SELECT 1, hour, 1 FROM unnest(
                ARRAY['2026-04-13 10:00+00', '2100-01-01+00', '1970-01-01+00']::timestamptz[]) AS hour"""
        )
        for dataset in ("trade", "ticker"):
            connection.execute(
                f"SELECT ops.ensure_raw_partition('{dataset}_v1', '{dataset}_v1_20260413', '2026-04-13')"
            )
            for statement in _OLD_ROWS.format(dataset=dataset).split(";"):
                connection.execute(statement.encode())
        connection.execute("ALTER TABLE silver.ticker ALTER COLUMN trade_price SET DEFAULT 1")
        connection.execute("UPDATE silver.ticker SET trade_price = 1")
        connection.execute("ALTER TABLE silver.ticker ALTER COLUMN trade_price SET NOT NULL")
        for dataset, status in (("trade", "green"), ("ticker", "red")):
            connection.execute(
                "INSERT INTO ops.quality_run (exchange, dataset, status, loads, rows) VALUES ('upbit', %s, %s, 1, 1)",
                [dataset, status],
            )
        connection.execute("INSERT INTO ops.gate (exchange, status, reason) VALUES ('upbit', 'red', 'odd')")
    assert "0010_gates_and_times" in migrate(admin).applied
    with connect(admin.admin_url, "test") as connection:

        def rows(query: str) -> list[tuple[object, ...]]:
            return connection.execute(query.encode()).fetchall()

        assert rows("SELECT exchange, dataset, status, reason FROM ops.gate") == [("upbit", "ticker", "red", "odd")]
        for dataset in ("trade", "ticker"):
            assert rows(f"SELECT count(*), min(event_at) = '2026-04-13 10:00+00' FROM silver.{dataset}") == [(1, True)]
        refused = "SELECT dataset, reason, to_char(hour_at, 'HH24:MI'), count(*) FROM silver.quarantine"
        assert rows(f"{refused} GROUP BY 1, 2, 3 ORDER BY 1") == [
            ("ticker", "implausible_event_at", "10:00", 2), ("trade", "implausible_event_at", "10:00", 2),
        ]  # fmt: skip
        assert rows("SELECT to_char(hour_at, 'YYYY-MM-DD HH24'), rows FROM ops.load_hour") == [("2026-04-13 10", 3)]
        touched = (
            "SELECT dataset, extract(year FROM bucket_at)::int FROM ops.touched_bucket JOIN ops.build USING (build_id)"
        )
        assert rows(f"{touched} ORDER BY 1, 2") == [
            ("ticker", 1970), ("ticker", 2100), ("trade", 1970), ("trade", 2100),
        ]  # fmt: skip
        assert rows(
            "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'silver.ticker'::regclass AND attname = 'trade_price'"
        ) == [(False,)]


def test_a_warehouse_of_a_newer_release_is_left_alone(admin: WarehouseSettings) -> None:
    migrate(admin)
    with connect(admin.admin_url, "test") as connection:
        connection.execute("INSERT INTO ops.migration (name, version, checksum) VALUES ('0099_future', 99, 'x')")
    with pytest.raises(MigrationError, match="0099_future, which this release doesn't know"):
        migrate(admin)


def test_numbers_of_files_are_unique(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("")
    (tmp_path / "0001_b.sql").write_text("")
    with pytest.raises(MigrationError, match="same number"):
        module.migrations(tmp_path)
    (tmp_path / "first.sql").write_text("")
    with pytest.raises(MigrationError, match=r"first\.sql must begin with its number"):
        module.migrations(tmp_path)


def _with(monkeypatch: pytest.MonkeyPatch, *fields: Field) -> None:
    trade = CONTRACTS["trade"]
    monkeypatch.setitem(CONTRACTS, "trade", replace(trade, fields=(*trade.fields, *fields)))


def test_a_column_that_the_contract_gained_is_added(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.value("SELECT ops.ensure_raw_partition('trade_v1', 'trade_v1_20260413', '2026-04-13')")
    _with(monkeypatch, Field("fee", Kind.DECIMAL, "What it cost."))
    assert migrate(place.settings.warehouse).applied == ("trade",)
    described = """SELECT col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = %s::regclass AND attname = 'fee'"""
    assert place.value(described, "raw.trade_v1") == "What it cost."
    assert (
        place.value(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'raw.trade_v1_20260413'::regclass AND attname = 'fee'"
        )
        == 1
    )
    assert migrate(place.settings.warehouse).applied == ()


def test_a_change_waits_for_readers_and_lets_others_pass(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open transaction on a table that gains a column: others read on, and the change comes when it ends."""
    monkeypatch.setattr(definition_change, "PAUSE_S", 0.2)
    monkeypatch.setattr(definition_change, "LOCK_TIMEOUT_S", 0.3)
    _with(monkeypatch, Field("fee", Kind.DECIMAL, "What it cost."))
    reader, other = place.connect("tidemark_dbt"), place.connect("tidemark_ops_ro")
    pid = reader.info.backend_pid
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM raw.trade_v1")
    with ThreadPoolExecutor(1) as pool:
        change = pool.submit(migrate, place.settings.warehouse)
        for _ in range(20):
            begun = time.monotonic()
            other.execute("SELECT count(*) FROM raw.trade_v1")
            assert time.monotonic() - begun < 1
            time.sleep(0.05)
        assert not change.done()
        reader.execute("ROLLBACK")
        assert change.result(timeout=30).applied == ("trade",)
    _with(monkeypatch, Field("more", Kind.DECIMAL, "More."))
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM raw.trade_v1")
    with pytest.raises(MigrationError, match=rf"changed nothing: open .* {pid} \(tidemark_dbt, tidemark test"):
        migrate(place.settings.warehouse)


def test_a_contract_that_changed_a_type_needs_a_new_version(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = CONTRACTS["trade"]
    changed = tuple(f.but(kind=Kind.TEXT) if f.name == "price" else f for f in trade.fields)
    monkeypatch.setitem(CONTRACTS, "trade", replace(trade, fields=changed))
    with pytest.raises(MigrationError, match=r"differs from raw\.trade_v1 in price"):
        migrate(place.settings.warehouse)


def test_errors_say_what_to_do(postgres_url: str) -> None:
    with pytest.raises(WarehouseError, match=r"at 127\.0\.0\.1:1: .*; is PostgreSQL running"):
        connect("postgresql://someone:secret@127.0.0.1:1/tidemark", "test")
    with pytest.raises(WarehouseError, match="run `tidemark migrate`"):
        connect(postgres_url.rpartition("/")[0] + "/never_made", "test")
    with pytest.raises(WarehouseError, match="not a PostgreSQL URL"):
        connect("mysql:whatever", "test")
    with pytest.raises(WarehouseError, match="must name a database"):
        migrate(WarehouseSettings.model_validate({"admin_url": "postgresql://127.0.0.1:1"}))


def test_the_password_is_never_shown() -> None:
    with pytest.raises(WarehouseError) as caught:
        connect("postgresql://someone:secret@127.0.0.1:1/tidemark", "test")
    assert "secret" not in str(caught.value)


def test_roles_get_the_passwords_that_the_settings_hold(postgres_url: str, admin: WarehouseSettings) -> None:
    """Roles belong to the server that all tests share, so what is set is taken away again."""
    secrets = {"url": "postgresql://tidemark_loader:one@h/d", "dbt_password": "two", "gold_reader_password": "thr'ee"}
    secrets["ops_reader_password"] = "four"
    query = b"SELECT rolname FROM pg_authid WHERE rolname LIKE 'tidemark%' AND rolpassword LIKE 'SCRAM%' ORDER BY 1"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        try:
            migrate(admin)
            assert server.execute(query).fetchall() == []
            migrate(WarehouseSettings.model_validate({**secrets, "admin_url": admin.admin_url}))
            found = [role for (role,) in server.execute(query)]
            assert found == ["tidemark_dbt", "tidemark_gold_ro", "tidemark_loader", "tidemark_ops_ro"]
        finally:
            for role in (b"tidemark_dbt", b"tidemark_gold_ro", b"tidemark_loader", b"tidemark_ops_ro"):
                server.execute(b"ALTER ROLE " + role + b" PASSWORD NULL")
