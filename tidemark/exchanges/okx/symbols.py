"""OKX's names for instruments and candle intervals, and ours.

Lives here: ``BTC-USDT-SWAP`` to ``BTC-USDT``; ``candle1Dutc``, ``1Dutc`` and ``1d``. Doesn't: messages, how large a
contract is (``sizes``).

Swaps are what Tidemark takes from OKX first, so a swap has the plain market. Everything else carries its kind, because
prices and trade ids of two instruments must not mix: ``BTC-USDT-SPOT``, ``BTC-USDT-250328``, an option whole. An X-Perp
(``ETH-USD_UM_XPERP-310404``) is a dated contract to the exchange and has its code as its market.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.values import shown

NAME: Final = "okx"

#: Our name of an interval, and OKX's bar. Bars of 6 hours and more open at 00:00 UTC+8 unless they are named utc.
INTERVALS: Final = {
    "1s": "1s",
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1h": "1H",
    "2h": "2H",
    "4h": "4H",
    "6h": "6Hutc",
    "12h": "12Hutc",
    "1d": "1Dutc",
    "2d": "2Dutc",
    "3d": "3Dutc",
    "5d": "5Dutc",
    "1w": "1Wutc",
    "1mo": "1Mutc",
    "3mo": "3Mutc",
}
#: The same bars opening at 00:00 UTC+8 (16:00 UTC): known, and not ours.
OTHER_DAYS: Final = tuple(bar.removesuffix("utc") for bar in INTERVALS.values() if bar.endswith("utc"))

_MONTHS: Final = {"1mo": 1, "3mo": 3}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTHS: Final = {
    name: timedelta(**{_UNITS[name[-1]]: int(name[:-1])}) for name in INTERVALS if name not in _MONTHS
}  # fmt: skip
#: ``_UM`` (margined in dollars and stablecoins) and ``_XPERP`` (a dated perpetual) make another family.
_CODE: Final = re.compile(
    r"(?P<base>[A-Z0-9]{1,20})-(?P<quote>[A-Z0-9]{1,20})"
    r"(?:(?P<family>(?:_[A-Z0-9]{1,10}){0,3})"
    r"-(?:SWAP|(?P<expiry>[0-9]{6})(?P<option>-[0-9]{1,10}(?:\.[0-9]{1,8})?-[CP])?))?"
)

Kind = Literal["spot", "swap", "future", "option"]


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a code says: its kind, the family that shares a contract size, and its market in our words."""

    code: str
    kind: Kind
    family: str
    market: str
    base: str
    quote: str

    @property
    def is_inverse(self) -> bool:
        """Whether a contract is an amount of dollars, paid in coins (``BTC-USD-SWAP``).

        A code can only suggest it: the exchange's list (``ctType``) decides where there is one.
        """
        return self.kind in ("swap", "future") and self.family == f"{self.base}-USD"


@lru_cache(maxsize=8192)
def instrument(code: str) -> Instrument:
    """What a code says.

    Raises:
        Unparsable: ``bad_code``: it is not of a form that OKX uses.
    """
    match = _CODE.fullmatch(code)
    if match is None:
        raise Unparsable("bad_code", f"instrument {shown(code)} is not of the form BTC-USDT, BTC-USDT-SWAP, …")
    base, quote = match["base"], match["quote"]
    family = f"{base}-{quote}{match['family'] or ''}"
    if match["option"]:
        return Instrument(code, "option", family, code, base, quote)
    if match["expiry"]:
        return Instrument(code, "future", family, code, base, quote)
    if code == family:
        return Instrument(code, "spot", family, f"{family}-SPOT", base, quote)
    return Instrument(code, "swap", family, family, base, quote)


def read(code: object) -> Instrument:
    """The instrument that a message's field names.

    Raises:
        Unparsable: ``missing_code`` or ``bad_code``.
    """
    if code is None:
        raise Unparsable("missing_code", "the message names no instrument")
    if not isinstance(code, str):
        raise Unparsable("bad_code", f"instrument {shown(code)} is not a text")
    return instrument(code)


def end_of(interval: str, start: datetime) -> datetime:
    """The first moment after the bar of ``interval`` that starts at ``start`` (UTC)."""
    if interval not in _MONTHS:
        return start + _LENGTHS[interval]
    months = start.year * 12 + start.month - 1 + _MONTHS[interval]
    return start.replace(year=months // 12, month=months % 12 + 1, day=1)
