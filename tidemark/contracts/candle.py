"""Contract of the candle dataset: the exchange's own bars, each state of each bar."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind, decimal

CANDLE: Final = Contract(
    dataset="candle",
    version=1,
    grain="One state of one bar; the state with the latest updated_at is the bar.",
    natural_key=("exchange", "market", "interval", "event_at"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        Field(
            "interval",
            Kind.TEXT,
            "Length of the bar.",
            required=True,
            choices=(
                "1s",
                "1m",
                "3m",
                "5m",
                "10m",
                "15m",
                "30m",
                "1h",
                "2h",
                "4h",
                "6h",
                "8h",
                "12h",
                "1d",
                "2d",
                "3d",
                "5d",
                "1w",
                "1mo",
                "3mo",
            ),
        ),
        f.EVENT_AT.but(description="Start of the bar."),
        decimal("open", "Price of the first trade.", "quote", required=True, check="> 0"),
        decimal("high", "Highest price.", "quote", required=True, check="> 0"),
        decimal("low", "Lowest price.", "quote", required=True, check="> 0"),
        decimal("close", "Price of the latest trade.", "quote", required=True, check="> 0"),
        decimal("volume_base", "Volume.", "base", required=True, check=">= 0"),
        decimal("volume_quote", "Value traded.", "quote", required=True, check=">= 0"),
        Field(
            "updated_at",
            Kind.TIMESTAMP,
            "Time of the latest tick in this state; may lie after the bar's end. Where the exchange doesn't say: "
            "the bar's start while it is forming, its end once it is closed.",
            "UTC",
            required=True,
            plausible=True,
        ),
        Field(
            "is_closed",
            Kind.BOOLEAN,
            "Whether the exchange says the bar is finished; null where it doesn't say.",
            decides=True,
        ),
        f.PREV_CLOSING_PRICE.but(description="Close of the previous UTC day; daily bars only."),
        decimal("signed_change_price", "Close less the previous close; daily bars only.", "quote"),
        decimal("signed_change_rate", "That change as a share of the previous close; daily bars only.", "ratio"),
        f.STREAM_TYPE,
        Field("trade_count", Kind.INTEGER, "Trades in the bar; null where the exchange doesn't say.", check=">= 0"),
        decimal("buy_volume_base", "Volume bought by takers; null where the exchange doesn't say.", "base"),
        decimal("buy_volume_quote", "Value bought by takers; null where the exchange doesn't say.", "quote"),
        decimal("volume_contracts", "Volume in contracts; derivatives only.", "contracts"),
        Field("first_trade_id", Kind.INTEGER, "Id of the bar's first trade; null where the exchange doesn't say."),
        Field("last_trade_id", Kind.INTEGER, "Id of the bar's latest trade; null where the exchange doesn't say."),
        f.EXTRA,
    ),
)
