"""Records that producers write about books: snapshots they asked for, and whole books they built.

Lives here: their form, written and read in one place, whatever the exchange. Doesn't: when they are written
(``streaming.producer``), how books are built (``book``). They carry the header ``kind`` and no frame number.

* ``snapshot``, in the topic of ``depth``: the exchange's answer byte for byte, with the code and the time it was asked.
* ``book``, in the topic of ``orderbook``: the best levels of a book built from ``depth``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import messages, values
from tidemark.exchanges.base import Exchange, NotServedError, Parsed, Row, Unparsable
from tidemark.exchanges.book import Level, total

SNAPSHOT: Final = "snapshot"
BOOK: Final = "book"
#: Each kind, and the dataset whose topic it stands in.
KINDS: Final = {SNAPSHOT: "depth", BOOK: "orderbook"}

_ENCODE: Final = msgspec.json.Encoder().encode


class _Snapshot(msgspec.Struct):
    code: str
    asked_at: datetime
    answer: msgspec.Raw


_SNAPSHOTS: Final = msgspec.json.Decoder(_Snapshot)


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """An exchange's answer to the question for a market's book (JSON); ``asked_at`` in UTC by our clock."""

    code: str
    asked_at: datetime
    answer: bytes

    def encode(self) -> bytes:
        """The record's value: JSON, with the answer as it came."""
        return _ENCODE(
            {"kind": SNAPSHOT, "code": self.code, "asked_at": self.asked_at, "answer": msgspec.Raw(self.answer)}
        )


@dataclass(frozen=True, slots=True)
class BookRecord:
    """The best levels of a market's book at ``event_at`` (UTC, the exchange's clock), after change ``update_id``."""

    code: str
    event_at: datetime
    update_id: int
    asks: Sequence[Level]
    bids: Sequence[Level]

    def encode(self) -> bytes:
        """The record's value: JSON, with numbers as text."""
        return _ENCODE(
            {
                "kind": BOOK,
                "code": self.code,
                "event_at": self.event_at,
                "update_id": self.update_id,
                "asks": [(_plain(price), _plain(size)) for price, size in self.asks],
                "bids": [(_plain(price), _plain(size)) for price, size in self.bids],
            }
        )


def parse(exchange: Exchange, dataset: str, kind: str, value: bytes) -> Parsed:
    """The row of a record of kind ``snapshot`` or ``book`` from the topic of ``dataset``.

    Raises:
        Unparsable: it is not one, or belongs to another dataset.
    """
    if KINDS[kind] != dataset:
        raise Unparsable("wrong_topic", f"a record of kind {kind} among those of {dataset}")
    return Parsed(_snapshot(exchange, value) if kind == SNAPSHOT else [_book(exchange, value)])


def _snapshot(exchange: Exchange, value: bytes) -> list[Row]:
    try:
        record = _SNAPSHOTS.decode(value)
        query = exchange.rest.depth(record.code)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unparsable("bad_record", f"not a record of a snapshot: {error}") from None
    except NotServedError as error:
        raise Unparsable("bad_record", str(error)) from None
    return query.rows(bytes(record.answer), record.asked_at)


def _book(exchange: Exchange, value: bytes) -> Row:
    record = messages.decode(value)
    if not isinstance(record, dict) or record.get("kind") != BOOK:
        raise Unparsable("bad_record", f"not a record of a book: {values.shown(value[:60])}")
    row: Row = dict.fromkeys(CONTRACTS["orderbook"].names())
    row["code"] = code = values.text(record.get("code"), "code")
    row["exchange"], row["market"] = exchange.name, exchange.market(code)
    row["event_at"] = values.iso_time(record.get("event_at"), "event_at")
    row["update_id"] = values.integer(record.get("update_id"), "update_id")
    row["level"] = values.decimal(0, "level")
    for side in ("ask", "bid"):
        levels = _levels(record.get(f"{side}s"), f"{side}s")
        row[f"{side}_prices"], row[f"{side}_sizes"] = [p for p, _ in levels], [s for _, s in levels]
        row[f"total_{side}_size"] = values.decimal(total(levels), f"total_{side}_size")
    return row


def _levels(found: Any, name: str) -> list[Level]:
    if not isinstance(found, list) or not all(isinstance(one, list) and len(one) == 2 for one in found):
        raise Unparsable("bad_type", f"{name} is not a list of levels")
    return [(values.decimal(price, name), values.decimal(size, name)) for price, size in found]


def _plain(number: Decimal) -> str:
    """Digits without an exponent and without zeros at the end that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
