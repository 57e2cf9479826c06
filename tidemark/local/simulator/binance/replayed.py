"""Binance's REST while a recording is played.

Contains: the recorded answers (exchangeInfo, books); everything else is empty, since a recording has no history.
Does not contain: the frames (``recorded``).
"""

from __future__ import annotations

import json

from aiohttp import web

from tidemark.local.simulator.binance.limits import BinanceLimits
from tidemark.local.simulator.binance.rest import ApiError, get
from tidemark.local.simulator.recording import Recording

_INFO = "/fapi/v1/exchangeInfo"
_DEPTH = "/fapi/v1/depth"
_QUOTES = ("USDT", "USDC", "BUSD", "BTC")


class ReplayedBinanceRest:
    """The REST endpoints of a recording."""

    def __init__(self, recording: Recording, limits: BinanceLimits) -> None:
        self._recording = recording
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        empty = ("/fapi/v1/klines", "/fapi/v1/aggTrades", "/fapi/v1/ticker/24hr")
        return [
            get(_INFO, _one, self._info, self._limits),
            get(_DEPTH, _one, self._depth, self._limits),
            *(get(path, _one, _nothing, self._limits) for path in empty),
        ]

    async def _info(self, request: web.Request) -> str:
        """The recorded list; without one, the symbols that have frames."""
        recorded = self._recording.answer(_INFO)
        return recorded or json.dumps({"symbols": [_symbol(code) for code in self._recording.codes()]})

    async def _depth(self, request: web.Request) -> str:
        """The recorded book, whatever its size."""
        recorded = self._recording.answer(_DEPTH, symbol=request.query.get("symbol", ""))
        if recorded is None:
            raise ApiError(-1121, "Invalid symbol.")
        return recorded


async def _nothing(request: web.Request) -> str:
    return "[]"


def _one(request: web.Request) -> int:
    return 1


def _symbol(code: str) -> dict[str, object]:
    quote = next((quote for quote in _QUOTES if code.endswith(quote)), "")
    return {
        "symbol": code, "pair": code, "contractType": "PERPETUAL", "status": "TRADING",
        "baseAsset": code.removesuffix(quote), "quoteAsset": quote, "marginAsset": quote, "filters": [],
    }  # fmt: skip
