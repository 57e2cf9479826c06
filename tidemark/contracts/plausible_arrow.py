"""Which times of an exchange are plausible, for columns of Arrow.

Contains: the rule of ``plausible`` and the time that a row is counted at, over Arrow arrays. Does not contain: the
bounds (``plausible``).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tidemark.contracts.plausible import AHEAD, EARLIEST


def holds(times: Any, received: Any) -> Any:
    """Which of these UTC times are plausible for what was received then; null where one of the two is."""
    latest = pc.add(received, pa.scalar(AHEAD, pa.duration("us")))
    return pc.and_(pc.greater_equal(times, pa.scalar(EARLIEST, times.type)), pc.less_equal(times, latest))


def counted_at(times: Any, received: Any) -> Any:
    """The time that each row is counted at: its own where it is plausible, else its receipt."""
    return pc.if_else(pc.fill_null(holds(times, received), False), times, received)
