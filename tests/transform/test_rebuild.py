"""Bars computed from the lake by DuckDB against bars that dbt made: equal to the digit, and put right where not."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.gcs_double.server import GcsDouble
from tests.transform import rows
from tests.transform.conftest import BARS, BARS_OF_TRADES, Warehouse
from tests.transform.rows import DAY, Row, at, listing, trade
from tidemark import cli
from tidemark.contracts import CONTRACTS
from tidemark.contracts.fields import Kind
from tidemark.jobs import rebuild
from tidemark.lake import parquet
from tidemark.lake.parquet import Footer
from tidemark.lake.store import open_store
from tidemark.settings import LakeSettings, Settings, WarehouseSettings

DECIMALS = {field.name for field in CONTRACTS["trade"].fields if field.kind is Kind.DECIMAL}


@pytest.fixture
def settings(warehouse: Warehouse, tmp_path: Path) -> Settings:
    info = warehouse.connection.info
    url = f"postgresql://tidemark_loader@{info.host}:{info.port}/{info.dbname}"
    return Settings(warehouse=WarehouseSettings(url=url), lake=LakeSettings(url=f"file://{tmp_path}"))


def land(warehouse: Warehouse, settings: Settings, trades: list[Row], kind: str = "data") -> None:
    """The same rows in the lake and in raw, the ledger naming the object."""
    load_id = warehouse.load("trade", trades)
    path = f"landing/{load_id}.parquet"
    written = [{**t, **{name: Decimal(t[name]) for name in DECIMALS & t.keys() if t[name] is not None}} for t in trades]
    store = open_store(settings.lake)
    footer = Footer("t", 0, "test", 0, 0, len(trades) - 1, rows=len(trades), parsed=len(trades))
    assert store.put_new(path, parquet.write(CONTRACTS["trade"], written, footer))
    warehouse.connection.execute(
        "update ops.load_ledger set path = %s, kind = %s where load_id = %s", [path, kind, load_id]
    )
    warehouse.connection.execute(
        """insert into ops.load_hour (load_id, hour_at, rows)
        select load_id, date_trunc('hour', event_at), count(*) from raw.trade_v1
        where load_id = %s and event_at is not null group by 1, 2""",
        [load_id],
    )


def a_day(seed: int) -> list[list[Row]]:
    """Objects of trades with everything that silver has to decide by a rule, in no order."""
    dice = random.Random(seed)
    found: list[Row] = []
    for number in range(400):
        market = dice.choice(("BTC-KRW", "ETH-KRW", "PEPE-KRW"))
        price = str(Decimal(dice.randint(1, 10**9)) / 10 ** {"BTC-KRW": 0, "ETH-KRW": 4, "PEPE-KRW": 18}[market])
        size = str(Decimal(dice.randint(1, 10**10)) / 10 ** dice.choice((0, 4, 8)))
        when = DAY + timedelta(milliseconds=dice.choice((60_000, 250)) * dice.randint(0, 1_400))
        found.append(
            trade(1000 + 10 * number, when, price, market=market, size=size, side=dice.choice(("buy", "sell")))
        )
    again = [{**row, "source": "rest", "kafka_cluster": "rest"} for row in dice.sample(found, 60)]
    summed = dice.sample(found, 30)
    parts = [
        trade(row["trade_id"] - n, row["event_at"], row["price"], market=row["market"], size="1", source="rest")
        for row in summed
        for n in (0, 1, 2)
    ]
    for row in summed:
        row |= {"first_trade_id": row["trade_id"] - 2, "last_trade_id": row["trade_id"]}
    bad = [
        trade(1, at("10:00"), "-5"),
        trade(2, at("10:00"), "5", size="0"),
        trade(3, at("10:00"), "5", side="gift"),
        trade(4, at("10:00"), "5", market="NEW-KRW"),
        trade(5, DAY - timedelta(milliseconds=1), "5"),
        trade(6, DAY + timedelta(days=1), "5"),
    ]
    again = [row for row in again if row["trade_id"] not in {one["trade_id"] for one in summed}]
    everything = found + [{**row, "kafka_offset": row["kafka_offset"] + 10**6} for row in again] + parts + bad
    dice.shuffle(everything)
    return [everything[:200], everything[200:]]


def build(warehouse: Warehouse, settings: Settings, seed: int) -> dict[str, list[str]]:
    warehouse.load("market", [listing(f"{coin}-KRW", DAY) for coin in ("BTC", "ETH", "PEPE")])
    for objects in a_day(seed):
        land(warehouse, settings, objects)
    warehouse.run("market", *BARS_OF_TRADES)
    return warehouse.contents(BARS)


@pytest.mark.parametrize("seed", range(2))
def test_the_lake_gives_the_bars_that_dbt_made(warehouse: Warehouse, settings: Settings, seed: int) -> None:
    made = build(warehouse, settings, seed)
    said = rebuild.run(settings, "upbit", DAY.date(), DAY.date(), dry_run=True)
    assert (said.different, said.undecided, said.objects) == (0, (), 2), str(said)
    assert said.bars == warehouse.count(
        "gold.ohlcv_1m", f"bucket_at >= '{DAY}' and bucket_at < '{DAY}'::timestamptz + interval '1 day'"
    )
    assert said.bars > 200
    assert "gold holds exactly these" in str(said)
    assert warehouse.contents(BARS) == made


def test_what_differs_is_named_and_put_right_with_every_wider_bar(warehouse: Warehouse, settings: Settings) -> None:
    made = build(warehouse, settings, seed=7)
    first = warehouse.rows(
        "select market, bucket_at from gold.ohlcv_1m where bucket_at >= %s order by 2, 1 limit 1", DAY
    )[0]
    wrong = warehouse.connection.execute(
        "update gold.ohlcv_1m set close = close + 1 where bucket_at = %s", [first["bucket_at"]]
    )
    lost = warehouse.connection.execute(
        "delete from gold.ohlcv_1m where bucket_at >= %s and bucket_at < %s", [at("22:00"), DAY + timedelta(days=1)]
    )
    warehouse.connection.execute(
        """insert into gold.ohlcv_1m select exchange, market, %s, open, high, low, close, volume_base, volume_quote,
        vwap, trade_count, buy_volume_base, sell_volume_base from gold.ohlcv_1m limit 1""",
        [at("23:59")],
    )
    broken = warehouse.contents(BARS)

    said = rebuild.run(settings, "upbit", DAY.date(), DAY.date(), dry_run=True)
    assert said.different >= wrong.rowcount + lost.rowcount
    assert f"{first['market']} {first['bucket_at']:%Y-%m-%d %H:%M}: another bar" in said.examples
    assert "differences found" in str(said)
    assert warehouse.contents(BARS) == broken

    assert rebuild.run(settings, "upbit", DAY.date(), DAY.date()).replaced
    warehouse.run(*BARS_OF_TRADES)
    assert warehouse.contents(BARS) == made
    warehouse.check()


@pytest.mark.parametrize(
    ("prices", "sizes"),
    [
        (("143000000", "143001000"), ("0.00012345", "1.5")),
        (("123456789.12345677", "123456789.12345678"), ("98765432.12345677", "98765432.12345678")),
        (("0.000000000000000001", "143000000"), ("1.5", "0.00000001")),
        (("92233720368.54775807", "92233720368.54775808"), ("1", "2")),
    ],
    ids=["usual", "a float misses them", "more decimals", "at the end of integers"],
)
def test_every_digit_of_a_number_counts(
    warehouse: Warehouse, settings: Settings, prices: tuple[str, ...], sizes: tuple[str, ...]
) -> None:
    pairs = [(price, size) for price in prices for size in sizes]
    land(warehouse, settings, [trade(n, at("10:00"), price, size=size) for n, (price, size) in enumerate(pairs)])
    warehouse.run(*BARS_OF_TRADES)
    assert rebuild.run(settings, "upbit", DAY.date(), DAY.date(), dry_run=True).different == 0
    made = warehouse.contents(["gold.ohlcv_1m"])
    warehouse.connection.execute("delete from gold.ohlcv_1m")
    assert rebuild.run(settings, "upbit", DAY.date(), DAY.date()).replaced
    assert warehouse.contents(["gold.ohlcv_1m"]) == made


def test_where_gold_has_nothing_all_of_the_lake_goes_in_and_wider_bars_follow(
    warehouse: Warehouse, settings: Settings
) -> None:
    made = build(warehouse, settings, seed=8)
    for layer in ("1m", "1h"):
        warehouse.connection.execute(
            f"delete from gold.ohlcv_{layer} where bucket_at >= %s and bucket_at < %s", [DAY, DAY + timedelta(days=1)]
        )
    said = rebuild.run(settings, "upbit", DAY.date(), DAY.date())
    assert (said.different, said.replaced) == (said.bars, True)
    assert said.examples[0].endswith("only in the lake")
    newest = "build_id = (select max(build_id) from ops.build)"
    assert warehouse.count("ops.touched_bucket", newest) < said.bars  # stretches, not minutes
    warehouse.run(*BARS_OF_TRADES)
    assert warehouse.contents(BARS) == made
    warehouse.check()


def test_the_lake_may_be_a_bucket(warehouse: Warehouse, settings: Settings) -> None:
    with GcsDouble() as gcs:
        bucket = LakeSettings(url="gs://lake/tidemark", gcs_endpoint=gcs.endpoint)
        there = settings.model_copy(update={"lake": bucket})
        land(warehouse, there, [trade(1, at("10:00"), "5"), trade(2, at("10:01"), "6")])
        warehouse.run(*BARS_OF_TRADES)
        fetched: list[str] = []
        said = rebuild.run(there, "upbit", DAY.date(), DAY.date(), progress=lambda n, of, what: fetched.append(what))
    assert (said.bars, said.different, len([what for what in fetched if what.endswith(".parquet")])) == (2, 0, 1)


def test_two_versions_of_a_trade_are_silvers_to_decide(warehouse: Warehouse, settings: Settings) -> None:
    land(
        warehouse,
        settings,
        [trade(1, at("10:00"), "5"), trade(1, at("10:00"), "6"), trade(2, at("10:00"), "7", market="ETH-KRW")],
    )
    warehouse.run(*BARS_OF_TRADES)
    warehouse.connection.execute("update gold.ohlcv_1m set close = 1")
    said = rebuild.run(settings, "upbit", DAY.date(), DAY.date())
    assert said.undecided == ("BTC-KRW",)
    assert "left to silver, the lake has two versions of a trade: BTC-KRW" in str(said)
    assert warehouse.rows("select market, close::int from gold.ohlcv_1m order by 1") == [
        {"market": "BTC-KRW", "close": 1},
        {"market": "ETH-KRW", "close": 7},
    ]


def test_trades_of_implausible_times_are_in_no_bar_of_either_engine(warehouse: Warehouse, settings: Settings) -> None:
    future = DAY + timedelta(days=1)
    land(
        warehouse,
        settings,
        [
            trade(1, at("10:00"), "5"),
            trade(2, at("10:16"), "6", received_at=at("10:00")),
            trade(3, future, "7", received_at=at("10:00")),
            trade(4, at("10:15"), "8", received_at=at("10:00")),
        ],
    )
    warehouse.run(*BARS_OF_TRADES)
    said = rebuild.run(settings, "upbit", DAY.date(), future.date())
    assert (said.trades, said.bars, said.different) == (2, 2, 0)
    assert [r["close"] for r in warehouse.rows("select close::int from gold.ohlcv_1m order by bucket_at")] == [5, 8]


def test_bars_of_which_the_lake_has_nothing_go(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse, settings, [trade(1, at("10:00"), "5")])
    warehouse.run(*BARS_OF_TRADES)
    warehouse.connection.execute("delete from ops.load_mark")
    said = rebuild.run(settings, "upbit", DAY.date(), DAY.date())
    assert (said.objects, said.bars, said.different, said.replaced) == (0, 0, 1, True)
    assert said.examples == ("BTC-KRW 2026-03-11 10:00: only in gold",)
    warehouse.run(*[name for name in BARS_OF_TRADES if name != "trade"])
    assert not any(warehouse.contents(BARS).values())


def test_an_object_that_is_gone_is_named_and_nothing_is_replaced(
    warehouse: Warehouse, settings: Settings, tmp_path: Path
) -> None:
    land(warehouse, settings, [trade(1, at("10:00"), "5")])
    warehouse.run(*BARS_OF_TRADES)
    (gone,) = tmp_path.rglob("*.parquet")
    gone.unlink()
    with pytest.raises(rebuild.RebuildError, match=f"{gone.name} is in ops.load_ledger and not in the lake"):
        rebuild.run(settings, "upbit", DAY.date(), DAY.date())
    assert warehouse.count("gold.ohlcv_1m") == 1


def test_what_is_refused(warehouse: Warehouse, settings: Settings) -> None:
    day: Any = DAY.date()
    with pytest.raises(rebuild.RebuildError, match="nowhere"):
        rebuild.run(settings, "nowhere", day, day)
    with pytest.raises(rebuild.RebuildError, match="the first day must not be behind the last"):
        rebuild.run(settings, "upbit", day, day - timedelta(days=1))
    warehouse.connection.execute(
        "insert into ops.gate (exchange, dataset, status, reason) values ('upbit', 'trade', 'red', 'prices are null')"
    )
    with pytest.raises(rebuild.RebuildError, match="prices are null"):
        rebuild.run(settings, "upbit", day, day)
    warehouse.connection.execute("delete from ops.gate")
    warehouse.connection.execute(
        "update ops.retention set floor_at = %s where relation = 'silver.trade'", [at("00:00") + timedelta(days=1)]
    )
    with pytest.raises(rebuild.RebuildError, match="begin at 2026-03-12"):
        rebuild.run(settings, "upbit", day, day)


def test_digits_that_no_exact_product_holds_are_an_error(warehouse: Warehouse, settings: Settings) -> None:
    land(warehouse, settings, [trade(1, at("10:00"), "12345678901234567890.1", size="0.123456789012345678")])
    warehouse.run(*BARS_OF_TRADES)
    with pytest.raises(Exception, match="needs more than 38 digits"):
        rebuild.run(settings, "upbit", DAY.date(), DAY.date())


def test_the_command_ends_with_1_where_a_dry_run_finds_something(
    warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(warehouse, settings, [rows.trade(1, at("10:00"), "5")])
    warehouse.run(*BARS_OF_TRADES)
    monkeypatch.setenv("TIDEMARK_WAREHOUSE__URL", settings.warehouse.url.get_secret_value())
    monkeypatch.setenv("TIDEMARK_LAKE__URL", settings.lake.url)
    command = ["rebuild", "upbit", "--from", f"{DAY:%Y-%m-%d}"]
    assert CliRunner().invoke(cli.app, [*command, "--dry-run"]).exit_code == 0
    warehouse.connection.execute("delete from gold.ohlcv_1m")
    found = CliRunner().invoke(cli.app, [*command, "--dry-run"])
    assert (found.exit_code, "BTC-KRW 2026-03-11 10:00: only in the lake" in found.output) == (1, True)
    assert CliRunner().invoke(cli.app, command).exit_code == 0
    assert warehouse.count("gold.ohlcv_1m") == 1


def a_day_of_contracts(*, inverse: str) -> list[Row]:
    """Trades of a linear and of an inverse swap and of a spot market; of some the parser knew no size."""
    dice = random.Random(11)
    found = []
    for number in range(300):
        code = dice.choice(("XMR-USDT-SWAP", inverse, "XMR-USDT"))
        price = str(Decimal(dice.randint(1, 10**7)) / 100)
        contracts = str(Decimal(dice.randint(1, 10**6)) / 10 ** dice.choice((0, 2)))
        more: Row = {"size": contracts}
        if code != "XMR-USDT":
            more = {"size_contracts": contracts, "size": dice.choice((None, "77"))}
        market = {"XMR-USDT": "XMR-USDT-SPOT"}.get(code, code.removesuffix("-SWAP"))
        when = DAY + timedelta(seconds=dice.randint(0, 86_399))
        found.append(trade(number, when, price, exchange="okx", market=market, code=code, **more))
    return found


def test_contracts_are_the_same_coins_in_both_engines(warehouse: Warehouse, settings: Settings) -> None:
    """The linear size changes at noon, the inverse one is overridden from 18:00 on; lists begin at 06:00."""
    swap = {"exchange": "okx", "market": "XMR-USDT", "code": "XMR-USDT-SWAP"}
    coin = {"exchange": "okx", "market": "BTC-USD", "code": "BTC-USD-SWAP"}
    spot = {"exchange": "okx", "market": "XMR-USDT-SPOT", "code": "XMR-USDT"}
    for clock, value in (("06:00", "0.1"), ("12:00", "10")):
        rows = [
            listing(**swap, event_at=at(clock), contract_value=value, is_inverse=False),
            listing(**coin, event_at=at(clock), contract_value="100", is_inverse=True),
            listing(**spot, event_at=at(clock)),
        ]
        warehouse.load("market", rows)
    warehouse.connection.execute(
        "insert into ops.contract_size_override values ('okx', 'BTC-USD-SWAP', %s, 10, true)", [at("18:00")]
    )
    land(warehouse, settings, a_day_of_contracts(inverse="BTC-USD-SWAP"))
    warehouse.connection.execute("update ops.load_ledger set exchange = 'okx'")
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.count("silver.quarantine") == 0
    assert warehouse.count("silver.trade", "size <> 77 and size_contracts is not null") > 100
    said = rebuild.run(settings, "okx", DAY.date(), DAY.date(), dry_run=True)
    assert (said.different, said.undecided) == (0, ()), str(said)
    assert said.bars > 200
