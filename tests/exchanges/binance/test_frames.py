"""Binance's WebSocket frames become rows, wrapped or bare; what cannot is named and never passes."""

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

from tests.exchanges.binance import samples
from tidemark.contracts import CONTRACTS, Kind
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Parsed, Row, Unparsable, Word

BINANCE = registry.get("binance")
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
    parsed = BINANCE.parse(dataset, frame)
    assert isinstance(parsed, Parsed)
    return parsed.rows


def row(dataset: str, frame: bytes) -> Row:
    (one,) = rows(dataset, frame)
    return one


def reason(dataset: str, frame: bytes) -> str:
    with pytest.raises(Unparsable) as caught:
        BINANCE.parse(dataset, frame)
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


def test_an_aggregate_trade_stands_for_a_range_of_ids() -> None:
    expected = dict.fromkeys(CONTRACTS["trade"].names())
    assert row("trade", samples.TRADE) == expected | {
        "exchange": "binance",
        "market": "BTC-USDT",
        "code": "BTCUSDT",
        "trade_id": 3164870001,
        "event_at": utc("2026-03-20T09:46:40.101"),
        "price": Decimal("64250.1"),
        "size": Decimal("0.25"),
        "side": "sell",
        "published_at": utc("2026-03-20T09:46:40.123"),
        "first_trade_id": 7301200010,
        "last_trade_id": 7301200013,
    }
    assert row("trade", changed(samples.TRADE, m=False))["side"] == "buy"


def test_a_bar() -> None:
    bar = row("candle", samples.CANDLE)
    empty = {name for name, value in bar.items() if value is None}
    daily = {"prev_closing_price", "signed_change_price", "signed_change_rate"}
    assert empty == daily | {"stream_type", "volume_contracts", "extra"}
    assert (bar["market"], bar["interval"], bar["is_closed"]) == ("ETH-USDT", "1m", True)
    assert (bar["event_at"], bar["updated_at"]) == (utc("2026-03-20T09:46:00"), utc("2026-03-20T09:47:11.250"))
    assert [bar[n] for n in ("open", "high", "low", "close")] == [
        Decimal(n) for n in ("3400.1", "3402.5", "3399.9", "3401")
    ]
    assert (bar["trade_count"], bar["first_trade_id"], bar["last_trade_id"]) == (50, 5100, 5149)
    assert (bar["volume_base"], bar["volume_quote"]) == (Decimal("120.5"), Decimal("409820.505"))
    assert (bar["buy_volume_base"], bar["buy_volume_quote"]) == (Decimal("70.25"), Decimal("238925.25"))


def test_a_bar_without_trades_has_no_ids() -> None:
    bar = row("candle", samples.CANDLE.replace(b'"f":5100,"L":5149', b'"f":-1,"L":-1'))
    assert (bar["first_trade_id"], bar["last_trade_id"], bar["extra"]) == (None, None, None)


@pytest.mark.parametrize(("theirs", "ours"), [("1M", "1mo"), ("1h", "1h"), ("1w", "1w")])
def test_intervals(theirs: str, ours: str) -> None:
    assert row("candle", samples.CANDLE.replace(b'"i":"1m"', f'"i":"{theirs}"'.encode()))["interval"] == ours


def test_a_new_interval_is_kept_and_not_guessed() -> None:
    bar = row("candle", samples.CANDLE.replace(b'"i":"1m"', b'"i":"45m"'))
    assert bar["interval"] is None
    assert json.loads(str(bar["extra"]))["k"]["i"] == "45m"


