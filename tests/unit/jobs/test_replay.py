"""Replay to a file: the right records, in the right order, as they were, at the right pace, in bounded memory."""

from __future__ import annotations

import base64
import json
import random
import time
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.jobs.replay_lake import T0, Frame, land, land_rest, opened, trade
from tests.unit.lake import layout_one
from tidemark.exchanges.book_records import BookRecord, SnapshotRecord
from tidemark.jobs import compact, replay
from tidemark.jobs.compact import CompactSummary
from tidemark.jobs.replay_targets import ReplayError
from tidemark.lake import compacted, recorded
from tidemark.lake.local import LocalStore
from tidemark.lake.recorded import Left, Window
from tidemark.lake.store import ObjectStore, open_store
from tidemark.local.simulator.recording import read_recording
from tidemark.settings import LakeSettings, Settings

HOUR = timedelta(hours=1)
BOOK_ANSWER = b'{"lastUpdateId":1,"E":1776042123456,"T":1776042123450,"bids":[["6","1"]],"asks":[["7","2"]]}'
SECOND = timedelta(seconds=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(lake=LakeSettings(url=f"file://{tmp_path}/lake"))


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings.lake)


def play(settings: Settings, path: Path, **changed: Any) -> list[dict[str, Any]]:
    order = {"exchange": "upbit", "window": Window(T0, T0 + HOUR), "datasets": ("trade",)} | changed
    replay.to_file(settings, path, replay.Order(**order))
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [json.loads(r["frame"])["sequential_id"] for r in records]


