"""Contract of the ticker dataset: the state of one market, with all 33 fields of Upbit's frame.

Upbit's ``type`` is the dataset itself, ``code`` is kept, ``ask_bid`` is ``side``, ``timestamp`` is ``event_at``
and ``trade_timestamp`` is ``trade_at``; the other names are the exchange's.
"""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind, decimal

TICKER: Final = Contract(
    dataset="ticker",
    version=1,
    grain="The state of one market at one moment.",
    natural_key=("exchange", "market", "event_at", "content_hash"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        f.EVENT_AT.but(description="When the exchange produced the frame (its `timestamp`)."),
        decimal("opening_price", "First price since 00:00 UTC.", "quote"),
        decimal("high_price", "Highest price since 00:00 UTC.", "quote"),
        decimal("low_price", "Lowest price since 00:00 UTC.", "quote"),
        decimal("trade_price", "Last price; null before the market's first trade.", "quote", check="> 0"),
        f.PREV_CLOSING_PRICE,
        f.CHANGE,
        decimal("change_price", "Distance from the previous close, without sign.", "quote"),
        decimal("signed_change_price", "Last price less the previous close.", "quote"),
        decimal("change_rate", "Distance from the previous close as a share of it, without sign.", "ratio"),
        decimal("signed_change_rate", "Change against the previous close as a share of it.", "ratio"),
        decimal("trade_volume", "Size of the latest trade.", "base"),
        decimal("acc_trade_volume", "Volume since 00:00 UTC.", "base"),
        decimal("acc_trade_volume_24h", "Volume of the last 24 hours.", "base"),
        decimal("acc_trade_price", "Value traded since 00:00 UTC.", "quote"),
        decimal("acc_trade_price_24h", "Value traded in the last 24 hours.", "quote"),
        Field("trade_date", Kind.TEXT, "Date of the latest trade, yyyyMMdd.", "UTC"),
        Field("trade_time", Kind.TEXT, "Time of the latest trade, HHmmss.", "UTC"),
        Field("trade_at", Kind.TIMESTAMP, "When the latest trade was executed (`trade_timestamp`).", "UTC"),
        f.SIDE.but(description="Side of the latest trade's taker (`ask_bid`); null for REST."),
        decimal("acc_ask_volume", "Volume sold by takers since 00:00 UTC.", "base"),
        decimal("acc_bid_volume", "Volume bought by takers since 00:00 UTC.", "base"),
        decimal("highest_52_week_price", "Highest price in 52 weeks.", "quote"),
        Field("highest_52_week_date", Kind.TEXT, "Day of that highest price, yyyy-MM-dd.", "UTC"),
        decimal("lowest_52_week_price", "Lowest price in 52 weeks.", "quote"),
        Field("lowest_52_week_date", Kind.TEXT, "Day of that lowest price, yyyy-MM-dd.", "UTC"),
        Field("market_state", Kind.TEXT, "PREVIEW, ACTIVE or DELISTED; null for REST."),
        Field("is_trading_suspended", Kind.BOOLEAN, "Whether trading is suspended (the exchange deprecated it)."),
        Field("delisting_date", Kind.TEXT, "Day of delisting, yyyy-MM-dd; null while none is announced."),
        Field("market_warning", Kind.TEXT, "NONE or CAUTION (the exchange deprecated it)."),
        f.STREAM_TYPE,
        decimal("best_ask_price", "Lowest ask; null where the exchange doesn't say.", "quote"),
        decimal("best_ask_size", "Size at the lowest ask.", "base"),
        decimal("best_bid_price", "Highest bid; null where the exchange doesn't say.", "quote"),
        decimal("best_bid_size", "Size at the highest bid.", "base"),
        decimal("open_price_24h", "Price 24 hours ago; null where the exchange doesn't say.", "quote"),
        decimal("high_price_24h", "Highest price of the last 24 hours.", "quote"),
        decimal("low_price_24h", "Lowest price of the last 24 hours.", "quote"),
        decimal("trade_volume_contracts", "trade_volume as the exchange counts it; null: coins.", "contracts"),
        decimal("best_ask_contracts", "best_ask_size as the exchange counts it; null: coins.", "contracts"),
        decimal("best_bid_contracts", "best_bid_size as the exchange counts it; null: coins.", "contracts"),
        f.EXTRA,
    ),
)