def test_a_change_of_the_book() -> None:
    depth = row("depth", samples.DEPTH)
    assert (depth["kind"], depth["checksum"], depth["extra"]) == ("update", None, None)
    assert [depth[f"{n}_update_id"] for n in ("first", "last", "prev")] == [9000000101, 9000000140, 9000000090]
    assert (depth["event_at"], depth["changed_at"]) == (utc("2026-03-20T09:46:40.200"), utc("2026-03-20T09:46:40.195"))
    assert (depth["ask_prices"], depth["ask_sizes"]) == ([Decimal("64250.1")], [Decimal("0.75")])
    assert (depth["bid_prices"], depth["bid_sizes"]) == ([64250, Decimal("64249.9")], [Decimal("1.5"), 0])


def test_a_change_of_one_side_only() -> None:
    assert row("depth", changed(samples.DEPTH, b=[]))["bid_prices"] == []


def test_levels_that_hold_more_are_kept_whole() -> None:
    depth = row("depth", changed(samples.DEPTH, a=[["64250.10", "0.750", "7"]]))
    assert (depth["ask_prices"], depth["extra"]) == ([Decimal("64250.1")], '{"a":[["64250.10", "0.750", "7"]]}')


@pytest.mark.parametrize("levels", [5, [5], [["1"]], [{"p": 1}]])
def test_levels_must_be_levels(levels: object) -> None:
    assert reason("depth", changed(samples.DEPTH, b=levels)) == "bad_type"


def test_a_ticker_keeps_what_no_column_holds() -> None:
    ticker = row("ticker", samples.TICKER)
    assert (ticker["trade_price"], ticker["trade_volume"]) == (Decimal("64250.1"), Decimal("0.25"))
    assert (ticker["open_price_24h"], ticker["high_price_24h"], ticker["low_price_24h"]) == (
        Decimal("64500.1"),
        65000,
        64000,
    )
    assert ticker["acc_trade_price_24h"] == Decimal("793800000.12")
    assert set(json.loads(str(ticker["extra"]))) == {"p", "P", "w", "O", "C", "F", "L", "n"}


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_the_wrapper_changes_nothing(dataset: str) -> None:
    event = changed(samples.BY_DATASET[dataset], st=1, odd=b"1.50E+8")
    bare, wrapped = row(dataset, event), row(dataset, samples.wrapped(event, samples.STREAMS[dataset]))
    assert bare == wrapped
    assert '"odd":1.50E+8' in str(bare["extra"])
    assert dataset == "candle" or '"st"' not in str(bare["extra"])


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_rows_have_the_contracts_columns_and_types(dataset: str) -> None:
    found = row(dataset, samples.BY_DATASET[dataset])
    assert tuple(found) == CONTRACTS[dataset].names()
    for field in CONTRACTS[dataset].fields:
        assert found[field.name] is None or type(found[field.name]) is TYPES[field.kind], field.name


@pytest.mark.parametrize("dataset", ["trade", "depth", "ticker"])
def test_any_missing_field_but_type_and_code_leaves_a_null(dataset: str) -> None:
    event = samples.BY_DATASET[dataset]
    for name in json.loads(event).keys() - {"e", "s"}:
        without, null = row(dataset, changed(event, **{name: ...})), row(dataset, changed(event, **{name: None}))
        assert {**without, "extra": None} == {**null, "extra": None}


def test_unknown_fields_of_a_bar_keep_the_bar_whole() -> None:
    bar = row("candle", samples.CANDLE.replace(b'"B":"0"', b'"B":"0","z":0E-8'))
    assert '"z":0E-8' in str(bar["extra"])
    assert bar["close"] == 3401


def test_many_events_of_one_frame_keep_their_order() -> None:
    other = changed(samples.TICKER, s="ETHUSDT")
    frame = samples.wrapped(b"[" + samples.TICKER + b"," + other + b"]", "!ticker@arr")
    assert [r["market"] for r in rows("ticker", frame)] == ["BTC-USDT", "ETH-USDT"]
    assert BINANCE.classify(frame) == ("ticker", "BTCUSDT")


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_the_cheap_look_agrees_with_the_parser(dataset: str) -> None:
    event = samples.BY_DATASET[dataset]
    spaced = json.dumps(json.loads(event)).encode()
    turned = json.dumps(dict(reversed(json.loads(event).items()))).encode()
    for frame in (event, spaced, turned):
        code = row(dataset, event)["code"]
        stream = samples.STREAMS[dataset]
        assert BINANCE.classify(frame) == (dataset, code)
        assert BINANCE.classify(samples.wrapped(frame, stream)) == (dataset, code)
        assert BINANCE.classify(b'{"data":' + frame + b',"stream":"' + stream.encode() + b'"}') == (dataset, code)


