"""Sessions: acknowledgements, silence, replacement by overlap, the breaker; one exchange never minds another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from tests.integration.producer.conftest import Producing, RunningProducer
from tests.integration.producer.exchange import Client, MarketServer, ScriptedExchange, headers, read, says
from tests.integration.producer.test_frames import by_connection, connections, ticker, topics, trade, until
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.exchanges.base import Word
from tidemark.exchanges.connection import ALIVE
from tidemark.settings import ExchangeSettings

Like = Callable[..., str]


async def tick(client: Client, *datasets: str) -> None:
    """Trades with growing ids over every connection, as an exchange sends them: the same to all that listen."""
    exchange = client.server
    while not client.gone.is_set():
        now = int(asyncio.get_running_loop().time() * 100)
        for code in client.codes:
            for number in range(exchange.sent.get((client.number, code), now - 1) + 1, now + 1):
                exchange.sent[client.number, code] = number
                if "trade" in datasets:
                    await client.send(trade(code, number))
                if "ticker" in datasets:
                    await client.send(ticker(code, number))
        await asyncio.sleep(0.005)


def reasons(exchange: str, bootstrap: str) -> list[str]:
    """Why connections ended, in the order they were opened."""
    rows = connections(exchange, read(bootstrap, [naming.raw_topic(exchange, "system")])).values()
    return [str(row["close"]["reason"]) for row in sorted(rows, key=lambda row: str(row["open"]["event_at"]))]


def assert_no_hole(exchange: str, bootstrap: str) -> int:
    """No trade between the first and the last is missing, whatever connection brought it; how many came twice."""
    records = read(bootstrap, topics(exchange))
    by_connection(records)
    numbers = sorted(
        json.loads(r.value())["sequential_id"] for r in records if r.topic() == naming.raw_topic(exchange, "trade")
    )
    holes = [(a, b) for a, b in pairwise(numbers) if b - a > 1]
    assert holes == []
    return len(numbers) - len(set(numbers))


def overlaps(exchange: ScriptedExchange) -> list[bool]:
    """Of each connection and the next: whether the next was there before it went."""
    return [b.opened_at < (a.gone_at or float("inf")) for a, b in pairwise(exchange.clients)]


def run(scene: Callable[[], Awaitable[object]]) -> None:
    async def main() -> None:
        await scene()

    asyncio.run(main())


def test_before_its_lifetime_a_connection_is_replaced_by_overlap(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like(lifetime_s=1.0)
    server = ScriptedExchange(lambda client: tick(client, "trade"))

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade",))
            async with producing(kafka_bootstrap, settings, name=name, overlap_s=2) as producer:
                await until(lambda: len(exchange.clients) >= 4)
                assert await producer.end() == 0
                assert producer.worker.counts[name].reconnects == {}

    run(scene)
    assert all(overlaps(server))
    assert all(0.7 < (c.gone_at or 0) - c.opened_at < 1.6 for c in server.clients[:2]), "between 80 and 95 % of it"
    assert_no_hole(name, kafka_bootstrap)
    assert set(reasons(name, kafka_bootstrap)[:3]) == {"replaced before the exchange's limit of 0.000278 h"}


def test_a_notice_brings_a_second_connection_before_the_first_one_goes(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like()

    async def script(client: Client) -> None:
        task = asyncio.ensure_future(tick(client, "trade", "ticker"))
        await asyncio.sleep(0.3)
        if client.number == 0:
            await client.send(says(Word.LEAVING))
        await task

    server = ScriptedExchange(script)

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade", "ticker"))
            async with producing(kafka_bootstrap, settings, name=name) as producer:
                await until(lambda: len(exchange.clients) == 2 and exchange.clients[0].gone.is_set())
                await asyncio.sleep(0.3)
                assert await producer.end() == 0

    run(scene)
    assert overlaps(server) == [True]
    assert_no_hole(name, kafka_bootstrap)
    assert reasons(name, kafka_bootstrap) == [
        "the exchange was about to close it: a stream: says why",
        "the producer stops",
    ]


def test_a_next_connection_that_brings_nothing_does_not_take_over(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like()

    async def script(client: Client) -> None:
        if client.number == 0:
            asyncio.get_running_loop().call_later(0.2, lambda: client.transport.send(*_text(says(Word.LEAVING))))
        if client.number != 1:
            await tick(client, "trade")
        await client.gone.wait()

    server = ScriptedExchange(script)

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade",))
            async with producing(kafka_bootstrap, settings, name=name, overlap_s=0.4) as producer:
                await until(lambda: len(exchange.clients) == 3 and exchange.clients[0].gone.is_set())
                assert await producer.end() == 0

    run(scene)
    first, second, third = server.clients
    assert (second.gone_at or 0) < third.opened_at < (first.gone_at or 0)
    assert reasons(name, kafka_bootstrap)[1] == "brought nothing where the connection before it did"
    assert_no_hole(name, kafka_bootstrap)


def test_a_subscription_that_is_not_acknowledged_is_asked_for_again_ever_more_patiently(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like(acks=3)

    async def script(client: Client) -> None:
        for _ in range(3 if client.number == 2 else 2):
            await client.send(says(Word.ACKNOWLEDGED))
        await tick(client, "trade")

    server = ScriptedExchange(script)

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade",))
            async with producing(kafka_bootstrap, settings, name=name, ack_timeout_s=0.3) as producer:
                await until(lambda: len(exchange.clients) == 3)
                await asyncio.sleep(1.8)
                assert len(exchange.clients) == 3, "the third stands"
                assert producer.worker.counts[name].acks_missing == 2
                assert await producer.end() == 0

    run(scene)
    assert overlaps(server) == [True, True]
    times = [b.opened_at - a.opened_at for a, b in pairwise(server.clients)]
    assert times[0] < times[1], "the second one was given more time"
    assert reasons(name, kafka_bootstrap)[:2] == ["1 of 3 subscriptions not acknowledged"] * 2
    assert_no_hole(name, kafka_bootstrap)


def test_what_is_refused_is_told_and_not_asked_for_in_a_storm(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing, capsys: pytest.CaptureFixture[str]
) -> None:
    name, partly = exchange_like(acks=1), exchange_like(acks=2)

    async def refuses(client: Client) -> None:
        await client.send(says(Word.REFUSED))
        if client.number % 2:
            client.close(1008, "go away")

    async def half(client: Client) -> None:
        await client.send(says(Word.REFUSED))
        await client.send(says(Word.ACKNOWLEDGED))
        await tick(client, "trade")

    async def scene() -> tuple[int, int]:
        async with ScriptedExchange(refuses).running() as no, ScriptedExchange(half).running() as partial:
            beside = {partly: partial.settings(datasets=("trade",))}
            settings = no.settings(datasets=("trade",))
            times = {"reconnect_max_s": 0.8, "ack_timeout_s": 0.2}
            async with producing(kafka_bootstrap, settings, name=name, beside=beside, **times) as producer:
                await until(lambda: len(no.clients) >= 2)
                await asyncio.sleep(3)
                assert producer.worker.counts[name].refused == len(no.clients)
                assert await producer.end() == 0
            return len(no.clients), len(partial.clients)

    tries, others = asyncio.run(scene())
    assert tries <= 4, "0.8 s, 1.6 s, 3.2 s between them"
    assert others == 1, "what is left of a subscription is kept"
    assert reasons(name, kafka_bootstrap)[:2] == [
        "no data came; refused: a stream: says why",
        "closed by the server: 1008 go away; refused: a stream: says why",
    ]
    assert "the exchange refuses a subscription" in "".join(capsys.readouterr())


def test_a_dataset_that_brings_nothing_replaces_the_connection_that_was_acknowledged(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    """As on a wrong path: connected, acknowledged, and silent."""
    name = exchange_like(acks=1)

    async def script(client: Client) -> None:
        await client.send(says(Word.ACKNOWLEDGED))
        await tick(client, "trade", *(["ticker"] if client.number >= 2 else []))

    server = ScriptedExchange(script)

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade", "ticker"))
            limits = {"dataset_quiet_s": 0.6, "overlap_s": 0.3}
            async with producing(kafka_bootstrap, settings, name=name, **limits) as producer:
                await until(lambda: len(exchange.clients) == 3)
                counts = producer.worker.counts[name]
                await until(lambda: counts.silences == {"ticker": 2} and counts.reconnects == {"silent": 2})
                await asyncio.sleep(1.5)
                assert sum(counts.silent_streams.values()) == 0
                assert await producer.end() == 0

    run(scene)
    assert len(server.clients) == 3, "the third brings everything"
    assert overlaps(server) == [True, True], "the trades went on"
    assert reasons(name, kafka_bootstrap)[0] == "nothing of ticker for 1 s"
    times = [b.opened_at - a.opened_at for a, b in pairwise(server.clients)]
    assert times[0] < times[1] > 1.2, "twice as patient the second time"
    assert_no_hole(name, kafka_bootstrap)


def test_a_stream_that_falls_silent_is_a_fault_where_the_exchange_says_so(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like(quiet_s={"ticker": 0.5})

    async def script(client: Client) -> None:
        turn = 0
        while not client.gone.is_set():
            turn += 1
            await client.send(ticker("KRW-BTC", turn))
            if turn < 30 or client.number:
                await client.send(ticker("KRW-ETH", turn))
            await asyncio.sleep(0.01)

    async def scene() -> None:
        async with ScriptedExchange(script).running() as exchange:
            settings = exchange.settings(datasets=("trade", "ticker"), codes=("KRW-BTC", "KRW-ETH"))
            async with producing(kafka_bootstrap, settings, name=name, overlap_s=0.3) as producer:
                await until(lambda: len(exchange.clients) == 2)
                await asyncio.sleep(1.2)
                assert len(exchange.clients) == 2, "a market may be without a trade for any time"
                assert await producer.end() == 0

    run(scene)
    assert reasons(name, kafka_bootstrap)[0].startswith("nothing of ticker KRW-ETH for")


def test_a_quiet_market_is_no_fault(exchange_like: Like, kafka_bootstrap: str, producing: Producing) -> None:
    """Silent for longer than the limit, but as rarely as always, or never heard at all."""
    name = exchange_like(quiet_s={"ticker": 0.3})

    async def script(client: Client) -> None:
        await client.send(ticker("KRW-NEW", 1))  # a snapshot at the beginning
        turn = 0
        while not client.gone.is_set():
            turn += 1
            await client.send(ticker("KRW-BTC", turn))
            if turn % 60 == 0:
                await client.send(ticker("KRW-ETH", turn))
            await asyncio.sleep(0.01)

    async def scene() -> None:
        async with ScriptedExchange(script).running() as exchange:
            codes = ("KRW-BTC", "KRW-ETH", "KRW-NEW", "KRW-OLD")
            settings = exchange.settings(datasets=("ticker",), codes=codes)
            async with producing(kafka_bootstrap, settings, name=name, overlap_s=0.3) as producer:
                await until(lambda: bool(exchange.clients))
                await asyncio.sleep(3.0)
                counts = producer.worker.counts[name]
                assert not counts.silences
                assert sum(counts.silent_streams.values()) == 0
                assert len(exchange.clients) == 1
                assert await producer.end() == 0

    run(scene)


def test_a_connection_says_on_record_that_it_is_alive(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its markets bring nothing: else it could not be told from one that was killed."""
    monkeypatch.setattr("streaming.producer.watch._ALIVE_EVERY_S", 0.1)
    name = exchange_like()

    async def script(client: Client) -> None:
        await client.gone.wait()

    async def scene() -> None:
        async with ScriptedExchange(script).running() as exchange:
            settings = exchange.settings(datasets=("trade",))
            async with producing(kafka_bootstrap, settings, name=name, dataset_quiet_s=4.0) as producer:
                await until(lambda: bool(exchange.clients))
                await asyncio.sleep(2.5)
                assert await producer.end() == 0

    run(scene)
    records = read(kafka_bootstrap, [naming.raw_topic(name, "system")])
    alive = [record for record in records if headers(record).get("kind") == ALIVE]
    rows = [registry.read(name, "system", ALIVE, record.value()).rows[0] for record in alive]  # type: ignore[union-attr]
    assert rows
    assert {(row["kind"], row["frames"]) for row in rows} == {("alive", 0)}
    assert reasons(name, kafka_bootstrap) == ["the producer stops"]


