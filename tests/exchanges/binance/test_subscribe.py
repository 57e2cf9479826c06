"""What is asked for on Binance's sockets: everything once, each dataset on its root, within the exchange's limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidemark.exchanges import registry
from tidemark.settings import ExchangeSettings, Settings

BINANCE = registry.get("binance")


def settings(**fields: Any) -> ExchangeSettings:
    given = {"datasets": ("trade", "depth", "candle"), **fields}
    return ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", **given)


def test_each_dataset_is_asked_for_on_its_own_root() -> None:
    asked = settings(candle_intervals=("1m", "1mo"))
    public, market = BINANCE.connections(asked, ["BTCUSDT", "ETHUSDT", "BTCUSDT"], 200)
    assert (public.path, public.datasets) == ("/public/stream", ("depth",))
    assert (market.path, market.datasets) == ("/market/stream", ("trade", "candle"))
    (one,) = BINANCE.subscribe(asked, public, "ticket")
    assert json.loads(one) == {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "ethusdt@depth@100ms"], "id": 1}
    (other,) = BINANCE.subscribe(asked, market, "ticket")
    assert json.loads(other)["params"] == [
        f"{code}@{kind}" for code in ("btcusdt", "ethusdt") for kind in ("aggTrade", "kline_1m", "kline_1M")
    ]


def test_a_root_that_nothing_is_asked_of_is_not_opened() -> None:
    (only,) = BINANCE.connections(settings(datasets=("depth",)), ["BTCUSDT"], 200)
    assert only.path == "/public/stream"


@pytest.mark.parametrize("intervals", [("1m",), ("1m", "5m", "15m", "1h", "4h", "1d", "1w")])
def test_no_connection_carries_more_than_the_exchange_takes(intervals: tuple[str, ...]) -> None:
    asked = settings(candle_intervals=intervals)
    codes = [f"C{i}USDT" for i in range(650)]
    plan = BINANCE.connections(asked, codes, 200)
    for dataset in asked.datasets:
        assert [code for c in plan if dataset in c.datasets for code in c.codes] == codes
    for connection in plan:
        messages = [json.loads(m) for m in BINANCE.subscribe(asked, connection, "t")]
        streams = [stream for message in messages for stream in message["params"]]
        assert len(streams) == len(set(streams)) <= 1024
        assert len(connection.codes) <= 200
        assert len(messages) <= 6  # ten a second are allowed, pings counted
        assert [m["id"] for m in messages] == list(range(1, len(messages) + 1))
        assert BINANCE.acknowledgements(asked, connection) == len(messages)


def test_the_settings_as_they_come_are_usable() -> None:
    loaded = Settings().binance
    assert len(BINANCE.connections(loaded, loaded.codes, loaded.codes_per_connection)) == 2


@pytest.mark.parametrize(
    ("fields", "codes", "chunk"),
    [
        ({}, [], 10),
        ({}, ["BTCUSDT"], 0),
        ({"datasets": ()}, ["BTCUSDT"], 10),
        ({"datasets": ("trade", "funding")}, ["BTCUSDT"], 10),
        ({"candle_intervals": ("10m",)}, ["BTCUSDT"], 10),
        ({"candle_intervals": ()}, ["BTCUSDT"], 10),
    ],
)
def test_what_the_sockets_do_not_carry_is_refused(fields: dict[str, Any], codes: list[str], chunk: int) -> None:
    with pytest.raises(ValueError):
        BINANCE.connections(settings(**fields), codes, chunk)


def test_whole_books_are_not_asked_for() -> None:
    with pytest.raises(ValueError, match="ask for depth"):
        BINANCE.connections(settings(datasets=("orderbook",)), ["BTCUSDT"], 10)
