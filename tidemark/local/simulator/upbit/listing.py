"""Upbit's list of markets.

Contains: the rows of market/all, which markets carry a warning or a caution, and which will leave, when.
Does not contain: who asks (``rest``), the ticker that names the date (``frames``).

A market has no status: it is in the list, or gone. A caution is true at any of its stages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set

from tidemark.local.simulator.market.instruments import MARKETS
from tidemark.local.simulator.oddities import Oddity

_CAUTIONS = (
    "PRICE_FLUCTUATIONS",
    "TRADING_VOLUME_SOARING",
    "DEPOSIT_AMOUNT_SOARING",
    "GLOBAL_PRICE_DIFFERENCES",
    "CONCENTRATION_OF_SMALL_ACCOUNTS",
)
_CAUTIOUS = {
    "KRW-SHIB": ("PRICE_FLUCTUATIONS", "TRADING_VOLUME_SOARING"),
    "KRW-STEEM": ("CONCENTRATION_OF_SMALL_ACCOUNTS",),
    "BTC-XRP": ("GLOBAL_PRICE_DIFFERENCES",),
    "USDT-SOL": ("GLOBAL_PRICE_DIFFERENCES", "DEPOSIT_AMOUNT_SOARING"),
}
_LEAVING = ("KRW-ARDR", "BTC-ARDR")
_NOTICE_DAYS = 21
_DAY_MS = 86_400_000


def leaving(shown: Set[Oddity], start_ms: int) -> dict[str, int]:
    """The markets that will leave, and the UTC epoch day of it: three weeks after a play begins (Unix ms)."""
    day = start_ms // _DAY_MS + _NOTICE_DAYS
    return dict.fromkeys(_LEAVING, day) if Oddity.UPBIT_DELISTING in shown else {}


def market_list(codes: Iterable[str], detailed: bool, shown: Set[Oddity]) -> str:
    """The body of /v1/market/all; codes that the simulator doesn't know carry their symbol as name."""
    rows = []
    for code in codes:
        symbol = code.split("-")[-1]
        market = MARKETS.get(code)
        row: dict[str, object] = {
            "market": code,
            "korean_name": market.coin.korean if market else symbol,
            "english_name": market.coin.english if market else symbol,
        }
        if detailed:
            row["market_event"] = _event(code, shown)
        rows.append(row)
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _event(code: str, shown: Set[Oddity]) -> dict[str, object]:
    cautions = _CAUTIOUS.get(code, ()) if Oddity.UPBIT_CAUTIONS in shown else ()
    return {
        "warning": code in _LEAVING and Oddity.UPBIT_DELISTING in shown,
        "caution": {caution: caution in cautions for caution in _CAUTIONS},
    }
