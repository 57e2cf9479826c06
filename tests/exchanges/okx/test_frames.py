"""OKX's WebSocket frames become rows, sizes in coins; what cannot is named and never passes."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.exchanges.okx import samples
from tidemark.contracts import CONTRACTS, Kind
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Parsed, Reply, Row, Unparsable, Word

OKX = registry.get("okx")
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
    parsed = OKX.parse(dataset, frame)
    assert isinstance(parsed, Parsed)
    return parsed.rows


def row(dataset: str, frame: bytes) -> Row:
    (one,) = rows(dataset, frame)
    return one


def said(dataset: str, frame: bytes) -> Row:
    """The columns of the frame's one row that hold something."""
    return {name: value for name, value in row(dataset, frame).items() if value is not None}


def reason(dataset: str, frame: bytes) -> str:
    with pytest.raises(Unparsable) as caught:
        OKX.parse(dataset, frame)
    assert caught.value.message
    return caught.value.reason


def changed(frame: bytes, **fields: Any) -> bytes:
    """The frame with some fields of its one event replaced; Ellipsis leaves the field out."""
    message = json.loads(frame)
    for name, value in fields.items():
        if value is ...:
            del message["data"][0][name]
        else:
            message["data"][0][name] = value
    return json.dumps(message).encode()


def of(code: str, frame: bytes) -> bytes:
    """The frame as one of another instrument."""
    message = json.loads(frame)
    message["arg"]["instId"] = code
    for event in message["data"]:
        if isinstance(event, dict) and "instId" in event:
            event["instId"] = code
    return json.dumps(message).encode()


def bar(channel: str, *values: object) -> bytes:
    return json.dumps({"arg": {"channel": channel, "instId": "BTC-USDT-SWAP"}, "data": [list(values)]}).encode()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_trade() -> None:
    assert said("trade", samples.TRADE) == {
        "exchange": "okx",
        "market": "BTC-USDT",
        "code": "BTC-USDT-SWAP",
        "trade_id": 130639474,
        "event_at": utc("2025-05-12T21:59:23.557"),
        "price": Decimal("102810.1"),
        "size": Decimal("0.075"),
        "size_contracts": Decimal("7.5"),
        "side": "buy",
        "first_trade_id": 130639472,
        "last_trade_id": 130639474,
    }


@pytest.mark.parametrize("count", [..., None, "", "1", 1])
def test_a_message_of_one_trade_stands_for_its_own_id_only(count: Any) -> None:
    trade = row("trade", changed(samples.TRADE, count=count))
    assert (trade["trade_id"], trade["first_trade_id"], trade["last_trade_id"]) == (130639474, None, None)


@pytest.mark.parametrize(("count", "slug"), [("0", "bad_number"), ("-2", "bad_number"), ("some", "bad_type")])
def test_a_message_stands_for_one_trade_at_least(count: str, slug: str) -> None:
    assert reason("trade", changed(samples.TRADE, count=count)) == slug


def test_a_spot_trade_of_2022_is_in_coins_already() -> None:
    trade = row("trade", samples.TRADE_2022)
    assert (trade["market"], trade["size"], trade["side"]) == ("ZEN-USDT-SPOT", 8, "sell")
    assert trade["extra"] is None


UNKNOWN = ["XMR-USDT-SWAP", "ETH-USD_UM_XPERP-310404", "BTC-USD_UM-261030", "BTC-USDC-SWAP", "SOL-USD-261225-100-C"]


@pytest.mark.parametrize("code", UNKNOWN)
def test_a_trade_of_an_unknown_contract_keeps_its_contracts(code: str) -> None:
    trade = row("trade", of(code, samples.TRADE))
    assert (trade["code"], trade["size"], trade["size_contracts"]) == (code, None, Decimal("7.5"))
    assert (trade["price"], trade["extra"]) == (Decimal("102810.1"), None)


def test_a_spot_trade_counts_no_contracts() -> None:
    trade = row("trade", of("BTC-USDT", samples.TRADE))
    assert (trade["size"], trade["size_contracts"]) == (Decimal("7.5"), None)


