"""Faults that keep frames from arriving as they should: dropped, doubled, out of order, silenced.

Lives here: what happens to the frames on their way to a socket, as ordered. Doesn't: what happens to a socket
itself (``hub``), how a fault is ordered (``control``).

An order names how many frames, and, where it wants, the channel, the market and the connection they must be of.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tidemark.local.simulator.timeline import Happening

Frame = tuple[bytes, Happening]


@dataclass(slots=True)
class Order:
    """A fault that was ordered: ``drop``, ``duplicate``, ``reorder`` (so many frames) or ``silent`` (until then)."""

    kind: str
    frames: int = 0
    channel: str = ""
    code: str = ""
    connection: str = ""
    until: float = 0.0
    held: list[Frame] = field(default_factory=list)

    def hits(self, connection: str, happening: Happening) -> bool:
        """Whether it is about this frame."""
        return (
            self.channel in ("", happening.channel)
            and self.code in ("", happening.code)
            and self.connection in ("", connection)
        )

    def over(self) -> bool:
        """Whether it is done."""
        return time.monotonic() >= self.until if self.kind == "silent" else self.frames <= 0


class Faults:
    """The ordered faults of one exchange."""

    def __init__(self) -> None:
        self._orders: list[Order] = []

    def order(self, order: Order) -> None:
        """From now on this happens as well."""
        self._orders.append(order)

    def arrange(self, connection: str, frames: list[Frame]) -> list[Frame]:
        """What the connection really gets of these frames, in its order."""
        for order in list(self._orders):
            frames = _apply(order, connection, frames)
            if order.over():
                self._orders.remove(order)
        return frames

    def held(self) -> set[int]:
        """Happenings (by ``id()``) that are kept back, and will be told."""
        return {id(happening) for order in self._orders for _, happening in order.held}


def _apply(order: Order, connection: str, frames: list[Frame]) -> list[Frame]:
    given: list[Frame] = []
    for frame in frames:
        if order.over() or not order.hits(connection, frame[1]):
            given.append(frame)
            continue
        order.frames -= 1
        if order.kind == "duplicate":
            given += [frame, frame]
        elif order.kind == "reorder":
            order.connection = connection  # what is kept back of one comes back on the same
            order.held.append(frame)
            if order.frames == 0:
                given += reversed(order.held)
    return given
