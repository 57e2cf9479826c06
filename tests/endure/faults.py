"""Faults to order from the simulator at random, and whether the book of gaps holds exactly those.

Contains: the orders, and matching them with ``ops.gap``. Does not contain: running the platform (``__main__``), how a
fault is carried out (the simulator).
"""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

#: What each exchange's test orders may be about.
MARKETS = {"upbit": "KRW-BTC", "okx": "BTC-USDT-SWAP", "binance": "BTCUSDT"}
#: A gap may begin with the last frame before a fault, and ends when the next connection is sure to hear.
_BEFORE = timedelta(seconds=30)
_AFTER = timedelta(seconds=150)
#: What loses frames of one market only, and what takes whole connections.
_OF_A_MARKET = ("drop", "silent")
_KINDS = ("abort", "close", "half-open", "drop", "silent", "duplicate", "reorder")
_HARMLESS = ("duplicate", "reorder")


@dataclass(frozen=True)
class Ordered:
    """One fault: when it was ordered (UTC), of what, and how many connections it reached."""

    at: datetime
    exchange: str
    kind: str
    until: datetime
    reached: int

    @property
    def loses(self) -> bool:
        """Whether it must be on record."""
        return self.reached > 0 and self.kind not in _HARMLESS

    def explains(self, gap: Found) -> bool:
        """Whether a gap lies where this fault was."""
        ends = gap.to_at or datetime.max.replace(tzinfo=UTC)
        if not self.loses:
            return False
        near = gap.from_at <= self.until + _AFTER and ends >= self.at - _BEFORE
        dataset = gap.stream.partition("/")[0]
        return near and gap.exchange == self.exchange and (self.kind not in _OF_A_MARKET or dataset in _WITNESSED)


_WITNESSED = ("trade", "candle")


@dataclass(frozen=True)
class Found:
    """One gap of the book."""

    exchange: str
    stream: str
    from_at: datetime
    to_at: datetime | None
    cause: str
    state: str

    def __str__(self) -> str:
        """A line for people."""
        end = f"{self.to_at:%H:%M:%S}" if self.to_at else "…"
        return f"{self.exchange} {self.stream} {self.from_at:%H:%M:%S}–{end} {self.cause}, {self.state}"


def moments(count: int, seconds: float, chance: random.Random) -> list[float]:
    """When faults are ordered: seconds from now, apart from each other, so that each gap is of one fault."""
    width = seconds / max(1, count)
    return [width * (n + chance.uniform(0.05, 0.35)) for n in range(count)]


def order(port: int, chance: random.Random) -> Ordered:
    """Order one fault from the simulator on ``port``."""
    exchange = chance.choice(sorted(MARKETS))
    kind = chance.choice(_KINDS)
    body: dict[str, Any] = {"kind": kind, "exchange": exchange}
    seconds = 0.0
    if kind == "close":
        body["code"] = chance.choice((1000, 1001, 1006, 1012))
    if kind in ("drop", "duplicate", "reorder"):
        body |= {"frames": chance.randint(1, 5), "channel": "trade", "market": MARKETS[exchange]}
        seconds = 60.0  # until so many have come by
    if kind == "silent":
        seconds = chance.uniform(20, 60)
        body |= {"seconds": seconds, "channel": "trade", "market": MARKETS[exchange]}
    if kind == "half-open":
        seconds = 60.0  # until the missing pong is noticed
    at = datetime.now(UTC)
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_sim/faults", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        reached = int(json.load(answer)["done"])
    return Ordered(at, exchange, kind, at + timedelta(seconds=seconds), reached)


def differences(ordered: Sequence[Ordered], found: Sequence[Found]) -> list[str]:
    """What is on record and was not ordered, and what was ordered and is not on record."""
    problems = [f"a gap that nobody ordered: {gap}" for gap in found if not any(one.explains(gap) for one in ordered)]
    missing = [one for one in ordered if one.loses and not any(one.explains(gap) for gap in found)]
    return problems + [f"not on record: {one.kind} of {one.exchange} at {one.at:%H:%M:%S}" for one in missing]
