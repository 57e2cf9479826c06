"""What a recorded frame of OKX's is about.

Contains: channel, instrument, root and trades of a frame.
Does not contain: files (``recording``), playing them (``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled, whole
from tidemark.local.simulator.okx.subscription import CHANNELS

_OURS = {name: ours for channels in CHANNELS.values() for name, ours in channels.items()} | {"books": "depth"}


def describe(item: Any) -> tuple[str, str, str, tuple[Sent, ...]]:
    """Channel and instrument (empty where it has none), the root that serves it, and its trades.

    Sizes of trades are those of the frame: of swaps, futures and options in contracts.
    """
    arg = item.get("arg") if isinstance(item, dict) else None
    if not isinstance(arg, dict) or "data" not in item:
        return "unknown", "", "public", ()
    channel, code, rows = str(arg.get("channel")), str(arg.get("instId", "")), item["data"]
    root = "business" if "candle" in channel else "public"
    wanted = rows if channel == "trades" and isinstance(rows, list) else []
    return _OURS.get(channel, channel), code, root, tuple(trade for row in wanted if (trade := _trade(code, row)))


def _trade(code: str, row: Any) -> Sent | None:
    try:
        number = whole(row["tradeId"])
        first = number - whole(row.get("count", 1)) + 1
        return Sent(code, number, whole(row["ts"]), scaled(row["px"]), scaled(row["sz"]), row["side"] == "sell", first)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None
