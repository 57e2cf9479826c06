"""An exchange that goes away, hangs, floods, or breaks off in the middle: frames are numbered, gaps are named."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from picows import WSMsgType

from tests.faults.conftest import Stages
from tests.faults.feed import Feed
from tests.faults.proof import Proof, prove
from tests.faults.stage import Stage, until
from tests.faults.wire import Wire
from tests.integration.producer.exchange import Client
from tidemark.local.kafka import KafkaServer


def flow_past(stage: Stage, fault: object, landed: int = 600, **producer: float) -> Proof:
    """Trades flow; after 200 of them ``fault`` happens; the producer connects again; what is proven then."""
    assert callable(fault)
    stage.producer(**producer)
    stage.sink()
    with stage.feed.flowing():
        stage.landed(200)
        before = stage.feed.connections
        fault()
        stage.feed.reconnected(before)
        stage.landed(landed)
    return prove(stage)


@pytest.mark.quick_fault
def test_exchange_says_goodbye(stage: Stage) -> None:
    """The exchange closes in order (1001 going away) → another connection; nothing before the close is missing, the
    time between is a gap with the exchange's own words."""

    def fault() -> None:
        client = stage.feed.client()
        stage.feed.run(_in_loop(lambda: client.close(1001, "maintenance")))

    proof = flow_past(stage, fault)
    (gap,) = proof.gaps
    assert (gap.cause, gap.detail["reason"]) == ("disconnected", "closed by the server: 1001 maintenance")


@pytest.mark.quick_fault
def test_exchange_closes_in_the_middle_of_a_frame(stage: Stage) -> None:
    """The exchange sends half a frame and is gone → the half is no record, the whole ones before it are all there."""

    def fault() -> None:
        client = stage.feed.client()
        stage.feed.run(_in_loop(lambda: _half_a_frame(client)))

    proof = flow_past(stage, fault)
    assert proof.causes() == {"disconnected"}


@pytest.mark.quick_fault
def test_exchange_refuses_connections(stage: Stage) -> None:
    """The exchange hangs up and refuses the next five upgrades → the producer asks again, the whole time is one gap."""

    def fault() -> None:
        stage.feed.exchange.refuse = 5
        client = stage.feed.client()
        stage.feed.run(_in_loop(lambda: client.transport.disconnect(graceful=False)))

    proof = flow_past(stage, fault)
    assert stage.feed.exchange.refuse == 0
    (gap,) = proof.gaps
    assert gap.cause == "disconnected"
    assert len(proof.missing) > 0


def test_half_open_connection(stages: Stages, broker: KafkaServer, feed: Feed) -> None:
    """The line is dead and neither side is told → the producer notices by its pings, connects again, and the gap begins
    where the last frame was heard, not where the producer noticed."""
    with Wire.to(feed.url) as wire:
        stage = _through(stages, broker, wire)

        def fault() -> None:
            wire.hold()
            until(lambda: bool(stage.workers[0].said("disconnected")), 30)
            wire.release()
            wire.cut()

        proof = flow_past(stage, fault)
    assert proof.causes() == {"silent"}
    assert len(proof.missing) > 100
    (gap,) = proof.gaps
    assert gap.to_at is not None
    assert (gap.to_at - gap.from_at).total_seconds() > 2


def test_exchange_goes_silent(stage: Stage) -> None:
    """The exchange answers pings and sends no data any more → the producer takes another connection, and the silence is
    a gap from the last frame on."""
    proof = flow_past(stage, stage.feed.mute, dataset_quiet_s=2.0)
    assert proof.causes() == {"silent"}
    assert len(proof.missing) > 500


def test_exchange_floods(stage: Stage) -> None:
    """40 MB in one go against a buffer of 1 MiB → the producer lets the socket wait, memory stays bounded, all of it is
    there."""
    producer = stage.producer(max_buffer_bytes=1024 * 1024)
    stage.sink(rotate_rows=5_000)
    stage.feed.send(100)
    stage.landed(100)
    before = producer.rss()
    frames = [frame[:-1] + b',"x":"' + b"%04d" % n * 500 + b'"}' for n, frame in enumerate(stage.feed.trades(20_000))]
    sending = threading.Thread(target=stage.feed.send, args=(frames, 120))
    sending.start()
    worst = 0
    while sending.is_alive():
        worst = max(worst, producer.rss())
        time.sleep(0.1)
    stage.landed(20_100, 120)
    assert worst - before < 48 * 1024 * 1024, f"{worst - before} bytes more for a buffer of 1 MiB"
    assert prove(stage).missing == ()


def test_exchange_that_never_answers(stages: Stages, broker: KafkaServer, feed: Feed, silent_port: int) -> None:
    """The exchange accepts connections and doesn't answer the upgrade → the attempt ends in time and the next one
    finds it working; nothing was promised, nothing is missing."""
    stage = stages(broker.bootstrap)
    upbit = stage.settings.upbit
    stage.settings = stage.settings.model_copy(
        update={"upbit": upbit.model_copy(update={"ws_url": f"ws://127.0.0.1:{silent_port}"})}
    )
    producer = stage.producer()
    producer.until_said("cannot connect", 40)
    assert producer.drained() == 0
    stage.settings = stage.settings.model_copy(update={"upbit": upbit})
    stage.producer()
    stage.sink()
    stage.feed.send(100)
    stage.landed(100)
    assert prove(stage).missing == ()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def _through(stages: Stages, broker: KafkaServer, wire: Wire) -> Stage:
    """A stage whose producer reaches its exchange over a wire."""
    stage = stages(broker.bootstrap)
    upbit = stage.settings.upbit.model_copy(update={"ws_url": f"ws://127.0.0.1:{wire.port}"})
    stage.settings = stage.settings.model_copy(update={"upbit": upbit})
    return stage


def _half_a_frame(client: Client) -> None:
    header = bytes([0x80 | WSMsgType.TEXT, 126]) + (1_000).to_bytes(2, "big")
    client.transport.underlying_transport.write(header + b'{"type":"trade","code":"KRW-BTC"')
    client.transport.underlying_transport.close()


async def _in_loop(act: object) -> None:
    assert callable(act)
    act()
