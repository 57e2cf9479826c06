"""The vocabulary of contracts: column types, columns, contracts, and the columns that several datasets share.

Lives here: what a column can be, and every column that stands in more than one dataset. Doesn't: the columns
of one dataset (its own module), rendering (``render``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

#: Decimals of the lake: 20 digits before the point and 18 behind it.
DECIMAL_PRECISION: Final = 38
DECIMAL_SCALE: Final = 18


class Kind(StrEnum):
    """The types a column may have. Prices and sizes are decimals everywhere, never floats."""

    TEXT = "text"
    DECIMAL = "decimal"
    DECIMALS = "decimals"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    JSON = "json"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Field:
    """One column: its name, type, meaning and unit.

    ``required`` says that a row without it is quarantined on the way to silver; in the lake and in raw every
    column may be null, so that a frame with a hole in it is kept. ``check`` is a PostgreSQL condition that silver
    holds to where the column is not null, ``lake_only`` a column that the warehouse doesn't load. A ``plausible`` time
    is held to ``contracts.plausible``, because rows are ordered or put into buckets by it. By a column that ``decides``
    silver chooses between rows, though it may be null. ``derived_from`` is a column that may stand in for a required
    one.
    """

    name: str
    kind: Kind
    description: str
    unit: str = ""
    required: bool = False
    check: str = ""
    choices: tuple[str, ...] = ()
    lake_only: bool = False
    plausible: bool = False
    decides: bool = False
    #: Column from which silver computes this one where raw has null; with neither the row is quarantined.
    derived_from: str = ""

    @property
    def is_descriptive(self) -> bool:
        """Whether the column only describes: it is no part of the row's identity, no price, no size and no time."""
        return not (self.required or self.decides) and self.kind in (Kind.TEXT, Kind.BOOLEAN, Kind.JSON)

    def but(self, **changes: object) -> Field:
        """The same column with some attributes changed (its description in one dataset, say)."""
        return replace(self, **changes)  # type: ignore[arg-type]


class BookRows(StrEnum):
    """What the level columns of a dataset hold, which decides what is a valid level."""

    #: Every level of a book: each has a price and a size, the best is first, and bids lie below asks.
    WHOLE = "whole"
    #: Levels that changed: a size of 0 removes one, and they come in any order.
    CHANGES = "changes"


@dataclass(frozen=True, slots=True)
class Contract:
    """One dataset: its columns in order, its natural key, what a row is, and what its levels are if it has any."""

    dataset: str
    version: int
    grain: str
    natural_key: tuple[str, ...]
    fields: tuple[Field, ...]
    book_rows: BookRows | None = None

    @property
    def columns(self) -> tuple[Field, ...]:
        """All columns of the lake: the dataset's own, then the envelope."""
        return (*self.fields, *ENVELOPE)

    @property
    def raw_columns(self) -> tuple[Field, ...]:
        """All columns of the raw table except ``load_id``: the lake's, less those that stay in the lake."""
        return tuple(f for f in self.columns if not f.lake_only)

    def names(self) -> tuple[str, ...]:
        """The names of the dataset's own columns, without the envelope."""
        return tuple(f.name for f in self.fields)


def decimal(name: str, description: str, unit: str, *, required: bool = False, check: str = "") -> Field:
    """A decimal column; ``unit`` is "quote" (KRW in BTC-KRW), "base" (BTC in BTC-KRW), or "ratio"."""
    return Field(name, Kind.DECIMAL, description, unit, required, check)


EXCHANGE: Final = Field("exchange", Kind.TEXT, "Name of the exchange, lower case, such as upbit.", required=True)
MARKET: Final = Field("market", Kind.TEXT, "Canonical market symbol BASE-QUOTE, such as BTC-KRW.", required=True)
CODE: Final = Field("code", Kind.TEXT, "The exchange's own market code, such as KRW-BTC.", required=True)
EVENT_AT: Final = Field(
    "event_at", Kind.TIMESTAMP, "When it happened by the exchange's clock.", "UTC", required=True, plausible=True
)
SIDE: Final = Field("side", Kind.TEXT, "Side of the taker.", choices=("buy", "sell"))
CHANGE: Final = Field(
    "change", Kind.TEXT, "Direction against the previous UTC day's close.", choices=("RISE", "EVEN", "FALL")
)
PREV_CLOSING_PRICE: Final = decimal("prev_closing_price", "Close of the previous UTC day.", "quote")
STREAM_TYPE: Final = Field(
    "stream_type",
    Kind.TEXT,
    "SNAPSHOT: the state at the time of subscribing; REALTIME: a change. Null for REST.",
    choices=("SNAPSHOT", "REALTIME"),
)
EXTRA: Final = Field(
    "extra", Kind.JSON, "Fields of the message that this contract doesn't know, by the exchange's own name."
)

#: Where a row came from. The same in every dataset; the row's identity is (cluster, epoch, topic, partition,
#: offset, item).
ENVELOPE: Final = (
    Field("source", Kind.TEXT, "How it reached us.", choices=("ws", "rest"), required=True),
    Field("received_at", Kind.TIMESTAMP, "When it reached us, by our clock.", "UTC", required=True),
    Field("connection_id", Kind.TEXT, "The socket connection it came over; null for REST."),
    Field("frame_no", Kind.INTEGER, "Number of the frame within its connection, from 1; null for REST."),
    Field("kafka_cluster", Kind.TEXT, "Cluster that held the record; 'rest' for rows fetched by REST.", required=True),
    Field("kafka_epoch", Kind.INTEGER, "Raised when topics are made anew; 0 for REST.", required=True),
    Field("kafka_topic", Kind.TEXT, "Topic of the record; for REST the topic of the dataset.", required=True),
    Field("kafka_partition", Kind.INTEGER, "Partition of the record; 0 for REST.", required=True),
    Field(
        "kafka_offset",
        Kind.INTEGER,
        "Offset of the record; for REST 63 bits of the SHA-256 of request and content.",
        required=True,
    ),
    Field("item", Kind.INTEGER, "Place of the event within its frame or answer, from 0.", required=True),
    Field(
        "frame",
        Kind.BYTES,
        "The frame as it came, byte for byte; on its first row only (for REST: on the first row of each page).",
        lake_only=True,
    ),
)

#: The identity of a raw row.
ROW_KEY: Final = ("kafka_cluster", "kafka_epoch", "kafka_topic", "kafka_partition", "kafka_offset", "item")
