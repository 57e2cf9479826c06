"""What one contract of an instrument is, so that sizes can be said in coins.

Lives here: the contract sizes as constants, and contracts to coins. Doesn't: asking the exchange for them
(``rest.MarketsQuery`` keeps what it says in ``market.contract_size``).

Trades, tickers and books of swaps, futures and options count contracts, and no frame says what one is. A table in code
keeps parsing a pure function: the same frame gives the same row today and in a replay next year. Its price is that a
new instrument's trades are dead letters (``unknown_contract``, with what to add) until it is entered and they are
processed again, which is better than a size that is wrong by a hundred. Two things check it against the exchange:
``market.contract_size`` is what the exchange itself lists, and candles carry coins of their own (``volCcy``), so trades
summed against candles turn red if an entry is wrong.

Linear: an amount of the coin, the same for a family's swap and its dated futures. Every entry stood so in lists of the
exchange taken in 2024 and in 2026. Inverse (``…-USD``): an amount of dollars, 100 for Bitcoin and 10 for every other
coin, so the coins depend on the price and are rounded at the 18th decimal. Options are of coins; their size was cut to
a tenth on 2022-05-26, which is why an entry may have several sizes, each from its moment on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.okx.symbols import Instrument
from tidemark.exchanges.values import decimal

#: Sizes of one contract by the moment from which they hold, latest first.
Sizes = tuple[tuple[datetime, Decimal], ...]

_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OPTIONS_CUT: Final = datetime(2022, 5, 26, 8, tzinfo=UTC)
_STEP: Final = Decimal(1).scaleb(-DECIMAL_SCALE)
#: Products of what the lake holds fit it whole; a quotient is rounded once, at the lake's last decimal.
_EXACT: Final = Context(prec=2 * DECIMAL_PRECISION, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_NAME: Final = "the size in coins"

_COINS_IN_A_CONTRACT: Final = {
    "0.01": "BTC BNB ICP",
    "0.1": "ETH AAVE AR AXS BCH FIL INJ ORDI",
    "1": "SOL APT ATOM AVAX CRV DOT DYDX LINK LTC OP STRK SUI TON UNI W WIF WLD",
    "10": "ALGO ARB CFX CHZ ETC FLOW GALA GRT MANA NEAR ONDO",
    "100": "XRP ADA HBAR MEME PEOPLE XLM",
    "1000": "DOGE TRX",
    "10000": "TURBO",
    "100000": "BONK",
    "1000000": "SHIB",
    "10000000": "PEPE SATS",
}
#: Swaps and dated futures that are settled in USDT.
LINEAR: Final[Mapping[str, Sizes]] = {
    f"{coin}-USDT": ((_EVER, Decimal(size)),) for size, coins in _COINS_IN_A_CONTRACT.items() for coin in coins.split()
}
#: Options, settled in the coin.
OPTIONS: Final[Mapping[str, Sizes]] = {
    "BTC-USD": ((_OPTIONS_CUT, Decimal("0.01")), (_EVER, Decimal("0.1"))),
    "ETH-USD": ((_OPTIONS_CUT, Decimal("0.1")), (_EVER, Decimal(1))),
}
#: Dollars in one inverse contract.
_DOLLARS: Final = {"BTC-USD": Decimal(100)}
_DOLLARS_OF_OTHERS: Final = Decimal(10)


def coins(instrument: Instrument, count: Decimal, price: Decimal | None, at: datetime | None) -> Decimal | None:
    """``count`` of the exchange's units in coins: coins of a spot market stay, contracts are converted.

    ``price`` is needed for inverse contracts only: without one (or at zero) their coins are unknown, None. ``at`` is
    when it was; without it the size of today holds.

    Raises:
        Unparsable: ``unknown_contract``: no size is known; ``bad_number``: the amount doesn't fit the lake.
    """
    if instrument.kind == "spot" or not count:
        return count
    if not instrument.is_inverse:
        return decimal(_EXACT.multiply(count, _size(instrument, at)), _NAME)
    if not price:
        return None
    dollars = _EXACT.multiply(count, _DOLLARS.get(instrument.family, _DOLLARS_OF_OTHERS))
    try:
        rounded = _EXACT.divide(dollars, price).quantize(_STEP, context=_EXACT)
    except InvalidOperation:
        raise Unparsable("bad_number", f"{count} contracts of {instrument.code} at {price} are too many") from None
    return decimal(rounded, _NAME)


def factor(instrument: Instrument) -> Decimal | None:
    """Coins in one of the exchange's units, where neither the price nor the time matter and it is known; else None."""
    if instrument.kind == "spot":
        return Decimal(1)
    table = OPTIONS if instrument.kind == "option" else LINEAR
    known = None if instrument.is_inverse else table.get(instrument.family)
    return known[0][1] if known is not None and len(known) == 1 else None


def _size(instrument: Instrument, at: datetime | None) -> Decimal:
    table = OPTIONS if instrument.kind == "option" else LINEAR
    sizes = table.get(instrument.family)
    if sizes is None:
        raise Unparsable(
            "unknown_contract",
            f"how many coins a contract of {instrument.code} is: enter {instrument.family} in "
            "tidemark/exchanges/okx/sizes.py (ctVal times ctMult of /api/v5/public/instruments), then process again",
        )
    return next((size for since, size in sizes if at is None or at >= since), sizes[-1][1])
