"""Upbit's REST, over real HTTP: pages, errors, limits, and agreement with what was sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.exchanges.simulator.serving import NIGHT, decoded, get, past, request, served, whole_play
from tidemark.local.simulator import Simulator

BTC = "KRW-BTC"


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    """Four hours played and over: 00:00 to 04:00 KST, 19:00 UTC."""
    with served(past(4)) as simulator:
        asyncio.run(whole_play(simulator, request("trade", codes=[BTC, "KRW-STEEM"])))
        yield simulator


def status(simulator: Simulator, path: str, **parameters: Any) -> tuple[int, Any]:
    answer = requests.get(simulator.url + path, params=parameters, timeout=10)
    return answer.status_code, answer.json()


def test_markets(exchange: Simulator) -> None:
    plain, detailed = get(exchange, "/v1/market/all"), get(exchange, "/v1/market/all", is_details="true")
    assert len(plain) == 20
    assert plain[0] == {"market": BTC, "korean_name": "비트코인", "english_name": "Bitcoin"}
    assert set(detailed[0]["market_event"]["caution"]) >= {"PRICE_FLUCTUATIONS", "GLOBAL_PRICE_DIFFERENCES"}
    assert detailed[0]["market_event"]["warning"] is False


def test_headers(exchange: Simulator) -> None:
    answer = requests.get(exchange.url + "/v1/candles/days", {"market": BTC, "count": 50}, timeout=10)
    assert answer.headers["Remaining-Req"] == "group=candles; min=600; sec=9"
    assert answer.headers["Limit-By-Ip"] == "Yes"
    assert answer.headers["Content-Encoding"] == "gzip"
    bare = requests.get(
        exchange.url + "/v1/candles/days",
        {"market": BTC},
        headers={"Accept-Encoding": "identity"},
        timeout=10,
    )
    assert "Content-Encoding" not in bare.headers
    assert gzip.compress(bare.content)


def test_a_minute_candle_has_its_fields(exchange: Simulator) -> None:
    [row] = get(exchange, "/v1/candles/minutes/1", market=BTC)
    assert list(row) == [
        "market", "candle_date_time_utc", "candle_date_time_kst", "opening_price", "high_price", "low_price",
        "trade_price", "timestamp", "candle_acc_trade_price", "candle_acc_trade_volume", "unit",
    ]  # fmt: skip
    assert row["candle_date_time_utc"].startswith("2026-11-18T18:")
    assert row["candle_date_time_kst"].startswith("2026-11-19T03:")


def test_candle_pages_are_newest_first_and_to_is_exclusive(exchange: Simulator) -> None:
    page = get(exchange, "/v1/candles/minutes/60", market=BTC, count=10)
    times = [row["candle_date_time_utc"] for row in page]
    assert times == sorted(times, reverse=True)
    assert len(times) == 10
    older = get(exchange, "/v1/candles/minutes/60", market=BTC, count=3, to=times[4] + "Z")
    assert [row["candle_date_time_utc"] for row in older] == times[5:8]
    for same in (times[4], times[4].replace("T", " "), "2026-11-18T23:00:00+09:00"):
        assert times[4] == "2026-11-18T14:00:00"
        assert get(exchange, "/v1/candles/minutes/60", market=BTC, count=3, to=same) == older
    middle = times[4].replace(":00:00", ":30:00")
    assert get(exchange, "/v1/candles/minutes/60", market=BTC, to=middle)[0]["candle_date_time_utc"] == times[4]


@pytest.mark.parametrize(("path", "least"), [("/v1/candles/days", 130), ("/v1/candles/minutes/60", 14 * 24)])
def test_paging_reaches_the_whole_history_and_ends(exchange: Simulator, path: str, least: int) -> None:
    rows: list[Any] = []
    to: dict[str, str] = {}
    while page := get(exchange, path, market=BTC, count=200, **to):
        rows += page
        to = {"to": page[-1]["candle_date_time_utc"] + "Z"}
    times = [row["candle_date_time_utc"] for row in rows]
    assert len(times) >= least
    assert times == sorted(set(times), reverse=True)


def test_days_carry_the_change(exchange: Simulator) -> None:
    newer, older = get(exchange, "/v1/candles/days", market=BTC, count=2)
    assert newer["prev_closing_price"] == older["trade_price"]
    assert newer["change_price"] == newer["trade_price"] - older["trade_price"]
    exact = newer["change_price"] / Decimal(newer["prev_closing_price"])
    assert abs(newer["change_rate"] - exact) < Decimal("1e-10")
    [row] = get(exchange, "/v1/candles/days", market="BTC-ETH", converting_price_unit="KRW")
    assert 1_000_000 < row["converted_trade_price"] < 20_000_000
    [week] = get(exchange, "/v1/candles/weeks", market=BTC)
    assert week["first_day_of_period"] == "2026-11-16"


def test_quiet_minutes_are_missing(exchange: Simulator) -> None:
    rows = get(exchange, "/v1/candles/minutes/1", market="BTC-ARDR", count=200)
    starts = [row["candle_date_time_utc"] for row in rows]
    assert starts[0] > "2026-11-18T08"
    assert starts[-1] < "2026-11-17T12"  # 200 candles, far more than 200 minutes


def test_seconds_are_there_for_days_with_trades_only(exchange: Simulator) -> None:
    assert get(exchange, "/v1/candles/seconds", market=BTC, count=3)[0]["candle_acc_trade_volume"] > 0
    assert get(exchange, "/v1/candles/seconds", market=BTC, to="2026-10-01T00:00:00Z") == []


def test_ticks_by_cursor_are_exactly_what_was_sent(exchange: Simulator) -> None:
    rows: list[Any] = []
    cursor: dict[str, int] = {}
    while page := get(exchange, "/v1/trades/ticks", market=BTC, count=500, **cursor):
        rows += page
        cursor = {"cursor": page[-1]["sequential_id"]}
    ids = [row["sequential_id"] for row in rows]
    assert ids == sorted(set(ids), reverse=True)
    begin = exchange.status()["from_ms"]
    served_trades = {
        (r["sequential_id"], Decimal(r["trade_price"]), Decimal(r["trade_volume"]), r["ask_bid"] == "ASK")
        for r in rows
        if r["timestamp"] >= begin
    }
    sent = {
        (t["id"], Decimal(t["price"]), Decimal(t["size"]), t["side"] == "sell")
        for t in get(exchange, "/_sim/trades", market=BTC)
        if t["ms"] >= begin
    }
    assert len(sent) > 200
    assert served_trades == sent


def test_ticks_to_and_days_ago(exchange: Simulator) -> None:
    early = get(exchange, "/v1/trades/ticks", market=BTC, to="16:00:00", count=5)
    assert [row["trade_time_utc"] < "16:00:00" for row in early] == [True] * 5
    assert early == get(exchange, "/v1/trades/ticks", market=BTC, to="160000", count=5)
    for ago in (1, 7):
        [row] = get(exchange, "/v1/trades/ticks", market=BTC, days_ago=ago)
        assert row["trade_date_utc"] == f"2026-11-{18 - ago}"
        assert row["trade_time_utc"] > "23:50"
        assert row["change_price"] == row["trade_price"] - row["prev_closing_price"]
    assert status(exchange, "/v1/trades/ticks", market=BTC, days_ago=8)[0] == 400
    assert status(exchange, "/v1/trades/ticks", market=BTC, count=501)[0] == 400


def test_minute_candles_of_days_with_ticks_agree_with_them(exchange: Simulator) -> None:
    ticks = get(exchange, "/v1/trades/ticks", market="KRW-STEEM", days_ago=2, count=500)
    by_minute: dict[str, list[Any]] = {}
    for row in reversed(ticks):
        by_minute.setdefault(row["trade_time_utc"][:5], []).append(row)
    minutes = get(exchange, "/v1/candles/minutes/1", market="KRW-STEEM", to="2026-11-17T00:00:00Z", count=60)
    for candle in minutes[:-1]:
        trades = by_minute[candle["candle_date_time_utc"][11:16]]
        assert candle["opening_price"] == trades[0]["trade_price"]
        assert candle["trade_price"] == trades[-1]["trade_price"]
        assert candle["candle_acc_trade_volume"] == sum(t["trade_volume"] for t in trades)
        assert candle["candle_acc_trade_price"] == sum(t["trade_volume"] * t["trade_price"] for t in trades)


def test_candles_of_the_played_time_are_the_oracles(exchange: Simulator) -> None:
    oracle = get(exchange, "/_sim/candles", market=BTC, unit=5, **{"from": NIGHT.isoformat()})
    rest = {row["candle_date_time_utc"]: row for row in get(exchange, "/v1/candles/minutes/5", market=BTC, count=48)}
    assert len(oracle) > 40
    assert {iso(bar["start"]) for bar in oracle} == {start for start in rest if start >= "2026-11-18T15"}
    for bar in oracle:
        row = rest[iso(bar["start"])]
        assert [Decimal(bar[k]) for k in ("open", "high", "low", "close")] == [
            row[k] for k in ("opening_price", "high_price", "low_price", "trade_price")
        ]
        assert Decimal(bar["volume"]) == row["candle_acc_trade_volume"]
        assert Decimal(bar["value"]) == row["candle_acc_trade_price"]


def iso(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def test_tickers(exchange: Simulator) -> None:
    one, two = get(exchange, "/v1/ticker", markets="KRW-XRP,USDT-XRP")
    assert (one["market"], two["market"]) == ("KRW-XRP", "USDT-XRP")
    assert len(one) == 26
    assert one["signed_change_price"] == one["trade_price"] - one["prev_closing_price"]
    assert {row["market"][:3] for row in get(exchange, "/v1/ticker/all", quote_currencies="KRW,BTC")} == {
        "KRW",
        "BTC",
    }


def test_books(exchange: Simulator) -> None:
    [book] = get(exchange, "/v1/orderbook", markets=BTC)
    assert len(book["orderbook_units"]) == 30
    assert book["total_bid_size"] == sum(unit["bid_size"] for unit in book["orderbook_units"])
    [small] = get(exchange, "/v1/orderbook", markets=BTC, count=5)
    assert small["orderbook_units"] == book["orderbook_units"][:5]
    [instrument] = get(exchange, "/v1/orderbook/instruments", markets=BTC)
    assert instrument == {
        "market": BTC, "quote_currency": "KRW", "tick_size": "1000",
        "supported_levels": ["0", "10000", "100000", "1000000", "10000000", "100000000"],
    }  # fmt: skip
    assert get(exchange, "/v1/orderbook", markets=BTC, level=10_000)[0]["level"] == 10_000
    assert get(exchange, "/v1/orderbook", markets=BTC, level=77) == []
    assert get(exchange, "/v1/orderbook", markets="BTC-ETH", level=1) == []


@pytest.mark.parametrize(
    ("path", "parameters", "code"),
    [
        ("/v1/candles/minutes/1", {"market": "KRW-NOPE"}, 404),
        ("/v1/ticker", {"markets": "KRW-BTC,KRW-NOPE"}, 404),
        ("/v1/trades/ticks", {}, 400),
        ("/v1/ticker", {}, 400),
        ("/v1/candles/minutes/2", {"market": BTC}, 400),
        ("/v1/candles/days", {"market": BTC, "count": 201}, 400),
        ("/v1/candles/days", {"market": BTC, "count": 0}, 400),
        ("/v1/candles/days", {"market": BTC, "count": "ten"}, 400),
        ("/v1/candles/days", {"market": BTC, "to": "yesterday"}, 400),
        ("/v1/candles/days", {"market": BTC, "to": "2026-11-18T00:00:00 09:00"}, 400),
        ("/v1/trades/ticks", {"market": BTC, "to": "25:00:00"}, 400),
        ("/v1/orderbook", {"markets": BTC, "level": "nan"}, 400),
        ("/v1/orderbook", {"markets": BTC, "level": "deep"}, 400),
    ],
)
def test_errors_are_named_by_number(exchange: Simulator, path: str, parameters: dict[str, Any], code: int) -> None:
    answered, body = status(exchange, path, **parameters)
    assert answered == code
    assert body["error"]["name"] == code
    assert body["error"]["message"]


@pytest.mark.usefixtures("still_clock")
def test_eleven_requests_a_second_are_one_too_many_and_going_on_is_punished() -> None:
    with served(replace(past(), limits=True)) as simulator:
        answers = [requests.get(simulator.url + "/v1/market/all", timeout=5) for _ in range(11)]
        assert [a.status_code for a in answers] == [200] * 10 + [429]
        assert [a.headers["Remaining-Req"][-1] for a in answers[:10]] == list("9876543210")
        assert requests.get(simulator.url + "/v1/ticker", {"markets": BTC}, timeout=5).status_code == 200
        codes = [requests.get(simulator.url + "/v1/market/all", timeout=5).status_code for _ in range(60)]
        assert 418 in codes
        assert codes[-1] == 418
        blocked = requests.get(simulator.url + "/v1/ticker", {"markets": BTC}, timeout=5)
        assert "blocked" in decoded(blocked.content)["error"]["message"]


@pytest.mark.usefixtures("still_clock")
def test_web_pages_get_one_request_in_ten_seconds() -> None:
    with served(replace(past(), limits=True)) as simulator:
        page = {"Origin": "http://example.org"}
        first, second = (requests.get(simulator.url + "/v1/market/all", headers=page, timeout=5) for _ in range(2))
        assert (first.status_code, second.status_code) == (200, 429)
        assert first.headers["Remaining-Req"].startswith("group=origin")
