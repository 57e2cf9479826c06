"""Contract of the orderbook dataset: one row a complete book."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import BookRows, Contract, Field, Kind, decimal


def _side(name: str, description: str, unit: str) -> Field:
    return Field(name, Kind.DECIMALS, description, unit, required=True)


ORDERBOOK: Final = Contract(
    dataset="orderbook",
    version=1,
    grain="The complete book of one market at one moment, best level first.",
    natural_key=("exchange", "market", "event_at", "content_hash"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        f.EVENT_AT.but(description="When the book had this state (its `timestamp`)."),
        decimal("total_ask_size", "Sum of the ask sizes: as the exchange states it, else of the levels here.", "base"),
        decimal("total_bid_size", "Sum of the bid sizes: as the exchange states it, else of the levels here.", "base"),
        _side("ask_prices", "Ask prices, lowest first; levels padded with zero are left out.", "quote"),
        _side("ask_sizes", "Sizes of the asks, in the order of ask_prices.", "base"),
        _side("bid_prices", "Bid prices, highest first; levels padded with zero are left out.", "quote"),
        _side("bid_sizes", "Sizes of the bids, in the order of bid_prices.", "base"),
        decimal("level", "Price step that levels are grouped by; 0: not grouped.", "quote"),
        f.STREAM_TYPE,
        Field("update_id", Kind.INTEGER, "Number of the last change in the book; null where the exchange has none."),
        f.EXTRA,
    ),
    book_rows=BookRows.WHOLE,
)
