"""Binance's names for markets and candle intervals, and ours.

Lives here: ``BTCUSDT`` to ``BTC-USDT``, ``BTCUSDT_250328`` to ``BTC-USDT-250328``, ``1M`` and ``1mo``. Doesn't:
messages.

A code doesn't say where its base ends: the quotes are known, and the longest that fits is meant. COIN-M contracts
(``BNBUSD_PERP``, ``BNBUSD_260327``) are quoted in USD, which is the end of other quotes, so a code that may be one of
them has no market here. The list of markets names base and quote itself (:func:`listed_market`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.values import shown

NAME: Final = "binance"

#: What USDⓈ-M contracts were ever quoted in.
QUOTES: Final = ("FDUSD", "BUSD", "USDC", "USDT", "USD1", "BNB", "BTC", "ETH")

#: Our name of an interval, and Binance's.
INTERVALS: Final = {
    **{i: i for i in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w")},
    "1mo": "1M",
}
OURS: Final = {theirs: ours for ours, theirs in INTERVALS.items()}

#: Codes that end like a USDⓈ-M quote and are a coin's pair with USD: no other coin's code with USD ends so, and
#: contracts quoted in BUSD ended in 2023.
_OF_COIN_M: Final = frozenset(("BNBUSD",))
_COIN_M: Final = re.compile(r".*(?:_PERP|USD_[0-9A-Z]+)")
# Some bases are Chinese words, so letters are any letters.
_CODE: Final = re.compile(rf"(?P<base>[^\W_]{{1,30}}?)(?P<quote>{'|'.join(QUOTES)})(?:_(?P<more>[0-9A-Z]{{1,20}}))?")


@lru_cache(maxsize=4096)
def _market(code: str) -> str | None:
    match = _CODE.fullmatch(code) if code == code.upper() else None
    if match is None or code in _OF_COIN_M or _COIN_M.fullmatch(code):
        return None
    parts = (match["base"], match["quote"], match["more"])
    return "-".join(part for part in parts if part)


def market(code: object) -> str:
    """The canonical market ``BASE-QUOTE`` of a perpetual; a dated future has its date behind.

    Raises:
        Unparsable: ``missing_code``, or ``bad_code`` when it is not of that form or of no known quote.
    """
    if code is None:
        raise Unparsable("missing_code", "the message names no market")
    found = _market(code) if isinstance(code, str) else None
    if found is None:
        raise Unparsable("bad_code", f"market code {shown(code)} is not of the form BTCUSDT or BTCUSDT_250328")
    return found


def listed_market(code: str, base: object, quote: object) -> str | None:
    """The market of a listed contract by the list's own words, else by its code; None: neither says.

    Where it isn't what :func:`market` makes of the code, the contract's frames cannot be read.
    """
    if not (isinstance(base, str) and isinstance(quote, str) and base and quote):
        return _market(code)
    _, _, more = code.partition("_")
    return "-".join(part for part in (base, quote, more) if part)


def instrument(code: str) -> str:
    """What the code stands for: ``swap``, or ``future`` where it is dated."""
    return "future" if "_" in code and not code.endswith("_PERP") else "swap"


def stream(code: str, what: str) -> str:
    """The name of a stream: ``btcusdt@aggTrade``."""
    return f"{code.lower()}@{what}"
