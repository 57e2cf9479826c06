"""``tidemark validate``: what is said of a market whose window is whole, and of one with every kind of flaw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.transform.conftest import BARS_OF_TRADES, Warehouse
from tests.transform.rows import DAY, at, candle, listing, trade
from tidemark import cli
from tidemark.jobs import validate
from tidemark.settings import Settings, WarehouseSettings

HOURS = 6


def _settings(warehouse: Warehouse) -> Settings:
    info = warehouse.connection.info
    return Settings(
        warehouse=WarehouseSettings(url=f"postgresql://tidemark_loader@{info.host}:{info.port}/{info.dbname}")
    )


def _whole(warehouse: Warehouse) -> None:
    """Half a day of trades and the exchange's bars of them; the window is its second half, and all of it is proven."""
    trades = [trade(n, at("00:00") + timedelta(minutes=10 * n), size="2") for n in range(72)]
    bars = [candle(row["event_at"], "2", row["event_at"], source="rest") for row in trades]
    warehouse.load("market", [listing("BTC-KRW", DAY)])
    warehouse.load("trade", trades)
    warehouse.load("candle", bars)
    warehouse.run("market", *BARS_OF_TRADES, "candle")
    load_id = warehouse.rows("select load_id from ops.load_ledger where dataset = 'trade'")[0]["load_id"]
    for hour in range(12):
        warehouse.connection.execute(
            "insert into ops.load_hour (load_id, hour_at, rows) values (%s, %s, 6)",
            [load_id, DAY + timedelta(hours=hour)],
        )
        for identity in range(6):
            _verdict(warehouse, hour, identity, "green")


def _verdict(warehouse: Warehouse, hour: int, identity: int, status: str) -> None:
    warehouse.connection.execute(
        """insert into ops.completeness (exchange, dataset, hour_at, identity, status) values ('upbit', %s, %s, %s, %s)
        on conflict (exchange, dataset, hour_at, identity) do update set status = excluded.status""",
        ["trade" if identity else "system", DAY + timedelta(hours=hour), identity, status],
    )


def _said(warehouse: Warehouse, symbol: str = "BTC-KRW") -> validate.Validation:
    (found,) = validate.run(_settings(warehouse), symbol, at("06:00"), at("12:00"), "upbit")
    return found


def test_a_whole_window_is_proven(warehouse: Warehouse) -> None:
    _whole(warehouse)
    found = _said(warehouse)
    text = str(found)
    assert found.proven, text
    assert "36 trades, 2026-03-11 06:00 to 2026-03-11 11:50" in text
    assert "36 bars equal the exchange's own" in text
    assert "identity 4, bars are trades: 6 hours green" in text
    assert text.endswith("PROVEN: nothing is missing and nothing is wrong")
    assert str(_said(warehouse, "KRW-BTC")) == text, "by the exchange's own code"


@pytest.mark.parametrize(
    ("query", "values", "told"),
    [
        (
            "update ops.completeness set status = 'red' where identity = 3 and hour_at = %s",
            [at("07:00")],
            "identity 3, raw is silver and its accounts: 5 hours green; 1 red, first 2026-03-11 07:00",
        ),
        (
            "delete from ops.completeness where identity = 5 and hour_at = %s",
            [at("08:00")],
            "identity 5, the exchange says the same: 5 hours green; 1 never checked",
        ),
        (
            "insert into ops.gap (exchange, stream, from_at, to_at, cause) values ('upbit', 'trade', %s, %s, 'silent')",
            [at("05:50"), at("06:20")],
            "1 gaps (silent) open, 0:20:00 in all",
        ),
        (
            "update silver.candle set volume_base = 3 where event_at = %s",
            [at("09:00")],
            "1 bars differ from the exchange's own (ours less, unexplained), first 2026-03-11 09:00",
        ),
        (
            """with run as (insert into ops.quality_run (exchange, dataset, status, loads, rows, from_at, to_at)
                values ('upbit', 'trade', 'red', 1, 1, %s, %s) returning run_id)
            insert into ops.quality select run_id, 1, 'expect_column_values_to_be_between', 'price', 'critical', false,
                '{}', '{}' from run""",
            [at("06:00"), at("06:10")],
            "critical of the gate, 1 checks: column values to be between price",
        ),
    ],
)
def test_a_flaw_is_named(warehouse: Warehouse, query: str, values: list[Any], told: str) -> None:
    _whole(warehouse)
    warehouse.connection.execute(query.encode(), values)
    found = _said(warehouse)
    assert told in str(found)
    waits = "never checked" in told
    assert str(found).endswith(
        "NOT KNOWN YET: 1 checks wait, and are computed again at :25 and :55" if waits else "NOT PROVEN: 1 findings"
    )


def test_on_the_command_line(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    _whole(warehouse)
    url = _settings(warehouse).warehouse.url.get_secret_value()
    monkeypatch.setenv("TIDEMARK_WAREHOUSE__URL", url)
    window = ["--from", "2026-03-11T06:00", "--to", "2026-03-11T12:00"]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["validate", *arguments])

    assert run("--symbol", "BTC-KRW", *window).exit_code == 0
    _verdict(warehouse, 7, 4, "red")
    failed = run("--symbol", "BTC-KRW", *window)
    assert (failed.exit_code, "✗ identity 4" in failed.output) == (1, True)
    for wrong in (
        ["--symbol", "NO-SUCH", *window],
        ["--symbol", "BTC-KRW", "--from", "2026-03-11", "--to", "2026-03-11"],
    ):
        refused = run(*wrong)
        assert (refused.exit_code, "Traceback" in refused.output) == (2, False)