def test_while_nothing_works_one_connection_tries(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    name = exchange_like()
    server = ScriptedExchange(lambda client: tick(client, "trade"))

    async def scene() -> None:
        async with server.running() as exchange:
            exchange.refuse = 1_000_000
            settings = exchange.settings(datasets=("trade",), codes=tuple(f"KRW-C{n}" for n in range(6)))
            limits = {"codes_per_connection": 1, "breaker_failures": 8, "breaker_open_s": 1.0}
            async with producing(kafka_bootstrap, settings, name=name, **limits) as producer:
                counts = producer.worker.counts[name]
                await until(lambda: counts.breaker == "open")
                await asyncio.sleep(0.3)
                tried = counts.failed_connects
                assert 8 <= tried <= 8 + 6, "those under way when it opened"
                began = time.monotonic()
                await until(lambda: counts.failed_connects > tried + 1)
                assert time.monotonic() - began > 0.9, "one trial a second"
                exchange.refuse = 0
                await until(lambda: counts.connections == 6)
                await until(lambda: counts.breaker == "closed")
                assert await producer.end() == 0
                assert counts.breaker_opened == 1

    run(scene)


@pytest.mark.parametrize("trouble", ["no market list", "no socket", "an error of ours"])
def test_one_exchange_down_changes_nothing_for_another(
    trouble: str,
    exchange_like: Like,
    kafka_bootstrap: str,
    producing: Producing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, name = exchange_like(), exchange_like()
    server = ScriptedExchange(lambda client: tick(client, "trade"))
    nowhere = "127.0.0.1:9"
    codes = () if trouble == "no market list" else ("KRW-BTC",)
    ill = ExchangeSettings(ws_url=f"ws://{nowhere}", rest_url=f"http://{nowhere}", codes=codes)
    if trouble == "an error of ours":
        from tidemark.exchanges import registry

        monkeypatch.setattr(type(registry.get(bad)), "connections", lambda *_: 1 / 0)

    async def scene(producer: RunningProducer) -> None:
        await until(lambda: server.clients and server.sent.get((0, "KRW-BTC")))
        counts = producer.worker.counts[bad]  # it is tried again and again
        await until(lambda: counts.market_list_failures + counts.failed_connects + counts.restarts > 3)
        assert producer.worker.counts[name].connections == 1
        assert await producer.end() == 0

    async def main() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade",))
            async with producing(kafka_bootstrap, settings, name=name, beside={bad: ill}) as producer:
                await scene(producer)

    asyncio.run(main())
    assert len(server.clients) == 1
    assert_no_hole(name, kafka_bootstrap)


def test_all_of_a_wide_exchange_comes_over_as_few_connections_as_its_limits_allow(
    exchange_like: Like, kafka_bootstrap: str, producing: Producing
) -> None:
    """855 markets, four datasets, all intervals: each once, a message a connection, four connects a second."""
    name = exchange_like(connects_per_second=4.0)
    listed = tuple(f"KRW-C{number}" for number in range(855))
    intervals = ("1s", "1m", "3m", "5m", "10m", "15m", "30m", "1h", "4h")

    async def script(client: Client) -> None:
        for code in client.codes:
            await client.send(ticker(code, 1))
            await client.send(trade(code, 1))
            await client.send(f'{{"type":"orderbook","code":"{code}"}}'.encode())
            await client.send(f'{{"type":"candle.1s","code":"{code}"}}'.encode())
        await client.gone.wait()

    server = ScriptedExchange(script)

    async def scene() -> None:
        with MarketServer(*listed) as rest:
            async with server.running() as exchange:
                settings = exchange.settings(codes=(), candle_intervals=intervals).model_copy(
                    update={"rest_url": rest.url}
                )
                async with producing(kafka_bootstrap, settings, name=name) as producer:
                    await until(lambda: producer.worker.counts[name].frames == 4 * 855)
                    assert await producer.end() == 0

    run(scene)
    assert [len(client.codes) for client in server.clients] == [200, 200, 200, 200, 55]
    assert sorted(code for client in server.clients for code in client.codes) == sorted(listed)
    assert all(client.messages == 1 for client in server.clients)
    types = [part["type"] for part in server.clients[4].asked if "type" in part]
    assert len(types) == 3 + len(intervals)
    assert all(b.opened_at - a.opened_at > 0.2 for a, b in pairwise(server.clients))
    records = read(kafka_bootstrap, topics(name))
    assert len([r for r in records if "frame" in headers(r)]) == 4 * 855
    by_connection(records)


def _text(payload: bytes) -> tuple[object, bytes]:
    from picows import WSMsgType

    return WSMsgType.TEXT, payload


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (429, {"Retry-After": "2"}, b""),
        (418, {"Retry-After": "2"}, b""),
        (418, {}, b'{"error":{"name":"too_many_requests","message":"You are blocked for 2 seconds."}}'),
    ],
)
def test_a_ban_at_the_handshake_is_kept_by_all_connections(
    exchange_like: Like,
    kafka_bootstrap: str,
    producing: Producing,
    status: int,
    headers: dict[str, str],
    body: bytes,
) -> None:
    name = exchange_like()
    server = ScriptedExchange(lambda client: tick(client, "trade"), refuse=1, refusal=(status, headers, body))

    async def scene() -> None:
        async with server.running() as exchange:
            settings = exchange.settings(datasets=("trade",), codes=("KRW-C0", "KRW-C1"))
            limits = {"codes_per_connection": 1, "breaker_open_s": 0.1}
            async with producing(kafka_bootstrap, settings, name=name, **limits) as producer:
                counts = producer.worker.counts[name]
                await until(lambda: bool(exchange.refused_at))
                rest, socket = producer.worker.bans[name]
                await until(lambda: socket.left_s > 1 or counts.connections == 2)
                assert (rest.until, socket.left_s <= 2) == (0.0, True)
                await until(lambda: counts.connections == 2)
                assert await producer.end() == 0
                late = [client.opened_at - exchange.refused_at[0] for client in exchange.clients]
                assert sum(one >= 1.9 for one in late) >= 1, "the one that was refused waits"
                assert not [one for one in late if 0.2 < one < 1.9], "and nobody else tries meanwhile"
                assert socket.note() is None, "an answer ends it"

    run(scene)
