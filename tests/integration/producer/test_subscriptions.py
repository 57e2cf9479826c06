"""What is asked for follows the market list and the control topic, and only connections that change are replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streaming.producer import subscriptions
from streaming.producer.markets import MarketList
from streaming.producer.plan import Key, Place, Planner
from streaming.producer.subscriptions import BadOrderError
from tests.integration.producer.conftest import Producing
from tests.integration.producer.exchange import Client, MarketServer, ScriptedExchange, says
from tests.integration.producer.test_frames import ticker, until
from tests.integration.producer.test_sessions import overlaps
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.exchanges.base import Word
from tidemark.settings import ExchangeSettings

Like = Callable[..., str]
UPBIT = registry.get("upbit")
SETTINGS = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", codes_per_connection=3)


def codes(plan: dict[Key, Place]) -> list[list[str]]:
    return [list(place.connection.codes) for place in plan.values()]


def test_a_listing_or_delisting_touches_one_connection() -> None:
    planner = Planner(UPBIT)
    before = planner.plan(SETTINGS, ["A-A", "B-B", "C-C", "D-D", "E-E", "F-F", "G-G"])
    assert codes(before) == [["A-A", "B-B", "C-C"], ["D-D", "E-E", "F-F"], ["G-G"]]
    after = planner.plan(SETTINGS, ["A-A", "A-B", "B-B", "C-C", "D-D", "F-F", "G-G"])
    assert codes(after) == [["A-A", "B-B", "C-C"], ["D-D", "F-F", "A-B"], ["G-G"]]
    same = [key for key in before if before[key].asks_the_same(after[key], UPBIT)]
    assert same == [(0, 0), (2, 0)]
    emptied = planner.plan(SETTINGS, ["A-A", "B-B", "C-C", "G-G"])
    assert codes(emptied) == [["A-A", "B-B", "C-C"], ["G-G"]]
    assert list(emptied) == [(0, 0), (2, 0)], "each keeps its place"
    assert codes(planner.plan(SETTINGS, ["G-G", "H-H"])) == [["H-H"], ["G-G"]]


def test_other_intervals_are_another_subscription() -> None:
    planner = Planner(UPBIT)
    before = planner.plan(SETTINGS, ["A-A"])
    other = SETTINGS.model_copy(update={"candle_intervals": ("1m", "5m")})
    assert not before[0, 0].asks_the_same(planner.plan(other, ["A-A"])[0, 0], UPBIT)
    with pytest.raises(ValueError, match="nothing to ask for"):
        planner.plan(SETTINGS, [])
    assert before[0, 0].asks_the_same(planner.plan(SETTINGS, ["A-A"])[0, 0], UPBIT)


def test_a_market_is_gone_when_it_is_missing_twice() -> None:
    listed = MarketList()
    listed.update(["A-A", "B-B", "C-C"])
    listed.update(["A-A"])
    assert listed.codes == ("A-A", "B-B", "C-C"), "half an answer takes nothing away"
    listed.update(["C-C", "A-A", "D-D"])
    assert listed.codes == ("A-A", "C-C", "D-D")
    listed.update(["A-A", "B-B", "D-D"])
    assert listed.codes == ("A-A", "C-C", "D-D", "B-B")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "not an object"),
        (b"\xff", "not an object"),
        (b'["KRW-BTC"]', "not an object"),
        (b'{"code": ["KRW-BTC"]}', "not an object"),
        (b'{"codes": "KRW-BTC"}', "not an object"),
        (b'{"codes": ["KRW-BTC", "KRW-BTC"]}', "there twice"),
        (b'{"datasets": [""]}', "is empty"),
        (b'{"codes": ["bitcoin"]}', "codes: "),
        (b'{"datasets": ["trade", "news"]}', "datasets news"),
    ],
)
def test_an_order_that_cannot_be_followed_says_why(value: bytes, why: str) -> None:
    with pytest.raises(BadOrderError, match=why):
        subscriptions.read(value, UPBIT, SETTINGS)


def test_an_order_changes_what_it_names() -> None:
    ordered = subscriptions.read(b'{"codes": ["KRW-BTC"], "candle_intervals": ["1h"]}', UPBIT, SETTINGS)
    assert ordered == SETTINGS.model_copy(update={"codes": ("KRW-BTC",), "candle_intervals": ("1h",)})
    assert subscriptions.read(b"{}", UPBIT, SETTINGS) == SETTINGS
    assert subscriptions.read(None, UPBIT, SETTINGS) is None


async def hello(client: Client) -> None:
    for code in client.codes:
        await client.send(ticker(code, 1))
    await client.gone.wait()


def open_codes(exchange: ScriptedExchange) -> list[list[str]]:
    """What the connections that stand have asked for."""
    return sorted(client.codes for client in exchange.clients if client.asked and not client.gone.is_set())


def test_the_market_list_is_watched(exchange_like: Like, kafka_bootstrap: str, producing: Producing) -> None:
    name = exchange_like()
    server = ScriptedExchange(hello)

    async def scene(rest: MarketServer) -> None:
        async with server.running() as exchange:
            settings = exchange.settings(codes=(), datasets=("ticker",)).model_copy(update={"rest_url": rest.url})
            limits = {"codes_per_connection": 2, "markets_interval_s": 0.2}
            async with producing(kafka_bootstrap, settings, name=name, **limits) as producer:
                await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B"], ["KRW-C"]])
                rest.codes = ("KRW-A", "KRW-B", "KRW-BB", "KRW-C")
                await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B"], ["KRW-C", "KRW-BB"]])
                rest.codes = None
                asked = rest.asked
                await until(lambda: rest.asked > asked + 2)
                assert open_codes(exchange) == [["KRW-A", "KRW-B"], ["KRW-C", "KRW-BB"]], "no list changes nothing"
                rest.codes = ("KRW-BB", "KRW-C")
                await until(lambda: open_codes(exchange) == [["KRW-C", "KRW-BB"]])
                counts = producer.worker.counts[name]
                assert (counts.planned, counts.replanned) == (1, 2)
                assert counts.market_list_failures > 0
                assert await producer.end() == 0

    with MarketServer("KRW-A", "KRW-B", "KRW-C") as rest:
        asyncio.run(scene(rest))
    first, second, third = server.clients
    assert first.codes == ["KRW-A", "KRW-B"]
    assert third.opened_at < (second.gone_at or 0), "the one that changed was replaced by overlap"
    assert len(server.clients) == 3


@pytest.fixture
def order(kafka_bootstrap: str) -> Iterator[Callable[[str, bytes | None], None]]:
    """A function that writes a record into the control topic."""
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    (declared,) = (topic for topic in naming.control_topics() if topic.name == naming.SUBSCRIPTIONS)
    if declared.name not in admin.list_topics(timeout=10).topics:
        topic = NewTopic(declared.name, declared.partitions, 1, config=declared.config())
        admin.create_topics([topic])[declared.name].result(30)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    keys: set[str] = set()

    def write(exchange: str, value: bytes | None) -> None:
        keys.add(exchange)
        producer.produce(declared.name, key=exchange, value=value)
        assert producer.flush(20) == 0

    yield write
    for key in keys:
        write(key, None)


def test_what_was_refused_is_asked_for_at_once_when_it_is_another_thing(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing, order: Callable[[str, bytes | None], None]
) -> None:
    name = exchange_like(acks=1)

    async def script(client: Client) -> None:
        if client.codes == ["KRW-NO"]:
            await client.send(says(Word.REFUSED))
            client.close(1008, "no")
        else:
            await client.send(says(Word.ACKNOWLEDGED))
            await hello(client)

    async def scene() -> None:
        async with ScriptedExchange(script).running() as exchange:
            settings = exchange.settings(codes=("KRW-NO",))
            async with producing(kafka_bootstrap, settings, name=name, reconnect_max_s=60) as producer:
                await until(lambda: producer.worker.counts[name].closed == 1)
                await asyncio.sleep(0.5)
                assert len(exchange.clients) == 1, "it waits for a minute"
                order(name, b'{"codes": ["KRW-YES"]}')
                await until(lambda: open_codes(exchange) == [["KRW-YES"]], 20)
                assert await producer.end() == 0

    asyncio.run(scene())


def test_subscriptions_change_while_it_runs(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing, order: Callable[[str, bytes | None], None]
) -> None:
    name = exchange_like()
    server = ScriptedExchange(hello)
    order(name, json.dumps({"codes": ["KRW-A", "KRW-B"], "datasets": ["ticker"]}).encode())
    order("another", b'{"codes": ["X"]}')

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(codes=("KRW-A", "KRW-BTC"))
            async with producing(kafka_bootstrap, settings, name=name, overlap_s=1) as producer:
                await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-B"]])
                assert len(exchange.clients) == 1, "what stood in the topic counts from the beginning"
                order(name, b'{"codes": ["KRW-C"], "datasets": ["ticker"]}')
                await until(lambda: open_codes(exchange) == [["KRW-C"]])
                for bad in (b"rubbish", b'{"datasets": ["system"]}', b'{"candle_intervals": ["7m"]}'):
                    order(name, bad)
                await until(lambda: producer.worker.counts[name].bad_orders == 3)
                assert open_codes(exchange) == [["KRW-C"]]
                order(name, None)
                await until(lambda: open_codes(exchange) == [["KRW-A", "KRW-BTC"]])
                assert await producer.end() == 0

    asyncio.run(scene())
    assert len(server.clients) == 3
    assert overlaps(server) == [True, True]
    asked = [part["type"] for part in server.clients[2].asked if "type" in part]
    assert asked == ["ticker", "trade", "orderbook", "candle.1m"], "back to the settings"
