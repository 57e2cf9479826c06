"""What a recorded frame of OKX's is about.

Lives here: channel, instrument, root and trade of a frame. Doesn't: files (``recording``), playing them
(``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled
from tidemark.local.simulator.okx.subscription import CHANNELS

_OURS = {name: ours for channels in CHANNELS.values() for name, ours in channels.items()}


def describe(item: Any) -> tuple[str, str, str, Sent | None]:
    """Channel and instrument (empty where it has none), the root it stands on, and the trade if it is one.

    Sizes of trades are as told: of swaps, futures and options in contracts.
    """
    arg = item.get("arg") if isinstance(item, dict) else None
    if not isinstance(arg, dict) or "data" not in item:
        return "unknown", "", "public", None
    channel, code = str(arg.get("channel")), str(arg.get("instId", ""))
    root = "business" if "candle" in channel else "public"
    return _OURS.get(channel, channel), code, root, _trade(code, item["data"]) if channel == "trades" else None


def _trade(code: str, rows: Any) -> Sent | None:
    try:
        [row] = rows
        number = int(row["tradeId"])
        first = number - int(row.get("count", 1)) + 1
        return Sent(code, number, int(row["ts"]), scaled(row["px"]), scaled(row["sz"]), row["side"] == "sell", first)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