@pytest.mark.parametrize("code", UNKNOWN)
def test_a_ticker_of_an_unknown_contract_keeps_what_was_sent(code: str) -> None:
    ticker = row("ticker", of(code, samples.TICKER))
    assert [ticker[name] for name in ("trade_volume", "best_ask_size", "best_bid_size")] == [None] * 3
    assert ticker["trade_price"] == Decimal("2560.01")
    sent = ("trade_volume_contracts", "best_ask_contracts", "best_bid_contracts")
    assert [ticker[name] for name in sent] == [Decimal("12.3"), Decimal("100"), Decimal("250.5")]
    assert json.loads(str(ticker["extra"])) == {"sodUtc8": "2520.2", "vol24h": "12345678"}


@pytest.mark.parametrize("code", UNKNOWN)
def test_every_change_of_an_unknown_contracts_book_is_in_contracts(code: str) -> None:
    """One that only removes levels too: 0 contracts are 0 coins, but the others of the book are contracts."""
    changes = [row("depth", of(code, frame)) for frame in (samples.BOOK_SNAPSHOT, samples.BOOK_UPDATE)]
    assert [one["size_unit"] for one in changes] == ["contract", "contract"]
    assert changes[0]["ask_sizes"] == [415, 7]
    assert changes[1]["ask_sizes"] == [0]
    assert [row("depth", frame)["size_unit"] for frame in (samples.BOOK_SNAPSHOT, samples.BOOK_UPDATE)] == [None] * 2


def test_a_trade_of_the_other_channel_is_the_same_trade() -> None:
    alone = changed(samples.TRADE, count=...)
    assert row("trade", alone.replace(b'"trades"', b'"trades-all"')) == row("trade", alone)


def test_several_trades_in_a_frame_keep_their_order() -> None:
    message = json.loads(samples.TRADE)
    message["data"].append({**message["data"][0], "tradeId": "130639475", "count": "1", "odd": 7})
    found = rows("trade", json.dumps(message).encode())
    assert [r["trade_id"] for r in found] == [130639474, 130639475]
    assert [r["extra"] for r in found] == [None, '{"odd":7}']


def test_what_no_column_holds_is_kept_as_it_was_spelled() -> None:
    frame = samples.TRADE.replace(b'"count":"3"', b'"count":"3","seqId":1234,"source":"0","odd":[1.50E+8]')
    trade = row("trade", frame)
    assert (trade["sequence_id"], trade["order_source"], trade["extra"]) == (1234, "0", '{"odd":[1.50E+8]}')


def test_a_new_word_for_the_side_is_kept_and_the_side_is_null() -> None:
    trade = row("trade", changed(samples.TRADE, side="auction"))
    assert trade["side"] is None
    assert json.loads(str(trade["extra"])) == {"side": "auction"}


def test_ticker_counts_contracts_and_says_coins() -> None:
    assert said("ticker", samples.TICKER) == {
        "exchange": "okx",
        "market": "ETH-USDT",
        "code": "ETH-USDT-SWAP",
        "event_at": utc("2025-05-12T21:59:23.600"),
        "trade_price": Decimal("2560.01"),
        "trade_volume": Decimal("1.23"),
        "best_ask_price": Decimal("2560.02"),
        "best_ask_size": Decimal("10"),
        "best_bid_price": Decimal("2560"),
        "best_bid_size": Decimal("25.05"),
        "opening_price": Decimal("2510"),
        "open_price_24h": Decimal("2500"),
        "high_price_24h": Decimal("2600.5"),
        "low_price_24h": Decimal("2490.1"),
        "acc_trade_volume_24h": Decimal("1234567.8"),
        "trade_volume_contracts": Decimal("12.3"),
        "best_ask_contracts": Decimal("100"),
        "best_bid_contracts": Decimal("250.5"),
        "extra": '{"sodUtc8":"2520.2","vol24h":"12345678"}',
    }


