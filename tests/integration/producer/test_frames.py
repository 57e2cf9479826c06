"""Every frame that was sent is in Kafka once, as it was, numbered without a hole; so are connections."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import ssl
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Message
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from picows import WSMsgType

from tests.integration.producer.conftest import Producing
from tests.integration.producer.exchange import Client, ScriptedExchange, headers, read
from tidemark import naming
from tidemark.exchanges import connection, registry

STATUS = b'{"status":"UP"}'
GARBAGE = b"\x00\xff not json"
UNKNOWN = b'{"type":"liquidation","code":"KRW-BTC"}'
GIANT = b'{"type":"orderbook","code":"KRW-BTC","x":"' + b"g" * (5 * 1024 * 1024) + b'"}'


def trade(code: str, number: int) -> bytes:
    return f'{{"type":"trade","code":"{code}","sequential_id":{number}}}'.encode()


def ticker(code: str, number: int) -> bytes:
    return f'[{{"ty":"ticker","cd":"{code}","tms":{number}}}]'.encode()


async def until(true: object, timeout_s: float = 30.0) -> None:
    """Wait until a condition holds."""
    assert callable(true)
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that in time"
        await asyncio.sleep(0.02)


def topics(exchange: str) -> list[str]:
    return [naming.raw_topic(exchange, dataset) for dataset in registry.get("upbit").datasets]


def by_connection(records: list[Message]) -> dict[str, list[Message]]:
    """Frames of each connection in the order of their numbers."""
    found: dict[str, list[Message]] = defaultdict(list)
    for record in records:
        if "frame" in headers(record):
            found[headers(record)["connection"]].append(record)
    for frames in found.values():
        frames.sort(key=lambda record: int(headers(record)["frame"]))
        assert [int(headers(record)["frame"]) for record in frames] == list(range(1, len(frames) + 1))
    return dict(found)


def connections(exchange: str, records: list[Message]) -> dict[str, dict[str, dict[str, object]]]:
    """Rows of the opened and closed connections: connection, kind, row."""
    found: dict[str, dict[str, dict[str, object]]] = defaultdict(dict)
    for record in records:
        kind = headers(record).get("kind")
        if kind in (connection.OPEN, connection.CLOSE):
            (row,) = registry.read(exchange, "system", kind, record.value()).rows  # type: ignore[union-attr]
            assert "frame" not in headers(record)
            assert kind not in found[str(row["connection"])]
            found[str(row["connection"])][kind] = row
    return dict(found)


def test_frames_arrive_verbatim_once_and_in_order(own_topics: str, kafka_bootstrap: str, producing: Producing) -> None:
    sent: dict[str, list[bytes]] = defaultdict(list)
    finished = 0

    async def script(client: Client) -> None:
        nonlocal finished
        (code,) = client.codes
        for number in range(2_000):
            frame = trade(code, number) if number % 3 else ticker(code, number)
            frame = {500: STATUS, 501: GARBAGE, 502: UNKNOWN, 503: b"", 504: GIANT}.get(number, frame)
            sent[code].append(frame)
            if number == 1_000:
                parts = [frame[:7], b"", frame[7:9], frame[9:]]
                await client.send(parts[0], WSMsgType.TEXT, fin=False)
                client.transport.send_ping(b"between")
                await client.send(parts[1], WSMsgType.CONTINUATION, fin=False)
                await client.send(parts[2], WSMsgType.CONTINUATION, fin=False)
                await client.send(parts[3], WSMsgType.CONTINUATION)
            else:
                await client.send(frame, WSMsgType.TEXT if number % 2 else WSMsgType.BINARY)
        await client.all_read()
        finished += 1
        await client.gone.wait()

    async def scene() -> tuple[ScriptedExchange, int]:
        async with ScriptedExchange(script).running() as exchange:
            settings = exchange.settings(codes=("KRW-BTC", "BTC-ETH"), datasets=("trade", "ticker"))
            async with producing(kafka_bootstrap, settings, codes_per_connection=1) as producer:
                await until(lambda: finished == 2)
                return exchange, await producer.end()

    before = time.time_ns()
    exchange, code = asyncio.run(scene())
    assert code == 0
    records = read(kafka_bootstrap, topics(own_topics))

    for client in exchange.clients:
        assert "origin" not in client.headers
        assert [part.get("type") for part in client.asked] == [None, "trade", "ticker", None]
    frames = by_connection(records)
    assert len(frames) == 2
    rows = connections(own_topics, records)
    assert set(rows) == set(frames)
    for name, received in frames.items():
        subscription = json.loads(str(rows[name]["open"]["subscription"]))
        assert subscription["datasets"] == ["trade", "ticker"]
        (market,) = subscription["codes"]
        expected = sent[market]
        assert len(received) == len(expected) == rows[name]["close"]["frames"]
        for record, frame in zip(received, expected, strict=True):
            if frame is GIANT:
                continue
            assert record.value() == frame
            dataset, key = registry.get(own_topics).classify(frame)
            assert record.topic() == naming.raw_topic(own_topics, dataset)
            assert record.key() == (key or name).encode()
            received_ns = int(headers(record)["received_ns"])
            assert before < received_ns < time.time_ns()
            assert record.timestamp()[1] == received_ns // 1_000_000
        giant = received[504]
        assert giant.topic() == naming.raw_topic(own_topics, "system")
        assert giant.value() == GIANT[: 64 * 1024]
        assert headers(giant)["kind"] == "oversized"
        assert int(headers(giant)["length"]) == len(GIANT)
        assert headers(giant)["sha256"] == hashlib.sha256(GIANT).hexdigest()
        assert rows[name]["close"]["reason"] == "the producer stops"
        assert rows[name]["open"]["worker"] == "w"


def test_connections_that_end_are_made_anew_and_on_record(
    own_topics: str, kafka_bootstrap: str, producing: Producing
) -> None:
    async def script(client: Client) -> None:
        for number in range(client.number + 1):
            await client.send(trade("KRW-BTC", number))
        if client.number == 0:
            await client.send(b'{"error":{"name":"WRONG_FORMAT","message":"no"}}')
            client.close(1000, "goodbye")
        elif client.number == 1:
            await asyncio.sleep(0.1)
            client.transport.underlying_transport.abort()

    async def scene() -> tuple[ScriptedExchange, int]:
        async with (
            ScriptedExchange(script, refuse=2).running() as exchange,
            producing(kafka_bootstrap, exchange.settings(), ping_interval_s=0.1) as producer,
        ):
            await until(lambda: len(exchange.clients) == 3 and exchange.clients[2].pings >= 3)
            return exchange, await producer.end()

    exchange, code = asyncio.run(scene())
    assert code == 0
    assert exchange.refuse == 0
    records = read(kafka_bootstrap, topics(own_topics))
    rows = connections(own_topics, records)
    ordered = sorted(rows.values(), key=lambda row: str(row["open"]["event_at"]))
    assert [row["close"]["frames"] for row in ordered] == [2, 2, 3]
    reasons = [str(row["close"]["reason"]) for row in ordered]
    assert reasons == [
        "closed by the server: 1000 goodbye; refused: 'WRONG_FORMAT': no",
        "connection lost",
        "the producer stops",
    ]
    for earlier, later in pairwise(ordered):
        assert str(earlier["close"]["event_at"]) <= str(later["open"]["event_at"])
    assert {name: len(frames) for name, frames in by_connection(records).items()} == {
        name: row["close"]["frames"] for name, row in rows.items()
    }


def test_a_connection_that_falls_silent_is_replaced(
    own_topics: str, kafka_bootstrap: str, producing: Producing
) -> None:
    async def script(client: Client) -> None:
        await client.send(trade("KRW-BTC", client.number))
        await client.gone.wait()

    async def scene() -> ScriptedExchange:
        async with ScriptedExchange(script, answers_pings=False).running() as exchange:
            async with producing(kafka_bootstrap, exchange.settings(), ping_interval_s=0.1):
                await until(lambda: len(exchange.clients) >= 2)
            return exchange

    exchange = asyncio.run(scene())
    assert exchange.clients[0].pings >= 2
    rows = connections(own_topics, read(kafka_bootstrap, topics(own_topics)))
    first = min(rows.values(), key=lambda row: str(row["open"]["event_at"]))
    assert first["close"]["reason"] == "nothing came for 0 s"


def test_a_quiet_connection_that_answers_pings_is_kept(
    own_topics: str, kafka_bootstrap: str, producing: Producing
) -> None:
    async def script(client: Client) -> None:
        await client.gone.wait()

    async def scene() -> ScriptedExchange:
        async with ScriptedExchange(script).running() as exchange:
            async with producing(kafka_bootstrap, exchange.settings(), ping_interval_s=0.05):
                await until(lambda: exchange.clients and exchange.clients[0].pings >= 20)
            return exchange

    assert len(asyncio.run(scene()).clients) == 1


def test_a_restarted_worker_never_names_a_connection_twice(
    own_topics: str, kafka_bootstrap: str, producing: Producing
) -> None:
    read_by: list[int] = []

    async def script(client: Client) -> None:
        await client.send(trade("KRW-BTC", client.number))
        await client.all_read()
        read_by.append(client.number)

    async def scene() -> None:
        async with ScriptedExchange(script).running() as exchange:
            for run in range(2):
                async with producing(kafka_bootstrap, exchange.settings()) as producer:
                    await until(lambda run=run: len(read_by) > run)
                    assert await producer.end() == 0

    asyncio.run(scene())
    rows = connections(own_topics, read(kafka_bootstrap, topics(own_topics)))
    assert len(rows) == 2
    for row in rows.values():
        assert isinstance(row["open"]["event_at"], datetime)
        assert row["close"]["frames"] == 1


def test_missing_topics_are_said_at_once(
    own_exchange: str, kafka_bootstrap: str, producing: Producing, capsys: pytest.CaptureFixture[str]
) -> None:
    async def script(client: Client) -> None:
        raise AssertionError("nobody should come")

    async def scene() -> int:
        async with (
            ScriptedExchange(script).running() as exchange,
            producing(kafka_bootstrap, exchange.settings()) as producer,
        ):
            return await asyncio.wait_for(producer.task, 20)

    assert asyncio.run(scene()) == 1
    said = capsys.readouterr()
    assert "tidemark migrate" in said.out + said.err
    assert naming.raw_topic(own_exchange, "trade") in said.out + said.err


def test_over_tls_as_the_real_exchange_speaks(
    own_topics: str,
    kafka_bootstrap: str,
    producing: Producing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    sent: list[bytes] = []
    all_read = asyncio.Event()

    async def script(client: Client) -> None:
        for number in range(300):
            sent.append(trade("KRW-BTC", number) + b" " * 50_000)
            await client.send(sent[-1])
        await client.all_read()
        all_read.set()
        await client.gone.wait()

    async def scene() -> None:
        async with (
            ScriptedExchange(script, tls=context).running() as exchange,
            producing(kafka_bootstrap, exchange.settings(), max_buffer_bytes=1024 * 1024) as producer,
        ):
            await asyncio.wait_for(all_read.wait(), 30)
            assert await producer.end() == 0

    asyncio.run(scene())
    (frames,) = by_connection(read(kafka_bootstrap, topics(own_topics))).values()
    assert [record.value() for record in frames] == sent


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
