"""Binance's REST market data.

Contains: paths, parameters, pages, weights and error bodies.
Does not contain: the data behind them (``market``), their rows (``frames``, ``listing``).
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Set
from itertools import islice

from aiohttp import web

from tidemark.local.simulator.binance.frames import book_body, day_row, kline_row, trade_row
from tidemark.local.simulator.binance.instruments import INTERVALS
from tidemark.local.simulator.binance.limits import PER_MINUTE, BinanceLimits, Verdict
from tidemark.local.simulator.binance.listing import exchange_info
from tidemark.local.simulator.market.bars import bars
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.swap.day import DAY_MS
from tidemark.local.simulator.swap.timeline import SwapTimeline

_HOUR_MS = 3_600_000
_DEPTHS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
Answer = Callable[[web.Request], Awaitable[str]]
Weight = Callable[[web.Request], int]


class ApiError(Exception):
    """An answer with an error code; the HTTP status is 400."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class BinanceRest:
    """The REST endpoints over a timeline."""

    def __init__(self, timeline: SwapTimeline, limits: BinanceLimits, shown: Set[Oddity]) -> None:
        """``shown``: the oddities in exchangeInfo."""
        self._timeline = timeline
        self._markets = timeline.market.markets
        self._shown = shown
        self._history = timeline.market.history
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        one: Weight = _constant(1)
        return [
            get("/fapi/v1/ping", one, self._ping, self._limits),
            get("/fapi/v1/time", one, self._time, self._limits),
            get("/fapi/v1/exchangeInfo", one, self._info, self._limits),
            get("/fapi/v1/klines", _kline_weight, self._klines, self._limits),
            get("/fapi/v1/aggTrades", _constant(20), self._trades, self._limits),
            get("/fapi/v1/depth", _depth_weight, self._depth, self._limits),
            get("/fapi/v1/ticker/24hr", lambda r: 1 if "symbol" in r.query else 40, self._days, self._limits),
        ]

    async def _ping(self, request: web.Request) -> str:
        return "{}"

    async def _time(self, request: web.Request) -> str:
        return f'{{"serverTime":{self._timeline.now_ms}}}'

    async def _info(self, request: web.Request) -> str:
        return exchange_info(self._timeline.now_ms, self._markets, self._shown)

    async def _klines(self, request: web.Request) -> str:
        """A page, oldest first: the first ones from startTime on, else the last ones until endTime."""
        market, interval = self._market(request), _needed(request, "interval")
        if interval not in INTERVALS:
            raise ApiError(-1120, "Invalid interval.")
        limit = _number(request, "limit", 500, highest=1500)
        begin, end = _number(request, "startTime", -1), _number(request, "endTime", 2**62)
        before = min(end, self._timeline.now_ms) // 1000 + 1
        page: list[Candle] = []
        for bar in bars(self._history, market, INTERVALS[interval], self._timeline.now_ms, before):
            if bar.start * 1000 < begin or (begin < 0 and len(page) >= limit):
                break
            page.append(bar)
            if len(page) % 24 == 0:
                await asyncio.sleep(0)
        oldest_first = page[::-1][:limit]
        return "[" + ",".join(kline_row(market, interval, bar) for bar in oldest_first) + "]"

    async def _trades(self, request: web.Request) -> str:
        market, limit = self._market(request), _number(request, "limit", 500, highest=1000)
        asked = {
            name: _number(request, name, 0) for name in ("fromId", "startTime", "endTime") if name in request.query
        }
        if "fromId" in asked and len(asked) > 1:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        now = self._timeline.now_ms
        if "fromId" in asked:
            rows = self._from_number(market, asked["fromId"], limit)
        elif asked:
            end = asked.get("endTime", asked.get("startTime", 0) + _HOUR_MS - 1)
            begin = asked.get("startTime", end - _HOUR_MS + 1)
            if end - begin >= _HOUR_MS:
                raise ApiError(
                    -4188, "Time interval is too large: startTime and endTime must be less than one hour apart."
                )
            rows = self._history.trades(market, begin, end + 1)[:limit]
        else:
            rows = self._history.trades(market, now - DAY_MS, now)[-limit:]
        return "[" + ",".join(trade_row(market, trade) for trade in rows) + "]"

    def _from_number(self, market: Market, number: int, limit: int) -> list[Trade]:
        """Trades from this number on, the oldest that is known if it is older."""
        tape, now = self._timeline.market.tape, self._timeline.now_ms
        day = self._history.trades_from // 86_400
        while tape.number(market, day + 1) < number and day * DAY_MS < now:
            day += 1
        found: list[Trade] = []
        while len(found) < limit and day * DAY_MS < now:
            trades = self._history.trades(market, day * DAY_MS, (day + 1) * DAY_MS)
            found += islice(trades, bisect_left(trades, number, key=_number_of), None)
            day += 1
        return found[:limit]

    async def _depth(self, request: web.Request) -> str:
        market, limit = self._market(request), _number(request, "limit", 500)
        if limit not in _DEPTHS:
            raise ApiError(-4021, f"Invalid depth limit. Valid limits: {', '.join(map(str, _DEPTHS))}.")
        number, book = self._timeline.numbered_book(market.code)
        return book_body(market, number, book, limit)

    async def _days(self, request: web.Request) -> str:
        markets = [self._market(request)] if "symbol" in request.query else list(self._markets.values())
        found = ((market, self._timeline.day(market.code)) for market in markets)
        rows = [day_row(market, day) for market, day in found if day]
        return ",".join(rows) if "symbol" in request.query else "[" + ",".join(rows) + "]"

    def _market(self, request: web.Request) -> Market:
        symbol = _needed(request, "symbol")
        if symbol not in self._markets:
            raise ApiError(-1121, "Invalid symbol.")
        return self._markets[symbol]