def test_ticker_of_a_spot_market_has_coins_and_money_of_its_day() -> None:
    ticker = row("ticker", of("ETH-USDT", samples.TICKER))
    assert (ticker["market"], ticker["trade_volume"]) == ("ETH-USDT-SPOT", Decimal("12.3"))
    assert ticker["best_bid_size"] == Decimal("250.5")
    assert (ticker["acc_trade_volume_24h"], ticker["acc_trade_price_24h"]) == (12345678, Decimal("1234567.8"))
    assert json.loads(str(ticker["extra"])) == {"sodUtc8": "2520.2"}


def test_an_empty_text_is_no_value() -> None:
    ticker = row("ticker", samples.TICKER_WITHOUT_BID)
    assert (ticker["best_bid_price"], ticker["best_bid_size"]) == (None, None)
    assert "bidPx" not in str(ticker["extra"])


def test_candle_of_a_swap_has_coins_money_and_contracts() -> None:
    assert said("candle", samples.CANDLE) == {
        "exchange": "okx",
        "market": "BTC-USDT",
        "code": "BTC-USDT-SWAP",
        "interval": "5m",
        "event_at": utc("2025-05-12T13:05:00"),
        "open": Decimal("102800"),
        "high": Decimal("102850.5"),
        "low": Decimal("102799.9"),
        "close": Decimal("102810"),
        "volume_base": Decimal("10.4037"),
        "volume_quote": Decimal("1069603.35"),
        "volume_contracts": Decimal("1040.37"),
        "updated_at": utc("2025-05-12T13:05:00"),
        "is_closed": False,
    }


def test_candle_of_a_spot_market_has_coins_and_money() -> None:
    candle = row("candle", of("BTC-USDT", samples.CANDLE))
    assert (candle["volume_base"], candle["volume_quote"]) == (Decimal("1040.37"), Decimal("10.4037"))
    assert candle["volume_contracts"] is None


def test_candle_of_2022_has_seven_values_and_no_word_on_its_end() -> None:
    candle = row("candle", samples.CANDLE_2022)
    assert (candle["volume_contracts"], candle["volume_base"], candle["volume_quote"]) == (4070, Decimal("40.7"), None)
    assert (candle["is_closed"], candle["extra"]) == (None, None)


