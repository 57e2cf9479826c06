"""Contract of the market dataset: what an exchange lists, as it said at one moment (REST only)."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind, decimal

#: Kinds of what is traded; only coins are the same thing under the same name elsewhere.
UNDERLYINGS: Final = ("coin", "equity", "commodity", "fx", "bond", "index", "premarket", "other")

MARKET: Final = Contract(
    dataset="market",
    version=1,
    grain="One listed market in one answer of the exchange.",
    natural_key=("exchange", "market", "event_at"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        f.EVENT_AT.but(description="When the list was asked for, by our clock: the answer carries no time."),
        Field("korean_name", Kind.TEXT, "Name of the coin in Korean."),
        Field("english_name", Kind.TEXT, "Name of the coin in English."),
        Field("warning", Kind.BOOLEAN, "Whether the exchange has put the market under warning."),
        Field("cautions", Kind.JSON, "Which cautions are on, by the exchange's own names."),
        Field("instrument", Kind.TEXT, "What is traded; null: spot.", choices=("spot", "swap", "future", "option")),
        Field("state", Kind.TEXT, "State of trading by the exchange's own word; null where it doesn't say."),
        decimal("contract_size", "Coins in one contract; null where sizes are in coins.", "base"),
        decimal("tick_size", "Smallest step of the price; null where the exchange doesn't say.", "quote"),
        Field("base", Kind.TEXT, "What is traded, by the exchange's own name, such as BTC or 1000PEPE."),
        Field("quote", Kind.TEXT, "Currency of the price."),
        Field("settle", Kind.TEXT, "Currency in which gains are paid; null where the exchange doesn't say."),
        Field("underlying", Kind.TEXT, "What a derivative follows, by the exchange's own name; null at spot."),
        Field(
            "underlying_kind", Kind.TEXT, "What `base` is; null where the exchange doesn't say.", choices=UNDERLYINGS
        ),
        decimal("contract_value", "Amount of contract_currency in one contract; null: sizes are in coins.", ""),
        Field("contract_currency", Kind.TEXT, "Currency of contract_value: the base, or dollars where it is inverse."),
        Field("is_inverse", Kind.BOOLEAN, "Whether a contract is an amount of the quote currency; null at spot."),
        Field("begins_at", Kind.TIMESTAMP, "When trading begins or began; null where the exchange doesn't say.", "UTC"),
        Field("expires_at", Kind.TIMESTAMP, "When it expires or ends; null where it does not.", "UTC"),
        f.EXTRA,
    ),
)