def get(path: str, weight: Weight, answer: Answer, limits: BinanceLimits) -> web.RouteDef:
    """The endpoint at ``path``, with its weight and Binance's headers."""

    async def handle(request: web.Request) -> web.Response:
        verdict = limits.take(request.remote or "", weight(request))
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != 200:
            if verdict.retry_s is not None:
                headers["Retry-After"] = str(verdict.retry_s)
            return _response(request, verdict.status, _error(-1003, _refusal(verdict)), headers)
        try:
            return _response(request, 200, await answer(request), headers)
        except ApiError as error:
            return _response(request, 400, _error(error.code, str(error)), headers)

    return web.get(path, handle)


def _response(request: web.Request, status: int, body: str, headers: dict[str, str]) -> web.Response:
    response = web.Response(status=status, body=body.encode(), content_type="application/json", headers=headers)
    if len(body) > 1024 and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _refusal(verdict: Verdict) -> str:
    if verdict.banned_until_ms is None:
        return f"Too many requests; current limit of IP is {PER_MINUTE} requests per minute."
    return (
        f"Way too many requests; IP banned until {verdict.banned_until_ms}. Please use the websocket for live updates "
        "to avoid bans."
    )


def _error(code: int, message: str) -> str:
    return json.dumps({"code": code, "msg": message})


def _constant(weight: int) -> Weight:
    return lambda _: weight


def _kline_weight(request: web.Request) -> int:
    given = request.query.get("limit", "500")
    limit = int(given) if given.isdecimal() else 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _depth_weight(request: web.Request) -> int:
    given = request.query.get("limit", "500")
    return _DEPTHS.get(int(given), 1) if given.isdecimal() else 1


def _needed(request: web.Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def _number(request: web.Request, name: str, default: int, highest: int = 2**63) -> int:
    given = request.query.get(name)
    if not given:
        return default
    if not given.isdecimal() or int(given) > highest:
        raise ApiError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(given)


def _number_of(trade: Trade) -> int:
    return trade.number
