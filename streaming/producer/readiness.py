"""What keeps a producer from its work, by its own account.

Lives here: that judgement. Doesn't: who asks (``streaming.health``), counting (``counts``, ``broker``, ``gate``).

One exchange that is down is said and doesn't make the worker unready, once its breaker has judged it and as long as
another one delivers: the others don't notice, and starting the worker again would only disturb them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from streaming.health import Report
from streaming.producer.broker import Broker
from streaming.producer.counts import Counts, ExchangeCounts
from streaming.producer.gate import Gate

#: How long the broker may confirm nothing, and sockets be left unread, before that is worth a word.
_PATIENCE_S: Final = 10.0
#: How long a whole exchange may say nothing.
_QUIET_S: Final = 60.0
_LOOK_S: Final = 0.25


class Readiness:
    """Notes, once a turn of the loop, what moves; says, whoever asks, what doesn't."""

    def __init__(
        self,
        exchanges: Collection[str],
        servers: str,
        counts: Counts,
        broker: Broker,
        gate: Gate,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker_found = False
        self._exchanges = exchanges
        self._servers = servers
        self._counts = counts
        self._broker = broker
        self._gate = gate
        self._now = now
        self._look_at = 0.0
        self._delivered = 0
        self._moved_at = now()
        self._read_at = now()

    def turn(self) -> None:
        """The loop has turned: note whether the broker confirms and sockets are read. Seldom more than a comparison."""
        now = self._now()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_S
        in_flight, delivered = self._broker.in_flight, self._broker.delivered
        if delivered != self._delivered or not in_flight:
            self._delivered, self._moved_at = delivered, now
        if not self._gate.held:
            self._read_at = now

    def report(self) -> Report:
        """What is missing. Safe to ask from another thread."""
        failing = self._of_broker()
        down = {name: why for name in self._exchanges if (why := self._of_exchange(name))}
        judged = {name: why for name, why in down.items() if self._broken(name)}
        bearable = judged if len(down) < len(self._exchanges) else {}
        failing |= {name: why for name, why in down.items() if name not in bearable}
        facts = {"undelivered": self._broker.in_flight, "buffer": round(self._broker.fill, 3)}
        return Report(failing, bearable, facts | self._left_out())

    def _left_out(self) -> dict[str, Any]:
        """The codes that are not subscribed because they cannot be read, by exchange."""
        found = {name: self._counts.get(name, ExchangeCounts()).unreadable_codes for name in self._exchanges}
        named = {name: _named(unreadable) for name, unreadable in found.items() if unreadable}
        return {"unreadable_codes": named} if named else {}

    def _of_broker(self) -> dict[str, str]:
        now = self._now()
        if not self.broker_found:
            return {"broker": f"no answer from {self._servers} yet, or topics are missing"}
        failing = {}
        if now - self._moved_at > _PATIENCE_S:
            waiting = f"{self._broker.in_flight} records wait"
            failing["broker"] = f"nothing was confirmed for {now - self._moved_at:.0f} s, {waiting}"
        if now - self._read_at > _PATIENCE_S:
            failing["paused"] = f"sockets are left unread for {now - self._read_at:.0f} s"
        return failing

    def _of_exchange(self, name: str) -> str:
        """Why an exchange does not deliver; empty: it does."""
        counts = self._counts.get(name, ExchangeCounts())
        if counts.breaker != "closed":
            return f"nothing works: the breaker is {counts.breaker}, {counts.failed_connects} attempts have failed"
        if not counts.planned and counts.unreadable_codes:
            return f"no connection is planned: {_named(counts.unreadable_codes)}"
        if not counts.planned:
            return "no connection is planned yet: the list of markets is not known"
        if not counts.connections:
            return f"none of {counts.planned} connections is open"
        if not counts.newest_ns:
            return "connected, and nothing has come yet"
        age_s = time.time() - counts.newest_ns / 1e9
        if age_s > _QUIET_S and not self._gate.held:
            return f"connected, and nothing has come for {age_s:.0f} s"
        return ""

    def _broken(self, name: str) -> bool:
        return self._counts.get(name, ExchangeCounts()).breaker != "closed"


def _named(unreadable: Mapping[str, str]) -> str:
    """How many codes cannot be read, and the first of them with its reason."""
    code, why = next(iter(unreadable.items()))
    return f"{len(unreadable)} codes cannot be read, first {code}: {why}"