@pytest.mark.parametrize(
    ("channel", "interval", "start", "end"),
    [
        ("candle1s", "1s", "2026-01-31T23:59:59", "2026-02-01T00:00:00"),
        ("candle1m", "1m", "2026-01-31T23:59:00", "2026-02-01T00:00:00"),
        ("candle1H", "1h", "2026-01-31T23:00:00", "2026-02-01T00:00:00"),
        ("candle4H", "4h", "2026-01-31T20:00:00", "2026-02-01T00:00:00"),
        ("candle6Hutc", "6h", "2026-01-31T18:00:00", "2026-02-01T00:00:00"),
        ("candle12Hutc", "12h", "2026-01-31T12:00:00", "2026-02-01T00:00:00"),
        ("candle1Dutc", "1d", "2026-01-31T00:00:00", "2026-02-01T00:00:00"),
        ("candle1Wutc", "1w", "2026-01-26T00:00:00", "2026-02-02T00:00:00"),
        ("candle1Mutc", "1mo", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("candle1Mutc", "1mo", "2025-12-01T00:00:00", "2026-01-01T00:00:00"),
        ("candle3Mutc", "3mo", "2025-10-01T00:00:00", "2026-01-01T00:00:00"),
    ],
)
def test_a_closed_bar_outranks_every_state_before_it(channel: str, interval: str, start: str, end: str) -> None:
    ts = str(int(utc(start).timestamp() * 1000))
    forming = row("candle", bar(channel, ts, "1", "2", "1", "2", "10", "0.1", "15", "0"))
    closed = row("candle", bar(channel, ts, "1", "2", "1", "2", "10", "0.1", "15", "1"))
    assert (forming["interval"], forming["event_at"], forming["updated_at"]) == (interval, utc(start), utc(start))
    assert (closed["is_closed"], closed["event_at"], closed["updated_at"]) == (True, utc(start), utc(end))


@pytest.mark.parametrize("channel", ["candle6H", "candle12H", "candle1D", "candle2D", "candle1W", "candle1M"])
def test_a_day_that_is_not_ours_is_a_dead_letter_that_says_so(channel: str) -> None:
    frame = bar(channel, "1597026383085", "1", "2", "1", "2", "10", "0.1", "15", "1")
    assert OKX.classify(frame) == ("candle", "BTC-USDT-SWAP")
    with pytest.raises(Unparsable, match=rf"other_day: {channel} opens at 00:00 UTC\+8; subscribe to {channel}utc"):
        OKX.parse("candle", frame)


@pytest.mark.parametrize(
    "values",
    [
        ("1662716640000", "1", "2", "1", "2", "10"),
        ("soon", "1", "2", "1", "2", "10", "0.1", "15", "0"),
        ("1662716640000", "1", "2", "1", "2", "10", "0.1", "15", "2"),
        ("1662716640000", "1", "2", "1", "2", "10", "0.1", "15", None),
        ("1662716640000", "x", "2", "1", "2", "10", "0.1", "15", "0"),
    ],
)
def test_bars_that_are_none_are_refused(values: tuple[object, ...]) -> None:
    assert reason("candle", bar("candle1m", *values)) == "bad_type"


def test_a_bar_must_be_a_list() -> None:
    assert reason("candle", samples.CANDLE.replace(b'[["', b'["').replace(b'"]]', b'"]')) == "bad_type"


def test_values_of_a_bar_that_nobody_knows_are_kept_by_their_place() -> None:
    more = row("candle", bar("candle1m", "1662716640000", "1", "2", "1", "2", "10", "0.1", "15", "1", "new", "1.50"))
    assert (more["is_closed"], more["extra"]) == (True, '{"9":"new","10":"1.50"}')
    eight = row("candle", bar("candle1m", "1662716640000", "1", "2", "1", "2", "10", "0.1", "1"))
    assert (eight["is_closed"], eight["volume_quote"], eight["extra"]) == (None, None, '{"7":"1"}')


def test_a_book_begins_with_a_snapshot() -> None:
    book = row("depth", samples.BOOK_SNAPSHOT)
    assert (book["kind"], book["last_update_id"], book["prev_update_id"]) == ("snapshot", 123456, None)
    assert book["ask_prices"] == [Decimal("8476.98"), 8477]
    assert book["ask_sizes"] == [Decimal("4.15"), Decimal("0.07")]
    assert book["bid_prices"] == [Decimal("8476.97"), Decimal("8475.55")]
    assert book["bid_sizes"] == [Decimal("2.56"), Decimal("1.01")]
    assert (book["first_update_id"], book["checksum"], book["extra"]) == (None, None, None)
    assert book["event_at"] == utc("2026-08-18T21:06:03.550")


def test_a_book_goes_on_with_what_changed() -> None:
    book = row("depth", samples.BOOK_UPDATE)
    assert (book["kind"], book["last_update_id"], book["prev_update_id"]) == ("update", 123460, 123456)
    assert (book["ask_prices"], book["ask_sizes"], book["bid_prices"]) == ([8477], [0], [])


def test_a_checksum_that_says_something_is_kept() -> None:
    assert row("depth", changed(samples.BOOK_UPDATE, checksum=-855196043))["checksum"] == -855196043


@pytest.mark.parametrize("action", [b"", b'"action":null,', b'"action":"rebuild",'])
def test_a_book_must_say_whether_it_begins_anew(action: bytes) -> None:
    frame = samples.BOOK_UPDATE.replace(b'"action":"update",', action)
    assert OKX.classify(frame) == ("depth", "BTC-USDT-SWAP")
    assert reason("depth", frame) == "unknown_type"


@pytest.mark.parametrize("levels", [5, "x", {"a": 1}, [5], [[]], [["1"]], [["1", "x"]], [[None, "1"]]])
def test_levels_must_be_levels(levels: object) -> None:
    assert reason("depth", changed(samples.BOOK_UPDATE, asks=levels)) == "bad_type"


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_rows_have_the_contracts_columns_and_types(dataset: str) -> None:
    for frame in samples.BY_DATASET[dataset]:
        found = row(dataset, frame)
        assert tuple(found) == CONTRACTS[dataset].names()
        for field in CONTRACTS[dataset].fields:
            assert found[field.name] is None or type(found[field.name]) is TYPES[field.kind], field.name


@pytest.mark.parametrize("dataset", ["trade", "ticker", "depth"])
def test_any_missing_field_leaves_a_null(dataset: str) -> None:
    frame = samples.BY_DATASET[dataset][0]
    for name in json.loads(frame)["data"][0].keys() - {"instId"}:
        without, null = row(dataset, changed(frame, **{name: ...})), row(dataset, changed(frame, **{name: None}))
        assert {**without, "extra": None} == {**null, "extra": None}
        assert set(without) == set(CONTRACTS[dataset].names())


def test_an_event_names_its_own_instrument() -> None:
    other = row("trade", changed(samples.TRADE, instId="ETH-USDT-SWAP"))
    assert (other["code"], other["size"]) == ("ETH-USDT-SWAP", Decimal("0.75"))
    assert row("trade", changed(samples.TRADE, instId=...)) == row("trade", samples.TRADE)


@unhurried
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**19, places=16))
def test_any_size_in_contracts_becomes_coins_digit_for_digit(number: Decimal) -> None:
    frame = changed(samples.TRADE, sz=f"{number:f}")
    digits = row("trade", frame)["size"].as_tuple().digits  # type: ignore[union-attr]
    assert int("".join(map(str, digits))) == int(f"{number:f}".replace(".", ""))


