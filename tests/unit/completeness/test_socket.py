"""Identity 0 as arithmetic: counts, ends and sums against the numbers themselves."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from tidemark.completeness.socket import FrameHour, holes
from tidemark.completeness.verdicts import HOUR

H = datetime(2026, 4, 13, 10, tzinfo=UTC)


def hour(numbers: list[int], n: int = 0) -> FrameHour:
    return FrameHour(H + n * HOUR, len(numbers), min(numbers), max(numbers), sum(numbers))


def test_numbers_without_a_hole() -> None:
    assert holes([hour([1, 2, 3]), hour([4, 5], 1)], None) == []
    assert holes([hour([1, 2, 3])], (H, 3)) == []


def test_a_hole_within_an_hour_between_hours_and_at_the_start() -> None:
    [hole] = holes([hour([1, 2, 4])], None)
    assert (hole.hour_at, hole.first, hole.last, hole.missing) == (H, 1, 4, 1)
    [hole] = holes([hour([1, 2]), hour([5, 6], 1)], None)
    assert (hole.hour_at, hole.first, hole.last, hole.missing) == (H + HOUR, 3, 6, 2)
    [hole] = holes([hour([2, 3])], None)
    assert (hole.first, hole.last, hole.missing) == (1, 3, 1)


def test_a_close_that_counts_more_frames_than_came() -> None:
    [hole] = holes([hour([1, 2, 3])], (H + HOUR, 5))
    assert (hole.hour_at, hole.first, hole.last, hole.missing) == (H + HOUR, 4, 5, 2)
    [hole] = holes([hour([1, 2, 3])], (H, 2))
    assert hole.missing == -1


def test_one_twice_and_one_missing_do_not_cancel_out() -> None:
    [hole] = holes([hour([1, 2, 2, 4])], None)
    assert hole.count == 4


def test_a_clock_that_was_set_back_is_no_hole() -> None:
    assert holes([hour([1, 2, 4]), hour([3, 5], 1)], None) == []


def test_random_losses_are_found_and_counted() -> None:
    random.seed(1)
    for _ in range(300):
        sent = random.randint(3, 60)
        cut = random.randint(1, sent - 1)
        lost = set(random.sample(range(1, sent + 1), random.randint(0, sent // 2)))
        parts = [
            [n for n in range(1, cut + 1) if n not in lost],
            [n for n in range(cut + 1, sent + 1) if n not in lost],
        ]
        frames = [hour(numbers, n) for n, numbers in enumerate(parts) if numbers]
        if not frames:
            continue
        found = holes(frames, (H + HOUR, sent))
        assert sum(hole.missing for hole in found) == len(lost)
