"""What is asked for on OKX's sockets: each channel of each instrument once, in messages the exchange takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidemark.exchanges import registry
from tidemark.settings import ExchangeSettings, Settings

OKX = registry.get("okx")


def settings(**fields: Any) -> ExchangeSettings:
    defaults = {"datasets": ("trade", "ticker", "candle"), "candle_intervals": ("1m", "1d")}
    return ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", **{**defaults, **fields})


def asked(of: ExchangeSettings, codes: list[str], chunk: int = 200) -> list[tuple[str, str, str]]:
    """(path, channel, instrument) of every argument of every message of every connection."""
    found = []
    for connection in OKX.connections(of, codes, chunk):
        arguments = []
        for message in OKX.subscribe(of, connection, "ticket-1"):
            request = json.loads(message)
            assert request.keys() == {"op", "args"}
            assert request["op"] == "subscribe"
            arguments += request["args"]
        assert len(arguments) == OKX.acknowledgements(of, connection) > 0
        found += [(connection.path, argument["channel"], argument["instId"]) for argument in arguments]
    return found


def test_candles_are_served_elsewhere() -> None:
    public, business = "/ws/v5/public", "/ws/v5/business"
    assert asked(settings(), ["BTC-USDT-SWAP", "ETH-USDT"]) == [
        (public, "trades", "BTC-USDT-SWAP"),
        (public, "trades", "ETH-USDT"),
        (public, "tickers", "BTC-USDT-SWAP"),
        (public, "tickers", "ETH-USDT"),
        (business, "candle1m", "BTC-USDT-SWAP"),
        (business, "candle1m", "ETH-USDT"),
        (business, "candle1Dutc", "BTC-USDT-SWAP"),
        (business, "candle1Dutc", "ETH-USDT"),
    ]


def test_the_defaults_ask_for_utc_days() -> None:
    defaults = Settings(_env_file=None).okx
    channels = {channel for _, channel, _ in asked(defaults, list(defaults.codes))}
    assert channels == {
        "trades", "tickers", "candle1m", "candle5m", "candle15m", "candle1H", "candle4H", "candle1Dutc"
    }  # fmt: skip


def test_codes_are_spread_over_connections_each_once() -> None:
    plan = OKX.connections(settings(datasets=("candle",)), ["A-USDT", "B-USDT", "A-USDT", "C-USDT"], 2)
    assert [(c.codes, c.datasets) for c in plan] == [(("A-USDT", "B-USDT"), ("candle",)), (("C-USDT",), ("candle",))]


def test_books_have_connections_of_their_own_with_fewer_than_30() -> None:
    codes = [f"A{n}-USDT" for n in range(31)]
    plan = OKX.connections(settings(datasets=("trade", "depth")), codes, 200)
    assert [(c.datasets, len(c.codes)) for c in plan] == [(("trade",), 31), (("depth",), 29), (("depth",), 2)]
    assert {channel for _, channel, _ in asked(settings(datasets=("depth",)), codes)} == {"books"}


def test_a_message_stays_within_what_the_exchange_takes() -> None:
    codes = [f"COIN{n:04d}-USDT-SWAP" for n in range(1_500)]
    of = settings(datasets=("ticker", "trade"))
    (connection,) = OKX.connections(of, codes, 1_500)
    messages = OKX.subscribe(of, connection, "ticket-1")
    assert max(map(len, messages)) <= 64_000
    assert len(messages) == 3
    assert len(set(asked(of, codes, 1_500))) == len(asked(of, codes, 1_500)) == 3_000


@pytest.mark.parametrize(
    ("fields", "codes", "chunk"),
    [
        ({}, [], 10),
        ({}, ["BTC-USDT"], 0),
        ({"datasets": ()}, ["BTC-USDT"], 10),
        ({"datasets": ("trade", "funding")}, ["BTC-USDT"], 10),
        ({"datasets": ("orderbook",)}, ["BTC-USDT"], 10),
        ({"candle_intervals": ("10m",)}, ["BTC-USDT"], 10),
        ({"candle_intervals": ()}, ["BTC-USDT"], 10),
    ],
)
def test_what_the_sockets_do_not_carry_is_refused(fields: dict[str, Any], codes: list[str], chunk: int) -> None:
    with pytest.raises(ValueError):
        OKX.connections(settings(**fields), codes, chunk)


def test_the_limits_of_the_exchange_are_kept() -> None:
    assert OKX.connects_per_second < 3
    assert (OKX.keep_alive, OKX.lifetime_s) == (b"ping", None)
    assert set(OKX.quiet_s) <= set(OKX.datasets)
