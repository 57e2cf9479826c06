"""Playing: the oracle against what really arrived, pauses, broken connections, real time."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import requests

from tests.exchanges.simulator.serving import (
    EVERYTHING,
    all_codes,
    all_played,
    answers,
    binary,
    decoded,
    eventually,
    frames,
    get,
    past,
    request,
    served,
    socket,
    whole_play,
)
from tidemark.local.simulator import ConfigError, Simulator, SimulatorConfig
from tidemark.local.simulator.market.hidden import drawn


def trades_in(received: list[bytes]) -> list[Any]:
    return [frame for frame in map(decoded, received) if frame["type"] == "trade"]


def identity(trade: Any) -> tuple[Any, ...]:
    return (
        trade["code"], trade["sequential_id"], Decimal(trade["trade_price"]), Decimal(trade["trade_volume"]),
        trade["ask_bid"],
    )  # fmt: skip


def oracle(simulator: Simulator) -> set[tuple[Any, ...]]:
    rows = get(simulator, "/_sim/trades")
    assert len({(row["market"], row["id"]) for row in rows}) == len(rows)
    sides = {"sell": "ASK", "buy": "BID"}
    return {(r["market"], r["id"], Decimal(r["price"]), Decimal(r["size"]), sides[r["side"]]) for r in rows}


@pytest.fixture(scope="module")
def two_plays() -> list[tuple[list[bytes], dict[str, Any], set[tuple[Any, ...]], list[Any]]]:
    """The same period played twice, by two simulators."""
    plays = []
    for _ in range(2):
        drawn.cache_clear()
        with served(past(3)) as simulator:
            codes = all_codes(simulator)
            received = asyncio.run(whole_play(simulator, request(*EVERYTHING, codes=codes)))
            candles = get(simulator, "/_sim/candles", market="KRW-XRP", unit=1)
            plays.append((received, get(simulator, "/_sim/summary"), oracle(simulator), candles))
    return plays


def test_a_seed_is_played_the_same_way_every_time(two_plays: Any) -> None:
    first, second = (play[0] for play in two_plays)
    assert len(first) > 3000
    assert first == second


def test_the_oracle_names_exactly_the_trades_that_arrived(two_plays: Any) -> None:
    received, _, sent, _ = two_plays[0]
    arrived = [identity(trade) for trade in trades_in(received)]
    assert len(arrived) == len(set(arrived))
    assert set(arrived) == sent


def test_the_summary_adds_up(two_plays: Any) -> None:
    received, summary, _, _ = two_plays[0]
    trades = trades_in(received)
    counts = Counter(trade["code"] for trade in trades)
    assert {code: row["trades"] for code, row in summary.items()} == counts
    for code, row in summary.items():
        mine = [trade for trade in trades if trade["code"] == code]
        assert Decimal(row["volume"]) == sum(t["trade_volume"] for t in mine)
        assert Decimal(row["value"]) == sum(t["trade_volume"] * t["trade_price"] for t in mine)
        assert row["missed"] == 0


def test_oracle_candles_are_those_of_the_received_frames(two_plays: Any) -> None:
    received, _, _, candles = two_plays[0]
    minutes: dict[int, list[Any]] = {}
    for trade in trades_in(received):
        if trade["code"] == "KRW-XRP":
            minutes.setdefault(trade["trade_timestamp"] // 60_000, []).append(trade)
    assert [bar["start"] for bar in candles] == [minute * 60_000 for minute in sorted(minutes)]
    for bar in candles:
        trades = sorted(minutes[bar["start"] // 60_000], key=lambda t: (t["trade_timestamp"], t["sequential_id"]))
        prices = [t["trade_price"] for t in trades]
        assert [Decimal(bar[k]) for k in ("open", "high", "low", "close")] == [
            prices[0], max(prices), min(prices), prices[-1],
        ]  # fmt: skip
        assert bar["trades"] == len(trades)
        assert Decimal(bar["volume"]) == sum(t["trade_volume"] for t in trades)
        assert Decimal(bar["value"]) == sum(t["trade_volume"] * t["trade_price"] for t in trades)
        assert Decimal(bar["buy_volume"]) == sum(t["trade_volume"] for t in trades if t["ask_bid"] == "BID")
        assert Decimal(bar["buy_volume"]) + Decimal(bar["sell_volume"]) == Decimal(bar["volume"])


def test_every_trade_of_the_period_is_played_and_none_from_outside(two_plays: Any) -> None:
    times = [t["trade_timestamp"] for t in trades_in(two_plays[0][0]) if t["stream_type"] == "REALTIME"]
    begin = 1_795_014_000_000
    assert begin <= min(times) < begin + 60_000
    assert begin + 3 * 3_600_000 - 60_000 < max(times) < begin + 3 * 3_600_000


def test_nothing_plays_before_the_right_subscriber_comes() -> None:
    with served(past(1, wait_for="trade")) as simulator:

        async def run() -> None:
            async with socket(simulator, request("ticker", codes=["KRW-BTC"])) as ticker:
                assert len(binary(await answers(ticker))) == 1
                assert get(simulator, "/_sim/status")["phase"] == "waiting"
                async with socket(simulator, request("trade", codes=["KRW-BTC"])) as trades:
                    told = await all_played(simulator, trades, ticker, exchange="upbit")
                    assert min(map(len, told)) > 10

        asyncio.run(run())
        assert simulator.phases.current == "done"
        state = get(simulator, "/_sim/status")
        assert state["progress"] == state["period_progress"] == 1.0
        assert state["frames"]["trade"] == state["trades_sent"]
        summary = get(simulator, "/_sim/summary")
        assert summary["KRW-XRP"]["missed"] > 0
        assert summary["KRW-BTC"]["missed"] == summary["KRW-XRP"]["trades"] == 0


def test_broken_connections_lose_no_position() -> None:
    """Every connection is dropped after a while; in the end all trades have been sent, none missed."""
    with served(past(2, trades_per_day=200_000)) as simulator:
        codes = all_codes(simulator)
        arrived: set[tuple[Any, ...]] = set()
        drops = 0

        async def some(count: int) -> None:
            async with socket(simulator, request("trade", codes=codes)) as ws:
                arrived.update(identity(trade) for trade in trades_in(await frames(ws, count=count)))
                ws._response.connection.transport.abort()  # type: ignore[union-attr]  # as a killed client does

        while simulator.phases.current != "done" and drops < 4:
            asyncio.run(some(500))
            drops += 1
            eventually(lambda: not simulator.hub.connections)
            state = get(simulator, "/_sim/status")
            time.sleep(0.3)
            assert get(simulator, "/_sim/status")["now_ms"] == state["now_ms"]  # it stands
        arrived.update(
            identity(trade) for trade in trades_in(asyncio.run(whole_play(simulator, request("trade", codes=codes))))
        )
        assert drops >= 2
        sent = oracle(simulator)
        assert arrived <= sent
        assert simulator.log.missed.total() == 0
        period = sum(len(get_all_ticks(simulator, code)) for code in codes[:4])
        begin = simulator.status()["from_ms"]
        rows = get(simulator, "/_sim/trades")
        assert sum(row["ms"] >= begin and row["market"] in codes[:4] for row in rows) == period


def get_all_ticks(simulator: Simulator, code: str) -> list[int]:
    begin = simulator.status()["from_ms"]
    ids: list[int] = []
    cursor: dict[str, int] = {}
    while page := get(simulator, "/v1/trades/ticks", market=code, count=500, **cursor):
        ids += [row["sequential_id"] for row in page if row["timestamp"] >= begin]
        cursor = {"cursor": page[-1]["sequential_id"]}
    return ids


def test_the_log_knows_which_connection_got_what() -> None:
    with served(past(1, wait_for="all-trades")) as simulator:
        codes = all_codes(simulator)

        async def run() -> tuple[list[bytes], list[bytes]]:
            async with (
                socket(simulator, request("trade", codes=codes[:5])) as one,
                socket(simulator, request("trade", codes=codes[5:])) as two,
            ):
                first, second = await all_played(simulator, one, two, exchange="upbit")
                names = [row["name"] for row in get(simulator, "/_sim/status")["connections"]]
                for name, received in zip(names, (first, second), strict=True):
                    ids = [t["sequential_id"] for t in trades_in(received)]
                    assert [row["id"] for row in get(simulator, "/_sim/trades", connection=name)] == ids
                return first, second

        first, second = asyncio.run(run())
        assert first
        assert second
        assert simulator.log.missed.total() == 0


def test_duplicated_frames_are_one_sent_trade() -> None:
    with served(past(0.5)) as simulator:
        answer = requests.post(simulator.url + "/_sim/faults", json={"kind": "duplicate", "frames": 50}, timeout=5)
        assert answer.status_code == 200
        received = asyncio.run(whole_play(simulator, request("trade", codes=["KRW-BTC"], is_only_realtime=True)))
        ids = [trade["sequential_id"] for trade in trades_in(received)]
        assert len(ids) - len(set(ids)) == 50
        assert len(simulator.log) == len(set(ids))


def test_rest_knows_only_what_has_been_played() -> None:
    with served(past(2)) as simulator:
        [row] = get(simulator, "/v1/trades/ticks", market="KRW-BTC")
        assert row["timestamp"] < simulator.status()["from_ms"]
        assert get(simulator, "/v1/candles/minutes/1", market="KRW-BTC")[0]["candle_date_time_utc"] < "2026-11-18T15"
        asyncio.run(whole_play(simulator, request("trade", codes=["KRW-BTC"])))
        [row] = get(simulator, "/v1/trades/ticks", market="KRW-BTC")
        assert row["trade_time_utc"] > "16:50"


def test_after_the_past_it_goes_on_in_real_time() -> None:
    start = datetime.now(UTC) - timedelta(hours=2)
    config = past(from_at=start, to_at=start + timedelta(hours=1), then_live=True, trades_per_day=200_000)
    with served(config) as simulator:
        codes = all_codes(simulator)

        async def run() -> None:
            async with socket(simulator, request(*EVERYTHING, codes=codes)) as ws:
                while simulator.phases.current != "live":
                    await frames(ws, count=100)
                late_ms = 1e9
                while late_ms > 1000:  # until what was sent fast has been read
                    for trade in trades_in(await frames(ws, count=1)):
                        late_ms = time.time() * 1000 - trade["timestamp"]
                state = get(simulator, "/_sim/status")
                assert abs(state["now_ms"] - time.time() * 1000) < 3000
                assert [phase["phase"] for phase in state["phases"]] == ["fast", "live"]

        asyncio.run(run())
        assert simulator.log.missed.total() == 0
        before = simulator.status()["now_ms"]
        eventually(lambda: simulator.log.missed.total() > 0)  # the market doesn't wait
        assert simulator.status()["now_ms"] > before


def test_silence_to_order() -> None:
    start = datetime.now(UTC) - timedelta(minutes=1)
    with served(past(from_at=start, to_at=None, then_live=True, trades_per_day=200_000)) as simulator:
        codes = all_codes(simulator)

        async def run() -> None:
            async with socket(simulator, request("trade", "ticker", codes=codes)) as ws:
                while simulator.phases.current != "live":
                    await frames(ws, count=20)
                simulator.hub.silence(60)
                await answers(ws)  # what was on its way
                assert await frames(ws, quiet_s=0.6) == []
                while not simulator.log.missed.total():
                    assert await frames(ws, quiet_s=0.2) == []
                simulator.hub.silence(0)
                assert await frames(ws, count=1)

        asyncio.run(run())


def test_anomalies_are_listed() -> None:
    with served(past()) as simulator:
        day = {"from": "2026-11-19T00:00:00+09:00", "to": "2026-11-20T00:00:00+09:00"}
        listed = get(simulator, "/_sim/anomalies", **day)
        assert len(listed["halts"]) == 1
        assert {row["kind"] for row in listed["anomalies"]} == {"price", "volume"}
        assert get(simulator, "/_sim/anomalies") == {
            "anomalies": [],
            "halts": [],
        }  # nothing has been played yet
        assert requests.get(simulator.url + "/_sim/anomalies", {"from": "soon"}, timeout=5).status_code == 400
        assert requests.get(simulator.url + "/_sim/candles", {"unit": "1"}, timeout=5).status_code == 400


@pytest.mark.parametrize(
    "config",
    [
        SimulatorConfig(wait_for="godot"),
        SimulatorConfig(trades_per_day=0),
        SimulatorConfig(then_live=False),
        SimulatorConfig(from_at=datetime(2026, 1, 1)),
        SimulatorConfig(from_at=datetime.now(UTC) + timedelta(days=1)),
        SimulatorConfig(speed=0),
    ],
)
def test_contradictions_are_refused(config: SimulatorConfig) -> None:
    with pytest.raises(ConfigError, match=r"\w+"):
        Simulator(config)


def test_status_is_plain_json() -> None:
    with served(past()) as simulator:
        assert json.loads(json.dumps(simulator.status()))["progress"] == 0.0
