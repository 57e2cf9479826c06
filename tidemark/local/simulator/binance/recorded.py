"""What a recorded frame of Binance's is about.

Contains: event, symbol, root and trade of a frame.
Does not contain: files (``recording``), playing them (``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled, whole

_OURS = {"aggTrade": "trade", "depthUpdate": "depth", "kline": "candle"}
_PUBLIC = ("depthUpdate", "bookTicker")


def describe(item: Any) -> tuple[str, str, str, tuple[Sent, ...]]:
    """Event and symbol (empty where it has none), the root that serves it, and the aggregate trade if it is one."""
    data = item.get("data", item) if isinstance(item, dict) else None
    if not isinstance(data, dict) or "e" not in data:
        return "unknown", "", "market", ()
    event, code = str(data["e"]), str(data.get("s", ""))
    root = "public" if event in _PUBLIC else "market"
    trade = _trade(code, data) if event == "aggTrade" else None
    return _OURS.get(event, event), code, root, (trade,) if trade else ()


def _trade(code: str, row: dict[str, Any]) -> Sent | None:
    try:
        return Sent(
            code, whole(row["l"]), whole(row["T"]), scaled(row["p"]), scaled(row["q"]), row["m"] is True,
            whole(row["f"]), whole(row["a"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
