"""What exchanges list beside their usual markets, and the states that surprise a client.

Contains: the list of oddities, each of which real exchanges show today, and which of them a simulator shows.
Does not contain: how an oddity looks (each exchange's ``listing`` and ``frames``).
"""

from __future__ import annotations

from enum import StrEnum


class Oddity(StrEnum):
    """Something that a client of an exchange meets, and must not fail on."""

    OKX_PLACEHOLDERS = "okx-placeholders"
    """Rows of the instrument list that are no instruments yet: ``LISTING-…``, an empty id, an id and a type only."""
    OKX_STATES = "okx-states"
    """Listed instruments that do not trade: suspended, rebased, a coin-margined dated future."""
    OKX_MORE_CONTRACTS = "okx-more-contracts"
    """An X-Perp, a dated future settled in dollars and a share's swap, with trades and books like any other."""
    OKX_CALL_AUCTION = "okx-call-auction"
    """A swap before its first trade: its ticker has bid and ask, and an empty ``last``."""
    BINANCE_STATES = "binance-states"
    """Rows of exchangeInfo that do not trade: SETTLING, PENDING_TRADING, an empty symbol."""
    BINANCE_MORE_CONTRACTS = "binance-more-contracts"
    """A share's perpetual, one of a thousand coins, a quarterly future, with trades and books like any other."""
    BINANCE_COIN_MARGINED = "binance-coin-margined"
    """A row of the coin-margined exchange in exchangeInfo, quoted in USD; its streams are silent."""
    BINANCE_BAN_IN_WORDS = "binance-ban-in-words"
    """A ban whose end is in the message only: no Retry-After."""
    UPBIT_DELISTING = "upbit-delisting"
    """A coin that will leave: a warning in the list, and a date as an object in its tickers."""
    UPBIT_CAUTIONS = "upbit-cautions"
    """Markets with cautions, true at any stage."""


#: What a simulator shows unless it is configured otherwise.
DEFAULT: frozenset[Oddity] = frozenset(Oddity)
