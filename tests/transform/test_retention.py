"""Late data where the past has been dropped: made anew where it can be, refused and written down where it can't."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from tests.transform.conftest import BARS_OF_TRADES, Warehouse
from tests.transform.rows import DAY, at, candle, trade

EARLY = DAY - timedelta(days=40)


def _drop(warehouse: Warehouse, relation: str, before: datetime) -> None:
    time = warehouse.rows("select time from ops.retention where relation = %s", relation)[0]["time"]
    warehouse.connection.execute(f"delete from {relation} where {time} < %s".encode(), [before])
    warehouse.connection.execute("update ops.retention set floor_at = %s where relation = %s", [before, relation])


def _history(warehouse: Warehouse) -> None:
    """Ten days of trades, each half an hour, forty days ago; the bars of minutes are gone since."""
    trades = [trade(n, EARLY + timedelta(minutes=30 * n), str(100 + n % 9), size="2") for n in range(480)]
    warehouse.load("trade", trades)
    warehouse.run(*BARS_OF_TRADES, "kimchi_premium_1m")
    _drop(warehouse, "gold.ohlcv_1m", DAY - timedelta(days=30))


def test_a_day_of_dropped_minutes_is_made_anew_for_a_late_trade(warehouse: Warehouse) -> None:
    _history(warehouse)
    assert warehouse.count("gold.ohlcv_1m") == 0
    marts = ("gold.ohlcv_5m", "gold.ohlcv_15m", "gold.ohlcv_1h", "gold.ohlcv_4h", "gold.ohlcv_1d")
    before = {mart: {r["bucket_at"]: r for r in warehouse.rows(f"select * from {mart}")} for mart in marts}
    jumps = warehouse.contents(["gold.price_anomaly_1m"])
    warehouse.load("trade", [trade(9_999, EARLY + timedelta(days=2, hours=1, minutes=2), "500", size="1")])
    warehouse.run(*BARS_OF_TRADES, "kimchi_premium_1m")
    for mart in marts:
        after = {r["bucket_at"]: r for r in warehouse.rows(f"select * from {mart}")}
        changed = {m for m in after if after[m] != before[mart].get(m)}
        (moment,) = changed
        assert after[moment]["volume_base"] - before[mart][moment]["volume_base"] == Decimal(1), mart
        assert after.keys() == before[mart].keys(), mart
    days = warehouse.rows("select distinct date_trunc('day', bucket_at) as day from gold.ohlcv_1m")
    assert [row["day"] for row in days] == [EARLY + timedelta(days=2)]
    # What looks back over minutes that are gone stands as it was, and that is written down.
    assert warehouse.contents(["gold.price_anomaly_1m"]) == jumps
    refused = warehouse.rows("select consumer, market, from_at, reason from ops.refusal order by consumer")
    assert {row["consumer"] for row in refused} >= {"gold.price_anomaly_1m", "gold.kimchi_premium_1m"}
    assert {row["market"] for row in refused} == {"BTC-KRW"}
    assert "gold.ohlcv_1m is kept since" in refused[-1]["reason"]


def test_a_trade_older_than_silver_is_refused_and_changes_nothing(warehouse: Warehouse) -> None:
    _history(warehouse)
    _drop(warehouse, "silver.trade", EARLY + timedelta(days=5))
    before = warehouse.contents()
    warehouse.load("trade", [trade(9_999, EARLY + timedelta(days=2), "500"), trade(3, EARLY, "77")])
    warehouse.run(*BARS_OF_TRADES, "kimchi_premium_1m")
    found = warehouse.rows("select reason, count(*) as n from silver.quarantine group by 1")
    assert found == [{"reason": "beyond_retention", "n": 2}]
    after = warehouse.contents()
    assert {name for name in after if after[name] != before[name]} == {"silver.quarantine"}


def test_a_window_that_reaches_over_the_edge_is_made_as_far_as_it_can_be(warehouse: Warehouse) -> None:
    """Hours before the edge are gone: indicators whose look-back crosses it stay, those behind it follow."""
    hours = [
        candle(DAY - timedelta(hours=n), "1", DAY, "1h", source="rest", close=str(100 + n % 7)) for n in range(1, 500)
    ]
    warehouse.load("candle", hours)
    warehouse.run("candle", "technical_indicator_1h")
    edge = DAY - timedelta(hours=480)
    warehouse.connection.execute("update ops.retention set floor_at = %s where relation = 'gold.ohlcv_1h'", [edge])
    before = {r["bucket_at"]: r for r in warehouse.rows("select * from gold.technical_indicator_1h")}
    late = edge + timedelta(hours=345)
    warehouse.load("candle", [candle(late, "2", DAY, "1h", source="rest", close="150", high="150")])
    warehouse.run("candle", "technical_indicator_1h")
    after = {r["bucket_at"]: r for r in warehouse.rows("select * from gold.technical_indicator_1h")}
    changed = sorted(moment for moment in after if after[moment] != before[moment])
    assert changed[0] == edge + timedelta(hours=350)
    assert after.keys() == before.keys()
    ((start, end),) = [tuple(r.values()) for r in warehouse.rows("select from_at, to_at from ops.refusal")]
    assert (start, end) == (late, edge + timedelta(hours=350))
    assert at("00:00") == DAY
