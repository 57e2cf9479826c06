"""When an object is written by the clock: before each load, and when an hour has ended."""

from __future__ import annotations

import pytest

from streaming.consumer import rotation

HOUR = 1_776_038_400  # a full hour, Unix seconds
TEN_MINUTES = 600.0


@pytest.mark.parametrize(
    ("begun", "hour", "slot_s", "due"),
    [
        (HOUR + 20, HOUR, TEN_MINUTES, HOUR + 540),  # a minute before the load of ten past
        (HOUR + 539, HOUR, TEN_MINUTES, HOUR + 540),
        (HOUR + 540, HOUR, TEN_MINUTES, HOUR + 1_140),
        (HOUR + 3_545, HOUR, TEN_MINUTES, HOUR + 3_610),  # the hour's last minute: when it is over
        (HOUR + 3_545, HOUR, 7_200.0, HOUR + 3_610),
        (HOUR + 3_604, HOUR, TEN_MINUTES, HOUR + 3_610),  # it came after the end of its hour
        (HOUR + 3_604, HOUR + 3_600, TEN_MINUTES, HOUR + 4_140),  # of the new hour
        (HOUR + 3_700, HOUR, TEN_MINUTES, HOUR + 4_140),  # much too late: with the others of that slot
        (HOUR + 1_000, HOUR - 86_400, TEN_MINUTES, HOUR + 1_140),  # catching up on another day
        (HOUR + 100, HOUR, 60.0, HOUR + 160),  # short slots are counted from the beginning
        (HOUR + 3_590, HOUR, 60.0, HOUR + 3_610),
    ],
)
def test_when_an_object_is_due(begun: float, hour: int, slot_s: float, due: float) -> None:
    assert begun + rotation.wait(begun, hour, slot_s) == due


def test_an_hour_of_a_steady_partition_is_few_objects_and_each_is_written_in_time() -> None:
    """Ten minutes and a half at most pass between a record and the load that finds it: loads run every ten minutes."""
    objects, at = 0, float(HOUR)
    while at < HOUR + 3_600:
        due = at + rotation.wait(at, HOUR, TEN_MINUTES)
        load = -(-due // 600) * 600
        assert load - at <= 660
        objects, at = objects + 1, due
    assert objects <= 7