@pytest.mark.parametrize("stream", ["btcusdt@depth20@100ms", "btcusdt@depth5", "btcusdt@rpiDepth@500ms"])
def test_partial_books_are_no_changes(stream: str) -> None:
    frame = samples.wrapped(samples.DEPTH, stream)
    assert BINANCE.classify(frame) == ("system", "")
    assert reason("system", frame) == "no_dataset"
    assert reason("depth", frame) == "unknown_type"


@pytest.mark.parametrize("stream", ["btcusdt@depth", "btcusdt@depth@500ms", "btcusdt@depth@0ms"])
def test_changes_at_any_speed_are_changes(stream: str) -> None:
    assert BINANCE.classify(samples.wrapped(samples.DEPTH, stream)) == ("depth", "BTCUSDT")


@pytest.mark.parametrize(
    "frame",
    [
        samples.BOOK_TICKER,
        samples.wrapped(samples.BOOK_TICKER, "btcusdt@bookTicker"),
        b'{"e":"trade","E":1774000000122,"T":1774000000122,"s":"BTCUSDT","t":526,"p":"1","q":"1","X":"MARKET","m":false}',
        b'{"e":"markPriceUpdate","E":1774000000122,"s":"BTCUSDT","p":"58940.1"}',
    ],
)
def test_types_that_are_known_and_carried_nowhere_wait_as_dead_letters(frame: bytes) -> None:
    assert BINANCE.classify(frame) == ("system", "")
    assert reason("system", frame) == "no_dataset"


@pytest.mark.parametrize(
    ("frame", "slug"),
    [
        (b"", "not_json"),
        (b"\x00\xff\xfe", "not_json"),
        (b"{", "not_json"),
        (samples.TRADE + b"garbage", "not_json"),
        (b"5", "not_an_object"),
        (b"[]", "not_an_object"),
        (b'{"stream":"btcusdt@aggTrade","data":[]}', "not_an_object"),
        (b'{"stream":"btcusdt@aggTrade","data":null}', "not_an_object"),
        (samples.ACK, "wrong_topic"),
        (samples.DEPTH, "wrong_topic"),
        (changed(samples.TRADE, e="news"), "unknown_type"),
        (changed(samples.TRADE, s=...), "missing_code"),
        (changed(samples.TRADE, s="btcusdt"), "bad_code"),
        (changed(samples.TRADE, s="BTCXYZ"), "bad_code"),
        (changed(samples.TRADE, s=5), "bad_code"),
        (changed(samples.TRADE, p="many"), "bad_type"),
        (changed(samples.TRADE, p="1E400"), "bad_number"),
        (changed(samples.TRADE, q="0.0000000000000000001"), "bad_number"),
        (changed(samples.TRADE, a="1.5"), "bad_number"),
        (changed(samples.TRADE, T=-1), "bad_time"),
        (changed(samples.TRADE, m="true"), "bad_type"),
    ],
)
def test_what_is_no_trade_is_refused(frame: bytes, slug: str) -> None:
    assert reason("trade", frame) == slug


@pytest.mark.parametrize("bar", [None, 5, []])
def test_a_bar_must_be_one(bar: object) -> None:
    assert reason("candle", changed(samples.CANDLE, k=bar)) == "bad_type"


