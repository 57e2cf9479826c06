"""OKX's REST answers become the same rows as its frames, and pages follow each other to the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.exchanges.okx import samples
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import NotServedError, Parsed, Query, Row, Unparsable

OKX = registry.get("okx")
REST = OKX.rest
NOW = datetime(2026, 9, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


def answer(*data: Any) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": data}).encode()


def bar(start: datetime, confirm: str = "1") -> list[str]:
    return [ms(start), "102800", "102850.5", "102799.9", "102810", "1040.37", "10.4037", "1069603.35", confirm]


def tick(number: int, at: datetime = NOW) -> dict[str, str]:
    return {
        "instId": "BTC-USDT-SWAP", "side": "sell", "sz": "0.5", "px": "102810", "tradeId": str(number), "ts": ms(at)
    }  # fmt: skip


def instrument(code: str, **more: Any) -> dict[str, Any]:
    return {
        "instType": "SWAP", "instId": code, "uly": "BTC-USDT", "baseCcy": "", "ctVal": "0.01", "ctMult": "1",
        "ctValCcy": "BTC", "ctType": "linear", "state": "live", "tickSz": "0.1", "lotSz": "0.01",
        "futureSettlement": False, **more,
    }  # fmt: skip


def read(query: Query, *data: Any) -> list[Row]:
    rows = query.rows(answer(*data), NOW)
    for row in rows:
        assert tuple(row) == CONTRACTS[query.dataset].names()
    return rows


def after(query: Query | None) -> str | None:
    assert query is not None
    return dict(query.request.params).get("after")


def pages(query: Query | None) -> list[str]:
    """The requests of all pages, each answered with nothing."""
    found = []
    while query is not None:
        found.append(query.request.key().partition("?")[2])
        query = query.following([])
    return found


def test_markets_are_swaps_spot_and_futures() -> None:
    assert REST.markets().request.path == "/api/v5/public/instruments"
    assert pages(REST.markets()) == ["instType=SWAP", "instType=SPOT", "instType=FUTURES"]


def test_options_are_listed_by_the_families_that_are_asked_for() -> None:
    codes = ["BTC-USD-261225-40000-C", "BTC-USDT-SWAP", "BTC-USD-261225-50000-P", "LISTING-SPOT-A-USDT", ""]
    assert pages(REST.markets(codes))[3:] == ["instFamily=BTC-USD&instType=OPTION"]


def test_an_instrument_says_what_it_is() -> None:
    swap, spot = read(
        REST.markets(),
        instrument("BTC-USDT-SWAP", instCategory="1", settleCcy="USDT", listTime="1573557408000", expTime=""),
        instrument("BTC-USDT", instType="SPOT", ctVal="", ctMult="", ctValCcy="", ctType="", uly="", baseCcy="BTC"),
    )
    assert (swap["market"], swap["instrument"], swap["contract_size"]) == ("BTC-USDT", "swap", Decimal("0.01"))
    assert (spot["market"], spot["instrument"], spot["contract_size"]) == ("BTC-USDT-SPOT", "spot", None)
    assert (swap["state"], swap["tick_size"], swap["event_at"]) == ("live", Decimal("0.1"), NOW)
    names = ("base", "quote", "settle", "underlying", "underlying_kind", "contract_currency", "is_inverse")
    assert [swap[name] for name in names] == ["BTC", "USDT", "USDT", "BTC-USDT", "coin", "BTC", False]
    assert [spot[name] for name in names] == ["BTC", "USDT", None, None, None, None, None]
    assert (swap["begins_at"], swap["expires_at"]) == (datetime(2019, 11, 12, 11, 16, 48, tzinfo=UTC), None)
    assert [REST.is_traded({**swap, "state": state}) for state in ("live", "suspend", "preopen")] == [
        True,
        False,
        False,
    ]
    assert json.loads(str(swap["extra"])) == {
        "ctVal": "0.01", "ctMult": "1", "lotSz": "0.01", "futureSettlement": False,
    }  # fmt: skip


def test_the_multiplier_belongs_to_a_contracts_size() -> None:
    (swap,) = read(REST.markets(), instrument("BTC-USDT-SWAP", ctVal="1", ctMult="0.01"))
    assert (swap["contract_size"], swap["contract_value"]) == (Decimal("0.01"), Decimal("0.01"))


def test_an_inverse_contract_is_no_amount_of_coins() -> None:
    (swap,) = read(REST.markets(), instrument("BTC-USD-SWAP", ctVal="100", ctValCcy="USD", ctType="inverse"))
    assert (swap["market"], swap["contract_size"]) == ("BTC-USD", None)
    assert (swap["contract_value"], swap["contract_currency"], swap["is_inverse"]) == (100, "USD", True)


@pytest.mark.parametrize(
    ("code", "family", "category", "kind"),
    [
        ("ETH-USD_UM_XPERP-310404", "ETH-USD_UM_XPERP", "1", "coin"),
        ("AAPL-USD_UM_XPERP-310404", "AAPL-USD_UM_XPERP", "3", "equity"),
        ("BTC-USD_UM-261030", "BTC-USD_UM", "", None),
        ("GOLD-USDT-SWAP", "GOLD-USDT", "4", "commodity"),
        ("EUR-USDT-SWAP", "EUR-USDT", "5", "fx"),
        ("RAIN-USDT-SWAP", "RAIN-USDT", "9", "other"),
    ],
)
def test_any_family_is_listed_with_its_kind(code: str, family: str, category: str, kind: str | None) -> None:
    sent = {"instFamily": family, "uly": "X-USD", "ctType": "linear", "ctVal": "0.1", "instCategory": category}
    (row,) = read(REST.markets(), instrument(code, expTime="1933027200000", **sent))
    assert (row["code"], row["underlying_kind"], row["is_inverse"]) == (code, kind, False)
    assert (row["contract_value"], row["contract_size"]) == (Decimal("0.1"), Decimal("0.1"))
    assert row["expires_at"] == datetime(2031, 4, 4, 0, tzinfo=UTC)
    assert ("instCategory" in json.loads(str(row["extra"]))) == (kind == "other")


def test_candles_are_asked_for_by_what_is_older() -> None:
    query = REST.candles("BTC-USDT-SWAP", "1d", to=NOW)
    assert query.request.path == "/api/v5/market/candles"
    assert dict(query.request.params) == {
        "instId": "BTC-USDT-SWAP", "bar": "1Dutc", "after": ms(NOW), "limit": "100"
    }  # fmt: skip
    assert "after" not in dict(REST.candles("BTC-USDT-SWAP", "1d").request.params)


def test_a_candle_is_the_same_as_over_the_socket() -> None:
    parsed = OKX.parse("candle", samples.CANDLE)
    assert isinstance(parsed, Parsed)
    start = datetime(2025, 5, 12, 13, 5, tzinfo=UTC)
    assert read(REST.candles("BTC-USDT-SWAP", "5m"), bar(start, "0")) == parsed.rows


def test_the_newest_bar_is_not_closed() -> None:
    rows = read(REST.candles("BTC-USDT-SWAP", "1m"), bar(NOW, "0"), bar(NOW - MINUTE))
    assert [(row["is_closed"], row["updated_at"]) for row in rows] == [(False, NOW), (True, NOW)]


def test_pages_of_candles_go_back_from_the_fast_path_to_the_deep_one() -> None:
    """Where the fast path ends, the deep one goes on; where that is empty too, there is nothing more."""
    query: Query | None = REST.candles("BTC-USDT-SWAP", "1m", since=NOW - timedelta(days=9))
    assert query is not None
    query = query.following(read(query, bar(NOW), bar(NOW - MINUTE)))
    assert (query.request.path, after(query)) == ("/api/v5/market/candles", ms(NOW - MINUTE))  # type: ignore[union-attr]
    query = query.following([])  # type: ignore[union-attr]
    assert (query.request.path, after(query)) == ("/api/v5/market/history-candles", ms(NOW - MINUTE))  # type: ignore[union-attr]
    older = read(query, bar(NOW - 2 * MINUTE))  # type: ignore[arg-type]
    query = query.following(older)  # type: ignore[union-attr]
    assert (query.request.path, after(query)) == ("/api/v5/market/history-candles", ms(NOW - 2 * MINUTE))  # type: ignore[union-attr]
    assert query.following([]) is None  # type: ignore[union-attr]


def test_pages_of_candles_end_where_they_were_asked_to() -> None:
    query = REST.candles("BTC-USDT-SWAP", "1m", since=NOW - MINUTE)
    assert query.following(read(query, bar(NOW), bar(NOW - MINUTE))) is None
    assert query.following(read(query, bar(NOW))) is not None


def test_an_answer_that_does_not_move_on_is_refused() -> None:
    query = REST.candles("BTC-USDT-SWAP", "1m", to=NOW)
    with pytest.raises(Unparsable, match="no_progress"):
        query.following(read(query, bar(NOW)))


def test_history_of_candles_begins_on_the_path_that_reaches_there() -> None:
    def path(interval: str, until: datetime) -> str:
        (query,) = REST.history("candle", "BTC-USDT-SWAP", until - timedelta(days=3), until, NOW, interval)
        assert after(query) == ms(until)
        return query.request.path.rsplit("/", 1)[1]

    assert path("1m", NOW - timedelta(hours=23)) == "candles"
    assert path("1m", NOW - timedelta(hours=25)) == "history-candles"
    assert path("1d", NOW - timedelta(days=900)) == "candles"
    assert path("1s", NOW - timedelta(days=80)) == "history-candles"
    assert path("1s", NOW) == "history-candles"


def test_history_of_trades_is_paged_by_id() -> None:
    since = NOW - timedelta(hours=1)
    (query,) = REST.history("trade", "BTC-USDT-SWAP", since, NOW, NOW)
    assert query.request.path == "/api/v5/market/history-trades"
    asked = {"instId": "BTC-USDT-SWAP", "limit": "100"}
    assert dict(query.request.params) == {**asked, "type": "2", "after": ms(NOW)}
    rows = read(query, tick(900, NOW - MINUTE), tick(899, NOW - MINUTE), tick(898, NOW - MINUTE))
    following = query.following(rows)
    assert following is not None
    assert dict(following.request.params) == {**asked, "type": "1", "after": "898"}
    assert following.following(read(following, tick(897, since), tick(896, since - MINUTE))) is None
    assert following.following(read(following, tick(897, since))) is not None
    assert following.following([]) is None
    with pytest.raises(Unparsable, match="no_progress"):
        following.following(read(following, tick(898)))


def test_a_trade_of_the_history_is_one_trade() -> None:
    (query,) = REST.history("trade", "BTC-USDT-SWAP", NOW - MINUTE, NOW, NOW)
    (row,) = read(query, {**tick(900), "source": "0"})
    assert (row["trade_id"], row["size"], row["side"]) == (900, Decimal("0.005"), "sell")
    assert (row["first_trade_id"], row["last_trade_id"], row["order_source"]) == (None, None, "0")


@pytest.mark.parametrize(("missing", "slug"), [("tradeId", "missing_id"), ("ts", "bad_time")])
def test_a_page_one_cannot_go_on_from_is_refused(missing: str, slug: str) -> None:
    (query,) = REST.history("trade", "BTC-USDT-SWAP", NOW - MINUTE, NOW, NOW)
    message = {name: value for name, value in tick(900).items() if name != missing}
    with pytest.raises(Unparsable, match=slug):
        query.following(read(query, message))


def test_what_is_no_longer_served_is_said_plainly() -> None:
    old = NOW - timedelta(days=91)
    with pytest.raises(NotServedError, match="since 2026-06-22 12:00 UTC: no trade of BTC-USDT-SWAP"):
        REST.history("trade", "BTC-USDT-SWAP", old - MINUTE, old, NOW)
    with pytest.raises(NotServedError, match="no candle of BTC-USDT-SWAP"):
        REST.history("candle", "BTC-USDT-SWAP", old - MINUTE, old, NOW, "1s")
    with pytest.raises(NotServedError, match="no ticker of BTC-USDT-SWAP"):
        REST.history("ticker", "BTC-USDT-SWAP", NOW - MINUTE, NOW, NOW)


def test_a_moment_is_asked_for_so_that_nothing_before_it_is_missed() -> None:
    for spare, asked in ((0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)):
        until = NOW + timedelta(microseconds=spare)
        (query,) = REST.history("trade", "BTC-USDT-SWAP", NOW - MINUTE, until, NOW)
        assert int(str(after(query))) == int(ms(NOW)) + asked


def test_tickers_are_asked_for_by_type_and_only_those_wanted_are_kept() -> None:
    query = REST.tickers(["BTC-USDT-SWAP", "ETH-USDT", "ETH-USDT-SWAP"])
    assert query.request.key() == "GET /api/v5/market/tickers?instType=SWAP"
    (message,) = json.loads(samples.TICKER)["data"]
    (row,) = read(query, message, {**message, "instId": "NEW-USDT-SWAP"})
    parsed = OKX.parse("ticker", samples.TICKER)
    assert isinstance(parsed, Parsed)
    assert [row] == parsed.rows
    spot = query.following([row])
    assert spot is not None
    assert spot.request.key() == "GET /api/v5/market/tickers?instType=SPOT"
    assert spot.following([]) is None


def test_unknown_fields_are_those_of_their_own_row() -> None:
    (message,) = json.loads(samples.TICKER)["data"]
    query = REST.tickers(["ETH-USDT-SWAP"])
    (row,) = read(query, {**message, "instId": "BTC-USDT-SWAP", "odd": 1}, {**message, "odd": 2})
    assert json.loads(str(row["extra"]))["odd"] == 2


def test_the_book_now_is_a_snapshot() -> None:
    query = REST.depth("BTC-USDT-SWAP")
    assert query.request.key() == "GET /api/v5/market/books?instId=BTC-USDT-SWAP&sz=400"
    assert query.levels == 400
    book = {"asks": [["41006.8", "60", "0", "1"]], "bids": [["41006.3", "30", "0", "2"]], "ts": ms(NOW)}
    (row,) = read(query, book)
    assert (row["kind"], row["last_update_id"], row["event_at"]) == ("snapshot", None, NOW)
    assert (row["ask_sizes"], row["bid_prices"]) == ([Decimal("0.6")], [Decimal("41006.3")])
    (numbered,) = read(query, {**book, "seqId": 77})
    assert numbered["last_update_id"] == 77
    assert query.following([row]) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}', "exchange_error: '51001': Instrument ID"),
        (b'{"code":"50011","msg":"Too Many Requests","data":[]}', "try_later: '50011': Too Many Requests"),
        (b'{"code":["50011"],"data":[]}', "exchange_error"),
        (b'{"code":0,"data":[]}', "exchange_error: 0"),
        (b'{"code":"0","msg":""}', "not_an_object"),
        (b'{"data":[]}', "not_an_object"),
        (b"[]", "not_an_object"),
        (b"<html>", "not_json"),
    ],
)
def test_an_answer_that_is_an_error_says_so(body: bytes, message: str) -> None:
    with pytest.raises(Unparsable, match=message):
        REST.candles("BTC-USDT-SWAP", "1m").rows(body, NOW)


@pytest.mark.parametrize("answer", [b"{}", b'{"code":"0","data":{}}', b'{"code":"0","data":null}', b'{"code":"0"}'])
def test_an_answer_of_another_shape_is_refused(answer: bytes) -> None:
    for query in (REST.markets(), REST.candles("BTC-USDT-SWAP", "1m"), REST.tickers(["BTC-USDT-SWAP"])):
        with pytest.raises(Unparsable, match="not_an_object"):
            query.rows(answer, NOW)


@pytest.mark.parametrize("books", [[], [{}, {}], [5], [{"asks": 5}]])
def test_an_answer_for_a_book_holds_one(books: list[Any]) -> None:
    with pytest.raises(Unparsable):
        REST.depth("BTC-USDT-SWAP").rows(answer(*books), NOW)


@pytest.mark.parametrize(("interval", "count"), [("10m", 0), ("1D", 0), ("1m", 101), ("1m", -1)])
def test_what_is_not_served_is_refused_before_asking(interval: str, count: int) -> None:
    with pytest.raises(ValueError):
        REST.candles("BTC-USDT-SWAP", interval, count=count)


def test_nothing_to_ask_for_is_refused() -> None:
    with pytest.raises(ValueError):
        REST.tickers([])
    with pytest.raises(Unparsable, match="bad_code"):
        REST.depth("KRW")


def test_each_request_counts_against_a_known_limit() -> None:
    queries: list[Query] = [
        REST.markets(),
        REST.candles("BTC-USDT-SWAP", "1m"),
        REST.tickers(["BTC-USDT-SWAP"]),
        REST.depth("BTC-USDT-SWAP"),
        *REST.history("trade", "BTC-USDT-SWAP", NOW - MINUTE, NOW, NOW),
        *REST.history("candle", "BTC-USDT-SWAP", NOW - MINUTE, NOW - timedelta(days=9), NOW, "1m"),
    ]
    assert {query.request.group for query in queries} == set(REST.limits)
    assert REST.remaining({"Date": "now"}) is None
