"""Contract of the trade dataset: one row an execution."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind, decimal

TRADE: Final = Contract(
    dataset="trade",
    version=1,
    grain="One execution on one market, or what the exchange itself sums up as one (see first_trade_id).",
    natural_key=("exchange", "market", "trade_id"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        Field(
            "trade_id",
            Kind.INTEGER,
            "The exchange's id: unique within a market, larger than 2^53, not in order of time.",
            required=True,
        ),
        f.EVENT_AT.but(description="When it was executed."),
        decimal("price", "Price of the execution.", "quote", required=True, check="> 0"),
        decimal("size", "Amount that changed hands.", "base", required=True, check="> 0").but(
            derived_from="size_contracts"
        ),
        f.SIDE.but(required=True),
        Field("published_at", Kind.TIMESTAMP, "When the exchange published it; null for REST.", "UTC"),
        f.PREV_CLOSING_PRICE,
        f.CHANGE,
        decimal("change_price", "Distance from the previous close, without sign.", "quote"),
        decimal("best_ask_price", "Lowest ask at the trade; null before 2024-11-27 and for REST.", "quote"),
        decimal("best_ask_size", "Size at the lowest ask.", "base"),
        decimal("best_bid_price", "Highest bid at the trade.", "quote"),
        decimal("best_bid_size", "Size at the highest bid.", "base"),
        f.STREAM_TYPE,
        Field(
            "first_trade_id",
            Kind.INTEGER,
            "First id that the row stands for; null where a row is one trade. A row stands for at most 100,000.",
            check="between last_trade_id - 99999 and last_trade_id",
        ),
        Field("last_trade_id", Kind.INTEGER, "Last id that the row stands for; null where a row is one trade."),
        decimal(
            "size_contracts",
            "The amount as the exchange counts it; null where it counts coins. In raw and in the lake `size` is null "
            "where no size of the contract was known at receipt: silver computes it from the exchange's list.",
            "contracts",
            check="> 0",
        ),
        decimal(
            "size_without_rpi",
            "The amount without orders of retail price improvement; null where the exchange doesn't say.",
            "base",
        ),
        Field(
            "order_source",
            Kind.TEXT,
            "Source of the maker's orders by the exchange's own code (OKX: 0 normal, 1 retail price improvement).",
        ),
        Field(
            "sequence_id",
            Kind.INTEGER,
            "The exchange's sequence number of the message; several trades may share one. Null where there is none.",
        ),
        f.EXTRA,
    ),
)
