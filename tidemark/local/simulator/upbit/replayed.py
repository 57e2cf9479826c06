"""Upbit's REST while a recording is played.

Contains: the recording's markets; everything else is empty, since a recording has no history.
Does not contain: the frames.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from tidemark.local.simulator.upbit.limits import Limits
from tidemark.local.simulator.upbit.listing import market_list
from tidemark.local.simulator.upbit.rest import answered

_EMPTY = (
    ("/v1/ticker", "ticker"),
    ("/v1/ticker/all", "ticker"),
    ("/v1/candles/{unit:.*}", "candles"),
    ("/v1/trades/ticks", "crix-trades"),
    ("/v1/orderbook", "orderbook"),
    ("/v1/orderbook/instruments", "orderbook"),
)


class ReplayedRest:
    """The REST endpoints of a recording."""

    def __init__(self, codes: list[str], limits: Callable[[str], Limits]) -> None:
        """``codes``: the recording's markets."""
        self._codes = codes
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [self._get("/v1/market/all", "market", self._markets)] + [
            self._get(path, group, self._nothing) for path, group in _EMPTY
        ]

    def _get(self, path: str, group: str, answer: Callable[[web.Request], str]) -> web.RouteDef:
        async def body(request: web.Request) -> str:
            return answer(request)

        async def handle(request: web.Request) -> web.Response:
            return await answered(request, group, body, self._limits(request.remote or ""))

        return web.get(path, handle)

    def _markets(self, request: web.Request) -> str:
        return market_list(self._codes, request.query.get("is_details") == "true", frozenset())

    def _nothing(self, request: web.Request) -> str:
        return "[]"
