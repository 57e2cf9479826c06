"""Whatever happens to workers, commits, objects and the log: each offset lies in the lake exactly once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from streaming.consumer.worker import Sink
from tests.gcs_double import Fault, GcsDouble
from tests.integration.sink.plant import START_NS, Plant, killed, trade, trades, until
from tidemark.lake.chain import ChainReport, LogChangedError
from tidemark.settings import LakeSettings


@pytest.fixture
def gcs() -> Iterator[GcsDouble]:
    with GcsDouble() as double:
        yield double


def test_every_record_becomes_its_row_and_the_chain_is_committed(plant: Plant) -> None:
    topic = plant.make_topic(partitions=3)
    for partition in range(3):
        plant.send(topic, trades(0, 250), partition)
    with plant.sink(topic, rotate_rows=100):
        until(lambda: all(plant.end(topic, p) == 249 for p in range(3)))
    for partition in range(3):
        plant.assert_exact(topic, 250, partition)
        assert [(f.start, f.end) for f in plant.footers(topic, partition)] == [
            (0, 99),
            (100, 199),
            (200, 249),
        ]
        assert plant.committed(topic, partition) == 250
    row = plant.rows(topic, 1)[7]
    assert (row["exchange"], row["market"], row["code"]) == ("upbit", "BTC-KRW", "KRW-BTC")
    assert (str(row["price"]), str(row["size"]), row["side"]) == (
        "100000007.000000000000000000",
        "0.500000000000000000",
        "buy",
    )
    assert (row["source"], row["connection_id"], row["frame_no"], row["item"]) == ("ws", "c1", 7, 0)
    assert (row["kafka_cluster"], row["kafka_epoch"], row["kafka_topic"]) == (plant.cluster, 0, topic)
    assert (row["kafka_partition"], row["kafka_offset"]) == (1, 7)
    assert row["received_at"].timestamp() == START_NS / 10**9 + 7e-6
    assert row["frame"] == trade(7, START_NS + 7_000)[0]


def test_killed_between_upload_and_commit_again_and_again(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 500))
    for kill_at in (1, 3):
        killed(plant.process(topic, kill_at=kill_at, rotate_rows=50))
        assert plant.report(topic).whole
        assert plant.committed(topic) < plant.end(topic) + 1  # the commit was never made
    with plant.sink(topic, rotate_rows=50):
        until(lambda: plant.end(topic) == 499)
    plant.assert_exact(topic, 500)
    assert plant.committed(topic) == 500


def test_two_workers_assigned_to_the_same_partition(plant: Plant) -> None:
    """Their portions differ, so each must take over where the other's object ends."""
    topic = plant.make_topic()
    places = [(topic, 0)]
    plant.send(topic, trades(0, 400))
    with (
        plant.sink(places=places, rotate_rows=7, worker="a") as one,
        plant.sink(places=places, rotate_rows=11, worker="b") as other,
    ):
        for first in range(400, 2_000, 200):
            plant.send(topic, trades(first, 200))
            time.sleep(0.2)
        until(lambda: plant.end(topic) == 1_999, 60)
    plant.assert_exact(topic, 2_000)
    assert one.totals.lost_races + other.totals.lost_races > 0
    assert one.totals.objects + other.totals.objects == len(plant.links(topic))


def test_workers_come_and_go(plant: Plant) -> None:
    topic = plant.make_topic(partitions=4)
    sent = 0
    with plant.sink(topic, rotate_rows=40, worker="a"):
        sent = _send_everywhere(plant, topic, sent, 100)
        until(lambda: plant.end(topic) >= 39)
        with plant.sink(topic, rotate_rows=30, worker="b") as other:
            while other.totals.objects <= 3:
                sent = _send_everywhere(plant, topic, sent, 60)
                time.sleep(0.2)
        sent = _send_everywhere(plant, topic, sent, 100)
        until(lambda: all(plant.end(topic, p) == sent - 1 for p in range(4)), 60)
    for partition in range(4):
        plant.assert_exact(topic, sent, partition)
        assert plant.committed(topic, partition) == sent


def _send_everywhere(plant: Plant, topic: str, first: int, count: int) -> int:
    for partition in range(4):
        plant.send(topic, trades(first, count), partition)
    return first + count


@pytest.mark.fault
def test_a_zombie_that_wakes_up_writes_nothing_twice(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 30))
    zombie = plant.process(topic, rotate_rows=100, rotate_seconds=3, worker="zombie")
    try:
        until(lambda: plant.end(topic) == 29)
        plant.send(topic, trades(30, 40))
        time.sleep(1)  # gathered by now, and not written
        assert plant.end(topic) == 29
        os.kill(zombie.pid, signal.SIGSTOP)
        with plant.sink(topic, worker="heir"):
            until(lambda: plant.end(topic) == 69, 60)
            os.kill(zombie.pid, signal.SIGCONT)
            plant.send(topic, trades(70, 30))
            until(lambda: plant.end(topic) == 99)
            time.sleep(3)  # the zombie's own rotation
    finally:
        os.kill(zombie.pid, signal.SIGCONT)
        zombie.terminate()
        assert zombie.wait(30) == 0
    plant.assert_exact(topic, 100)


@pytest.mark.parametrize("offset", [0, 60, 150], ids=["to the beginning", "back", "ahead"])
def test_an_operator_resets_committed_offsets(plant: Plant, offset: int) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 100))
    with plant.sink(topic, rotate_rows=30):
        until(lambda: plant.end(topic) == 99)
    before = [link.path for link in plant.links(topic)]
    plant.send(topic, trades(100, 80))
    plant.reset_committed(topic, offset)
    assert plant.committed(topic) == offset
    with plant.sink(topic, rotate_rows=30):
        until(lambda: plant.end(topic) == 179)
    plant.assert_exact(topic, 180)
    assert [link.path for link in plant.links(topic)][: len(before)] == before
    assert plant.committed(topic) == 180