@unhurried
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20) + 1, max_value=10**20 - 1, places=18))
def test_any_decimal_that_the_lake_holds_comes_through(number: Decimal) -> None:
    assert row("trade", changed(samples.TRADE, px=f"{number:f}"))["price"] == number


@unhurried
@given(st.integers(min_value=2, max_value=10**6), st.integers(min_value=10**6, max_value=2**63 - 1))
def test_the_ids_that_a_message_stands_for_are_as_many_as_it_says(count: int, last: int) -> None:
    trade = row("trade", changed(samples.TRADE, count=str(count), tradeId=str(last)))
    assert trade["last_trade_id"] == trade["trade_id"] == last
    assert last - trade["first_trade_id"] + 1 == count  # type: ignore[operator]


def test_a_size_too_fine_for_the_lake_is_refused() -> None:
    assert reason("trade", changed(samples.TRADE, sz="0.00000000000000001")) == "bad_number"


TRADE_OF = b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":%s}'


@pytest.mark.parametrize(
    ("frame", "slug"),
    [
        (b"", "not_json"),
        (b"\x00\xff\xfe", "not_json"),
        (b"{", "not_json"),
        (samples.TRADE + b"garbage", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"17", "not_an_object"),
        (b"[]", "not_an_object"),
        (b'[{"arg":{}}]', "not_an_object"),
        (b"{}", "wrong_topic"),
        (b"pong", "wrong_topic"),
        (samples.ACK, "wrong_topic"),
        (samples.ERROR, "wrong_topic"),
        (samples.TICKER, "wrong_topic"),
        (samples.TRADE.replace(b'"trades"', b'"mark-price"'), "wrong_topic"),
        (b'{"arg":{"channel":"trades"},"data":[{"px":"1"}]}', "missing_code"),
        (b'{"arg":{"channel":"trades","instId":null},"data":[{"px":"1"}]}', "missing_code"),
        (b'{"arg":{"channel":"trades","instId":5},"data":[{"px":"1"}]}', "bad_code"),
        (b'{"arg":{"channel":"trades","instId":"btc-usdt"},"data":[{"px":"1"}]}', "bad_code"),
        (b'{"arg":{"channel":"trades","instId":"BTC"},"data":[{"px":"1"}]}', "bad_code"),
        (b'{"arg":{"channel":"trades","instId":"BTC-USDT-FUTURE"},"data":[{"px":"1"}]}', "bad_code"),
        (b'{"arg":{"channel":"trades","instId":"BTC-USDT\\n"},"data":[{"px":"1"}]}', "bad_code"),
        (TRADE_OF % b"null", "bad_type"),
        (TRADE_OF % b"{}", "bad_type"),
        (TRADE_OF % b"[5]", "bad_type"),
        (TRADE_OF % b'[{"side":1}]', "bad_type"),
        (TRADE_OF % b'[{"px":true}]', "bad_type"),
        (TRADE_OF % b'[{"px":"NaN"}]', "bad_type"),
        (TRADE_OF % b'[{"px":"1e400"}]', "bad_number"),
        (TRADE_OF % b'[{"odd":"\\u0000"}]', "bad_text"),
        (TRADE_OF % b'[{"ts":"-1"}]', "bad_time"),
    ],
)
def test_what_cannot_be_placed_is_named(frame: bytes, slug: str) -> None:
    assert reason("trade", frame) == slug


