"""A broker that dies, hangs, fills up, forgets or is another one: nothing acknowledged is lost, and what is gone is
named."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from tests.faults.conftest import Stages
from tests.faults.proof import prove, value
from tests.faults.small_disk import small_disk
from tests.faults.stage import TRADES, Stage, until
from tidemark.jobs import migrate
from tidemark.lake.chain import ChainReport
from tidemark.local import process
from tidemark.local.kafka import KafkaServer
from tidemark.local.memory import MemoryBroker
from tidemark.naming import topics

Kafkas = Callable[..., KafkaServer]


def pid(kafka: KafkaServer) -> int:
    found = process.running(kafka.program.pid_file)
    assert found is not None
    return found


def kill(kafka: KafkaServer) -> None:
    """``kill -9``; returns when its port is free."""
    os.kill(pid(kafka), signal.SIGKILL)
    kafka.stop()


# --- outages ----------------------------------------------------------------------------------------------


def test_broker_killed_and_restarted(stages: Stages, fresh_kafka: Kafkas) -> None:
    """``kill -9`` of the broker in the middle of the flow, and a restart → producer and sink wait and go on, no frame
    is missing or there twice."""
    kafka = fresh_kafka()
    stage = stages(kafka.bootstrap)
    stage.producer()
    stage.sink()
    with stage.feed.flowing():
        stage.landed(300)
        kill(kafka)
        kafka.start()
        stage.landed(len(stage.feed.sent))
    assert prove(stage).missing == ()


def test_broker_down_for_a_minute(stages: Stages, fresh_kafka: Kafkas) -> None:
    """The broker is down for a minute while the market goes on → the producer holds what comes, and all of it lands."""
    kafka = fresh_kafka()
    stage = stages(kafka.bootstrap)
    stage.producer()
    stage.sink()
    with stage.feed.flowing(200):
        stage.landed(100)
        kafka.stop()
        time.sleep(60)
        kafka.start()
        stage.landed(len(stage.feed.sent), 90)
    assert prove(stage).missing == ()


def test_broker_hangs(stages: Stages, fresh_kafka: Kafkas) -> None:
    """The broker accepts and doesn't answer (SIGSTOP) for longer than a session may last → the sink comes back as a
    member, no frame is missing or there twice."""
    kafka = fresh_kafka()
    stage = stages(kafka.bootstrap)
    stage.producer()
    stage.sink()
    with stage.feed.flowing(200):
        stage.landed(100)
        os.kill(pid(kafka), signal.SIGSTOP)
        time.sleep(10)
        os.kill(pid(kafka), signal.SIGCONT)
        stage.landed(len(stage.feed.sent), 90)
    assert prove(stage).missing == ()


def test_brokers_disk_is_full(stages: Stages, fresh_kafka: Kafkas, tmp_path: Path) -> None:
    """The disk under the broker's log is full → the broker refuses or ends, the producer holds what comes; with room
    and a restart all of it lands."""
    with small_disk(tmp_path / "disk", 200) as disk:
        kafka = fresh_kafka(disk.path / "kafka")
        stage = stages(kafka.bootstrap)
        stage.producer()
        stage.sink()
        stage.feed.send(300)
        stage.landed(300)
        disk.fill(leave=64 * 1024)
        padded = [frame[:-1] + b',"x":"' + os.urandom(2_048).hex().encode() + b'"}' for frame in stage.feed.trades(300)]
        stage.feed.send(padded)
        until(lambda: not kafka.running() or stage.high() < 600, 60)
        time.sleep(3)
        assert stage.end() < 599, "the disk was full, and the broker took everything"
        disk.empty()
        kafka.stop()
        kafka.start()
        stage.landed(600)
        assert prove(stage).missing == ()
        for worker in stage.workers:
            worker.kill()
        kafka.stop()


# --- offsets ----------------------------------------------------------------------------------------------


@pytest.mark.quick_fault
def test_commits_expired(stage: Stage) -> None:
    """The group and its commits are gone (expired) → the next sink goes on where the chain ends."""
    stage.publish(stage.feed.trades(300))
    sink = stage.sink()
    stage.landed(300)
    assert sink.drained() == 0
    admin, group = stage.admin, stage.settings.sink.group
    admin.delete_consumer_groups([group])[group].result(20)
    stage.publish(stage.feed.trades(300))
    stage.sink(rotate_rows=70)
    stage.landed(600)
    assert prove(stage).missing == ()


@pytest.mark.parametrize("offset", [0, 300, 100_000], ids=["to the beginning", "to the end", "beyond the end"])
def test_commits_reset(stage: Stage, offset: int) -> None:
    """Commits are set to the beginning, the end, or beyond it while records wait → the chain doesn't care."""
    stage.publish(stage.feed.trades(200))
    sink = stage.sink()
    stage.landed(200)
    assert sink.drained() == 0
    stage.publish(stage.feed.trades(100))
    wanted = ConsumerGroupTopicPartitions(stage.settings.sink.group, [TopicPartition(TRADES, 0, offset)])
    for future in stage.admin.alter_consumer_group_offsets([wanted]).values():
        future.result(20)
    stage.sink(rotate_rows=70)
    stage.landed(300)
    assert prove(stage).missing == ()


