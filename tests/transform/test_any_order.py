"""However raw rows are cut into loads, in whatever order these arrive, however runs are spread over them: silver, its
accounts and gold end the same as after one build of everything.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from tests.transform.conftest import TABLES, VIEWS, Warehouse
from tests.transform.rows import Row, at, candle, listing, orderbook, snapshot, ticker, trade

MARKETS = ("BTC-KRW", "ETH-KRW", "XRP-BTC", "USDT-KRW")


def _everything(chance: random.Random) -> list[tuple[str, Row]]:
    """A few hours with all that goes wrong: doubles, conflicts, broken rows, unlisted markets, bars in many states."""
    rows: list[tuple[str, Row]] = []
    for _ in range(260):
        trade_id = 17732400590950000 + chance.randrange(150)
        minute = at("10:00") + timedelta(minutes=trade_id % 150, milliseconds=chance.choice([0, 0, 1]))
        price = str(1000 + trade_id % 7) if chance.random() < 0.9 else "1100"
        market = chance.choice((*MARKETS, "ODD-KRW") if trade_id % 10 == 0 else MARKETS)
        row = trade(trade_id, minute, price, market=market, source=chance.choice(("ws", "rest")))
        if chance.random() < 0.05:
            row[chance.choice(("price", "side", "event_at", "market"))] = None
        rows.append(("trade", row))
    for _ in range(60):
        minute = at("10:00") + timedelta(minutes=chance.randrange(4))
        tick = minute + timedelta(seconds=chance.randrange(4))
        volume, market = str(1 + chance.randrange(3)), chance.choice((*MARKETS, "ODD-KRW"))
        rows.append(("candle", candle(minute, volume, tick, market=market, source=chance.choice(("ws", "rest")))))
        rows.append(
            ("ticker", ticker(tick, volume, market=market, stream_type=chance.choice(("SNAPSHOT", "REALTIME"))))
        )
        rows.append(("orderbook", orderbook(tick, "105", f"{100 + chance.randrange(3)}", market=market)))
    for n in range(80):
        hour, day = at("10:00") - timedelta(hours=n), at("00:00") - timedelta(days=n)
        for market in MARKETS[:2]:
            for start, interval in ((hour, "1h"), (day, "1d")):
                prices = dict(zip(("high", "low", "close"), _prices(chance), strict=True))
                volume = f"0.{1 + n % 3}"
                rows.append(("candle", candle(start, volume, start, interval, source="rest", market=market, **prices)))
    for n in range(40):
        minute = at("10:00") + timedelta(minutes=4 * n)
        # A price that no premium explains, so that the pair is suspect, and one that is a coin of the same kind.
        for exchange, price, size in (("binance", 90 + n % 3, "3000"), ("okx", f"1.0{n % 3}", "2000000")):
            rows.append(("trade", trade(n, minute, str(price), market="BTC-USDT", exchange=exchange, size=size)))
    for n in range(12):
        moment = at("10:00") + timedelta(minutes=5 * n)
        document = {"trade_price": 100 + n, "opening_price": 99, "acc_trade_price_24h": 1000 * (n + 1)}
        rows += [("snapshot", snapshot(m, moment, document)) for m in (*MARKETS, "ODD-KRW")]
    rows += [("market", listing(m, at(clock))) for m in MARKETS for clock in ("09:00", "11:00")]
    return rows


def _prices(chance: random.Random) -> tuple[str, str, str]:
    """High, low and close of a bar around 100."""
    return str(102 + chance.randrange(5)), str(98 - chance.randrange(5)), str(99 + chance.randrange(3))


def _arrive(warehouse: Warehouse, loads: list[list[tuple[str, Row]]]) -> None:
    for load in loads:
        for dataset in sorted({name for name, _ in load}):
            warehouse.load(dataset, [row for name, row in load if name == dataset])


@pytest.fixture(scope="module")
def story() -> list[tuple[str, Row]]:
    """The rows that every order is made of."""
    return _everything(random.Random(20260311))


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    """What one build of everything gave (filled by the first test)."""
    return {}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.fault) for seed in (1, 2, 3))])
def test_any_order_gives_the_same_tables(
    warehouse: Warehouse, story: list[tuple[str, Row]], truth: dict[str, Any], seed: int
) -> None:
    if not truth:
        _arrive(warehouse, [story])
        warehouse.run()
        assert warehouse.dbt("test", "--select", "test_type:data").success
        truth.update(warehouse.contents())
        assert all(truth[f"silver.{name}"] for name in ("trade", "duplicate", "superseded", "quarantine"))
        assert all(truth[name] for name in TABLES), [name for name in TABLES if not truth[name]]
        assert all(truth[name] for name in VIEWS if name != "gold.data_coverage")
        _start_again(warehouse)
    chance = random.Random(seed)
    shuffled = chance.sample(story, len(story))
    cuts = sorted(chance.sample(range(1, len(shuffled)), 11))
    loads = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(shuffled)], strict=True)]
    for batch in (loads[:3], loads[3:9], loads[9:]):
        _arrive(warehouse, batch)
        warehouse.run(*chance.choice([(), (), ("silver",), ("trade", "candle", "gold")]))
    warehouse.run()
    for relation, rows in warehouse.contents().items():
        assert rows == truth[relation], relation
    warehouse.check()


def _start_again(warehouse: Warehouse) -> None:
    tables = warehouse.rows(
        """select format('%I.%I', schemaname, tablename) as name from pg_tables
        where schemaname in ('raw', 'silver', 'gold', 'ops') and tablename <> 'migration'"""
    )
    warehouse.connection.execute(f"truncate {', '.join(row['name'] for row in tables)}".encode())


def test_a_second_run_changes_nothing(warehouse: Warehouse, story: list[tuple[str, Row]]) -> None:
    _arrive(warehouse, [story])
    warehouse.run()
    books = ("ops.load_mark", "ops.build", "ops.build_mark", "ops.touched_bucket")
    before, entries = warehouse.contents(), [warehouse.count(book) for book in books]
    written = """select string_agg(relname || ':' || (n_tup_ins + n_tup_upd + n_tup_del), ' ' order by relname) as n
        from pg_stat_user_tables"""
    earlier = warehouse.rows(written)
    warehouse.run()
    assert warehouse.contents() == before
    assert [warehouse.count(book) for book in books] == entries
    assert warehouse.rows(written) == earlier


def test_two_runs_at_once_change_no_row(warehouse: Warehouse, story: list[tuple[str, Row]]) -> None:
    """Two processes, from tables that don't exist yet: both succeed, and nothing is doubled."""
    warehouse.connection.execute("drop table silver.market, silver.trade, gold.ohlcv_1m cascade")
    _arrive(warehouse, [story])
    runs = [warehouse.run_apart(), warehouse.run_apart()]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    warehouse.run()
    at_once = warehouse.contents()
    _start_again(warehouse)
    _arrive(warehouse, [story])
    warehouse.run()
    assert warehouse.contents() == at_once
    warehouse.check()
