"""Everything the producer counts, exchange by exchange.

Lives here: the counters, and the words for why a connection ended. Doesn't: counting (each part does its own), showing
them (``app``'s heartbeat; metrics and health read the same object, also from another thread).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum


class End(StrEnum):
    """Why a connection ended."""

    LOST = "lost"
    CLOSED = "closed by the exchange"
    DEAD = "dead"
    SILENT = "silent"
    UNACKNOWLEDGED = "unacknowledged"
    REFUSED = "refused"
    TOO_LARGE = "message too large"
    LIFETIME = "lifetime"
    LEAVING = "the exchange leaves"
    REPLANNED = "replanned"
    RENEWED = "renewed"
    UNFIT = "unfit to take over"
    RETIRED = "retired"
    STOPPED = "stopped"
    FAILED = "error of ours"


#: Ends that are noticed late, if the line was dead before: nobody knows what was sent since the last frame.
#: An error of ours ends a connection at a frame that may not be on record.
UNHEARD_ENDS = frozenset({End.LOST, End.DEAD, End.SILENT, End.FAILED})
#: Ends that are nobody's fault: what the worker itself had planned.
PLANNED_ENDS = frozenset({End.LIFETIME, End.LEAVING, End.REPLANNED, End.RETIRED, End.STOPPED})


@dataclass(slots=True)
class Tally:
    """Data that has come: messages and their bytes."""

    frames: int = 0
    bytes: int = 0


@dataclass
class ExchangeCounts:
    """What has happened with one exchange since the worker started; all numbers only grow, unless they say "now"."""

    datasets: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    #: Connections the present plan has (now).
    planned: int = 0
    opened: int = 0
    closed: int = 0
    failed_connects: int = 0
    ends: Counter[End] = field(default_factory=Counter)
    #: Parts of subscriptions that were not acknowledged in time, and that were refused.
    acks_missing: int = 0
    refused: int = 0
    #: Silent streams, by dataset: connected, and nothing came.
    silences: Counter[str] = field(default_factory=Counter)
    #: Streams that say nothing for longer than they may, and codes of which nothing has come, by connection (now).
    silent_streams: dict[str, int] = field(default_factory=dict)
    silent_codes: dict[str, int] = field(default_factory=dict)
    #: Codes of the settings or the market list that cannot be read and are not subscribed, and why not (now).
    unreadable_codes: dict[str, str] = field(default_factory=dict)
    #: When the last frame came, up to a few seconds ago; Unix nanoseconds, 0: never.
    newest_ns: int = 0
    #: How often the plan was changed, and what could not be done of it.
    replanned: int = 0
    market_list_failures: int = 0
    bad_orders: int = 0
    #: Errors of our own that a part was started again after.
    restarts: int = 0
    #: ``closed`` (all is well), ``open`` (nobody connects) or ``trial`` (now).
    breaker: str = "closed"
    breaker_opened: int = 0

    @property
    def frames(self) -> int:
        """Messages of all datasets, the system's included."""
        return sum(tally.frames for tally in list(self.datasets.values()))

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return sum(tally.bytes for tally in list(self.datasets.values()))

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self.opened - self.closed

    @property
    def reconnects(self) -> dict[str, int]:
        """Ends of connections that were not planned, by reason."""
        return {end.value: n for end, n in list(self.ends.items()) if end not in PLANNED_ENDS}


class Counts(dict[str, ExchangeCounts]):
    """The counts of each exchange, by name; asking for one makes it."""

    def __missing__(self, exchange: str) -> ExchangeCounts:
        self[exchange] = ExchangeCounts()
        return self[exchange]