@pytest.mark.parametrize("channel", ["mark-price", "books5", "bbo-tbt", "index-candle1D", "funding-rate"])
def test_a_channel_that_nobody_subscribed_to_is_named(channel: str) -> None:
    frame = samples.TRADE.replace(b'"trades"', f'"{channel}"'.encode())
    assert OKX.classify(frame) == ("system", "")
    assert reason("system", frame) == "unknown_channel"


def test_a_frame_without_events_is_ignored() -> None:
    assert OKX.parse("trade", TRADE_OF % b"[]") == Ignored("no events")


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (samples.PONG, "pong"),
        (b" pong\n", "pong"),
        (samples.ACK, "acknowledgement"),
        (samples.ACK.replace(b"subscribe", b"unsubscribe"), "acknowledgement"),
        (samples.NOTICE, "notice"),
        (b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"a"}', "connection count"),
    ],
)
def test_what_the_exchange_says_in_order_is_ignored(frame: bytes, why: str) -> None:
    assert OKX.classify(frame) == ("system", "")
    assert OKX.parse("system", frame) == Ignored(why)


def test_an_error_of_the_exchange_is_a_dead_letter_with_its_words() -> None:
    with pytest.raises(Unparsable, match="exchange_error: '60018': Wrong URL or channel:candle1s"):
        OKX.parse("system", samples.ERROR)


@pytest.mark.parametrize("frame", [b'{"event":"surprise"}', b'{"event":["subscribe"]}', b'{"code":"0","data":[]}'])
def test_what_the_exchange_never_said_before_is_named(frame: bytes) -> None:
    assert reason("system", frame) == "unknown_type"


def test_market_data_among_the_systems_is_misplaced() -> None:
    assert reason("system", samples.TRADE) == "wrong_topic"


LEAVING = "'64008': The connection will soon be closed for a service upgrade. Please reconnect."


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (samples.PONG, Reply(Word.ALIVE)),
        (samples.ACK, Reply(Word.ACKNOWLEDGED, about="trades:BTC-USDT-SWAP")),
        (samples.NOTICE, Reply(Word.LEAVING, message=LEAVING)),
        (b'{"event":"notice","code":"1","msg":"news"}', None),
        (
            b'{"event":"error","code":"60012","msg":"Invalid request","arg":{"channel":"trades","instId":"X"}}',
            Reply(Word.REFUSED, about="trades:X", message="'60012': Invalid request"),
        ),
        (b'{"event":"error","code":"60014","msg":"Requests too frequent"}', None),
        (b'{"event":"unsubscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}', None),
        (b'{"event":["subscribe"]}', None),
        (b'{"event":"subscribe","arg":5}', Reply(Word.ACKNOWLEDGED)),
        (b'{"event":"error","code":[1]}', Reply(Word.REFUSED, message="[1]: None")),
        (b"", None),
        (b"\xff", None),
        (b"[1]", None),
    ],
)
def test_reply_understands_what_is_said_beside_data(frame: bytes, expected: Reply | None) -> None:
    assert OKX.reply(frame) == expected


