"""Against the simulator exchange, which speaks the real protocol: what its oracle sent is in Kafka."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from tests.integration.producer.conftest import Producing
from tests.integration.producer.exchange import read
from tests.integration.producer.test_frames import by_connection, connections, topics, until
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed
from tidemark.local.simulator import Simulator, SimulatorConfig
from tidemark.settings import ExchangeSettings

START = datetime(2026, 4, 12, tzinfo=UTC)


def config(**more: Any) -> SimulatorConfig:
    return SimulatorConfig(
        port=0,
        from_at=START,
        to_at=START + timedelta(hours=6),
        then_live=False,
        trades_per_day=60_000,
        **more,
    )


async def post(simulator: Simulator, order: dict[str, Any]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulator.url}/_sim/faults", json=order) as answer,
    ):
        assert answer.status == 200, await answer.text()


def test_every_trade_of_every_listed_market_arrives(
    own_topics: str, kafka_bootstrap: str, producing: Producing
) -> None:
    """The market list comes over REST; garbage, a giant and a cut connection come in between."""

    async def scene() -> tuple[list[tuple[str, int]], int]:
        simulator = Simulator(config(wait_for="all-trades"))
        await simulator.start()
        settings = ExchangeSettings(ws_url=f"ws://127.0.0.1:{simulator.port}", rest_url=simulator.url)
        try:
            async with producing(kafka_bootstrap, settings, codes_per_connection=8) as producer:
                await until(lambda: len(simulator.log) > 500)
                await post(simulator, {"kind": "raw", "text": "garbage"})
                await post(simulator, {"kind": "raw", "size": 5_000_000})
                await asyncio.sleep(0.5)  # what is cut off on the wire is not what is counted below
                await post(simulator, {"kind": "close"})
                await until(lambda: simulator.status()["phase"] == "done", 60)
                await asyncio.sleep(0.5)
                code = await producer.end()
            return [(trade.code, trade.id) for trade in simulator.log.trades(None, None)], code
        finally:
            await simulator.stop()

    sent, code = asyncio.run(scene())
    assert code == 0
    assert len(sent) > 10_000
    records = read(kafka_bootstrap, topics(own_topics))
    frames = by_connection(records)
    rows = connections(own_topics, records)
    assert {name: len(found) for name, found in frames.items()} == {
        name: row["close"]["frames"] for name, row in rows.items()
    }
    assert len(frames) == 6, "three connections, each made anew once"
    exchange = registry.get(own_topics)
    trades: Counter[tuple[str, int]] = Counter()
    datasets: Counter[str] = Counter()
    for record in (record for found in frames.values() for record in found):
        dataset = record.topic().split(".")[2]
        datasets[dataset] += 1
        if dataset in ("trade", "ticker", "orderbook", "candle"):
            parsed = exchange.parse(dataset, record.value())
            assert isinstance(parsed, Parsed)
            if dataset == "trade":
                (row,) = parsed.rows
                trades[str(row["code"]), int(str(row["trade_id"]))] += 1
    lost_on_the_cut_wire = set(sent) - set(trades)
    assert set(trades) <= set(sent)
    assert len(lost_on_the_cut_wire) < len(sent) * 0.05
    assert all(datasets[dataset] > 0 for dataset in ("ticker", "orderbook", "candle"))
    assert datasets["system"] == 6, "garbage and a giant on three connections"


def test_without_faults_not_one_is_missing(own_topics: str, kafka_bootstrap: str, producing: Producing) -> None:
    async def scene() -> list[tuple[str, int]]:
        simulator = Simulator(config(wait_for="all-trades"))
        await simulator.start()
        settings = ExchangeSettings(
            ws_url=f"ws://127.0.0.1:{simulator.port}",
            rest_url=simulator.url,
            datasets=("trade",),
            frame_format="JSON_LIST",
        )
        try:
            async with producing(kafka_bootstrap, settings) as producer:
                await until(lambda: simulator.status()["phase"] == "done", 60)
                await asyncio.sleep(0.5)
                assert await producer.end() == 0
            return [(trade.code, trade.id) for trade in simulator.log.trades(None, None)]
        finally:
            await simulator.stop()

    sent = asyncio.run(scene())
    exchange = registry.get(own_topics)
    got: list[tuple[str, int]] = []
    for record in read(kafka_bootstrap, topics(own_topics)):
        if record.topic().split(".")[2] == "trade":
            parsed = exchange.parse("trade", record.value())
            assert isinstance(parsed, Parsed)
            got += [(str(row["code"]), int(str(row["trade_id"]))) for row in parsed.rows]
    assert Counter(got) == Counter(sent)
    assert len(got) > 10_000
