"""Records that producers write about their own connections, into the topic of the dataset ``system``.

Lives here: their form, written and read in one place, whatever the exchange. Doesn't: when they are written
(``streaming.producer``). The Kafka record carries the header ``kind`` with ``open``, ``alive``, ``close`` or ``break``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from tidemark.exchanges import messages, values
from tidemark.exchanges.base import Parsed, Row, Unparsable

OPEN: Final = "open"
#: The connection stands, whether or not its markets bring anything.
ALIVE: Final = "alive"
CLOSE: Final = "close"
#: Numbers of a stream are missing.
BREAK: Final = "break"
#: A frame too large for a record: only its beginning is there, to be dead-lettered.
OVERSIZED: Final = "oversized"
KINDS: Final = (OPEN, ALIVE, CLOSE, BREAK, OVERSIZED)

_COLUMNS: Final = ("kind", "exchange", "connection", "worker", "frames", "reason", "subscription")
#: Which of a record's times is when it happened.
_AT: Final = {OPEN: "opened_at", ALIVE: "alive_at", CLOSE: "closed_at", BREAK: "found_at"}
_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRecord:
    """A connection that was opened, or was alive at ``alive_at``, or was closed at ``closed_at``.

    Times are UTC by our clock. ``listening_by`` is when an opened connection was sure to bring what it asked for: no
    exchange reports when a subscription takes effect. ``heard_until`` is set where the end was only noticed at
    ``closed_at``: the line may have been dead since.
    """

    exchange: str
    connection: str
    worker: str
    opened_at: datetime
    listening_by: datetime | None = None
    subscription: dict[str, Any] | None = None
    alive_at: datetime | None = None
    closed_at: datetime | None = None
    last_frame_at: datetime | None = None
    heard_until: datetime | None = None
    frames: int | None = None
    reason: str | None = None

    @property
    def kind(self) -> str:
        """``open``, ``alive`` or ``close``."""
        if self.closed_at is not None:
            return CLOSE
        return OPEN if self.alive_at is None else ALIVE

    def encode(self) -> bytes:
        """The record's value: JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        known = {name: value for name, value in fields.items() if value is not None}
        return _ENCODE({"kind": self.kind, **known})


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakRecord:
    """Changes of one market's stream that never came: the numbers missing, and between which moments.

    ``found_at`` is by our clock, ``from_at`` and ``to_at`` (the changes before and after) by the exchange's; all UTC.
    """

    exchange: str
    connection: str
    worker: str
    found_at: datetime
    dataset: str
    code: str
    reason: str
    first_missing: int | None = None
    last_missing: int | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None

    def encode(self) -> bytes:
        """The record's value: JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return _ENCODE({"kind": BREAK, **{name: value for name, value in fields.items() if value is not None}})


def parse(value: bytes) -> Parsed:
    """The row of the dataset ``system`` that a connection record or a break is.

    Raises:
        Unparsable: it is not one.
    """
    record = messages.decode(value)
    kind = record.get("kind") if isinstance(record, dict) else None
    at = _AT.get(kind) if isinstance(kind, str) else None
    if at is None:
        raise Unparsable("bad_record", f"not a record of a connection or a break: {values.shown(value[:60])}")
    row: Row = {name: record.get(name) for name in _COLUMNS}
    for name in ("exchange", "connection", "worker"):
        row[name] = values.text(record.get(name), name)
    row["frames"] = None if row["frames"] is None else values.integer(row["frames"], "frames")
    row["event_at"] = values.iso_time(record.get(at), at)
    unknown = [name for name in record if name not in _COLUMNS and name != at]
    row["subscription"] = None if row["subscription"] is None else messages.text(row["subscription"])
    row["extra"] = messages.unknown_fields(value, 0, record, unknown)
    return Parsed([row])
