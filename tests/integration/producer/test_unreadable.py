"""What nobody can read costs itself: a code its subscription, an error of ours no connection but its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from streaming.producer import app
from streaming.producer.counts import End
from streaming.producer.link import FrameListener
from tests.integration.producer.conftest import Producing
from tests.integration.producer.exchange import Client, MarketServer, ScriptedExchange, read
from tests.integration.producer.test_frames import by_connection, ticker, topics, trade, until
from tests.integration.producer.test_sessions import reasons
from tests.integration.producer.test_subscriptions import hello, open_codes

Like = Callable[..., str]
ODD: tuple[Any, ...] = (None, 5, [], {}, {"market": None}, {"market": ["KRW-A"]}, {"market": ""}, {"market": "LISTING"})


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scene()

    asyncio.run(main())


def test_rows_of_the_list_that_cannot_be_read_cost_themselves(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like()
    server = ScriptedExchange(hello)

    async def scene() -> None:
        with MarketServer(*ODD, "KRW-A", *ODD, "KRW-B", "KRW-A") as rest:
            async with server.running() as exchange:
                settings = exchange.settings(codes=(), datasets=("ticker",)).model_copy(update={"rest_url": rest.url})
                async with producing(kafka_bootstrap, settings, name=name, markets_interval_s=0.1) as producer:
                    await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B"]])
                    counts = producer.worker.counts[name]
                    assert len(counts.unreadable_codes) == 2 * len(ODD) - 1  # one of them names its code
                    assert counts.unreadable_codes["LISTING"].startswith("bad_code: ")
                    report = producer.worker.readiness.report()
                    assert "15 codes cannot be read, first GET /v1/market/all" in report.facts["unreadable_codes"][name]
                    rest.codes = ({"market": "KRW-A", "korean_name": 5}, "KRW-B", "KRW-C")
                    await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B", "KRW-C"]])
                    for unreadable in (ODD, ()):
                        rest.codes, asked = unreadable, rest.asked
                        await until(lambda asked=asked: rest.asked > asked + 3)
                        assert open_codes(exchange) == [["KRW-A", "KRW-B", "KRW-C"]]
                    assert counts.market_list_failures > 4
                    assert list(counts.reconnects.values()) == []
                    assert await producer.end() == 0

    run(scene)


def test_codes_of_the_settings_that_cannot_be_read_are_left_out(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name, other = exchange_like(), exchange_like()
    server = ScriptedExchange(hello)

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(codes=("bitcoin", "KRW-A", "KRW-A-B", "KRW-B"), datasets=("ticker",))
            beside = {other: exchange.settings(codes=("bitcoin",), datasets=("ticker",))}
            async with producing(kafka_bootstrap, settings, name=name, beside=beside) as producer:
                await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B"]])
                counts = producer.worker.counts
                await until(lambda: counts[other].unreadable_codes)
                assert set(counts[name].unreadable_codes) == {"bitcoin", "KRW-A-B"}
                assert (counts[other].planned, counts[other].restarts) == (0, 0)
                why = producer.worker.readiness.report().failing[other]
                assert why.startswith("no connection is planned: 1 codes cannot be read, first bitcoin: bad_code: ")
                assert await producer.end() == 0

    run(scene)
    assert len(server.clients) == 1


class Raising:
    """A listener with a fault in everything it does."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def opened(self, name: str, codes: Sequence[str], renew: Callable[[str], None]) -> None:
        self.called.append("opened")
        raise RuntimeError("a fault of ours")

    def feed(self, name: str, code: str, payload: bytes, received_ns: int) -> None:
        self.called.append("feed")
        raise RuntimeError("a fault of ours")

    def closed(self, name: str) -> None:
        self.called.append("closed")
        raise RuntimeError("a fault of ours")

    async def run(self) -> None:
        raise RuntimeError("a fault of ours")


def test_what_follows_the_data_never_ends_a_connection(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, listener = exchange_like(), Raising()
    listeners: dict[str, FrameListener] = {"trade": listener}
    monkeypatch.setattr(app.Worker, "_listeners", lambda *_: listeners)

    async def script(client: Client) -> None:
        for number in range(50):
            await client.send(trade("KRW-BTC", number))
        await client.all_read()
        client.server.sent["all"] = True
        await client.gone.wait()

    server = ScriptedExchange(script)

    async def scene() -> None:
        async with (
            server.running() as exchange,
            producing(kafka_bootstrap, exchange.settings(datasets=("trade",)), name=name) as producer,
        ):
            await until(lambda: exchange.sent)
            assert await producer.end() == 0
            counts = producer.worker.counts[name]
            assert dict(counts.ends) == {End.STOPPED: 1}
            assert counts.datasets["trade"].frames == 50
            assert counts.restarts >= 52

    run(scene)
    assert listener.called == ["opened", *["feed"] * 50, "closed"]
    (records,) = by_connection(read(kafka_bootstrap, topics(name))).values()
    assert len(records) == 50
    assert reasons(name, kafka_bootstrap) == ["the producer stops"]


@pytest.mark.parametrize("where", ["open", "frame"])
def test_an_error_of_ours_is_not_the_exchanges(
    where: str, exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like()
    server = ScriptedExchange(hello)

    async def scene() -> None:
        async with (
            server.running() as exchange,
            producing(kafka_bootstrap, exchange.settings(datasets=("ticker",)), name=name) as producer,
        ):
            send, failed = producer.worker.broker.send, list[str]()

            def once(topic: str, key: bytes | None, *rest: Any) -> None:
                if not failed and topic.endswith(".system.v1" if where == "open" else ".ticker.v1"):
                    failed.append(topic)
                    raise BufferError("no room")
                send(topic, key, *rest)

            producer.worker.broker.send = once  # type: ignore[method-assign]
            await until(lambda: open_codes(exchange) == [["KRW-BTC"]] and len(exchange.clients) == 2)
            counts = producer.worker.counts[name]
            assert counts.reconnects == {"error of ours": 1}
            assert counts.restarts == 1
            assert await producer.end() == 0

    run(scene)
    ours = "an error of ours: BufferError: no room"
    assert ours in "".join(reasons(name, kafka_bootstrap)) if where == "frame" else True


def test_a_frame_that_cannot_be_looked_at_is_recorded(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    def classify(frame: bytes) -> tuple[str, str]:
        raise RuntimeError("a fault of ours")

    name = exchange_like(classify=staticmethod(classify))

    async def script(client: Client) -> None:
        await client.send(ticker("KRW-BTC", 1))
        await client.all_read()
        client.server.sent["all"] = True
        await client.gone.wait()

    async def scene() -> None:
        async with (
            ScriptedExchange(script).running() as exchange,
            producing(kafka_bootstrap, exchange.settings(datasets=("ticker",)), name=name) as producer,
        ):
            await until(lambda: exchange.sent)
            assert await producer.end() == 0
            assert dict(producer.worker.counts[name].ends) == {End.STOPPED: 1}

    run(scene)
    assert ticker("KRW-BTC", 1) in [record.value() for record in read(kafka_bootstrap, topics(name))]