@pytest.mark.parametrize("which", [0, 3, -1], ids=["first", "middle", "newest"])
def test_a_deleted_object_is_healed_by_the_next_assignment(plant: Plant, which: int) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 200))
    with plant.sink(topic, rotate_rows=30):
        until(lambda: plant.end(topic) == 199)
    links = plant.links(topic)
    lost = links[which]
    plant.store.delete(lost.path)
    assert plant.report(topic) != ChainReport(0, 199)
    with plant.sink(topic, rotate_rows=20):  # other portions than those that were lost
        until(lambda: plant.report(topic) == ChainReport(0, 199))
        plant.send(topic, trades(200, 10))
        until(lambda: plant.end(topic) == 209)
    plant.assert_exact(topic, 210)
    kept = {link.path: link.footer for link in plant.links(topic)}
    assert all(kept[link.path] == link.footer for link in links if link is not lost)


def test_what_the_log_has_dropped_becomes_a_gap_object(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 50))
    with plant.sink(topic):
        until(lambda: plant.end(topic) == 49)
    plant.send(topic, trades(50, 100))
    trimmed = plant.admin.delete_records([TopicPartition(topic, 0, 80)])
    for future in trimmed.values():
        future.result(20)
    with plant.sink(topic):
        until(lambda: plant.end(topic) == 149)
    assert plant.report(topic) == ChainReport(0, 149)
    (gap,) = [f for f in plant.footers(topic) if f.kind == "gap"]
    assert (gap.start, gap.end, gap.rows, gap.parsed, gap.dead, gap.ignored) == (50, 79, 0, 0, 0, 0)
    assert [r["kafka_offset"] for r in plant.rows(topic)] == [*range(50), *range(80, 150)]


def test_a_topic_made_anew_stops_the_sink_until_the_epoch_is_raised(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 50))
    with plant.sink(topic):
        until(lambda: plant.end(topic) == 49)
    plant.admin.delete_topics([topic])[topic].result(20)
    until(lambda: topic not in plant.admin.list_topics(timeout=5).topics)
    plant.make_topic(again=True)
    for sent, problem in ((20, "ends before offset"), (60, "not the one")):
        plant.send(topic, trades(1_000, sent))
        with pytest.raises(LogChangedError, match=rf"{problem}.*TIDEMARK_KAFKA__EPOCH to 1"):
            Sink(plant.settings(), topics=[topic]).run()
    assert plant.report(topic) == ChainReport(0, 49)
    with plant.sink(topic, epoch=1):
        until(lambda: [f.end for f in plant.footers(topic, epoch=1)][-1:] == [79])
    assert [r["trade_id"] for r in plant.rows(topic, epoch=1)] == [*range(1_000, 1_020), *range(1_000, 1_060)]
    assert {r["kafka_epoch"] for r in plant.rows(topic, epoch=1)} == {1}


def test_sigterm_writes_and_commits_what_was_gathered(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 20))
    sink = plant.process(topic, rotate_rows=20, rotate_seconds=600)
    until(lambda: plant.end(topic) == 19)
    plant.send(topic, trades(20, 17))
    time.sleep(1)
    assert plant.end(topic) == 19  # far from any rotation
    began = time.monotonic()
    sink.terminate()
    assert sink.wait(30) == 0
    assert time.monotonic() - began < 30
    plant.assert_exact(topic, 37)
    assert plant.committed(topic) == 37
    said = [json.loads(line) for line in (plant.folder / "sink.log").read_text().splitlines()]
    (last,) = [line for line in said if line["event"] == "sink ends"]
    assert (last["worker"], last["records"], last["rows"], last["lag"], last["gathered"]) == (
        "sink-1",
        37,
        37,
        0,
        0,
    )


def test_the_same_on_google_cloud_storage_with_faults(kafka_bootstrap: str, gcs: GcsDouble, tmp_path: Path) -> None:
    plant = Plant(kafka_bootstrap, tmp_path, LakeSettings(url="gs://lake/tidemark", gcs_endpoint=gcs.endpoint))
    topic = plant.make_topic()
    gcs.plant(
        Fault("status", "POST", "uploadType", 503),
        Fault("lost", "POST", "uploadType"),
        Fault("reset", "POST", "uploadType"),
        Fault("truncated", "GET", "alt=media"),
        Fault("status", "GET", "prefix", 429),
    )
    plant.send(topic, trades(0, 300))
    with (
        plant.sink(places=[(topic, 0)], rotate_rows=40, worker="a"),
        plant.sink(places=[(topic, 0)], rotate_rows=25, worker="b"),
    ):
        until(lambda: plant.end(topic) == 299, 90)
    plant.assert_exact(topic, 300)
    assert gcs.unspent == []


def test_a_lake_that_is_away_for_a_while_delays_and_loses_nothing(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 100))
    with plant.sink(topic, rotate_rows=50) as sink:
        until(lambda: plant.end(topic) == 99)
        folder = plant.folder / "lake"
        folder.rename(plant.folder / "away")
        plant.send(topic, trades(100, 100))
        until(lambda: sink._failures >= 2)
        assert not folder.exists()  # no second lake is begun where the first one was
        (plant.folder / "away").rename(folder)
        until(lambda: plant.end(topic) == 199)
    plant.assert_exact(topic, 200)
