"""A leak is told from noise, and from the growth of a beginning."""

from __future__ import annotations

import random

import pytest

from tests.soak.trend import trend

MIB = 1024 * 1024


def samples(leak: float, noise: float, base: float = 100.0) -> list[tuple[float, int]]:
    """Twenty minutes of one sample every 3 s; MiB an hour, MiB, MiB. The first minute climbs to the base."""
    chance = random.Random(7)
    return [
        (t, round(MIB * (min(base, base * t / 60) + leak * t / 3_600 + chance.gauss(0, noise))))
        for t in (3.0 * n for n in range(1, 400))
    ]


@pytest.mark.parametrize("noise", [0.1, 3.0, 15.0])
def test_noise_is_no_leak(noise: float) -> None:
    assert not trend(samples(0, noise)).grows


@pytest.mark.parametrize(("leak", "noise"), [(60, 0.5), (120, 3), (400, 15)])
def test_a_leak_is_seen(leak: float, noise: float) -> None:
    found = trend(samples(leak, noise))
    assert found.grows
    assert found.growth == pytest.approx(leak / 4 * MIB, rel=0.2)


def test_a_run_that_is_too_short_says_so() -> None:
    with pytest.raises(ValueError, match="let it run longer"):
        trend(samples(0, 1)[:5])
