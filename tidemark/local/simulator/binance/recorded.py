"""What a recorded frame of Binance's is about.

Lives here: event, symbol, root and trade of a frame. Doesn't: files (``recording``), playing them (``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled

_OURS = {"aggTrade": "trade", "depthUpdate": "depth", "kline": "candle"}
_PUBLIC = ("depthUpdate", "bookTicker")


def describe(item: Any) -> tuple[str, str, str, Sent | None]:
    """Event and symbol (empty where it has none), the root it stands on, and the aggregate trade if it is one."""
    data = item.get("data", item) if isinstance(item, dict) else None
    if not isinstance(data, dict) or "e" not in data:
        return "unknown", "", "market", None
    event, code = str(data["e"]), str(data.get("s", ""))
    root = "public" if event in _PUBLIC else "market"
    return _OURS.get(event, event), code, root, _trade(code, data) if event == "aggTrade" else None


def _trade(code: str, row: dict[str, Any]) -> Sent | None:
    try:
        return Sent(
            code, int(row["l"]), int(row["T"]), scaled(row["p"]), scaled(row["q"]), row["m"] is True, int(row["f"]),
            int(row["a"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
