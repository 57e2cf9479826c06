"""What tests of the simulator's limits share.

Lives here: time that stands still. Doesn't: running simulators (``serving``).
"""

from __future__ import annotations

import time

import pytest

from tidemark.local.simulator.binance.limits import BinanceLimits
from tidemark.local.simulator.upbit.limits import Limits
from tidemark.local.simulator.window import Window


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For request limits no time passes: on a busy machine eleven requests may take more than their second."""
    now = time.time()
    for counter in (Window, Limits, BinanceLimits):
        monkeypatch.setattr(counter.__init__, "__defaults__", (lambda: now,))
