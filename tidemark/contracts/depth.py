"""Contract of the depth dataset: changes of a book, numbered, and the snapshots that they build on."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import BookRows, Contract, Field, Kind


def _side(name: str, description: str, unit: str) -> Field:
    return Field(name, Kind.DECIMALS, description, unit, required=True)


DEPTH: Final = Contract(
    dataset="depth",
    version=1,
    grain="One change of one market's book, or a snapshot of it.",
    natural_key=("exchange", "market", "kind", "last_update_id"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        f.EVENT_AT.but(description="When the exchange sent it."),
        Field(
            "changed_at", Kind.TIMESTAMP, "When the matching engine did it; null where the exchange doesn't say.", "UTC"
        ),
        Field(
            "kind", Kind.TEXT, "Whether the book begins anew with it.", required=True, choices=("snapshot", "update")
        ),
        Field("first_update_id", Kind.INTEGER, "First number that the change covers; null where there is none."),
        Field("last_update_id", Kind.INTEGER, "Last number that it covers.", required=True),
        Field("prev_update_id", Kind.INTEGER, "last_update_id of the change before it; null at a snapshot."),
        _side("ask_prices", "Ask prices that changed, or all of them.", "quote"),
        _side("ask_sizes", "Sizes now at those prices; 0: the level is gone.", "base"),
        _side("bid_prices", "Bid prices that changed, or all of them.", "quote"),
        _side("bid_sizes", "Sizes now at those prices; 0: the level is gone.", "base"),
        Field("checksum", Kind.INTEGER, "The exchange's checksum of the book after it; null where it gives none."),
        Field(
            "size_unit",
            Kind.TEXT,
            "contract: the sizes are contracts, whose size was unknown at receipt. Null: they are coins.",
            choices=("contract",),
        ),
        f.EXTRA,
    ),
    book_rows=BookRows.CHANGES,
)