def test_a_record_comes_back_as_the_producer_wrote_it(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    frame = trade(7, timedelta(microseconds=1_234_567))
    land(store, "trade", 3, 100, [frame])
    (record,) = play(settings, tmp_path / "out")
    micros = int(T0.timestamp()) * 10**6 + 1_234_567
    assert record == {
        "topic": "raw.upbit.trade.v1", "partition": 3, "key": "KRW-BTC", "timestamp_ms": micros // 1_000,
        "headers": {"received_ns": str(micros * 1_000), "connection": "producer-1-x-1", "frame": "7"},
        "frame": frame.value.decode(),
    }  # fmt: skip


def test_a_record_of_our_own_keeps_its_kind_and_has_no_number(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    land(store, "system", 0, 0, [opened("c-9", SECOND)])
    (record,) = play(settings, tmp_path / "out", datasets=("system",))
    assert record["key"] == "c-9"
    assert record["headers"].keys() == {"received_ns", "connection", "kind"}
    assert record["headers"]["kind"] == "open"


def test_partitions_and_datasets_are_merged_by_receipt_and_each_keeps_its_order(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    generator = random.Random(4)
    places: dict[int, list[Frame]] = {0: [], 1: [], 2: []}
    for number in range(300):
        places[generator.randrange(3)].append(trade(number, number * SECOND / 10))
    for partition, frames in places.items():
        land(store, "trade", partition, 0, frames[:40])
        land(store, "trade", partition, 40, frames[40:])
    land(store, "system", 0, 0, [opened("c-1", 5 * SECOND), opened("c-2", 25 * SECOND)])
    records = play(settings, tmp_path / "out", datasets=())
    received = [int(r["headers"]["received_ns"]) for r in records]
    assert received == sorted(received)
    assert numbers([r for r in records if "trade" in r["topic"]]) == list(range(300))
    assert [r["key"] for r in records if "system" in r["topic"]] == ["c-1", "c-2"]


def test_what_came_late_into_a_partition_stays_behind_what_lies_before_it(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    land(store, "trade", 0, 0, [trade(1, 3 * SECOND), trade(2, 1 * SECOND), trade(3, 4 * SECOND)])
    land(store, "trade", 1, 0, [trade(4, 2 * SECOND)])
    assert numbers(play(settings, tmp_path / "out")) == [4, 1, 2, 3]


def test_the_window_is_cut_to_the_microsecond(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    tick = timedelta(microseconds=1)
    ats = [-tick, timedelta(0), HOUR - tick, HOUR]
    land(store, "trade", 0, 0, [trade(n, at) for n, at in enumerate(ats)])
    land(store, "trade", 0, 4, [trade(9, 2 * HOUR)])
    assert numbers(play(settings, tmp_path / "out")) == [1, 2]


def test_rows_of_rest_are_no_records(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    land(store, "trade", 0, 0, [trade(1, SECOND)])
    land_rest(store, trade(2, 2 * SECOND))
    assert numbers(play(settings, tmp_path / "out")) == [1]


def test_only_the_chosen_markets_come(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    land(store, "trade", 0, 0, [trade(n, n * SECOND, code) for n, code in enumerate(["KRW-BTC", "KRW-ETH", "BTC-ETH"])])
    assert numbers(play(settings, tmp_path / "out", markets=("ETH-KRW",))) == [1]


def test_the_compacted_hours_give_the_same_as_landing(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    for partition in range(3):
        frames = [trade(3 * n + partition, (3 * n + partition) * 40 * SECOND) for n in range(60)]
        land(store, "trade", partition, 0, frames[:25])
        land(store, "trade", partition, 25, frames[25:])
    land_rest(store, trade(999, SECOND))
    compact.compact(store, "upbit", "trade", T0, T0 + 3 * HOUR, CompactSummary())
    window = Window(T0 + HOUR / 2, T0 + 1.75 * HOUR)
    landed = play(settings, tmp_path / "landed", window=window)
    assert len(landed) == 113
    assert play(settings, tmp_path / "compacted", window=window, lake="compacted") == landed


def test_a_part_of_the_first_layout_and_one_of_the_present_give_one_partition(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    """Offsets 0 to 9 and 20 to 29 lie in a part as the released version wrote it, those between came later."""
    hour = compacted.Hour("upbit", "trade", T0)
    for start in (0, 20, 10):
        land(store, "trade", 0, start, [trade(n, n * SECOND) for n in range(start, start + 10)])
        if start == 20:
            listed = [one.path for one in store.list("landing/")]
            sources = [compacted.Source(path, int(path[-28:-8]), int(path[-28:-8]) + 9, 10) for path in listed]
            layout_one.write_part(store, hour, layout_one.plan(store, hour, sources))
    compact.compact(store, "upbit", "trade", T0, T0 + HOUR, CompactSummary())
    landed = play(settings, tmp_path / "landed")
    assert numbers(landed) == list(range(30))
    assert play(settings, tmp_path / "compacted", lake="compacted") == landed


def test_parts_that_meet_in_their_offsets_are_merged(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    for start in (0, 20):
        land(store, "trade", 0, start, [trade(n, n * SECOND) for n in range(start, start + 10)])
    compact.compact(store, "upbit", "trade", T0, T0 + HOUR, CompactSummary())
    land(store, "trade", 0, 10, [trade(n, n * SECOND) for n in range(10, 20)])
    compact.compact(store, "upbit", "trade", T0, T0 + HOUR, CompactSummary())
    assert numbers(play(settings, tmp_path / "out", lake="compacted")) == list(range(30))


def test_a_planned_part_that_was_never_written_is_an_error(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    land(store, "trade", 0, 0, [trade(1, SECOND)])
    compact.compact(store, "upbit", "trade", T0, T0 + HOUR, CompactSummary())
    (part,) = [o.path for o in store.list("raw/trade/v1/") if o.path.endswith(".parquet")]
    store.delete(part)
    with pytest.raises(recorded.CorruptObjectError, match="compact upbit trade"):
        play(settings, tmp_path / "out", lake="compacted")
    assert [p.name for p in tmp_path.iterdir()] == ["lake"]


def test_objects_that_lie_well_behind_the_window_are_not_looked_at(
    store: ObjectStore, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(200):
        land(store, "trade", 0, day, [trade(day, timedelta(days=day))])
    looked: list[str] = []
    tail = LocalStore.get_tail

    def get_tail(self: LocalStore, path: str, length: int) -> bytes:
        looked.append(path)
        return tail(self, path, length)

    monkeypatch.setattr(LocalStore, "get_tail", get_tail)
    assert numbers(play(settings, tmp_path / "out")) == [0]
    assert len(looked) <= 128


def test_what_the_lake_does_not_hold_is_said(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    land(store, "trade", 0, 0, [trade(1, SECOND)], dead=4)
    order = replay.Order("upbit", Window(T0, T0 + HOUR), ("trade",))
    summary = replay.to_file(settings, tmp_path / "out", order)
    assert summary.left == Left(dead=4)
    assert summary.records == 1
    assert "4 dead letters" in str(summary)


@pytest.mark.parametrize(
    ("dataset", "kind", "value"),
    [
        ("depth", "snapshot", SnapshotRecord("BTCUSDT", T0, BOOK_ANSWER).encode()),
        ("orderbook", "book", BookRecord("BTCUSDT", T0, 7, [(Decimal(3), Decimal(1))], []).encode()),
    ],
)
def test_what_the_producer_wrote_about_books_keeps_its_kind_and_its_key(dataset: str, kind: str, value: bytes) -> None:
    record = recorded.Recorded(f"raw.binance.{dataset}.v1", 5_000, 0, 0, "c-1", None, value, "BTCUSDT", None)
    played = replay.played_again(record)
    headers = [("received_ns", b"5000"), ("connection", b"c-1"), ("kind", kind.encode())]
    assert (played.key, played.value, played.headers) == (b"BTCUSDT", value, headers)


def test_a_frame_that_is_no_utf8_comes_back_byte_for_byte() -> None:
    record = recorded.Recorded("raw.upbit.trade.v1", 5_000, 0, 0, "c", 1, b"\xff\x00", None, None)
    line = json.loads(replay.LINES["ndjson"](replay.played_again(record)))
    assert base64.b64decode(line["frame_base64"]) == b"\xff\x00"
    assert "frame" not in line


def test_the_simulator_plays_what_was_written_as_a_capture(
    settings: Settings, store: ObjectStore, tmp_path: Path
) -> None:
    frames = [trade(n, timedelta(microseconds=n * 1_500)) for n in range(5)]
    land(store, "trade", 0, 0, frames)
    land(store, "system", 0, 0, [opened("c-1", timedelta(0))])
    order = replay.Order("upbit", Window(T0, T0 + HOUR))
    replay.to_file(settings, tmp_path / "capture", order, "capture")
    played = read_recording(tmp_path / "capture").frames
    assert [f.payload for f in played] == [f.value for f in frames]
    assert [round((f.at - T0.timestamp()) * 10**6) for f in played] == [0, 1_500, 3_000, 4_500, 6_000]


def test_a_speed_is_kept(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    land(store, "trade", 0, 0, [trade(n, n * SECOND) for n in range(4)])
    begun = time.monotonic()
    assert numbers(play(settings, tmp_path / "out", speed=10.0)) == [0, 1, 2, 3]
    assert 0.3 <= time.monotonic() - begun < 3


def test_progress_is_told(
    settings: Settings, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_SHOW_EVERY_S", (0.0, 0.0))
    land(store, "trade", 0, 0, [trade(n, timedelta(minutes=n / 20)) for n in range(600)])
    lines: list[str] = []
    replay.to_file(settings, tmp_path / "out", replay.Order("upbit", Window(T0, T0 + HOUR)), show=lines.append)
    assert lines[0].startswith("2026-04-13 05:12:45 UTC  21 %  256 records")
    assert len(lines) == 2


def test_memory_stays_bounded(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    """120 MB of frames in 6 partitions of one object each: all are open at once, a few MB of each are held."""
    for partition in range(6):
        frames = [trade(n, n * SECOND / 2 + partition * SECOND / 12, padding=4_000) for n in range(5_000)]
        land(store, "trade", partition, 0, frames)
    before = pa.total_allocated_bytes()
    most = 0
    count = 0
    choice = recorded.Choice("upbit", "trade", Window(T0, T0 + HOUR))
    for record in recorded.from_landing(store, [choice], Left()):
        count += len(record.frame) > 4_000
        most = max(most, pa.total_allocated_bytes() - before) if count % 50 == 0 else most
    assert count == 30_000
    assert most < 36 * 2**20


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"exchange": "mtgox"}, "there are: "),
        ({"datasets": ("trades",)}, "no dataset trades; there are: trade"),
        ({"speed": 0.0}, "above 0"),
        ({"speed": float("nan")}, "above 0"),
    ],
)
def test_what_can_not_be_played_is_refused(
    settings: Settings, tmp_path: Path, changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ReplayError, match=problem):
        play(settings, tmp_path / "out", **changed)


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [(None, None, None), (T0, T0, T0 + HOUR), (None, T0, None), (None, None, T0), (None, T0, T0)],
)
def test_the_time_must_be_said_once(day: datetime | None, start: datetime | None, end: datetime | None) -> None:
    with pytest.raises(ReplayError, match=r"--day|empty"):
        replay.order("upbit", day, start, end)


def test_a_day_is_a_utc_day() -> None:
    window = replay.order("upbit", datetime(2026, 4, 13), None, None).window
    assert (window.start.isoformat(), window.end - window.start) == ("2026-04-13T00:00:00+00:00", 24 * HOUR)


def test_a_file_is_never_overwritten(settings: Settings, store: ObjectStore, tmp_path: Path) -> None:
    land(store, "trade", 0, 0, [trade(1, SECOND)])
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ReplayError, match="exists"):
        play(settings, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
