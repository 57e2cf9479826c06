"""Upbit's WebSocket frames become rows, whatever their spelling; what cannot is named and never passes."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchanges.upbit import samples
from tidemark.contracts import CONTRACTS, Kind
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Parsed, Row, Unparsable
from tidemark.exchanges.upbit import frames

UPBIT = registry.get("upbit")
#: Cores are shared with servers: how long an example takes says nothing.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
TYPES = {
    Kind.TEXT: str,
    Kind.DECIMAL: Decimal,
    Kind.DECIMALS: list,
    Kind.INTEGER: int,
    Kind.BOOLEAN: bool,
    Kind.TIMESTAMP: datetime,
    Kind.JSON: str,
}


def rows(dataset: str, frame: bytes) -> list[Row]:
    parsed = UPBIT.parse(dataset, frame)
    assert isinstance(parsed, Parsed)
    return parsed.rows


def row(dataset: str, frame: bytes) -> Row:
    (one,) = rows(dataset, frame)
    return one


def reason(dataset: str, frame: bytes) -> str:
    with pytest.raises(Unparsable) as caught:
        UPBIT.parse(dataset, frame)
    assert caught.value.message
    return caught.value.reason


def changed(frame: bytes, **fields: Any) -> bytes:
    """The frame with some fields replaced; bytes are a spelling, Ellipsis leaves the field out."""
    message = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])
    for name, value in fields.items():
        if value is ...:
            del message[name]
        else:
            message[name] = msgspec.Raw(value if isinstance(value, bytes) else json.dumps(value).encode())
    return msgspec.json.encode(message)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_trade() -> None:
    assert row("trade", samples.TRADE) == {
        "exchange": "upbit",
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "trade_id": 17898744375740003,
        "event_at": utc("2026-09-20T03:20:37.574"),
        "price": Decimal(109649000),
        "size": Decimal("0.0009"),
        "side": "buy",
        "published_at": utc("2026-09-20T03:20:37.622"),
        "prev_closing_price": Decimal(110917000),
        "change": "FALL",
        "change_price": Decimal(1268000),
        "best_ask_price": Decimal(109649000),
        "best_ask_size": Decimal("0.02228361"),
        "best_bid_price": Decimal(109602000),
        "best_bid_size": Decimal("0.00079276"),
        "stream_type": "REALTIME",
        "first_trade_id": None,
        "last_trade_id": None,
        "size_contracts": None,
        "size_without_rpi": None,
        "order_source": None,
        "sequence_id": None,
        "extra": None,
    }


def test_trade_of_2021_has_no_best_levels_and_a_taker_who_sold() -> None:
    trade = row("trade", samples.TRADE_2021)
    assert (trade["best_ask_price"], trade["best_bid_size"], trade["side"]) == (None, None, "sell")
    assert trade["size"] == Decimal("46.48838371")
    assert trade["extra"] is None


def test_ticker_fills_every_column_of_upbits_own() -> None:
    ticker = row("ticker", samples.TICKER)
    others = {"best_ask_price", "best_ask_size", "best_bid_price", "best_bid_size"}
    others |= {"open_price_24h", "high_price_24h", "low_price_24h"}
    others |= {"best_ask_contracts", "best_bid_contracts", "trade_volume_contracts"}
    assert {name for name, value in ticker.items() if value is None} == {"delisting_date", "extra"} | others
    assert ticker["acc_trade_price"] == Decimal("95088751392.90992")
    assert ticker["highest_52_week_price"] == 169_900_000
    assert (ticker["change_price"], ticker["signed_change_rate"]) == (0, 0)
    assert ticker["acc_ask_volume"] + ticker["acc_bid_volume"] == ticker["acc_trade_volume"]  # type: ignore[operator]
    assert ticker["event_at"] == utc("2025-09-26T08:26:46.974")
    assert ticker["trade_at"] == utc("2025-09-26T08:26:46.936")
    assert (ticker["trade_date"], ticker["trade_time"]) == ("20250926", "082646")


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ({"year": 2026, "month": 12, "day": 1}, "2026-12-01"),
        ({"day": 29, "month": 2, "year": 2028, "hour": 15}, "2028-02-29"),
        ("2026-12-01", "2026-12-01"),
        ("20261201", "2026-12-01"),
        ("2026-12-01T15:00:00", "2026-12-01"),
        (None, None),
    ],
)
@pytest.mark.parametrize(("kind", "code", "name"), [("type", "code", "delisting_date"), ("ty", "cd", "dd")])
def test_a_day_of_delisting_is_one_text(kind: str, code: str, name: str, value: object, day: str | None) -> None:
    found = row("ticker", json.dumps({kind: "ticker", code: "KRW-BTC", name: value}).encode())
    assert (found["delisting_date"], found["extra"]) == (day, None)


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        ("dd", "delisting_date", {"year": 2026, "month": 13, "day": 1}),
        ("dd", "delisting_date", {"year": 2026}),
        ("dd", "delisting_date", "soon"),
        ("dd", "delisting_date", 1796083200),
        ("dd", "delisting_date", [2026, 12, 1]),
        ("its", "is_trading_suspended", "false"),
        ("mw", "market_warning", ["CAUTION"]),
        ("ms", "market_state", 1),
        ("st", "stream_type", {"kind": "REALTIME"}),
        ("c", "change", True),
        ("tdt", "trade_date", 20261201),
        ("ab", "side", 1),
    ],
)
def test_an_odd_value_of_a_field_that_only_describes_costs_no_row(field: str, column: str, value: object) -> None:
    frame = {"ty": "ticker", "cd": "KRW-BTC", "tms": 1796083200000, "tp": 5.5, field: value}
    found = row("ticker", json.dumps(frame).encode())
    assert (found[column], found["trade_price"]) == (None, Decimal("5.5"))
    assert json.loads(str(found["extra"])) == {field: value}


@pytest.mark.parametrize("field", ["tp", "tv", "tms", "ttms", "h52wp"])
def test_an_odd_price_size_or_time_is_refused(field: str) -> None:
    frame = {"ty": "ticker", "cd": "KRW-BTC", "tms": 1796083200000, "tp": 5.5, field: {"value": 1}}
    assert reason("ticker", json.dumps(frame).encode()) == "bad_type"


def test_the_two_flags_that_will_be_removed_may_be_missing() -> None:
    found = row("ticker", changed(samples.TICKER, is_trading_suspended=..., market_warning=...))
    assert (found["is_trading_suspended"], found["market_warning"], found["extra"]) == (None, None, None)


def test_orderbook_drops_the_zeros_that_pad_a_thin_side() -> None:
    book = row("orderbook", samples.ORDERBOOK)
    assert book["ask_prices"] == [41840, 41850]
    assert book["ask_sizes"] == [Decimal("103.6"), Decimal("102.9")]
    assert book["bid_prices"] == [41730]
    assert book["bid_sizes"] == [Decimal("47.62562404")]
    assert (book["level"], book["stream_type"]) == (0, "SNAPSHOT")


def test_a_price_of_zero_with_a_size_is_no_padding() -> None:
    book = row("orderbook", samples.ORDERBOOK.replace(b'"bid_size":0E-8', b'"bid_size":1'))
    assert book["bid_prices"] == [41730, 0]
    assert book["bid_sizes"] == [Decimal("47.62562404"), 1]


def test_candle() -> None:
    candle = row("candle", samples.CANDLE)
    assert (candle["market"], candle["interval"]) == ("BTC-USDT", "1h")
    assert candle["event_at"] == utc("2026-07-30T07:00:00")
    assert candle["updated_at"] == utc("2026-07-30T07:45:31.885")
    assert [candle[c] for c in ("open", "high", "low")] == [91154, 91157, 91142]
    assert (candle["close"], candle["volume_base"]) == (Decimal("91156.5"), Decimal("0.15511395"))
    assert (candle["volume_quote"], candle["is_closed"]) == (Decimal("14139.44826754"), None)


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_all_four_formats_say_the_same(dataset: str) -> None:
    long, short = samples.BY_DATASET[dataset]
    expected = row(dataset, long)
    assert row(dataset, short) == expected
    assert row(dataset, b"[" + long + b"]") == expected
    assert row(dataset, b" [ " + short + b" ] ") == expected


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_rows_have_the_contracts_columns_and_types(dataset: str) -> None:
    for frame in samples.BY_DATASET[dataset]:
        found = row(dataset, frame)
        assert tuple(found) == CONTRACTS[dataset].names()
        for field in CONTRACTS[dataset].fields:
            assert found[field.name] is None or type(found[field.name]) is TYPES[field.kind], field.name


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_any_missing_field_but_type_and_code_leaves_a_null(dataset: str) -> None:
    long = samples.BY_DATASET[dataset][0]
    for name in json.loads(long).keys() - {"type", "code"}:
        without, null = (
            row(dataset, changed(long, **{name: ...})),
            row(dataset, changed(long, **{name: None})),
        )
        assert without == {**null, "extra": None}
        assert set(without) == set(CONTRACTS[dataset].names())


def test_an_array_of_events_keeps_their_order() -> None:
    other = changed(samples.TRADE, code="KRW-ETH")
    assert [r["code"] for r in rows("trade", b"[" + samples.TRADE + b"," + other + b"]")] == [
        "KRW-BTC",
        "KRW-ETH",
    ]


def test_unknown_fields_are_kept_as_they_were_spelled() -> None:
    frame = changed(samples.TRADE, odd=b"1.50E+8", nested=b'{"a" :[0E-8,null,"\xec\x9b\x90"]}', sequential=None)
    extra = row("trade", frame)["extra"]
    assert extra == '{"odd":1.50E+8,"nested":{"a" :[0E-8,null,"원"]},"sequential":null}'


def test_unknown_fields_of_the_second_event_are_its_own() -> None:
    frame = b"[" + samples.TRADE + b"," + changed(samples.TRADE, odd=7) + b"]"
    assert [r["extra"] for r in rows("trade", frame)] == [None, '{"odd":7}']


def test_legacy_ticker_fields_are_tolerated() -> None:
    frame = changed(samples.TICKER, trade_status=None, market_state_for_ios=None)
    assert json.loads(str(row("ticker", frame)["extra"])) == {
        "trade_status": None,
        "market_state_for_ios": None,
    }


def test_unknown_fields_within_levels_keep_the_levels_whole() -> None:
    frame = samples.ORDERBOOK.replace(b'{"ask_price":41840.0', b'{"orders":3,"ask_price":41840.0')
    book = row("orderbook", frame)
    assert book["ask_prices"] == [41840, 41850]
    assert json.loads(str(book["extra"]))["orderbook_units"][0]["orders"] == 3


def test_a_new_word_for_the_side_is_kept_and_the_side_is_null() -> None:
    trade = row("trade", changed(samples.TRADE, ask_bid="AUCTION"))
    assert (trade["side"], trade["extra"]) == (None, '{"ask_bid":"AUCTION"}')


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        (b"0E-8", "0"),
        (b"1.16539E8", "116539000"),
        (b"7.9276E-4", "0.00079276"),
        (b"95078733694.3792000000000000", "95078733694.3792"),
        (b"127", "127"),
        (b'"148737000.00000000"', "148737000"),
        (b"0.00000000000000000000000000", "0"),
        (b"99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        (b"0.1", "0.1"),
        (b"-5.5", "-5.5"),
    ],
)
def test_numbers_are_exact(spelling: bytes, value: str) -> None:
    assert row("trade", changed(samples.TRADE, trade_price=spelling))["price"] == Decimal(value)


@unhurried
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20) + 1, max_value=10**20 - 1, places=18))
def test_any_decimal_that_the_lake_holds_comes_through(number: Decimal) -> None:
    frame = changed(samples.TRADE, trade_price=str(number).encode())
    assert row("trade", frame)["price"] == number


@unhurried
@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_any_id_of_64_bits_comes_through(number: int) -> None:
    assert row("trade", changed(samples.TRADE, sequential_id=number))["trade_id"] == number


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        (b"0.0000000000000000001", "bad_number"),
        (b"100000000000000000000", "bad_number"),
        (b"1E400", "bad_number"),
        (b"1E999999999999999999999", "bad_number"),
        (b"9" * 5000, "bad_number"),
        (b"true", "bad_type"),
        (b'"many"', "bad_type"),
        (b'"NaN"', "bad_type"),
        (b"[1]", "bad_type"),
        (b"NaN", "not_json"),
        (b"01", "not_json"),
    ],
)
def test_numbers_that_are_none_are_refused(spelling: bytes, slug: str) -> None:
    frame = samples.TRADE.replace(b"109649000.0,", spelling + b",")
    assert frame != samples.TRADE
    assert reason("trade", frame) == slug


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        (b"1.5", "bad_number"),
        (b"9223372036854775808", "bad_number"),
        (b"true", "bad_type"),
        (b"1E400", "bad_number"),
    ],
)
def test_ids_that_are_none_are_refused(spelling: bytes, slug: str) -> None:
    assert reason("trade", changed(samples.TRADE, sequential_id=spelling)) == slug


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        (b"1691530805062000", "2023-08-08T21:40:05.062"),
        (b"1691530805062001", "2023-08-08T21:40:05.062001"),
        (b"1691530805062", "2023-08-08T21:40:05.062"),
        (b"1691530805", "2023-08-08T21:40:05"),
        (b"1.691530805062E12", "2023-08-08T21:40:05.062"),
    ],
)
def test_times_are_told_apart_by_magnitude(spelling: bytes, expected: str) -> None:
    assert row("orderbook", changed(samples.ORDERBOOK, timestamp=spelling))["event_at"] == utc(expected)


@pytest.mark.parametrize(
    ("spelling", "slug"),
    [
        (b"-1", "bad_time"),
        (b"1691530805062000000", "bad_time"),
        (b'"soon"', "bad_type"),
        (b"false", "bad_type"),
    ],
)
def test_times_that_are_none_are_refused(spelling: bytes, slug: str) -> None:
    assert reason("orderbook", changed(samples.ORDERBOOK, timestamp=spelling)) == slug


@pytest.mark.parametrize("start", ["yesterday", "2026-13-01T00:00:00", ""])
def test_a_bar_must_start_at_a_time(start: str) -> None:
    assert reason("candle", changed(samples.CANDLE, candle_date_time_utc=start)) == "bad_time"


@pytest.mark.parametrize(
    ("frame", "slug"),
    [
        (b"", "not_json"),
        (b"\x00\xff\xfe", "not_json"),
        (b"{", "not_json"),
        (b'{"type":"trade"}garbage', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'"PONG"', "not_an_object"),
        (b"17", "not_an_object"),
        (b"[]", "not_an_object"),
        (b"[1]", "not_an_object"),
        (b'[{"type":"trade","code":"KRW-BTC"},null]', "not_an_object"),
        (b"{}", "unknown_type"),
        (b'{"type":"liquidation","code":"KRW-BTC"}', "unknown_type"),
        (b'{"type":5,"code":"KRW-BTC"}', "unknown_type"),
        (b'{"type":"candle.7m","code":"KRW-BTC"}', "unknown_type"),
        (b'{"type":"trade"}', "missing_code"),
        (b'{"type":"trade","code":null}', "missing_code"),
        (b'{"type":"trade","code":"krw-btc"}', "bad_code"),
        (b'{"type":"trade","code":"BTC"}', "bad_code"),
        (b'{"type":"trade","code":"KRW-BTC-ETH"}', "bad_code"),
        (b'{"type":"trade","code":"KRW-BTC\\n"}', "bad_code"),
        (b'{"type":"trade","code":["KRW-BTC"]}', "bad_code"),
        (b'{"type":"trade","code":"KRW-BTC","trade_price":{}}', "bad_type"),
        (b'{"type":"trade","code":"KRW-BTC","change":"\\u0000"}', "bad_text"),
        (b'{"type":"trade","code":"KRW-BTC","odd":"\\u0000"}', "bad_text"),
        (b'{"type":"trade","code":"KRW-BTC","odd":{"\\u0000":[1]}}', "bad_text"),
        (b'{"type":"trade","code":"KRW-BTC","odd":[1E200000]}', "bad_number"),
        (b'{"type":"trade","code":"KRW-BTC","odd":' + b"[" * 500 + b"]" * 500 + b"}", "too_deep"),
        (b'{"type":"ticker","code":"KRW-BTC"}', "wrong_topic"),
        (b'{"type":"trade","code":"KRW-BTC"}'.replace(b"trade", b"\\ud800"), "not_json"),
        (samples.STATUS, "wrong_topic"),
        (samples.ERROR, "wrong_topic"),
    ],
)
def test_what_cannot_be_placed_is_named(frame: bytes, slug: str) -> None:
    assert reason("trade", frame) == slug


@pytest.mark.parametrize("units", [b"5", b"[5]", b'{"ask_price":1}', b'[{"ask_price":true}]'])
def test_levels_must_be_levels(units: bytes) -> None:
    assert reason("orderbook", changed(samples.ORDERBOOK, orderbook_units=units)) == "bad_type"


def test_a_sign_of_life_is_ignored() -> None:
    assert UPBIT.parse("system", samples.STATUS) == Ignored("status")


def test_an_error_of_the_exchange_is_a_dead_letter_with_its_words() -> None:
    with pytest.raises(Unparsable, match="exchange_error: 'NO_CODES': codes is required"):
        UPBIT.parse("system", samples.ERROR)


def test_market_data_among_the_systems_is_misplaced() -> None:
    assert reason("system", samples.TRADE) == "wrong_topic"


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_classify_knows_every_format(dataset: str) -> None:
    code = json.loads(samples.BY_DATASET[dataset][0])["code"]
    for frame in samples.BY_DATASET[dataset]:
        for spelling in (
            frame,
            b"[" + frame + b"]",
            b"\n [ " + frame + b"]",
            json.dumps(json.loads(frame)).encode(),
        ):
            assert UPBIT.classify(spelling) == (dataset, code)


def test_classify_reads_on_when_type_and_code_do_not_come_first() -> None:
    message = dict(reversed(json.loads(samples.TRADE).items()))
    assert UPBIT.classify(json.dumps(message).encode()) == ("trade", "KRW-BTC")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (samples.STATUS, ("system", "")),
        (samples.ERROR, ("system", "")),
        (b"", ("system", "")),
        (b"\xff", ("system", "")),
        (b"[]", ("system", "")),
        (b"[" * 100_000, ("system", "")),
        (b'{"type":"liquidation","code":"KRW-BTC"}', ("system", "")),
        (b'{"type":["trade"],"code":"KRW-BTC"}', ("system", "")),
        (b'{"type":"trade"}', ("trade", "")),
        (b'{"type":"trade","code":5}', ("trade", "")),
        (b'{"type":"trade","code":"krw-btc"}', ("trade", "")),
        (b'{"x":{"type":"ticker"},"type":"trade","code":"KRW-BTC"}', ("trade", "KRW-BTC")),
    ],
)
def test_classify_is_never_an_error(frame: bytes, expected: tuple[str, str]) -> None:
    assert UPBIT.classify(frame) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["type", "ty", "code", "cd", "trade_price", "obu", "orderbook_units", "timestamp", "x"])
_VALUES = st.sampled_from(["trade", "ticker", "orderbook", "candle.1m", "KRW-BTC", 1, "0E-8"]) | _JSON


@unhurried
@given(st.binary() | st.dictionaries(_KEYS, _VALUES).map(lambda m: json.dumps(m).encode()))
def test_whatever_comes_is_rows_or_a_reason_and_the_topic_is_right(frame: bytes) -> None:
    dataset, _ = UPBIT.classify(frame)
    with contextlib.suppress(Unparsable):
        assert isinstance(UPBIT.parse(dataset, frame), Parsed | Ignored)
    for other in {"trade", "ticker", "orderbook", "candle", "system"} - {dataset}:
        with pytest.raises(Unparsable):
            UPBIT.parse(other, frame)


_PARTS = [
    "{",
    "[{",
    '"type":',
    '"ty": ',
    '"trade"',
    '"candle.240m"',
    '"news"',
    ",",
    ", ",
    '"code":',
    '"cd":',
    '"KRW-BTC"',
]


@given(st.lists(st.sampled_from([*_PARTS, '"KRW-BTC"', '"A-B"', '"A"', '"tp":1', "}", "]", " " * 30]), max_size=14))
def test_what_has_been_seen_changes_no_classification(parts: list[str]) -> None:
    frame = "".join(parts).encode()
    unseen = frames._look(frame, b"")
    assert UPBIT.classify(frame) == unseen
    assert UPBIT.classify(frame) == unseen
    assert UPBIT.classify(frame + b',"x":1}') == frames._look(frame + b',"x":1}', b"")


def test_the_reader_of_records_knows_their_kinds() -> None:
    assert registry.read("upbit", "trade", None, samples.TRADE) == UPBIT.parse("trade", samples.TRADE)
    with pytest.raises(Unparsable, match="truncated"):
        registry.read("upbit", "system", "oversized", samples.TRADE)
    with pytest.raises(Unparsable, match="unknown_kind"):
        registry.read("upbit", "system", "new", b"{}")
    with pytest.raises(KeyError, match=r"there are: .*upbit"):
        registry.read("nyse", "trade", None, samples.TRADE)