@pytest.mark.parametrize(
    ("code", "market"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("BTCUSDC", "BTC-USDC"),
        ("ETHBTC", "ETH-BTC"),
        ("1000SHIBUSDT", "1000SHIB-USDT"),
        ("USDCUSDT", "USDC-USDT"),
        ("BNBBUSD", "BNB-BUSD"),
        ("BTCUSDT_250328", "BTC-USDT-250328"),
        ("币安人生USDT", "币安人生-USDT"),
    ],
)
def test_codes_and_markets(code: str, market: str) -> None:
    assert BINANCE.market(code) == market
    trade = changed(samples.TRADE, s=json.dumps(code, ensure_ascii=False).encode())
    assert BINANCE.classify(trade) == ("trade", code)
    assert row("trade", trade)["market"] == market
    assert BINANCE.classify(changed(samples.TRADE, s=code)) == ("trade", code)  # spelled with escapes


@pytest.mark.parametrize("code", ["", "BTC", "USDT", "btcusdt", "BTC-USDT", "BTCUSDT_", "BTC USDT", "BTCUSDT_x"])
def test_what_is_no_code(code: str) -> None:
    with pytest.raises(Unparsable, match="bad_code"):
        BINANCE.market(code)


def test_an_acknowledgement_is_ignored_and_heard() -> None:
    assert BINANCE.classify(samples.ACK) == ("system", "")
    assert BINANCE.parse("system", samples.ACK) == Ignored("acknowledgement")
    heard = BINANCE.reply(samples.ACK)
    assert heard is not None
    assert (heard.word, heard.about) == (Word.ACKNOWLEDGED, "3")


@pytest.mark.parametrize("frame", [samples.ERROR, b'{"code":2,"msg":"Invalid request: invalid stream","id":3}'])
def test_a_refusal_is_a_dead_letter_and_heard(frame: bytes) -> None:
    assert BINANCE.classify(frame) == ("system", "")
    assert reason("system", frame) == "exchange_error"
    heard = BINANCE.reply(frame)
    assert heard is not None
    assert (heard.word, heard.about, heard.message) == (Word.REFUSED, "3", "2: Invalid request: invalid stream")


def test_a_farewell() -> None:
    frame = b'{"e":"serverShutdown","E":1774000000122}'
    heard = BINANCE.reply(frame)
    assert heard is not None
    assert heard.word is Word.LEAVING
    assert BINANCE.parse("system", frame) == Ignored("leaving")


@pytest.mark.parametrize(
    "frame", [b"", b"5", b"[]", b'{"id":1}', b'{"result":["btcusdt@trade"],"id":1}', samples.TRADE]
)
def test_anything_else_says_nothing(frame: bytes) -> None:
    assert BINANCE.reply(frame) is None


@unhurried
@given(st.binary(max_size=200))
def test_no_bytes_get_past_the_parser_or_break_the_look(frame: bytes) -> None:
    assert BINANCE.classify(frame)[0] in {*samples.BY_DATASET, "system"}
    BINANCE.reply(frame)
    for dataset in (*samples.BY_DATASET, "system"):
        with contextlib.suppress(Unparsable):
            BINANCE.parse(dataset, frame)


@unhurried
@given(st.sampled_from(sorted(samples.BY_DATASET)), st.data())
def test_no_spoiled_frame_breaks_anything(dataset: str, data: st.DataObject) -> None:
    frame = bytearray(samples.wrapped(samples.BY_DATASET[dataset], samples.STREAMS[dataset]))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    found, _ = BINANCE.classify(bytes(frame))
    with contextlib.suppress(Unparsable):
        BINANCE.parse(found, bytes(frame))


@unhurried
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**20 - 1, places=18))
def test_any_decimal_that_the_lake_holds_comes_through(number: Decimal) -> None:
    assert row("trade", changed(samples.TRADE, p=str(number)))["price"] == number
    assert row("depth", changed(samples.DEPTH, a=[["1", str(number)]]))["ask_sizes"] == [number]
