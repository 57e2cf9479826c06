"""OKX's REST market data.

Contains: paths, parameters, pages, limits and error bodies.
Does not contain: the data behind them (``market``), their rows (``frames``, ``listing``).

Where nothing is documented: ``limit`` beyond a page's maximum gives the maximum; of a trade that was told as one
on the socket, single fills are told here, as of old.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Set
from itertools import islice, takewhile

from aiohttp import web

from tidemark.local.simulator.market.bars import bars
from tidemark.local.simulator.market.candles import Candle
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.okx.frames import auction_row, book_row, candle_row, fill_rows, ticker_row
from tidemark.local.simulator.okx.instruments import INTERVALS, kind_of
from tidemark.local.simulator.okx.listing import KINDS, rows, text
from tidemark.local.simulator.swap.bars import SETTLED_MS
from tidemark.local.simulator.swap.day import DAY_MS, Auction
from tidemark.local.simulator.swap.timeline import SwapTimeline
from tidemark.local.simulator.window import Window

_PER_2_S = {
    "/api/v5/public/time": 10,
    "/api/v5/public/instruments": 20,
    "/api/v5/market/candles": 40,
    "/api/v5/market/history-candles": 20,
    "/api/v5/market/trades": 100,
    "/api/v5/market/history-trades": 20,
    "/api/v5/market/ticker": 20,
    "/api/v5/market/tickers": 20,
    "/api/v5/market/books": 40,
}
_RECENT_BARS = 1440
_FOR_EVER = 2**63
Answer = Callable[[web.Request], Awaitable[str]]


class ApiError(Exception):
    """An answer with an error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class OkxLimits:
    """The limits of all client addresses, by path."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._windows: dict[tuple[str, str], Window] = {}

    def take(self, address: str, path: str) -> bool:
        """Count one request; whether it may pass."""
        window = self._windows.setdefault((address, path), Window(_PER_2_S[path], 2.0))
        return not self._enabled or window.take() >= 0


class OkxRest:
    """The REST endpoints over a timeline."""

    def __init__(self, timeline: SwapTimeline, limits: OkxLimits, shown: Set[Oddity]) -> None:
        """``shown``: the oddities in the list of instruments."""
        self._timeline = timeline
        self._markets = timeline.market.markets
        self._shown = shown
        self._history = timeline.market.history
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        answers: tuple[Answer, ...] = (
            self._time, self._instruments, self._candles, self._history_candles, self._trades, self._history_trades,
            self._ticker, self._tickers, self._book,
        )  # fmt: skip
        return [get(path, answer, self._limits) for path, answer in zip(_PER_2_S, answers, strict=True)]

    async def _time(self, request: web.Request) -> str:
        return f'{{"ts":"{self._timeline.now_ms}"}}'

    async def _instruments(self, request: web.Request) -> str:
        kind, code = _needed(request, "instType"), request.query.get("instId")
        if kind not in KINDS:
            raise ApiError(400, "51000", "Parameter instType error")
        listed = rows(kind, self._markets, self._shown)
        if code is None:
            return text(listed)
        chosen = [row for row in listed if row["instId"] == code]
        if not chosen:
            raise ApiError(200, "51001", "Instrument ID doesn't exist.")
        return text(chosen)

    async def _candles(self, request: web.Request) -> str:
        return await self._bars(request, 300, _RECENT_BARS)

    async def _history_candles(self, request: web.Request) -> str:
        return await self._bars(request, 100, None)

    async def _bars(self, request: web.Request, most: int, reach: int | None) -> str:
        """A page, newest first; making old trades takes a while, so others get their turn in between."""
        market, bar = self._market(request), request.query.get("bar", "1m")
        if bar not in INTERVALS or (bar == "1s" and reach is not None):
            raise ApiError(400, "51000", "Parameter bar error")
        limit = min(_number(request, "limit", 100), most)
        after, before = _number(request, "after", _FOR_EVER), _number(request, "before", -1)
        interval, now = INTERVALS[bar], self._timeline.now_ms
        end = min(-(-after // 1000), now // 1000 + 1)
        if market.auction:
            return ""
        known = bars(self._history, market, interval, now, end)
        if reach is not None:
            oldest = now - reach * (interval.seconds or 31 * 86_400) * 1000
            known = takewhile(lambda candle: candle.start * 1000 > oldest, known)
        page: list[Candle] = []
        for candle in known:
            if candle.start * 1000 <= before or len(page) >= limit:
                break
            page.append(candle)
            if len(page) % 24 == 0:
                await asyncio.sleep(0)
        settled = now - SETTLED_MS
        return ",".join(candle_row(market, c, interval.end(c.start) * 1000 <= settled) for c in page)

    async def _trades(self, request: web.Request) -> str:
        limit = min(_number(request, "limit", 100), 500)
        return ",".join(row for _, row in islice(self._fills(self._market(request), _FOR_EVER, _FOR_EVER), limit))

    async def _history_trades(self, request: web.Request) -> str:
        market, limit = self._market(request), min(_number(request, "limit", 100), 100)
        after, before = _number(request, "after", _FOR_EVER), _number(request, "before", -1)
        if request.query.get("type", "1") == "2":
            rows = (row for number, row in self._fills(market, _FOR_EVER, after))
            return ",".join(islice(rows, limit))
        newer = takewhile(lambda fill: fill[0] > before, self._fills(market, after, _FOR_EVER))
        return ",".join(row for _, row in islice(newer, limit))

    def _fills(self, market: Market, before_id: int, before_ms: int) -> Iterator[tuple[int, str]]:
        """Single fills with ids below and times before these, newest first."""
        day = min(self._timeline.now_ms, before_ms) // DAY_MS
        tape, oldest = self._timeline.market.tape, self._history.trades_from // 86_400
        while tape.fill(market, day) >= before_id - 1 and day > oldest:
            day -= 1
        while day >= oldest:
            trades = self._history.trades(market, day * DAY_MS, min((day + 1) * DAY_MS, before_ms))
            for trade in reversed(trades):
                if trade.first < before_id:
                    yield from (fill for fill in fill_rows(market, trade) if fill[0] < before_id)
            day -= 1

    async def _ticker(self, request: web.Request) -> str:
        return self._state(self._market(request))

    async def _tickers(self, request: web.Request) -> str:
        asked = _needed(request, "instType")
        found = (self._state(market) for code, market in self._markets.items() if kind_of(code) == asked)
        return ",".join(filter(None, found))

    async def _book(self, request: web.Request) -> str:
        market = self._market(request)
        number, book = self._timeline.numbered_book(market.code)
        return book_row(market, number, book, min(_number(request, "sz", 1), 400))

    def _state(self, market: Market) -> str:
        state = self._timeline.state(market.code)
        if isinstance(state, Auction):
            return auction_row(market, state)
        return ticker_row(market, state) if state else ""

    def _market(self, request: web.Request) -> Market:
        code = _needed(request, "instId")
        if code not in self._markets:
            raise ApiError(200, "51001", "Instrument ID doesn't exist.")
        return self._markets[code]


def get(path: str, answer: Answer, limits: OkxLimits) -> web.RouteDef:
    """The endpoint at ``path``, whose rows ``answer`` makes, in OKX's envelope and with its limits."""

    async def handle(request: web.Request) -> web.Response:
        if not limits.take(request.remote or "", path):
            return _response(request, 429, "50011", "Too Many Requests", "")
        try:
            return _response(request, 200, "0", "", await answer(request))
        except ApiError as error:
            return _response(request, error.status, error.code, str(error), "")

    return web.get(path, handle)


def _response(request: web.Request, status: int, code: str, message: str, rows: str) -> web.Response:
    body = f'{{"code":"{code}","msg":{json.dumps(message)},"data":[{rows}]}}'
    response = web.Response(status=status, body=body.encode(), content_type="application/json")
    if len(body) > 1024 and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _needed(request: web.Request, name: str) -> str:
    value = request.query.get(name)
    if not value:
        raise ApiError(400, "50014", f"Parameter {name} cannot be empty.")
    return value


def _number(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name)
    if not given:
        return default
    if not given.isdecimal():
        raise ApiError(400, "51000", f"Parameter {name} error")
    return int(given)