def test_reply_to_an_error_has_its_code_and_words() -> None:
    reply = OKX.reply(samples.ERROR)
    assert reply is not None
    assert (reply.word, reply.about) == (Word.REFUSED, "candle1s:BTC-USDT-SWAP")
    assert reply.message.startswith("'60018': Wrong URL or channel:candle1s,instId:BTC-USDT-SWAP doesn't exist")


@pytest.mark.parametrize("dataset", samples.BY_DATASET)
def test_classify_knows_every_spelling(dataset: str) -> None:
    for frame in samples.BY_DATASET[dataset]:
        message = json.loads(frame)
        for spelling in (
            frame,
            b"\n " + frame + b" ",
            json.dumps(message, indent=2).encode(),
            json.dumps(dict(reversed(message.items()))).encode(),
            json.dumps({**message, "arg": dict(reversed(message["arg"].items()))}).encode(),
            json.dumps({**message, "arg": {**message["arg"], "instType": "SWAP"}}).encode(),
        ):
            assert OKX.classify(spelling) == (dataset, message["arg"]["instId"])
            assert [{**r, "extra": None} for r in rows(dataset, spelling)] == [
                {**r, "extra": None} for r in rows(dataset, frame)
            ]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (samples.ACK, ("system", "")),
        (samples.ERROR, ("system", "")),
        (samples.NOTICE, ("system", "")),
        (samples.PONG, ("system", "")),
        (b"", ("system", "")),
        (b"\xff", ("system", "")),
        (b"[]", ("system", "")),
        (b"[" * 100_000, ("system", "")),
        (b'{"arg":{"channel":["trades"]},"data":[]}', ("system", "")),
        (b'{"arg":{"channel":"trades","instId":"BTC-USDT"}}', ("system", "")),
        (b'{"arg":"trades","data":[]}', ("system", "")),
        (b'{"arg":{"channel":"trades"},"data":[]}', ("trade", "")),
        (b'{"arg":{"channel":"trades","instId":5},"data":[]}', ("trade", "")),
        (b'{"arg":{"channel":"trades","instId":"btc"},"data":[]}', ("trade", "")),
        (b'{"arg":{"channel":"trades","instId":"BTC"},"data":[]}', ("trade", "")),
    ],
)
def test_classify_is_never_an_error(frame: bytes, expected: tuple[str, str]) -> None:
    assert OKX.classify(frame) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_CHANNELS = st.sampled_from(["trades", "tickers", "books", "candle1m", "candle1D", "books5"])
_ARGS = st.fixed_dictionaries(
    {}, optional={"channel": _CHANNELS | _JSON, "instId": st.sampled_from(["BTC-USDT-SWAP", "X", 5]) | _JSON}
)
_EVENTS = st.dictionaries(st.sampled_from(["px", "sz", "ts", "asks", "instId", "seqId", "x"]), _JSON, max_size=4)
_DATA = st.lists(_EVENTS | st.lists(_JSON, max_size=9), max_size=3) | _JSON
_ACTIONS = st.sampled_from(["snapshot", "update"]) | _JSON
_SAID = st.sampled_from(["subscribe", "error", "notice"]) | _JSON
_FRAMES = st.fixed_dictionaries(
    {}, optional={"arg": _ARGS | _JSON, "action": _ACTIONS, "data": _DATA, "event": _SAID, "code": _JSON}
)


@unhurried
@given(st.binary() | _FRAMES.map(lambda message: json.dumps(message).encode()))
def test_whatever_comes_is_rows_or_a_reason_and_the_topic_is_right(frame: bytes) -> None:
    dataset, _ = OKX.classify(frame)
    with contextlib.suppress(Unparsable):
        assert isinstance(OKX.parse(dataset, frame), Parsed | Ignored)
    for other in set(OKX.datasets) - {dataset}:
        with pytest.raises(Unparsable):
            OKX.parse(other, frame)
    assert isinstance(OKX.reply(frame), Reply | None)
