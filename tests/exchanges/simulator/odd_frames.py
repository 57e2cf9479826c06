"""Frames that no exchange should send, and that recordings hold all the same.

Contains: odd frames of any exchange, and odd frames in the shape of each.
Does not contain: any expectation.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

_HUGE = b'{"pad":"' + b"x" * 300_000 + b'"}'
_NUMBERS = (
    "-1",
    "0",
    "1e400",
    "1e999999999",
    "1E-400",
    "NaN",
    "-Infinity",
    "9" * 400,
    "9" * 5000,
    "true",
    '"abc"',
    '""',
)

ANY: list[bytes] = [
    b"",
    b" ",
    b"\x00",
    b"\x00\x01\x02\xff\xfe",
    b"not json",
    b'{"unfinished":',
    b"null",
    b"true",
    b"7",
    b'"text"',
    b"[]",
    b"[[[]]]",
    b"{}",
    b"[1,2,3]",
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"1e999999999999999999999",
    b"9" * 5_000,
    b'{"lone":"\\ud800"}',
    b'{"nul":"\\u0000"}',
    b'{"a":1}\x00',
    '{"a":"가"}'.encode("utf-16"),
    '{"a":"가"}'.encode("cp949"),
    b"\xef\xbb\xbf{}",
    b'{"a":1}\n{"b":2}',
    b"\x0b\x0c\x1c\x85\xe2\x80\xa8",
    b"pong",
    b"PONG",
    b"ping",
    b"b'text that looks like bytes'",
    b"1700000000.5: a frame in a frame",
    b"wss://exchange.example/ws <-> 1700000000.5",
    b"https://exchange.example/v1/market/all -> 1700000000.5: []",
    zlib.compress(b'{"deflated":true}'),
    zlib.compress(b'{"raw deflate":true}')[2:-4],
    _HUGE,
]


def _texts(*items: Any) -> list[bytes]:
    return [json.dumps(item).encode() for item in items]


def _with_numbers(template: str) -> list[bytes]:
    """The template with each odd number in each of its places, one at a time; ``@`` marks a place and its value."""
    parts = template.split("@")
    places = range(1, len(parts), 2)
    return [
        "".join(number if place == chosen else part for place, part in enumerate(parts)).encode()
        for chosen in places
        for number in _NUMBERS
    ]


UPBIT: list[bytes] = [
    *_texts(
        {"method": "LIST_SUBSCRIPTIONS", "result": [{"type": "ticker", "codes": ["KRW-BTC"]}], "ticket": "x"},
        {"mthd": "LIST_SUBSCRIPTIONS", "rslt": [], "tckt": "x"},
        {"status": "UP"},
        {"error": {"name": "NO_CODES", "message": "codes"}},
        {"type": "trade"},
        {"type": "trade", "code": None},
        {"type": "trade", "code": ["KRW-BTC"]},
        {"type": ["trade"], "code": {"a": 1}},
        {"type": "trade", "code": ""},
        {"type": "trade", "code": "KRW-" + "A" * 500},
        {"type": "trade", "code": 'KRW-"quoted"'},
        {"type": "trade", "code": "KRW-\ud800"},
        {"type": "trade", "code": "KRW BTC"},
        {"type": "nothing known", "code": "KRW-BTC"},
        {"type": "t" * 10_000, "code": "KRW-BTC"},
        {"type": "ticker", "code": "KRW-BTC", "delisting_date": {"year": 2026}},
        {"type": "orderbook", "code": "KRW-BTC", "orderbook_units": None},
        {"type": "orderbook", "code": "KRW-BTC", "timestamp": 0, "orderbook_units": [{"ask_price": 0}]},
        {"type": "candle.1s", "code": "KRW-BTC", "timestamp": 0},
        [{"type": "trade", "code": "KRW-BTC"}, None, 7, []],
        [None, {"type": "trade"}],
        {"ty": "trade", "type": "ticker", "cd": "A", "code": "B"},
    ),
    *_with_numbers(
        '{"ty":"trade","cd":"KRW-ODD","ttms":@1700000000000@,"tp":@1@,"tv":@2@,"ab":"ASK","sid":@17000000000000001@}'
    ),
]
OKX: list[bytes] = [
    *_texts(
        {"event": "subscribe", "arg": {"channel": "trades", "instId": "BTC-USDT"}, "connId": "a4d3ae55"},
        {"event": "error", "code": "60012", "msg": "Invalid request"},
        {"event": "notice", "code": "64008", "msg": "The connection will soon be closed"},
        {"event": "channel-conn-count", "channel": "books", "connCount": "2", "connId": "a4d3ae55"},
        {"arg": None, "data": []},
        {"arg": {}, "data": []},
        {"arg": {"channel": "trades"}, "data": [{}]},
        {"arg": {"channel": None, "instId": None}, "data": [{}]},
        {"arg": {"channel": ["trades"], "instId": {"a": 1}}, "data": [{}]},
        {"arg": {"channel": "trades", "instId": ""}, "data": [{}]},
        {"arg": {"channel": "trades", "instId": "BTC"}, "data": None},
        {"arg": {"channel": "trades", "instId": "SWAP"}, "data": {"a": 1}},
        {"arg": {"channel": "trades", "instId": "-SWAP"}, "data": "text"},
        {"arg": {"channel": "trades", "instId": "--"}, "data": [None, 1, "a", []]},
        {"arg": {"channel": "trades", "instId": "LISTING-SPOT-SLX-USDT"}, "data": [{"tradeId": "1"}]},
        {"arg": {"channel": "trades", "instId": 'A-"B"'}, "data": []},
        {"arg": {"channel": "trades", "instId": "A-\ud800"}, "data": []},
        {"arg": {"channel": "books", "instId": "ETH-USD_UM_XPERP-310404"}, "action": "update", "data": [{"asks": []}]},
        {"arg": {"channel": "tickers", "instId": "NEW-USDT-SWAP"}, "data": [{"last": "", "ts": "0"}]},
        {"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [[]]},
        {"arg": {"channel": "unheard-of", "instId": "BTC-USDT"}, "data": [[[[]]]]},
        {"arg": {"channel": "c" * 10_000, "instId": "i" * 10_000}, "data": []},
        {"arg": {"channel": "status"}, "data": [{"state": "scheduled"}]},
    ),
    *_with_numbers(
        '{"arg":{"channel":"trades","instId":"ODD-USDT"},"data":[{"instId":"ODD-USDT","tradeId":@"12"@,"px":@"1.5"@,'
        '"sz":@"4"@,"side":"sell","ts":@"1700000000123"@,"count":@"3"@}]}'
    ),
]
BINANCE: list[bytes] = [
    *_texts(
        {"result": None, "id": 1},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": None},
        {"id": 3, "code": -1121, "msg": "Invalid symbol."},
        {"stream": "btcusdt@aggTrade", "data": None},
        {"stream": "btcusdt@aggTrade", "data": []},
        {"stream": "!ticker@arr", "data": [{"e": "24hrTicker", "s": "BTCUSDT"}]},
        [{"e": "24hrTicker", "s": "BTCUSDT"}],
        {"stream": None, "data": {"e": None, "s": None}},
        {"e": "aggTrade"},
        {"e": "aggTrade", "s": ["BTCUSDT"]},
        {"e": ["aggTrade"], "s": "BTCUSDT"},
        {"e": "aggTrade", "s": "", "T": 0},
        {"e": "aggTrade", "s": "币安人生USDT", "T": 0},
        {"e": "aggTrade", "s": 'BTC"USDT'},
        {"e": "aggTrade", "s": "BTC\ud800USDT"},
        {"e": "aggTrade", "s": "S" * 10_000},
        {"e": "e" * 10_000, "s": "BTCUSDT"},
        {"e": "depthUpdate", "s": "BTCUSDT", "b": None, "a": [["1"]]},
        {"e": "kline", "s": "BTCUSDT", "k": None},
        {"e": "serverShutdown", "E": 0},
        {"e": "tradingSession", "s": "TSLAUSDT", "st": 1},
        {"lastUpdateId": "text"},
    ),
    b'{"lastUpdateId":7',
    b'{"lastUpdateId":7,"bids":"\xff"}',
    *_with_numbers(
        '{"stream":"oddusdt@aggTrade","data":{"e":"aggTrade","s":"ODDUSDT","a":@3@,"p":@"1.5"@,"q":@"4"@,"f":@10@,'
        '"l":@12@,"T":@1700000000123@,"m":true,"st":1}}'
    ),
]
