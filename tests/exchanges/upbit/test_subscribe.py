"""What is asked for on Upbit's socket: everything once, in one message a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidemark.exchanges import registry
from tidemark.settings import ExchangeSettings

UPBIT = registry.get("upbit")


def settings(**fields: Any) -> ExchangeSettings:
    return ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", **fields)


def test_codes_are_spread_over_connections_each_once() -> None:
    plan = UPBIT.connections(settings(), ["KRW-A", "KRW-B", "KRW-A", "KRW-C"], 2)
    assert [c.codes for c in plan] == [("KRW-A", "KRW-B"), ("KRW-C",)]
    assert {c.path for c in plan} == {"/websocket/v1"}


def test_one_message_asks_for_everything_of_a_connection() -> None:
    asked = settings(datasets=("trade", "candle"), candle_intervals=("1m", "1h"), frame_format="JSON_LIST")
    (connection,) = UPBIT.connections(asked, ["KRW-BTC", "KRW-ETH"], 10)
    (message,) = UPBIT.subscribe(asked, connection, "ticket-1")
    codes = ["KRW-BTC", "KRW-ETH"]
    assert json.loads(message) == [
        {"ticket": "ticket-1"},
        {"type": "trade", "codes": codes},
        {"type": "candle.1m", "codes": codes},
        {"type": "candle.60m", "codes": codes},
        {"format": "JSON_LIST"},
    ]


@pytest.mark.parametrize(
    ("fields", "codes", "chunk"),
    [
        ({}, [], 10),
        ({}, ["KRW-BTC"], 0),
        ({"datasets": ()}, ["KRW-BTC"], 10),
        ({"datasets": ("trade", "funding")}, ["KRW-BTC"], 10),
        ({"candle_intervals": ("1d",)}, ["KRW-BTC"], 10),
    ],
)
def test_what_the_socket_does_not_carry_is_refused(fields: dict[str, Any], codes: list[str], chunk: int) -> None:
    with pytest.raises(ValueError):
        UPBIT.connections(settings(**fields), codes, chunk)
