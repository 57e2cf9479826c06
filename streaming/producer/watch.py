"""Judge whether a connection is well: it lives, its subscription stands, and its streams bring what they usually do.

Contains: looking at one connection again and again, and what follows from it. Does not contain: the usual rate of a
stream (``usual``), counting frames (``link``), replacing the connection (``session``).

"Connected but silent" is a fault. A stream is silent when far more frames are missing than its own usual rate and the
connection's present pace explain: a quiet market is no fault. A stream whose rate is unknown gets much longer. Each
time that another connection does not help, the time doubles. A stream that brings data again is trusted again.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Hashable
from typing import Final

import structlog

from streaming.producer.counts import End, ExchangeCounts
from streaming.producer.link import Link, Stream
from streaming.producer.usual import Usual
from tidemark.exchanges.base import Exchange
from tidemark.settings import ProducerSettings

log = structlog.get_logger()

#: After so long a snapshot of every market has come, where the exchange sends them.
_FIRST_LOOK_S: Final = 30.0
#: So many intervals of pings without any sign of life, and a connection is dead.
_PINGS_UNANSWERED: Final = 2.5
#: How often a connection that stands says so on record; ``completeness.silence`` waits for five of them.
_ALIVE_EVERY_S: Final = 60.0
#: Planned rotation happens at some moment between these parts of a connection's lifetime.
_ROTATION: Final = (0.80, 0.95)
_MOST_DOUBLINGS: Final = 6
#: So many frames must be missing by the stream's usual rate. A calm hour has a tenth of the frames of a busy one: even
#: then ten are missing, which chance brings about once in 20,000 times.
_MISSED: Final = 100.0
#: The whole connection's calm explains a stream's silence down to this part of its usual rate.
_LEAST_PACE: Final = 0.05
#: A stream whose usual rate is unknown is given so many times its limit.
_UNKNOWN: Final = 12
_NAMED: Final = 50


class Patience:
    """How much longer to wait for what has been a fault before, and usual rates; kept across connections."""

    def __init__(self) -> None:
        self._faults: Counter[Hashable] = Counter()
        self._usual: dict[Hashable, Usual] = {}

    def usual(self, what: Hashable) -> Usual:
        """What a stream usually brings."""
        return self._usual.setdefault(what, Usual())

    def factor(self, what: Hashable) -> int:
        """1, doubled with every fault in a row."""
        return int(2 ** min(self._faults[what], _MOST_DOUBLINGS)) if what in self._faults else 1

    def lost(self, what: Hashable) -> None:
        """It was a fault once more."""
        self._faults[what] += 1

    def found(self, what: Hashable) -> None:
        """It is well."""
        self._faults.pop(what, None)


class _Quiet:
    """Since when a counter has stood still, and how many frames the connection had brought by then."""

    __slots__ = ("count", "of_all", "since")

    def __init__(self, now: float) -> None:
        self.count = 0
        self.of_all = 0
        self.since = now

    def look(self, count: int, now: float, of_all: int = 0) -> float:
        """Seconds for which the counter has stood still."""
        if count != self.count:
            self.count, self.since, self.of_all = count, now, of_all
        return now - self.since


class Watch:
    """Looks after one connection until it ends."""

    def __init__(
        self,
        link: Link,
        exchange: Exchange,
        acknowledgements: int,
        producer: ProducerSettings,
        counts: ExchangeCounts,
        patience: Patience,
    ) -> None:
        self._link = link
        self._exchange = exchange
        self._acknowledgements = acknowledgements
        self._producer = producer
        self._counts = counts
        self._patience = patience
        lifetime_s = exchange.lifetime_s
        spread = random.uniform(*_ROTATION)  # noqa: S311 - spreads rotations, hides nothing
        self._rotate_after_s = None if lifetime_s is None else lifetime_s * spread
        now = asyncio.get_running_loop().time()
        self._opened = now
        self._asked: float | None = None
        self._pinged = self._recorded = now
        self._life = _Quiet(now)
        self._everything = _Quiet(now)
        self._datasets = {dataset: _Quiet(now) for dataset in link.plan.datasets}
        self._streams = self._expected(now)
        self._acks_judged = acknowledgements == 0
        self._looked_for_codes = False
        self._silent = 0

    def _expected(self, now: float) -> dict[tuple[str, str], _Quiet]:
        plan, times = self._link.plan, self._exchange.quiet_s
        return {(d, code): _Quiet(now) for d in plan.datasets if d in times for code in plan.codes}

    async def run(self) -> None:
        """Look until the connection has ended."""
        loop = asyncio.get_running_loop()
        times = [self._producer.ping_interval_s, self._producer.dataset_quiet_s / 4, self._producer.ack_timeout_s / 4]
        times += [seconds / 4 for seconds in self._exchange.quiet_s.values()]
        times += [] if self._rotate_after_s is None else [self._rotate_after_s / 4]
        while not self._link.closed.done():
            await asyncio.sleep(min(times))
            self.look(loop.time())

    def look(self, now: float) -> None:
        """Judge the connection at this moment of the loop's clock."""
        link = self._link
        if link.ended_for is not None:
            return
        self._counts.newest_ns = max(self._counts.newest_ns, link.last_frame_ns)
        if now - self._pinged >= self._producer.ping_interval_s:
            self._pinged = now
            link.keep_alive(self._exchange.keep_alive)
        if now - self._recorded >= _ALIVE_EVERY_S:
            self._recorded = now
            link.record_alive()
        if link.paused:  # nothing is read: no silence can be told from a pause
            self._start_over(now)
            return
        if self._asked is None and link.asked:
            self._asked = now
        if not self._lives(now):
            return
        self._acknowledged(now)
        self._silence(now)
        self._codes(now)
        if self._rotate_after_s is not None and now - self._opened > self._rotate_after_s:
            hours = (self._exchange.lifetime_s or 0) / 3600
            link.ask_turn(End.LIFETIME, f"replaced before the exchange's limit of {hours:.3g} h")

    def _start_over(self, now: float) -> None:
        for quiet in (self._life, self._everything, *self._datasets.values(), *self._streams.values()):
            quiet.since, quiet.of_all = now, self._link.frames
        self._asked = None if self._asked is None else now

    def _lives(self, now: float) -> bool:
        silent_s = self._life.look(self._link.signs_of_life, now)
        if silent_s <= _PINGS_UNANSWERED * self._producer.ping_interval_s:
            return True
        self._link.end(End.DEAD, f"nothing came for {silent_s:.0f} s")
        self._link.abort()
        return False

    def _acknowledged(self, now: float) -> None:
        """A subscription that is not acknowledged is asked for again on another connection; a refused one isn't."""
        if self._asked is None or now - self._asked < self._producer.ack_timeout_s * self._patience.factor("acks"):
            return
        heard = self._link.heard
        if heard.refusals and not self._link.brought():
            self._link.end(End.REFUSED, "no data came")  # the refusals are told in any case
        if self._acks_judged:
            return
        self._acks_judged = True
        missing = self._acknowledgements - heard.acknowledged - len(heard.refusals)
        if missing <= 0:
            self._patience.found("acks")
            return
        self._patience.lost("acks")
        self._counts.acks_missing += missing
        said = f"{missing} of {self._acknowledgements} subscriptions not acknowledged"
        log.warning("the subscription does not stand", connection=self._link.name, said=said)
        self._link.ask_turn(End.UNACKNOWLEDGED, said)

    def _silence(self, now: float) -> None:
        self._silent = 0
        frames: Counter[str] = Counter()
        for stream in self._link.streams.values():
            frames[stream.dataset] += stream.frames
        self._judge((), self._everything, sum(frames[dataset] for dataset in self._datasets), math.inf, now)
        for dataset, quiet in self._datasets.items():
            self._judge((dataset,), quiet, frames[dataset], self._producer.dataset_quiet_s, now)
        for key, quiet in self._streams.items():
            found: Stream | None = self._link.streams.get(key)
            self._judge(key, quiet, found.frames if found else 0, self._exchange.quiet_s[key[0]], now)
        self._counts.silent_streams[self._link.name] = self._silent

    def _judge(self, what: tuple[str, ...], quiet: _Quiet, count: int, limit_s: float, now: float) -> None:
        """Judge one stream (dataset and code), one dataset, or (an empty ``what``) count all of the connection."""
        known, since = quiet.count, quiet.since
        silent_s = quiet.look(count, now, self._everything.count)
        if count != known and known:
            self._patience.usual(what).heard(count - known, now - since)
        if count != known and now - self._opened > limit_s / 2:  # a snapshot at the beginning proves nothing
            self._patience.found(what)
        if silent_s <= limit_s or not self._is_silent(what, quiet, silent_s, limit_s):
            return
        self._silent += 1
        if silent_s > limit_s * self._patience.factor(what) and not self._link.turn.done():
            self._patience.lost(what)
            self._counts.silences[what[0]] += 1
            said = f"nothing of {' '.join(what)} for {silent_s:.0f} s"
            log.warning("connected but silent", connection=self._link.name, said=said)
            self._link.ask_turn(End.SILENT, said)

    def _is_silent(self, what: tuple[str, ...], quiet: _Quiet, silent_s: float, limit_s: float) -> bool:
        """Whether a silence longer than the limit is more than a quiet market."""
        expected = self._patience.usual(what).expected(silent_s)
        if expected is None:
            # Nothing of a whole dataset is a fault at once. One market may be without a trade for hours.
            return len(what) == 1 or silent_s > limit_s * _UNKNOWN * self._patience.factor(what)
        everything = self._patience.usual(()).expected(silent_s)
        brought = self._everything.count - quiet.of_all
        pace = 1.0 if not everything or not brought else max(_LEAST_PACE, min(1.0, brought / everything))
        return expected * pace > _MISSED * self._patience.factor(what)

    def _codes(self, now: float) -> None:
        """Say which codes bring nothing: an exchange may pass over unknown ones in silence."""
        silent = self._link.silent_codes() if self._looked_for_codes or now - self._opened >= _FIRST_LOOK_S else None
        if silent is None:
            return
        if silent and not self._looked_for_codes:
            log.warning(
                "nothing came of these codes",
                connection=self._link.name,
                codes=silent[:_NAMED],
                number=len(silent),
            )
        self._looked_for_codes = True
        self._counts.silent_codes[self._link.name] = len(silent)

    def done(self) -> None:
        """Forget what was counted as being so now."""
        self._counts.silent_codes.pop(self._link.name, None)
        self._counts.silent_streams.pop(self._link.name, None)
