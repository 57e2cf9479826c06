"""Identity 1 as pure logic: what the lake lists, laid beside watermarks."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tidemark.completeness import chain
from tidemark.completeness.loads import Landed, Landing, Load
from tidemark.completeness.verdicts import HOUR, Scope, Verdict
from tidemark.completeness.watermarks import Watermark
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer
from tidemark.lake.store import Listed

H = datetime(2026, 4, 13, 10, tzinfo=UTC)
TOPIC = "raw.upbit.trade.v1"
CHAIN = Chain(TOPIC, "c", 0, 0)


def load(start: int, end: int, hour: datetime = H, where: Chain = CHAIN, **changes: Any) -> Load:
    base = Load(
        start, where.path(start), "data", where.cluster, where.epoch, where.partition, start, end, 0, end - start + 1,
        0, 0, {}, f"f{end}", hour, hour, hour, 100, "v1", None,
    )  # fmt: skip
    return replace(base, **changes)


def landing(loads: list[Load], gone: tuple[Load, ...] = (), unknown: tuple[Landed, ...] = ()) -> Landing:
    listed = {x.path: Listed(x.path, 100, "v1") for x in loads if x not in gone and x.retired_at is None}
    return Landing(TOPIC, tuple(loads), listed, unknown, ())


def frame(now: datetime, start: datetime = H, hours: int = 1) -> Scope:
    return Scope("upbit", start, start + hours * HOUR, now, {})


def mark(low: int, high: int, hour: datetime = H, where: Chain = CHAIN) -> Watermark:
    return Watermark(where, hour, low, high)


def judged(
    seen: Landing, *marks: Watermark, now: datetime = H + 2 * HOUR, hours: int = 1, **options: bool
) -> dict[datetime, Verdict]:
    return {v.hour_at: v for v in chain.check(frame(now, hours=hours), "trade", seen, marks, **options)}


OBJECTS = [load(0, 9), load(10, 19), load(20, 29)]


def test_objects_that_tile_up_to_the_watermark_are_green() -> None:
    verdict = judged(landing(OBJECTS), mark(0, 30))[H]
    assert (verdict.status, verdict.expected, verdict.actual, verdict.detail) == ("green", 30, 30, {})


def test_a_deleted_object_is_red_at_once_whichever_it_was() -> None:
    for victim in OBJECTS:
        for now in (H + timedelta(minutes=5), H + 5 * HOUR):
            verdict = judged(landing(OBJECTS, (victim,)), mark(0, 30), now=now)[H]
            assert (verdict.status, verdict.expected, verdict.actual) == ("red", 30, 20)
            [problem] = verdict.detail["problems"]
            assert problem["path"] == victim.path
            assert problem["offsets"] == f"{victim.start}-{victim.end}"


def test_an_old_object_turns_its_own_hour_red_though_the_window_is_elsewhere() -> None:
    old = load(0, 9, H - 30 * HOUR)
    found = judged(landing([old, *OBJECTS[1:]], (old,)), mark(10, 30))
    assert found[H - 30 * HOUR].status == "red"
    assert found[H].status == "green"


def test_an_object_that_was_never_loaded_counts_too() -> None:
    footer = Footer(TOPIC, 0, "c", 0, 20, 29, rows=0, ignored=10)
    newest = Landed(Listed(CHAIN.path(20), 1, "v1"), footer)
    assert judged(landing(OBJECTS[:2], unknown=(newest,)), mark(0, 30))[H].status == "green"


def test_behind_is_open_until_an_hour_after_it_is_over_then_red() -> None:
    seen = landing(OBJECTS[:2])
    for minutes, status in ((30, "open"), (75, "open"), (119, "open"), (120, "red")):
        verdict = judged(seen, mark(0, 30), now=H + timedelta(minutes=minutes))[H]
        assert (verdict.status, verdict.actual) == (status, 20)
    assert verdict.detail["problems"] == [{"what": "not landed", "partition": 0, "offsets": "20-29", "cluster": "c-0"}]


def test_a_hole_before_an_object_is_red_in_an_open_hour() -> None:
    verdict = judged(landing([OBJECTS[0], OBJECTS[2]]), mark(0, 30), now=H + timedelta(minutes=1))[H]
    assert verdict.status == "red"
    assert verdict.detail["problems"][0] == {"what": "hole", "partition": 0, "offsets": "10-19", "cluster": "c-0"}


def test_a_chain_that_does_not_begin_at_zero_has_a_hole() -> None:
    verdict = judged(landing(OBJECTS[1:]), mark(10, 30))[H]
    assert (verdict.status, verdict.detail["problems"][0]["offsets"]) == ("red", "0-9")


def test_an_overlap_is_red() -> None:
    verdict = judged(landing([*OBJECTS, load(25, 40)]), mark(0, 41))[H]
    assert verdict.detail["problems"][0] | {"cluster": ""} == {
        "what": "overlap", "partition": 0, "offsets": "25-29", "cluster": "",
    }  # fmt: skip


def test_each_partition_and_each_epoch_is_a_chain_of_its_own() -> None:
    other, later = replace(CHAIN, partition=1), replace(CHAIN, epoch=1)
    loads = [*OBJECTS, load(0, 4, where=other), load(0, 2, where=later)]
    verdict = judged(landing(loads), mark(0, 30), mark(0, 5, where=other), mark(0, 3, where=later))[H]
    assert (verdict.status, verdict.expected) == ("green", 38)


def test_offsets_belong_to_the_hours_of_their_watermarks() -> None:
    loads = [load(0, 14), load(15, 29, H + HOUR)]
    found = judged(landing(loads), mark(0, 15), mark(15, 30, H + HOUR), now=H + 3 * HOUR, hours=2)
    assert [(v.expected, v.actual, v.status) for v in found.values()] == [(15, 15, "green"), (15, 15, "green")]
    found = judged(landing(loads, (loads[1],)), mark(0, 15), mark(15, 30, H + HOUR), now=H + 3 * HOUR, hours=2)
    assert [v.status for v in found.values()] == ["green", "red"]


def test_what_retention_took_out_is_not_missing() -> None:
    retired = replace(OBJECTS[0], retired_at=H + HOUR)
    assert judged(landing([retired, *OBJECTS[1:]]), mark(0, 30))[H].status == "green"


def test_an_hour_without_a_watermark_waits_for_one_unless_the_broker_keeps_no_times() -> None:
    assert judged(landing(OBJECTS))[H].detail == {"waits_for": "a watermark of the broker"}
    verdict = judged(landing(OBJECTS), timeless=True)[H]
    assert (verdict.status, verdict.expected, verdict.actual) == ("green", 30, 30)


def test_an_object_whose_footer_cannot_be_read_is_red() -> None:
    broken = Landed(Listed(CHAIN.path(30), 1, "v1"), None, "no footer")
    verdict = judged(landing(OBJECTS, unknown=(broken,)), mark(0, 40))[H]
    assert verdict.status == "red"
    assert verdict.detail["problems"][0]["path"] == CHAIN.path(30)


def test_hours_without_anything_have_no_verdict() -> None:
    assert judged(landing([]), mark(7, 7)) == {}


def test_the_ledger_has_caught_up_when_it_holds_all_up_to_the_watermark() -> None:
    marks = [mark(0, 30), mark(30, 40, H + HOUR)]
    seen = landing(OBJECTS)
    assert chain.caught_up([seen], marks, H)
    assert not chain.caught_up([seen], marks, H + HOUR)
    assert not chain.caught_up([seen], marks, None)
    assert not chain.caught_up([landing(OBJECTS[1:])], marks, H)
    assert not chain.caught_up([seen], [], H), "without a witness nothing is known"


def test_everything_received_is_loaded_until_the_last_receipt_before_the_first_hole() -> None:
    minute, other = timedelta(minutes=1), Chain(TOPIC, "c", 0, 1)
    loads = [load(n * 10, n * 10 + 9, received_max=H + (n + 1) * 10 * minute) for n in range(3)]
    quiet = load(0, 4, where=other, received_max=H + minute)
    now = H + HOUR
    assert chain.received_until([landing([*loads, quiet])], {CHAIN: 30, other: 5}, now) == now
    assert chain.received_until([landing([*loads, quiet])], {CHAIN: 31, other: 5}, now) == H + 30 * minute
    assert chain.received_until([landing([*loads, quiet])], {CHAIN: 30, other: 6}, now) == H + minute
    assert chain.received_until([landing([loads[0], loads[2], quiet])], {CHAIN: 30, other: 5}, now) == H + 10 * minute
    assert chain.received_until([landing(loads)], {CHAIN: 30, other: 5}, now) is None, "nothing of it is loaded"
    assert chain.received_until([landing(loads)], {}, now) is None


def test_any_deletion_from_any_tiling_is_found() -> None:
    """Random tilings, random victims: red exactly when something is gone, with exactly the right sum."""
    random.seed(7)
    for _ in range(200):
        cuts = sorted(random.sample(range(1, 100), random.randint(1, 20)))
        spans = list(zip([0, *cuts], [*(c - 1 for c in cuts), 99], strict=True))
        loads = [load(a, b) for a, b in spans]
        gone = tuple(random.sample(loads, random.randint(0, len(loads))))
        verdict = judged(landing(loads, gone), mark(0, 100))[H]
        assert verdict.status == ("red" if gone else "green")
        assert verdict.expected - verdict.actual == sum(x.offsets for x in gone)
        assert verdict.detail.get("problem_count", 0) == len(gone)
