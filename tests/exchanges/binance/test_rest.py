"""What is asked of Binance's REST interface, how answers are read, and how pages follow each other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.exchanges.binance import samples
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import NotServedError, Parsed, Query, Row, Unparsable
from tidemark.exchanges.binance import rest

BINANCE = registry.get("binance")
REST = BINANCE.rest
START = datetime(2026, 4, 12, tzinfo=UTC)
ASKED = datetime(2026, 4, 12, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def params(query: Query) -> dict[str, str]:
    return dict(query.request.params)


def read(query: Query, answer: object) -> list[Row]:
    rows = query.rows(json.dumps(answer).encode(), ASKED)
    for row in rows:
        assert tuple(row) == CONTRACTS[query.dataset].names()
    return rows


def bar(start: datetime, close: str = "3401.00") -> list[Any]:
    prices = ["3400.10", "3402.50", "3399.90", close]
    return [ms(start), *prices, "120.5", ms(start + MINUTE) - 1, "409820.505", 50, "70.25", "238925.25", "0"]


def trade(number: int, at: datetime) -> dict[str, Any]:
    ids = {"f": 2 * number, "l": 2 * number + 1}
    return {"a": number, "p": "64250.10", "q": "0.25", **ids, "T": ms(at), "m": False}


def contract(code: str, **more: Any) -> dict[str, Any]:
    filters = [{"filterType": "LOT_SIZE", "stepSize": "0.001"}, {"filterType": "PRICE_FILTER", "tickSize": "0.10"}]
    return {"symbol": code, "contractType": "PERPETUAL", "status": "TRADING", "filters": filters, **more}


def test_contracts() -> None:
    query = REST.markets()
    assert query.request.path == "/fapi/v1/exchangeInfo"
    odd = contract("BTCXYZ", filters=None)
    answer = {"serverTime": 1, "symbols": [contract("BTCUSDT"), contract("ETHUSDT_260626", status="SETTLING"), odd]}
    swap, future, unknown = read(query, answer)
    assert swap == {
        **dict.fromkeys(CONTRACTS["market"].names()),
        "exchange": "binance",
        "market": "BTC-USDT",
        "code": "BTCUSDT",
        "event_at": ASKED,
        "instrument": "swap",
        "state": "TRADING",
        "tick_size": Decimal("0.1"),
        "is_inverse": False,
        "extra": swap["extra"],
    }
    assert set(json.loads(str(swap["extra"]))) == {"contractType", "filters"}
    assert (future["market"], future["instrument"], future["state"]) == ("ETH-USDT-260626", "future", "SETTLING")
    assert (unknown["code"], unknown["market"], unknown["tick_size"]) == ("BTCXYZ", None, None)
    assert query.following([swap]) is None
    assert [REST.is_traded(row) for row in (swap, future)] == [True, False]


def test_a_contract_says_what_it_follows() -> None:
    answer = {
        "symbols": [
            contract(
                "1000PEPEUSDT", pair="1000PEPEUSDT", baseAsset="1000PEPE", quoteAsset="USDT", marginAsset="USDT",
                underlyingType="COIN", deliveryDate=4133404800000, onboardDate=1683270000000,
            ),
            contract("METAUSDT", contractType="TRADIFI_PERPETUAL", underlyingType="EQUITY", baseAsset="META"),
            contract("SAMSUNGUSDT", contractType="TRADIFI_PERPETUAL", underlyingType="KR_EQUITY"),
            contract("NEWUSDT", underlyingType="WEATHER"),
            contract("BTCUSDT_260626", contractType="CURRENT_QUARTER", deliveryDate=1782460800000),
        ]
    }  # fmt: skip
    pepe, meta, samsung, new, future = read(REST.markets(), answer)
    assert [pepe[name] for name in ("base", "quote", "settle", "underlying", "underlying_kind")] == [
        "1000PEPE", "USDT", "USDT", "1000PEPEUSDT", "coin",
    ]  # fmt: skip
    assert (pepe["expires_at"], pepe["begins_at"]) == (None, datetime(2023, 5, 5, 7, tzinfo=UTC))
    assert [row["underlying_kind"] for row in (meta, samsung, new, future)] == ["equity", "equity", "other", None]
    assert json.loads(str(new["extra"]))["underlyingType"] == "WEATHER"
    assert future["expires_at"] == datetime(2026, 6, 26, 8, tzinfo=UTC)


def test_candles_ask_for_the_bars_before_a_time() -> None:
    query = REST.candles("ETHUSDT", "1mo", to=START)
    assert query.request.path == "/fapi/v1/klines"
    assert params(query) == {"symbol": "ETHUSDT", "interval": "1M", "limit": "1000", "endTime": str(ms(START) - 1)}
    assert "endTime" not in params(REST.candles("ETHUSDT", "1m"))


def test_a_bar_by_rest_is_the_bar_of_the_socket() -> None:
    parsed = BINANCE.parse("candle", samples.CANDLE)
    assert isinstance(parsed, Parsed)
    (by_socket,) = parsed.rows
    start = by_socket["event_at"]
    assert isinstance(start, datetime)
    (by_rest,) = read(REST.candles("ETHUSDT", "1m"), [bar(start)])
    unlike = {name for name in by_rest if by_rest[name] != by_socket[name]}
    assert unlike == {"updated_at", "first_trade_id", "last_trade_id"}
    assert (by_rest["updated_at"], by_rest["is_closed"]) == (start + MINUTE, True)


def test_a_bar_that_has_not_ended_is_of_the_moment_it_was_asked_for() -> None:
    last, open_ = read(REST.candles("ETHUSDT", "1m"), [bar(ASKED - 2 * MINUTE), bar(ASKED - timedelta(seconds=30))])
    assert (last["is_closed"], last["updated_at"]) == (True, ASKED - MINUTE)
    assert (open_["is_closed"], open_["updated_at"]) == (False, ASKED)


def test_candles_page_back_until_nothing_comes() -> None:
    starts = [START - timedelta(minutes=m) for m in (9999, 4000, 5, 2, 1)]
    seen: list[object] = []
    query: Query | None = REST.candles("ETHUSDT", "1m", to=START, count=2)
    pages = 0
    while query:
        end = int(params(query)["endTime"])
        rows = read(query, [bar(s) for s in starts if ms(s) <= end][-2:])
        seen = [row["event_at"] for row in rows] + seen
        query = query.following(rows)
        pages += 1
    assert (seen, pages) == (starts, 4)


def test_candles_stop_when_the_page_reaches_back_far_enough() -> None:
    query = REST.candles("ETHUSDT", "1m", since=START - 2 * MINUTE)
    assert query.following(read(query, [bar(START - MINUTE)])) is not None
    assert query.following(read(query, [bar(START - 2 * MINUTE), bar(START - MINUTE)])) is None


class Tape:
    """A server of aggregate trades as the exchange describes it."""

    def __init__(self, trades: list[dict[str, Any]]) -> None:
        self.trades = trades
        self.asked = 0

    def answer(self, query: Query) -> list[dict[str, Any]]:
        self.asked += 1
        p = params(query)
        if "fromId" in p:
            assert "startTime" not in p
            found = [t for t in self.trades if t["a"] >= int(p["fromId"])]
        else:
            assert int(p["endTime"]) - int(p["startTime"]) < 3_600_000
            found = [t for t in self.trades if int(p["startTime"]) <= t["T"] <= int(p["endTime"])]
        return found[: int(p["limit"])]


def fetch(tape: Tape, since: datetime, until: datetime) -> list[int]:
    ids: list[Any] = []
    for question in REST.history("trade", "BTCUSDT", since, until, ASKED):
        query: Query | None = question
        while query:
            rows = read(query, tape.answer(query))
            ids += [row["trade_id"] for row in rows if since <= row["event_at"] < until]  # type: ignore[operator]
            query = query.following(rows)
    return ids


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 4321])
def test_history_of_trades_is_complete_and_without_doubles(count: int) -> None:
    """Hours that are empty, hours of several pages, many trades in one millisecond at a page's end."""
    busy = [START + 90 * MINUTE + timedelta(milliseconds=n // 40) for n in range(count)]
    tape = Tape([trade(n, at) for n, at in enumerate([START, *busy, START + 4 * HOUR])])
    assert fetch(tape, START, START + 4 * HOUR) == list(range(count + 1))


def test_history_is_asked_hour_by_hour() -> None:
    asked = REST.history("trade", "BTCUSDT", START, START + timedelta(minutes=90), ASKED)
    windows = [(int(params(q)["startTime"]), int(params(q)["endTime"])) for q in asked]
    half = START + timedelta(minutes=90)
    assert windows == [(ms(START), ms(START + HOUR) - 1), (ms(START + HOUR), ms(half) - 1)]
    (candles,) = REST.history("candle", "BTCUSDT", START, half, ASKED, "1m")
    assert candles.request.path == "/fapi/v1/klines"


@pytest.mark.parametrize("dataset", ["depth", "orderbook", "ticker"])
def test_what_is_not_served_is_said_plainly(dataset: str) -> None:
    with pytest.raises(NotServedError, match=f"no {dataset} of BTCUSDT"):
        REST.history(dataset, "BTCUSDT", START, ASKED, ASKED)


def test_an_exchange_that_ignores_what_is_asked_does_not_keep_us_forever() -> None:
    candles = REST.candles("ETHUSDT", "1m", to=START)
    with pytest.raises(Unparsable, match="no_progress"):
        candles.following(read(candles, [bar(START)]))
    (first,) = REST.history("trade", "BTCUSDT", START, START + HOUR, ASKED)
    page = [trade(n, START) for n in range(1000)]
    second = first.following(read(first, page))
    assert second is not None
    assert params(second)["fromId"] == "1000"
    with pytest.raises(Unparsable, match="no_progress"):
        second.following(read(second, page))


def test_the_snapshot_of_a_book() -> None:
    query = REST.depth("BTCUSDT")
    assert (query.request.path, params(query)) == ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": "1000"})
    levels = {"bids": [["64250.00", "1.5"]], "asks": [["64250.10", "0.75"], ["64250.20", "2"]]}
    (row,) = read(query, {"lastUpdateId": 9000000120, "E": ms(START) + 5, "T": ms(START), **levels, "odd": 1})
    assert (row["kind"], row["last_update_id"], row["prev_update_id"]) == ("snapshot", 9000000120, None)
    assert (row["market"], row["changed_at"], row["extra"]) == ("BTC-USDT", START, '{"odd":1}')
    assert (row["ask_prices"], row["bid_sizes"]) == ([Decimal("64250.1"), Decimal("64250.2")], [Decimal("1.5")])
    assert query.following([row]) is None


def test_tickers_go_one_at_a_time() -> None:
    asked = []
    query: Query | None = REST.tickers(["BTCUSDT", "ETHUSDT", "XRPUSDT"])
    while query:
        asked.append(params(query)["symbol"])
        state = {"symbol": asked[-1], "lastPrice": "64250.1", "closeTime": ms(START), "count": 7}
        (row,) = read(query, state)
        assert (row["code"], row["trade_price"], row["extra"]) == (asked[-1], Decimal("64250.1"), '{"count":7}')
        query = query.following([row])
    assert asked == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]


@pytest.mark.parametrize("answer", [{"code": -1121, "msg": "Invalid symbol."}, 5, None])
def test_other_answers_are_refused(answer: object) -> None:
    (trades,) = REST.history("trade", "BTCUSDT", START, START + HOUR, ASKED)
    for query in (REST.markets(), REST.candles("ETHUSDT", "1m"), trades, REST.depth("X"), REST.tickers(["X"])):
        with pytest.raises(Unparsable):
            query.rows(json.dumps(answer).encode(), ASKED)


def test_rows_one_cannot_go_on_from_are_said_so() -> None:
    (trades,) = REST.history("trade", "BTCUSDT", START, START + HOUR, ASKED)
    with pytest.raises(Unparsable, match="cannot go on"):
        trades.following(read(trades, [{"p": "1"}] * 1000))


def test_questions_that_the_exchange_cannot_answer_are_refused_before_they_are_asked() -> None:
    for ask in (
        lambda: REST.candles("ETHUSDT", "10m"),
        lambda: REST.candles("ETHUSDT", "1m", count=1001),
        lambda: REST.tickers([]),
    ):
        with pytest.raises(ValueError):
            ask()


def test_all_groups_at_full_speed_stay_within_the_weight_of_a_minute() -> None:
    assert set(REST.limits) == set(rest.WEIGHTS)
    spent = sum(60 * rate * rest.WEIGHTS[group] for group, rate in REST.limits.items())
    assert 0.7 * rest.WEIGHT_A_MINUTE < spent < rest.WEIGHT_A_MINUTE


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ({"X-MBX-USED-WEIGHT-1M": "20"}, 99),
        ({"x-mbx-used-weight-1m": "1980"}, 1),
        ({"x-mbx-used-weight-1m": "1981"}, 0),
        ({"X-MBX-USED-WEIGHT-1M": "2500"}, 0),
        ({"X-MBX-USED-WEIGHT-1M": "odd"}, None),
        ({}, None),
    ],
)
def test_what_is_left_of_this_minute(headers: dict[str, str], left: int | None) -> None:
    assert REST.remaining(headers) == left
