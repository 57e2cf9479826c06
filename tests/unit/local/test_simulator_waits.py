"""A fast day begins when every stream of it is subscribed to: a bar that nobody listened to can't be streamed again."""

from __future__ import annotations

import asyncio

import pytest

from tests.exchanges.simulator.serving import all_codes, all_played, eventually, get, past, request, served, socket
from tidemark.local import workers
from tidemark.local.layout import Layout
from tidemark.local.simulator import ConfigError, Simulator, hub
from tidemark.local.simulator.command import _channels

WAITS = {"upbit": {"trade": 1, "candle": 2}}


def waiting(simulator: Simulator) -> bool:
    return bool(get(simulator, "/_sim/status")["waiting"])


def test_it_waits_for_the_candles_too() -> None:
    with served(past(0.5, wait_for="all-trades", wait_channels=WAITS)) as simulator:
        codes = all_codes(simulator)

        async def run() -> None:
            async with socket(simulator, request("trade", codes=codes)) as trades:
                await asyncio.to_thread(eventually, lambda: "trade" in simulator.rooms["upbit"].hub.channels())
                assert await asyncio.to_thread(waiting, simulator)
                async with socket(simulator, request("candle.1m", codes=codes[1:])) as some:
                    assert await asyncio.to_thread(waiting, simulator)
                    await some.send_str(request("candle.1m", "candle.5m", codes=codes))
                    received, candles = await all_played(simulator, trades, some, exchange="upbit")
                    assert received
                    assert candles

        asyncio.run(run())


def test_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may leave a channel out."""
    monkeypatch.setattr(hub, "OTHERS_S", 0.5)
    with served(past(0.5, wait_for="all-trades", wait_channels=WAITS)) as simulator:

        async def run() -> None:
            async with socket(simulator, request("trade", codes=all_codes(simulator))) as trades:
                (received,) = await all_played(simulator, trades, exchange="upbit")
                assert received

        asyncio.run(run())


def test_the_stack_names_every_stream_that_is_carried(layout: Layout) -> None:
    command = workers.simulator(layout).command
    named = [command[i + 1] for i, word in enumerate(command) if word == "--wait-channels"]
    assert named == [
        "upbit:ticker*1,trade*1,orderbook*1,candle*1",
        "okx:trade*1,ticker*1,candle*6",
        "binance:trade*1,depth*1,candle*1",
    ]
    assert _channels(["okx:trade,ticker,candle*6"]) == {"okx": {"trade": 1, "ticker": 1, "candle": 6}}


@pytest.mark.parametrize("text", ["okx", "okx:", "okx:candle*", "okx:candle*six", "okx:*6"])
def test_a_misspelt_channel_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="write it as okx:ticker,candle"):
        _channels([text])
