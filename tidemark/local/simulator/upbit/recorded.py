"""What a recorded frame of Upbit's is about.

Contains: type, market and trades of a frame.
Does not contain: files (``recording``), playing them (``replay``).
"""

from __future__ import annotations

from typing import Any

from tidemark.local.simulator.ledger import Sent, scaled, whole


def describe(item: Any) -> tuple[str, str, str, tuple[Sent, ...]]:
    """Type and market code (empty where it has none) of the first event, no root, and the trades of all."""
    events = [event for event in (item if isinstance(item, list) else [item]) if isinstance(event, dict)]
    if not events:
        return "unknown", "", "", ()
    trades = tuple(trade for event in events if _kind(event) == "trade" and (trade := _trade(event)))
    return _kind(events[0]), _code(events[0]), "", trades


def _kind(event: dict[str, Any]) -> str:
    return str(event.get("ty", event.get("type", "unknown")))


def _code(event: dict[str, Any]) -> str:
    return str(event.get("cd", event.get("code", "")))


def _trade(event: dict[str, Any]) -> Sent | None:
    try:
        price, size = event.get("tp", event.get("trade_price")), event.get("tv", event.get("trade_volume"))
        number = whole(event["sid"] if "sid" in event else event["sequential_id"])
        return Sent(
            _code(event),
            number,
            whole(event["ttms"] if "ttms" in event else event["trade_timestamp"]),
            scaled(price),
            scaled(size),
            event.get("ab", event.get("ask_bid")) == "ASK",
            number,
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
