"""What a recorded frame of Upbit's is about.

Lives here: type, market and trade of a frame. Doesn't: files (``recording``), playing them (``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled


def describe(item: Any) -> tuple[str, str, str, Sent | None]:
    """Type and market code (empty where it has none), no root, and the trade if it is one."""
    item = item[0] if isinstance(item, list) and item else item
    if not isinstance(item, dict):
        return "unknown", "", "", None
    kind, code = str(item.get("ty", item.get("type", "unknown"))), str(item.get("cd", item.get("code", "")))
    return kind, code, "", _trade(code, item) if kind == "trade" else None


def _trade(code: str, item: dict[str, Any]) -> Sent | None:
    try:
        price, size = item.get("tp", item.get("trade_price")), item.get("tv", item.get("trade_volume"))
        number = int(item["sid"] if "sid" in item else item["sequential_id"])
        return Sent(
            code,
            number,
            int(item["ttms"] if "ttms" in item else item["trade_timestamp"]),
            scaled(price),
            scaled(size),
            item.get("ab", item.get("ask_bid")) == "ASK",
            number,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
