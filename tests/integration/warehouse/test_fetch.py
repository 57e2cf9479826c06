"""REST: from an exchange that really answers, over the lake, into raw. The simulator's own log is the witness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.exchanges.simulator.serving import get, past, request, served, whole_play
from tests.integration.warehouse.place import Place
from tidemark.jobs import fetch_candles, fetch_markets, fetch_tickers, fetch_trades, load
from tidemark.jobs.fetching import FetchError
from tidemark.local.simulator import Simulator
from tidemark.settings import ExchangeSettings
from tidemark.transport import UnavailableError

BTC, ETH = "KRW-BTC", "KRW-ETH"
#: Exchanges count days back from today, so the played period lies in yesterday.
START = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=1)
END = START + timedelta(hours=3)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with served(past(from_at=START, to_at=END, trades_per_day=60_000)) as simulator:
        asyncio.run(whole_play(simulator, request("trade", codes=[BTC])))
        yield simulator


@pytest.fixture
def there(place: Place, exchange: Simulator) -> Place:
    upbit = ExchangeSettings(ws_url=exchange.url, rest_url=exchange.url)
    place.settings = place.settings.model_copy(update={"upbit": upbit})
    return place


def begins(candle: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(candle["candle_date_time_utc"]).replace(tzinfo=UTC)


def rows(place: Place, query: str) -> list[tuple[Any, ...]]:
    return place.opened[0].execute(query.encode()).fetchall()


def test_candles_over_several_pages(there: Place, exchange: Simulator) -> None:
    first = START - timedelta(days=10)
    seen = []
    done = fetch_candles.run(
        there.settings, "upbit", "1h", first, END, [BTC, ETH], progress=lambda n, of, key: seen.append((n, of, key))
    )
    assert (done.series, done.landed, done.known, done.empty) == (2, 2, 0, 0)
    assert [(n, of) for n, of, _ in seen] == [(1, 2), (2, 2)]
    assert load.run(there.settings, "candle", "upbit").rows == done.rows
    asked, to = [], END
    while page := get(exchange, "/v1/candles/minutes/60", market=BTC, count=50, to=f"{to:%Y-%m-%dT%H:%M:%SZ}"):
        asked += page
        to = begins(page[-1])
    wanted = {
        (begins(c), c["opening_price"], c["trade_price"], c["candle_acc_trade_volume"])
        for c in asked
        if first <= begins(c) < END
    }
    got = rows(there, "SELECT event_at, open, close, volume_base FROM raw.candle_v1 WHERE code = 'KRW-BTC'")
    assert len(got) > 200, "more than one page"
    assert set(got) == wanted
    keys = rows(there, "SELECT kafka_cluster, kafka_epoch, source, kafka_offset, item FROM raw.candle_v1")
    assert {key[:3] for key in keys} == {("rest", 0, "rest")}
    assert len(set(keys)) == len(keys)


def test_daily_and_hourly_together(there: Place) -> None:
    done = fetch_candles.run(there.settings, "upbit", None, END - timedelta(days=20), END, [BTC])
    load.run(there.settings, "candle", "upbit")
    counts = dict(rows(there, 'SELECT "interval", count(*) FROM raw.candle_v1 GROUP BY 1'))
    assert done.series == 2
    assert counts["1d"] == 20
    assert counts["1h"] > 200


def test_trades_of_the_day_before_are_those_that_were_sent(there: Place, exchange: Simulator) -> None:
    day = START.replace(hour=0)
    done = fetch_trades.run(there.settings, "upbit", day, day + timedelta(days=1), [BTC], now=END)
    load.run(there.settings, "trade", "upbit")
    got = rows(there, "SELECT trade_id, event_at FROM raw.trade_v1")
    wanted = {trade.id for trade in exchange.log.trades(BTC)}
    assert done.rows == len(got) > 500, "more than one page"
    assert wanted <= {trade_id for trade_id, _ in got}
    assert len({trade_id for trade_id, _ in got}) == len(got)


def test_a_part_of_a_day(there: Place) -> None:
    fetch_trades.run(there.settings, "upbit", START + timedelta(hours=1), START + timedelta(hours=2), [ETH], now=END)
    load.run(there.settings, "trade", "upbit")
    [(first, last, count)] = rows(there, "SELECT min(event_at), max(event_at), count(*) FROM raw.trade_v1")
    assert START + timedelta(hours=1) <= first <= last < START + timedelta(hours=2)
    assert count > 50


def test_the_same_answer_adds_nothing(there: Place) -> None:
    for _ in range(2):
        done = fetch_candles.run(there.settings, "upbit", "1h", START - timedelta(days=1), START, [BTC])
        trades = fetch_trades.run(there.settings, "upbit", START, END, [BTC], now=END)
        markets = fetch_markets.run(there.settings, "upbit")
        for dataset in ("candle", "trade", "market"):
            load.run(there.settings, dataset, "upbit")
    assert (done.landed, done.known) == (trades.landed, trades.known) == (markets.landed, markets.known) == (0, 1)
    assert rows(there, "SELECT dataset, count(*) FROM ops.load_ledger GROUP BY 1 ORDER BY 1") == [
        ("candle", 1), ("market", 1), ("trade", 1),
    ]  # fmt: skip


def test_tickers_of_every_market_and_their_frame(there: Place) -> None:
    done = fetch_tickers.run(there.settings, "upbit")
    assert done.rows == 20
    assert load.run(there.settings, "ticker", "upbit").rows == 20
    [path] = [o.path for o in there.store.list("landing/raw.upbit.ticker.v1/")]
    frames = pq.read_table(there.store.root / path)["frame"].to_pylist()
    assert frames[0].startswith(b"[{")
    assert frames[1:] == [None] * 19, "the answer stands once, as it came"


def test_markets(there: Place) -> None:
    assert fetch_markets.run(there.settings, "upbit").rows == 20
    load.run(there.settings, "market", "upbit")
    assert rows(there, "SELECT korean_name, warning FROM raw.market_v1 WHERE market = 'BTC-KRW'") == [
        ("비트코인", False)
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_unknown_market_is_refused_before_anything_lands(there: Place, dry_run: bool) -> None:
    with pytest.raises(ValueError, match=r"upbit does not have the market .*'KRW-NOSUCH': .*RefusedError"):
        fetch_candles.run(there.settings, "upbit", "1h", START, END, ["KRW-NOSUCH", BTC], dry_run=dry_run)
    assert list(there.store.list("landing/")) == []


def test_a_dry_run_lands_nothing_and_counts_every_market(there: Place) -> None:
    done = [
        fetch_candles.run(there.settings, "upbit", None, START, END, ["BTC-KRW", ETH], dry_run=True),
        fetch_trades.run(there.settings, "upbit", START, END, dry_run=True),
        fetch_tickers.run(there.settings, "upbit", dry_run=True),
        fetch_markets.run(there.settings, "upbit", dry_run=True),
    ]
    assert [(d.series, d.dry_run) for d in done] == [(4, True), (20, True), (1, True), (1, True)]
    assert list(there.store.list("landing/")) == []


def test_a_dry_run_names_what_would_fail(there: Place) -> None:
    first, last = START - timedelta(days=9), START - timedelta(days=6)
    plan = fetch_trades.run(there.settings, "upbit", first, last, [BTC], dry_run=True, now=END)
    assert (plan.series, len(plan.failures)) == (2, 2)
    head, *lines = str(plan).splitlines()
    assert head == "upbit trade: would ask 2 series, at least 1 seconds at the exchange's rate limit, 2 would FAIL"
    assert [("no trade of KRW-BTC" in line) for line in lines] == [True, True]


def test_a_day_too_far_back_is_named_and_the_others_land(there: Place) -> None:
    with pytest.raises(FetchError, match=r"candles, and trades since .* 00:00 UTC: no trade of KRW-BTC") as caught:
        fetch_trades.run(there.settings, "upbit", START - timedelta(days=9), START - timedelta(days=6), [BTC], now=END)
    assert (len(caught.value.summary.failures), caught.value.summary.landed) == (2, 2)


def test_a_window_must_have_a_zone(there: Place) -> None:
    with pytest.raises(ValueError, match="two instants with a zone"):
        fetch_candles.run(there.settings, "upbit", "1h", START.replace(tzinfo=None), END)


def test_nobody_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.transport.Patience.__init__.__defaults__", (1, 0.0, 0.0, 1.0, 1.0))
    nobody = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")
    settings = place.settings.model_copy(update={"upbit": nobody})
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1/v1/market/all"):
        fetch_tickers.run(settings, "upbit")
