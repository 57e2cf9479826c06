"""``kill -9`` of the producer: what it had is there once, and the time it wasn't listening is a row in ``ops.gap``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.conftest import Stages
from tests.faults.proof import prove
from tests.faults.stage import Stage
from tidemark.local import process
from tidemark.local.kafka import KafkaServer

POINTS = ("before_send", "queued", "acknowledged", "delivered")


@pytest.mark.parametrize("point", POINTS)
def test_producer_killed(stage: Stage, point: str) -> None:
    """A producer is killed before or after it hands a frame to the client, before or after it knows of its arrival →
    what arrived is there once, the stretch until the next connection is a gap that holds all that is missing."""
    stage.sink()
    producer = stage.producer(at=point, on=250)
    with stage.feed.flowing():
        producer.killed()
        before = stage.feed.connections
        stage.producer()
        stage.feed.reconnected(before)
        stage.landed(600)
    proof = prove(stage)
    assert proof.missing != (), "frames were on their way when it died"
    assert proof.causes() == {"killed"}


def test_producer_killed_with_frames_on_the_wire(stages: Stages, fresh_kafka: Callable[[], KafkaServer]) -> None:
    """A producer is killed while the broker has been silent for seconds → as above, with the frames it had queued
    among the missing, and the time since the last frame that arrived among the gap."""
    kafka = fresh_kafka()
    stage = stages(kafka.bootstrap)
    stage.sink()
    producer = stage.producer()
    with stage.feed.flowing():
        stage.landed(200)
        broker = process.running(kafka.program.pid_file)
        assert broker is not None
        os.kill(broker, signal.SIGSTOP)
        stage.feed.client()
        stage.feed.send(200)
        producer.kill()
        os.kill(broker, signal.SIGCONT)
        before = stage.feed.connections
        stage.producer()
        stage.feed.reconnected(before)
        stage.landed(600)
    proof = prove(stage)
    assert len(proof.missing) > 0
    assert proof.causes() == {"killed"}


def test_producer_stands_still(stage: Stage) -> None:
    """A producer stands still (SIGSTOP) until the exchange hangs up, and goes on → a gap, and all else is there."""
    stage.sink()
    producer = stage.producer()
    with stage.feed.flowing():
        stage.landed(200)
        producer.pause()
        client = stage.feed.client()
        before = stage.feed.connections
        time.sleep(2)
        stage.feed.run(_hang_up(client))
        producer.resume()
        stage.feed.reconnected(before)
        stage.landed(600)
    proof = prove(stage)
    assert proof.causes() == {"disconnected"}
    assert len(proof.missing) > 100


@pytest.mark.quick_fault
def test_producer_asked_to_stop(stage: Stage) -> None:
    """SIGTERM in the middle of the flow, and a new producer → every frame of the first one arrived, the time between
    the two is a gap, its end is on record."""
    stage.sink()
    producer = stage.producer()
    with stage.feed.flowing():
        stage.landed(200)
        assert producer.drained() == 0
        before = stage.feed.connections
        stage.producer()
        stage.feed.reconnected(before)
        stage.landed(500)
    proof = prove(stage)
    assert proof.causes() == {"disconnected"}


async def _hang_up(client: object) -> None:
    client.transport.disconnect(graceful=False)  # type: ignore[attr-defined]
