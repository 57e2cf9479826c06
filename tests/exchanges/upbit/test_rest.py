"""Upbit's REST answers become the same rows as its frames, and pages follow each other to the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import NotServedError, Query, Request, Row, Unparsable

REST = registry.get("upbit").rest
ASKED = datetime(2026, 4, 13, 1, 2, 3, tzinfo=UTC)
START = datetime(2026, 4, 12, tzinfo=UTC)


def bar(start: datetime, **more: Any) -> dict[str, Any]:
    return {
        "market": "KRW-BTC",
        "candle_date_time_utc": f"{start:%Y-%m-%dT%H:%M:%S}",
        "candle_date_time_kst": f"{start + timedelta(hours=9):%Y-%m-%dT%H:%M:%S}",
        "opening_price": 102417000.0,
        "high_price": 103988000.0,
        "low_price": 101150000.0,
        "trade_price": 103460000.0,
        "timestamp": 1773240059132,
        "candle_acc_trade_price": 104890599315.22821,
        "candle_acc_trade_volume": 1024.30999241,
        **more,
    }


def tick(number: int, at: datetime = START, change: object = 0) -> dict[str, Any]:
    return {
        "market": "KRW-BTC",
        "trade_date_utc": f"{at:%Y-%m-%d}",
        "trade_time_utc": f"{at:%H:%M:%S}",
        "timestamp": int(at.timestamp() * 1000),
        "trade_price": 103460000.0,
        "trade_volume": 0.004,
        "prev_closing_price": 102417000.0,
        "change_price": change,
        "ask_bid": "ASK",
        "sequential_id": number,
    }


def read(query: Query, *messages: dict[str, Any]) -> list[Row]:
    rows = query.rows(json.dumps(messages).encode(), ASKED)
    for row in rows:
        assert tuple(row) == CONTRACTS[query.dataset].names()
    return rows


def test_markets() -> None:
    query = REST.markets()
    assert query.request == Request("/v1/market/all", (("is_details", "true"),), "market")
    caution = {"PRICE_FLUCTUATIONS": True, "TRADING_VOLUME_SOARING": False, "DEPOSIT_AMOUNT_SOARING": True}
    names = {"korean_name": "비트코인", "english_name": "Bitcoin"}
    plain, detailed = read(
        query,
        {"market": "KRW-BTC", **names},
        {
            "market": "BTC-ETH",
            **names,
            "market_event": {"warning": True, "caution": caution},
            "market_warning": "NONE",
        },
    )
    assert plain == {
        **dict.fromkeys(CONTRACTS["market"].names()),
        "exchange": "upbit",
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "event_at": ASKED,
        **names,
        "base": "BTC",
        "quote": "KRW",
    }
    assert (detailed["market"], detailed["warning"]) == ("ETH-BTC", True)
    assert REST.is_traded(plain)
    assert json.loads(str(detailed["cautions"])) == ["DEPOSIT_AMOUNT_SOARING", "PRICE_FLUCTUATIONS"]
    assert detailed["extra"] == '{"market_warning":"NONE"}'
    assert query.following([plain]) is None


@pytest.mark.parametrize("event", [5, {"caution": 5}, {"caution": {"X": "on"}}, {"warning": "no"}])
def test_a_market_event_of_another_form_is_kept_as_it_is(event: object) -> None:
    (row,) = read(REST.markets(), {"market": "KRW-BTC", "market_event": event})
    assert (row["market"], row["warning"], row["cautions"]) == ("BTC-KRW", None, None)
    assert json.loads(str(row["extra"])) == {"market_event": event}


@pytest.mark.parametrize(
    ("interval", "path"),
    [
        ("1s", "seconds"),
        ("1m", "minutes/1"),
        ("1h", "minutes/60"),
        ("4h", "minutes/240"),
        ("1d", "days"),
        ("1mo", "months"),
    ],
)
def test_candles_ask_for_the_most_a_page_holds(interval: str, path: str) -> None:
    request = REST.candles("KRW-BTC", interval, to=START).request
    assert request.path == f"/v1/candles/{path}"
    assert dict(request.params) == {"market": "KRW-BTC", "count": "200", "to": "2026-04-12T00:00:00Z"}
    assert request.group == "candles"


def test_times_of_another_zone_are_asked_for_in_utc() -> None:
    kst = datetime.fromisoformat("2026-04-12T09:00:00+09:00")
    assert dict(REST.candles("KRW-BTC", "1m", to=kst).request.params)["to"] == "2026-04-12T00:00:00Z"


def test_a_daily_bar_has_its_change() -> None:
    more = {"prev_closing_price": 102417000.0, "change_price": -1043000.0, "change_rate": -0.0101838562}
    (row,) = read(REST.candles("KRW-BTC", "1d"), bar(START, **more, first_day_of_period="2026-04-01"))
    assert (row["interval"], row["event_at"]) == ("1d", START)
    assert row["volume_quote"] == Decimal("104890599315.22821")
    assert (row["signed_change_price"], row["signed_change_rate"]) == (-1043000, Decimal("-0.0101838562"))
    assert (row["stream_type"], row["extra"]) == (
        None,
        '{"first_day_of_period": "2026-04-01"}'.replace(": ", ":"),
    )


def test_candles_page_back_over_gaps_until_nothing_comes() -> None:
    starts = [START - timedelta(minutes=m) for m in (1, 2, 5, 4000, 9999)]
    seen: list[object] = []
    query: Query | None = REST.candles("KRW-BTC", "1m", to=START, count=2)
    pages = 0
    while query:
        to = datetime.fromisoformat(dict(query.request.params)["to"])
        rows = read(query, *[bar(s) for s in starts if s < to][:2])
        seen += [row["event_at"] for row in rows]
        query = query.following(rows)
        pages += 1
    assert (seen, pages) == (starts, 4)


def test_candles_stop_when_the_page_reaches_back_far_enough() -> None:
    query = REST.candles("KRW-BTC", "1m", since=START - timedelta(minutes=2))
    assert query.following(read(query, bar(START - timedelta(minutes=1)))) is not None
    assert query.following(read(query, bar(START - timedelta(minutes=2)))) is None


def test_an_exchange_that_ignores_to_does_not_keep_us_forever() -> None:
    query = REST.candles("KRW-BTC", "1m", to=START)
    with pytest.raises(Unparsable, match="no_progress"):
        query.following(read(query, bar(START)))


def test_ticks() -> None:
    query = REST.ticks("KRW-BTC", days_ago=1, to="23:59:59")
    assert query.request.path == "/v1/trades/ticks"
    assert dict(query.request.params) == {
        "market": "KRW-BTC",
        "count": "500",
        "days_ago": "1",
        "to": "23:59:59",
    }
    up, down, even = read(
        query, tick(17732400590950000, change=1043000.0), tick(2, change=-5.5), tick(3, change="0.00000000")
    )
    assert (up["trade_id"], up["event_at"], up["side"]) == (17732400590950000, START, "sell")
    assert (up["published_at"], up["best_ask_price"], up["extra"]) == (None, None, None)
    assert [r["change_price"] for r in (up, down, even)] == [1043000, Decimal("5.5"), 0]
    assert [r["change"] for r in (up, down, even)] == ["RISE", "FALL", "EVEN"]


def test_ticks_page_back_by_the_lowest_id_even_when_ids_are_not_in_order() -> None:
    query = REST.ticks("KRW-BTC", cursor=100)
    following = query.following(read(query, tick(90), tick(70), tick(80)))
    assert following is not None
    assert dict(following.request.params)["cursor"] == "70"
    assert following.following([]) is None
    with pytest.raises(Unparsable, match="no_progress"):
        following.following(read(query, tick(70)))


def test_ticks_stop_when_the_page_reaches_back_far_enough() -> None:
    query = REST.ticks("KRW-BTC", since=START)
    assert query.following(read(query, tick(9, START))) is not None
    assert query.following(read(query, tick(9, START), tick(8, START - timedelta(milliseconds=1)))) is None


def test_tickers_go_a_hundred_at_a_time() -> None:
    codes = [f"KRW-C{i}" for i in range(250)]
    asked: list[str] = []
    query: Query | None = REST.tickers(codes)
    while query:
        page = dict(query.request.params)["markets"].split(",")
        assert len(page) <= 100
        asked += page
        query = query.following([])
    assert asked == codes


def test_a_ticker_over_rest_has_no_side_and_no_state() -> None:
    message = {
        "market": "KRW-BTC",
        "trade_date": "20260311",
        "trade_date_kst": "20260311",
        "trade_time_kst": "234058",
        "trade_timestamp": 1773240058930,
        "trade_price": "103493000.00000000",
        "signed_change_rate": 0.0105060683,
        "timestamp": 1773240058973,
    }
    (row,) = read(REST.tickers(["KRW-BTC"]), message)
    assert (row["trade_price"], row["signed_change_rate"]) == (103493000, Decimal("0.0105060683"))
    assert (row["side"], row["market_state"], row["extra"]) == (None, None, None)


@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"", "not_json"),
        (b'{"error":{"name":404,"message":"Code not found"}}', "not_an_object"),
        (b"5", "not_an_object"),
    ],
)
def test_other_answers_are_refused(body: bytes, slug: str) -> None:
    for query in (
        REST.markets(),
        REST.candles("KRW-BTC", "1m"),
        REST.ticks("KRW-BTC"),
        REST.tickers(["KRW-BTC"]),
    ):
        with pytest.raises(Unparsable) as caught:
            query.rows(body, ASKED)
        assert caught.value.reason == slug


def test_rows_one_cannot_go_on_from_are_said_so() -> None:
    for query in (REST.candles("KRW-BTC", "1m"), REST.ticks("KRW-BTC", since=START)):
        rows = read(query, {"market": "KRW-BTC"})
        with pytest.raises(Unparsable, match="cannot go on"):
            query.following(rows)


def test_questions_that_the_exchange_cannot_answer_are_refused_before_they_are_asked() -> None:
    for ask in (
        lambda: REST.candles("KRW-BTC", "7m"),
        lambda: REST.candles("KRW-BTC", "1m", count=201),
        lambda: REST.ticks("KRW-BTC", days_ago=8),
        lambda: REST.ticks("KRW-BTC", to="25:00:00"),
        lambda: REST.ticks("KRW-BTC", count=-1),
        lambda: REST.tickers([]),
    ):
        with pytest.raises(ValueError):
            ask()


def test_the_same_request_has_the_same_key() -> None:
    one = Request("/v1/x", (("b", "1,2"), ("a", "é")), "g")
    other = Request("/v1/x", (("a", "é"), ("b", "1,2")), "g")
    assert one.key() == other.key() == "GET /v1/x?a=%C3%A9&b=1%2C2"


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"Remaining-Req": "group=candles; min=600; sec=9"}, 9),
        ({"remaining-req": "group=crix-trades; min=600; sec=0"}, 0),
        ({"Remaining-Req": "odd"}, None),
        ({}, None),
    ],
)
def test_what_is_left_of_this_second(headers: dict[str, str], left: int | None) -> None:
    assert REST.remaining(headers) == left


def test_every_group_has_a_limit() -> None:
    queries = (
        REST.markets(),
        REST.candles("KRW-BTC", "1m"),
        REST.ticks("KRW-BTC"),
        REST.tickers(["KRW-BTC"]),
    )
    assert {q.request.group for q in queries} == set(REST.limits)


def test_ticks_asked_before_midnight_and_answered_after_it_are_of_another_day() -> None:
    query = REST.ticks("KRW-BTC", days_ago=1, today=ASKED.date())
    assert query.rows(b"[]", ASKED) == []
    with pytest.raises(Unparsable, match="day_changed"):
        query.rows(b"[]", ASKED + timedelta(days=1))


NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)


def test_history_of_trades_is_asked_day_by_day_as_far_as_it_is_served() -> None:
    asked = REST.history("trade", "KRW-BTC", NOON - timedelta(days=9), NOON - timedelta(days=5, hours=12), NOON)
    assert [dict(query.request.params)["days_ago"] for query in asked] == ["7", "6"]
    assert [dict(query.request.params).get("to") for query in asked] == [None, None]
    today = REST.history("trade", "KRW-BTC", NOON - timedelta(hours=1), NOON, NOON)
    assert ["days_ago" in dict(query.request.params) for query in today] == [False]
    assert [dict(query.request.params)["to"] for query in today] == ["12:00:01"], "not from the day's end back"


def test_what_is_no_longer_served_is_said_plainly() -> None:
    with pytest.raises(NotServedError, match="trades since 2026-03-04 00:00 UTC: no trade of KRW-BTC"):
        REST.history("trade", "KRW-BTC", NOON - timedelta(days=9), NOON - timedelta(days=8), NOON)
    with pytest.raises(NotServedError, match="no orderbook of KRW-BTC"):
        REST.history("orderbook", "KRW-BTC", NOON - timedelta(hours=1), NOON, NOON)
    with pytest.raises(NotServedError, match="whole books"):
        REST.depth("KRW-BTC")


def test_history_of_candles_is_one_question() -> None:
    (asked,) = REST.history("candle", "KRW-BTC", NOON - timedelta(days=900), NOON, NOON, "1m")
    assert asked.request.path == "/v1/candles/minutes/1"
