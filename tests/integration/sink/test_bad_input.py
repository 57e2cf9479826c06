"""Bad input goes to the dead letters with its reason; everything else flows; all of it is counted."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.integration.sink.plant import HOUR_NS, START_NS, Plant, headers, trades, until
from tidemark.exchanges.connection import ConnectionRecord
from tidemark.lake.parquet import Footer
from tidemark.settings import PROJECT_ROOT


def test_garbage_is_dead_with_its_reason_and_the_rest_flows(plant: Plant) -> None:
    topic = plant.make_topic()
    good = trades(0, 50)
    bad = {
        10: b"\xff\xfe not json",
        20: b'{"type":"trade","code":"KRW-BTC","trade_price":"abc"}',
        30: b'{"type":"teapot","code":"KRW-BTC"}',
        40: b"",
    }
    for place, frame in bad.items():
        good[place] = (frame, headers(place, START_NS + place * 1_000))
    plant.send(topic, good)
    with plant.sink(topic, rotate_rows=25):
        until(lambda: plant.end(topic) == 49)
    rows = plant.rows(topic)
    assert [r["kafka_offset"] for r in rows] == [n for n in range(50) if n not in bad]
    footers = plant.footers(topic)
    assert [(f.parsed, f.dead, f.ignored, f.rows) for f in footers] == [(23, 2, 0, 23), (23, 2, 0, 23)]
    # Frame numbers of dead letters are accounted for too: nothing is missing from the connection.
    assert sum(s.sum for f in footers for s in f.frames) == sum(range(1, 50))
    assert _frames(footers) == 49
    letters = plant.dead_letters(topic)
    assert {int(h["offset"]): value for value, h in letters} == bad
    for value, h in letters:
        assert (h["topic"], h["partition"]) == (topic, "0")
        assert (h["length"], h["sha256"]) == (str(len(value)), hashlib.sha256(value).hexdigest())
        assert (h["connection"], h["frame"]) == ("c1", h["offset"])
        assert h["message"]
    reasons = plant.dead_reasons(topic)
    assert reasons.total() == 4
    assert sorted(h["reason"] for _, h in letters) == sorted(reasons.elements())
    assert {int(h["offset"]): h["reason"] for _, h in letters} == {
        10: "not_json", 20: "bad_type", 30: "unknown_type", 40: "not_json",
    }  # fmt: skip


def _frames(footers: list[Footer]) -> int:
    return sum(s.count for f in footers for s in f.frames)


def test_the_system_topic(plant: Plant) -> None:
    """Connections become rows, status is ignored, an error and a giant are dead."""
    topic = plant.make_topic("system")
    at = datetime(2026, 4, 13, tzinfo=UTC)
    opened = ConnectionRecord(
        exchange="upbit", connection="c1", worker="p", opened_at=at, subscription={"trade": ["KRW-BTC"]}
    )
    closed = ConnectionRecord(
        exchange="upbit",
        connection="c1",
        worker="p",
        opened_at=at,
        closed_at=at,
        frames=5_000,
        reason="server closed",
    )
    giant = b"x" * 5_000_000
    giant_hash = hashlib.sha256(giant).hexdigest()
    oversized = {"kind": b"oversized", "length": b"5000000", "sha256": giant_hash.encode()}
    ours = {"received_ns": b"%d" % START_NS, "connection": b"c1"}
    frames = [
        (opened.encode(), {**ours, "kind": b"open"}),
        (b'{"status":"UP"}', headers(1)),
        (b'{"error":{"name":"NO_CODES","message":"no codes"}}', headers(2)),
        (giant[: 64 * 1024], {**headers(3), **oversized}),
        (closed.encode(), {**ours, "kind": b"close"}),
        (b"{}", {**ours, "kind": b"surprise"}),
    ]  # fmt: skip
    plant.send(topic, frames)
    with plant.sink(topic):
        until(lambda: plant.end(topic) == 5)
    rows = plant.rows(topic)
    assert [(r["kind"], r["connection"], r["frames"], r["reason"]) for r in rows] == [
        ("open", "c1", None, None),
        ("close", "c1", 5_000, "server closed"),
    ]
    assert json.loads(rows[0]["subscription"]) == {"trade": ["KRW-BTC"]}
    footers = plant.footers(topic)
    assert (
        sum(f.parsed for f in footers),
        sum(f.dead for f in footers),
        sum(f.ignored for f in footers),
    ) == (2, 3, 1)
    assert [(s.connection, s.count, s.min, s.max, s.sum) for f in footers for s in f.frames] == [("c1", 3, 1, 3, 6)]
    letters = {int(h["offset"]): (value, h) for value, h in plant.dead_letters(topic)}
    assert set(letters) == {2, 3, 5}
    value, named = letters[3]
    assert value == giant[: 64 * 1024]
    assert (named["length"], named["sha256"]) == ("5000000", giant_hash)


def test_nothing_but_dead_letters_still_advances_the_chain(plant: Plant) -> None:
    topic = plant.make_topic()
    plant.send(topic, [(b"?", {}) for _ in range(5)])
    with plant.sink(topic):
        until(lambda: plant.end(topic) == 4)
    (footer,) = plant.footers(topic)
    assert (footer.kind, footer.rows, footer.parsed, footer.dead, footer.ignored) == ("data", 0, 0, 5, 0)
    assert (footer.received_min, footer.received_max, footer.frames) == (None, None, ())
    assert plant.committed(topic) == 5
    assert len(plant.dead_letters(topic)) == 5


def test_a_new_receive_hour_begins_a_new_object_and_late_records_do_not(plant: Plant) -> None:
    topic = plant.make_topic()
    hours = [0, 0, 0, 1, 0, 1, 1, 2, 1, 2]
    frames = [
        (value, headers(n + 1, START_NS + hour * HOUR_NS))
        for n, (hour, (value, _)) in enumerate(zip(hours, trades(0, 10), strict=True))
    ]
    plant.send(topic, frames)
    with plant.sink(topic, rotate_seconds=2):
        until(lambda: plant.end(topic) == 9)
    footers = plant.footers(topic)
    assert [(f.start, f.end) for f in footers] == [(0, 2), (3, 6), (7, 9)]
    start = START_NS // 10**9
    assert [[((s.hour - start) // 3_600, s.count, s.sum) for s in f.frames] for f in footers] == [
        [(0, 3, 1 + 2 + 3)],
        [(0, 1, 5), (1, 3, 4 + 6 + 7)],
        [(1, 1, 9), (2, 2, 8 + 10)],
    ]
    assert footers[1].received_min == START_NS
    assert footers[1].received_max == START_NS + HOUR_NS


def test_large_records_are_bounded_by_bytes(plant: Plant) -> None:
    topic = plant.make_topic()
    padded = [(value[:-1] + b',"pad":"' + b"x" * 50_000 + b'"}', named) for value, named in trades(0, 40)]
    plant.send(topic, padded)
    with plant.sink(topic, rotate_bytes=500_000, rotate_seconds=60):
        until(lambda: plant.end(topic) >= 29)
    plant.assert_exact(topic, 40)
    assert [f.offsets for f in plant.footers(topic)] == [10, 10, 10, 10]
    assert len(json.loads(plant.rows(topic)[0]["extra"])["pad"]) == 50_000


def test_the_module_runs_on_the_in_memory_broker(memory_bootstrap: str, tmp_path: Path) -> None:
    """``python -m streaming.consumer`` with its settings from the environment, all topics, ended by SIGTERM."""
    plant = Plant(memory_bootstrap, tmp_path)
    topic = "raw.upbit.trade.v1"
    plant.send(topic, trades(0, 300))
    env = {
        "PATH": os.environ["PATH"],
        "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": memory_bootstrap,
        "TIDEMARK_KAFKA__CLUSTER": plant.cluster,
        "TIDEMARK_LAKE__URL": plant.lake.url,
        "TIDEMARK_SINK__ROTATE_SECONDS": "0.5",
    }
    with subprocess.Popen([sys.executable, "-m", "streaming.consumer"], cwd=PROJECT_ROOT, env=env) as sink:
        try:
            until(lambda: plant.end(topic) == 299, 60)
        finally:
            sink.terminate()
        assert sink.wait(30) == 0
    plant.assert_exact(topic, 300)
