"""The producer's parts that need no server: pauses, the gate, the pace, names."""

from __future__ import annotations

from datetime import UTC, datetime

from streaming.producer import records
from streaming.producer.gate import Gate
from streaming.producer.pace import Pace
from streaming.producer.records import ConnectionNames, unix_ns
from streaming.producer.waiting import Backoff

KIB = 1024


class Socket:
    def __init__(self) -> None:
        self.paused = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def test_backoff_grows_to_its_ceiling_with_full_jitter_and_starts_over() -> None:
    ceilings = [0.5, 1, 2, 4, 8, 8, 8]
    runs = []
    for _ in range(300):
        backoff = Backoff(0.5, 8)
        runs.append([backoff.next() for _ in ceilings])
    for n, ceiling in enumerate(ceilings):
        pauses = [run[n] for run in runs]
        assert 0 <= min(pauses) < ceiling / 4
        assert ceiling * 3 / 4 < max(pauses) <= ceiling
    backoff.reset()
    assert backoff.next() <= 0.5


def test_the_gate_is_held_as_long_as_anyone_holds_it() -> None:
    gate, early, late = Gate(), Socket(), Socket()
    gate.add(early)
    gate.hold("a")
    gate.hold("a")
    gate.hold("b")
    gate.add(late)
    assert early.paused
    assert late.paused
    gate.release("a")
    gate.release("never held")
    assert early.paused
    gate.remove(late)
    gate.release("b")
    assert not early.paused
    assert late.paused, "it is no longer the gate's"
    assert (gate.held, gate.times_held) == (False, 1)


def test_the_pace_counts_what_is_on_its_way_and_what_is_not_committed() -> None:
    gate = Gate()
    pace = Pace(gate, 100 * KIB)
    for offset in range(9):
        pace.sent("t", 10 * KIB)
        pace.delivered("t", 0, offset, 10 * KIB)
    assert (pace.lag_bytes, gate.held) == (90 * KIB, False)
    pace.sent("t", 10 * KIB)
    assert gate.held, "nobody knows yet which partition it goes to"
    pace.delivered("t", 1, 0, 10 * KIB)
    pace.committed("t", 0, 3)
    assert (pace.lag_bytes, gate.held) == (60 * KIB, True), "it is released at half"
    pace.committed("t", 0, 4)
    assert (pace.lag_bytes, gate.held) == (50 * KIB, False)


def test_the_pace_waits_for_records_that_were_there_before() -> None:
    gate = Gate()
    pace = Pace(gate, 100 * KIB)
    pace.found("t", 2, 1_000)
    assert gate.held
    pace.committed("t", 2, 999)
    assert gate.held
    pace.committed("t", 2, 1_000)
    assert not gate.held


def test_the_pace_never_trusts_a_partition_with_more_than_it_keeps() -> None:
    gate = Gate()
    pace = Pace(gate, 64 * 1024 * KIB)
    pace.sent("t", 3 * 1024 * KIB)
    assert gate.held


def test_connections_have_names_of_their_own() -> None:
    one, other = ConnectionNames("w"), ConnectionNames("w")
    names = [one.next(), one.next(), other.next(), other.next()]
    assert len(set(names)) == 4
    assert all(name.startswith("w-2") for name in names)


def test_a_record_says_when_over_which_connection_and_its_number() -> None:
    headers = records.frame_headers("c-1") | {"received_ns": b"1789874437622999999", "frame": b"7"}
    assert list(headers) == ["received_ns", "connection", "frame"]
    frame = b'{"type":"trade","code":"KRW-BTC","x":"' + b"x" * (900 * KIB) + b'"}'
    larger = records.oversized("upbit", frame, "trade", headers, 1_789_874_437_622_999_999)
    assert (larger.topic, larger.key, larger.value) == ("raw.upbit.system.v1", b"c-1", frame[: 64 * KIB])
    assert larger.timestamp_ms == 1_789_874_437_622
    assert (larger.headers["kind"], larger.headers["dataset"], larger.headers["frame"]) == (
        b"oversized",
        b"trade",
        b"7",
    )
    assert int(larger.headers["length"]) == len(frame)


def test_times_in_nanoseconds_are_exact() -> None:
    assert unix_ns(datetime(2026, 9, 20, 3, 20, 37, 574_999, tzinfo=UTC)) == 1_789_874_437_574_999_000
