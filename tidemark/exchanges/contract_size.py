"""What one contract is, and contracts turned into coins.

Contains: the size of a contract and the arithmetic, the same for every exchange that counts contracts. Does not
contain: which instrument has which size (``<exchange>/sizes``, ``silver.instrument``).

A linear contract is an amount of the coin: the coins are a product and exact. An inverse one is an amount of the quote
currency (100 dollars of Bitcoin): the coins are a quotient, rounded half to even at the 18th decimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.values import decimal

_STEP: Final = Decimal(1).scaleb(-DECIMAL_SCALE)
#: Products of two decimals that the lake holds fit it whole; a quotient is rounded once, at the lake's last decimal.
_EXACT: Final = Context(prec=2 * DECIMAL_PRECISION, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_NAME: Final = "the size in coins"


@dataclass(frozen=True, slots=True)
class ContractSize:
    """One contract is ``value`` coins or, where it ``is_inverse``, worth ``value`` of the quote currency."""

    value: Decimal
    is_inverse: bool = False

    def coins(self, count: Decimal, price: Decimal | None) -> Decimal | None:
        """``count`` contracts in coins; None: the contract is inverse and ``price`` (quote currency) is null or 0.

        Raises:
            Unparsable: ``bad_number``: the coins do not fit the lake's decimal.
        """
        if not count:
            return count
        if not self.is_inverse:
            return decimal(_EXACT.multiply(count, self.value), _NAME)
        if not price:
            return None
        try:
            rounded = _EXACT.divide(_EXACT.multiply(count, self.value), price).quantize(_STEP, context=_EXACT)
        except InvalidOperation:
            raise Unparsable("bad_number", f"{count} contracts of {self.value} at {price} are too many coins") from None
        return decimal(rounded, _NAME)

    def contracts(self, coins: Decimal, price: Decimal | None) -> Decimal | None:
        """The contracts that are ``coins``, the reverse of :meth:`coins`; inverse ones are rounded at a millionth.

        None: the contract is inverse and ``price`` is null or 0.
        """
        if not self.is_inverse:
            return _EXACT.divide(coins, self.value)
        if not price:
            return None
        return _EXACT.divide(_EXACT.multiply(coins, price), self.value).quantize(_MILLIONTH, context=_EXACT)


#: No contract is traded in smaller parts.
_MILLIONTH: Final = Decimal("0.000001")