# --- a log that forgot --------------------------------------------------------------------------------------


@pytest.mark.quick_fault
def test_log_trimmed_while_the_sink_is_behind(stage: Stage) -> None:
    """Retention drops records before the sink read them → a gap object stands for exactly those offsets, identity 2 is
    red and names them, ``ops.gap`` says when."""
    stage.publish(stage.feed.trades(200))
    sink = stage.sink()
    stage.landed(200)
    sink.pause()
    stage.publish(stage.feed.trades(400))
    for future in stage.admin.delete_records([TopicPartition(TRADES, 0, 450)]).values():
        future.result(20)
    sink.kill()
    stage.sink()
    stage.landed(600)
    proof = prove(stage, red={("system", 0), ("trade", 2)})
    assert [(link.start, link.end) for link in stage.links() if link.footer.kind == "gap"] == [(200, 449)]
    assert [p["offsets"] for p in proof.red["trade", 2]] == ["200-449"]
    assert [p["numbers"] for p in proof.red["system", 0]] == [["201-450"]]
    assert proof.causes() == {"log trimmed", "frames lost"}
    assert len(proof.missing) == 250


def test_log_trimmed_under_a_running_sink(stage: Stage) -> None:
    """The same while the sink stands still and then goes on with what it had gathered → the same gap, by the same
    worker."""
    stage.publish(stage.feed.trades(200))
    sink = stage.sink(rotate_seconds=3)
    stage.landed(200)
    stage.publish(stage.feed.trades(50))
    time.sleep(1)
    sink.pause()
    stage.publish(stage.feed.trades(350))
    for future in stage.admin.delete_records([TopicPartition(TRADES, 0, 450)]).values():
        future.result(20)
    sink.resume()
    stage.landed(600)
    proof = prove(stage, red={("system", 0), ("trade", 2)})
    (gap,) = [(link.start, link.end) for link in stage.links() if link.footer.kind == "gap"]
    assert gap[1] == 449
    assert gap[0] >= 200
    assert len(proof.missing) == 450 - gap[0]


def test_memory_broker_dropped_the_oldest(stages: Stages, fresh_memory: Callable[[], MemoryBroker]) -> None:
    """The in-memory broker is fed past its 5 MiB while no sink runs → what it dropped is a gap object, named by
    identity 2."""
    broker = fresh_memory()
    stage = stages(broker.bootstrap, memory=True)
    padding = "x" * 8_000
    stage.publish([frame[:-1] + b',"x":"' + padding.encode() + b'"}' for frame in stage.feed.trades(1_200)])
    low = stage.low()
    assert low > 0, "it has dropped some"
    stage.sink()
    stage.landed(1_200)
    proof = prove(stage, red={("system", 0), ("trade", 2)})
    assert len(proof.missing) == low
    assert [p["offsets"] for p in proof.red["trade", 2]] == [f"0-{low - 1}"]


# --- another log --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [False, True], ids=["while the sink is away", "under a running sink"])
def test_topic_made_anew(stage: Stage, running: bool) -> None:
    """The topic is deleted and made again → the sink ends with 2 and says which epoch to set; with it a new chain
    begins, and the old one stays as it is."""
    stage.publish(stage.feed.trades(300))
    sink = stage.sink()
    stage.landed(300)
    if not running:
        assert sink.drained() == 0
    _make_anew(stage)
    stage.publish(stage.feed.trades(400), connection="new")
    if not running:
        sink = stage.sink()
    assert sink.ended(90) == 2
    assert "TIDEMARK_KAFKA__EPOCH to 1" in sink.said("sink stops")[0]["error"]
    assert stage.report() == ChainReport(0, 299)
    kafka = stage.settings.kafka.model_copy(update={"epoch": 1})
    stage.settings = stage.settings.model_copy(update={"kafka": kafka})
    stage.sink()
    stage.landed(400)
    stage.rest()
    assert stage.report(epoch=0) == ChainReport(0, 299)
    assert stage.report(epoch=1) == ChainReport(0, 399)
    stage.load()
    assert value(stage, "SELECT count(*) FROM raw.trade_v1") == 700
    stage.check()
    assert value(stage, "SELECT count(*) FROM ops.completeness WHERE status = 'red' AND identity < 3") == 0


def _make_anew(stage: Stage) -> None:
    admin = stage.admin
    admin.delete_topics([TRADES])[TRADES].result(20)
    until(lambda: TRADES not in admin.list_topics(timeout=10).topics)
    migrate.migrate_topics(stage.settings.kafka, topics("upbit", ["trade"]))
    until(lambda: stage.high() == 0)
