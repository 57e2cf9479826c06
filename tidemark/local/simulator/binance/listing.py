"""Binance's exchangeInfo.

Contains: every field of a symbol, the rows of what trades, and the odd rows: symbols that do not trade, and one of the
coin-margined exchange.
Does not contain: which markets there are (``instruments``), who asks (``rest``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from datetime import datetime

from tidemark.local.simulator.binance.instruments import pair
from tidemark.local.simulator.binance.limits import PER_MINUTE
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.swap.spelling import decimals_of, plain

_LISTED_MS = 1_569_398_400_000
_NEVER_MS = 4_133_404_800_000
_SHARES = ("TSLA",)


def exchange_info(now_ms: int, markets: Mapping[str, Market], shown: Set[Oddity]) -> str:
    """The body of exchangeInfo."""
    limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": PER_MINUTE}
    return json.dumps(
        {
            "timezone": "UTC",
            "serverTime": now_ms,
            "futuresType": "U_MARGINED",
            "rateLimits": [limit],
            "exchangeFilters": [],
            "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
            "symbols": [*map(_symbol, markets.values()), *_odd(shown)],
        },
        separators=(",", ":"),
    )


def _symbol(market: Market) -> dict[str, object]:
    share = market.coin.symbol in _SHARES
    expiry = market.code.partition("_")[2]
    kind = "CURRENT_QUARTER" if expiry else "TRADIFI_PERPETUAL" if share else "PERPETUAL"
    return _row(market.code, kind, "TRADING", f"{_named(market.units)}{market.coin.symbol}") | {
        "pair": pair(market), "deliveryDate": _expiry_ms(expiry) if expiry else _NEVER_MS,
        "pricePrecision": max(decimals_of(market.tick), 2), "quantityPrecision": decimals_of(market.lot),
        "underlyingType": "EQUITY" if share else "COIN", "underlyingSubType": ["TradFi"] if share else ["PoW"],
        "filters": _filters(plain(market.tick), plain(market.lot)),
    }  # fmt: skip


def _row(symbol: str, kind: str, status: str, base: str, quote: str = "USDT", margin: str = "") -> dict[str, object]:
    """A symbol; its precisions, pair and filters are those of one that nobody trades."""
    return {
        "symbol": symbol, "pair": symbol.partition("_")[0], "contractType": kind, "deliveryDate": _NEVER_MS,
        "onboardDate": _LISTED_MS, "status": status, "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000",
        "baseAsset": base, "quoteAsset": quote, "marginAsset": margin or quote, "pricePrecision": 4,
        "quantityPrecision": 0, "baseAssetPrecision": 8, "quotePrecision": 8, "underlyingType": "COIN",
        "underlyingSubType": [], "triggerProtect": "0.0500", "liquidationFee": "0.012500", "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10_000, "filters": _filters("0.0001", "1"), "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"], "permissionSets": ["GRID"],
    }  # fmt: skip


def _odd(shown: Set[Oddity]) -> Iterator[dict[str, object]]:
    if Oddity.BINANCE_STATES in shown:
        yield _row("LOOMUSDT", "PERPETUAL", "SETTLING", "LOOM")
        yield _row("BTCUSDT_240927", "CURRENT_QUARTER", "SETTLING", "BTC")
        yield _row("SLXUSDT", "PERPETUAL", "PENDING_TRADING", "SLX")
        yield _row("币安人生USDT", "PERPETUAL", "PRE_SETTLE", "币安人生")
        yield _row("", "", "PENDING_TRADING", "", "") | {"filters": []}
    if Oddity.BINANCE_COIN_MARGINED in shown:
        yield _row("BTCUSD_PERP", "PERPETUAL", "TRADING", "BTC", "USD", "BTC") | {"contractSize": 100}


def _filters(tick: str, lot: str) -> list[dict[str, str]]:
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "stepSize": lot, "minQty": lot, "maxQty": "10000000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": lot, "minQty": lot, "maxQty": "1000000"},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
    ]


def _named(units: int) -> str:
    """The part of a symbol that says how many coins a unit is."""
    return str(units) if units != 1 else ""


def _expiry_ms(date: str) -> int:
    """08:00 UTC of a date as names of contracts have it, in Unix ms."""
    return round(datetime.strptime(f"{date}+0000", "%y%m%d%z").timestamp() * 1000) + 8 * 3_600_000
