"""Upbit's REST quotation API.

Contains: paths, parameters, pages, limits and error bodies.
Does not contain: the data behind them (``market``), the list of markets (``listing``).

Codes may be in lower case. One code that is not listed fails the whole call with a 404.

Where nothing is documented: ``to`` of ticks is exclusive, as that of candles is; ticks stay within the UTC
day that ``days_ago`` names; a ``count`` above the maximum is a 400.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Set
from datetime import UTC, datetime

from aiohttp import web

from tidemark.local.simulator.market.board import Ticker
from tidemark.local.simulator.market.candles import DAY, WEEK, Candle
from tidemark.local.simulator.market.instruments import MARKETS, Market, coin, tick_size
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.timeline import Timeline
from tidemark.local.simulator.upbit import spelling
from tidemark.local.simulator.upbit.frames import shown
from tidemark.local.simulator.upbit.limits import Limits, refusal
from tidemark.local.simulator.upbit.listing import market_list
from tidemark.local.simulator.upbit.subscription import book_levels

_MINUTES = (1, 3, 5, 10, 15, 30, 60, 240)
_MAX_CANDLES = 200
_MAX_TICKS = 500
Answer = Callable[[web.Request], Awaitable[str]]


class ApiError(Exception):
    """An answer with an error body; Upbit's quotation API names errors by number."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UpbitRest:
    """The REST endpoints over a timeline."""

    def __init__(self, timeline: Timeline, limits: Callable[[str], Limits], shown: Set[Oddity]) -> None:
        """``limits``: the limits of a client address; ``shown``: the oddities in the list of markets."""
        self._shown = shown
        self._timeline = timeline
        self._history = timeline.market.history
        self._limits = limits

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [
            *self._get("/v1/market/all", "market", self._markets),
            *self._get("/v1/ticker", "ticker", self._tickers),
            *self._get("/v1/ticker/all", "ticker", self._all_tickers),
            *self._get("/v1/candles/minutes/{unit}", "candles", self._minutes),
            *self._get("/v1/candles/seconds", "candles", self._seconds),
            *self._get("/v1/candles/days", "candles", self._days),
            *self._get("/v1/candles/weeks", "candles", self._weeks),
            *self._get("/v1/trades/ticks", "crix-trades", self._ticks),
            *self._get("/v1/orderbook", "orderbook", self._books),
            *self._get("/v1/orderbook/instruments", "orderbook", self._instruments),
            web.get("/v1/{unrouted:.*}", unrouted),
        ]

    def _get(self, path: str, group: str, answer: Answer) -> list[web.RouteDef]:
        async def handle(request: web.Request) -> web.Response:
            return await answered(request, group, answer, self._limits(request.remote or ""))

        return [web.get(path, handle)]

    async def _markets(self, request: web.Request) -> str:
        detailed = request.query.get("is_details", request.query.get("isDetails", "false")) == "true"
        return market_list(list(MARKETS), detailed, self._shown)

    async def _tickers(self, request: web.Request) -> str:
        return self._ticker_rows(_markets_asked(request))

    async def _all_tickers(self, request: web.Request) -> str:
        quotes = request.query.get("quote_currencies", "KRW,BTC,USDT").split(",")
        return self._ticker_rows(market for market in MARKETS.values() if market.quote in quotes)

    def _ticker_rows(self, markets: Iterable[Market]) -> str:
        found = ((market.code, self._timeline.ticker(market.code)) for market in markets)
        return _array(_ticker_row(code, ticker) for code, ticker in found if ticker)

    async def _minutes(self, request: web.Request) -> str:
        unit = request.match_info["unit"]
        if not unit.isdigit() or int(unit) not in _MINUTES:
            raise ApiError(400, f"invalid unit: {unit}")
        candles, code = await self._candles(request, int(unit) * 60), _market(request).code
        return _array(_candle_row(code, candle, f',"unit":{unit}') for candle in candles)

    async def _seconds(self, request: web.Request) -> str:
        candles, code = await self._candles(request, 1), _market(request).code
        return _array(_candle_row(code, candle, "") for candle in candles)

    async def _days(self, request: web.Request) -> str:
        candles = await self._candles(request, DAY, one_more=True)
        count = _number(request, "count", 1, _MAX_CANDLES)
        rows, market = [], _market(request)
        for place, candle in enumerate(candles[:count]):
            older = candles[place + 1].close if place + 1 < len(candles) else candle.open
            converted = request.query.get("converting_price_unit") == "KRW"
            rows.append(_candle_row(market.code, candle, self._day_extras(market, candle, older, converted)))
        return _array(rows)

    def _day_extras(self, market: Market, candle: Candle, prev_close: int, converted: bool) -> str:
        change = candle.close - prev_close
        extras = (
            f',"prev_closing_price":{spelling.fixed(prev_close)},"change_price":{spelling.fixed(change)},'
            f'"change_rate":{spelling.rate(change, prev_close)}'
        )
        if not converted:
            return extras
        won = next(self._history.newest(MARKETS["KRW-BTC"], DAY, candle.start + 1), None)
        factor = {"KRW": 10**8, "BTC": won.close if won else 0}.get(market.quote, round(coin("USDT").price) * 10**8)
        return extras + f',"converted_trade_price":{spelling.fixed(candle.close * factor // 10**8)}'

    async def _weeks(self, request: web.Request) -> str:
        candles, code = await self._candles(request, WEEK), _market(request).code
        return _array(
            _candle_row(code, c, f',"first_day_of_period":"{spelling.date_and_time(c.start)[0]}"') for c in candles
        )

    async def _candles(self, request: web.Request, unit: int, one_more: bool = False) -> list[Candle]:
        """A page, newest first; making old trades takes a while, so others get their turn in between."""
        market = _market(request)
        count = _number(request, "count", 1, _MAX_CANDLES) + one_more
        before = _time(request, "to", self._timeline.now_ms)
        page: list[Candle] = []
        for candle in self._history.newest(market, unit, before):
            page.append(candle)
            if len(page) >= count:
                break
            if len(page) % 24 == 0 or unit >= DAY:
                await asyncio.sleep(0)
        return page

    async def _ticks(self, request: web.Request) -> str:
        market = _market(request)
        count = _number(request, "count", 1, _MAX_TICKS)
        days_ago = _number(request, "days_ago", 0, 7, lowest=0) if "days_ago" in request.query else 0
        day = self._timeline.now_ms // 86_400_000 - days_ago
        start = day * 86_400_000
        end = start + _clock_ms(request.query["to"]) if request.query.get("to") else start + 86_400_000
        cursor = _number(request, "cursor", 2**63, 2**63)
        page: list[Trade] = []
        for hour in range((end - 1) // 3_600_000, day * 24 - 1, -1):
            trades = self._history.trades(market, hour * 3_600_000, min((hour + 1) * 3_600_000, end))
            page += [trade for trade in reversed(trades) if trade.id < cursor]
            if len(page) >= count:
                break
        prev_close = self._history.close_before(market, day)
        return _array(_tick_row(market.code, trade, prev_close) for trade in page[:count])

    async def _books(self, request: web.Request) -> str:
        levels = _number(request, "count", 30, 30)
        wanted = _level(request)
        rows = []
        for market in _markets_asked(request):
            book = self._timeline.book(market.code)
            if wanted in book_levels(market.code, book.bids[0][0]):
                units, asks, bids = shown(book, levels, wanted)
                rows.append(_book_row(market.code, book.ms, units, asks, bids, wanted))
        return _array(rows)

    async def _instruments(self, request: web.Request) -> str:
        rows = []
        for market in _markets_asked(request):
            price = self._timeline.book(market.code).bids[0][0]
            levels = ",".join(f'"{_short(level)}"' for level in book_levels(market.code, price))
            rows.append(
                f'{{"market":"{market.code}","quote_currency":"{market.quote}",'
                f'"tick_size":"{_short(tick_size(market.quote, price))}","supported_levels":[{levels}]}}'
            )
        return _array(rows)


async def unrouted(request: web.Request) -> web.Response:
    """A path that there is not; only here an error is named by a text."""
    return _response(request, 404, '{"error":{"name":"not_found","message":"Not Found"}}', "default", 0)


async def answered(request: web.Request, group: str, answer: Answer, limits: Limits) -> web.Response:
    """The response to one request, with the group's limits and Upbit's headers."""
    verdict = limits.take(group)
    if verdict.status == 200 and "Origin" in request.headers:
        group, verdict = "origin", limits.take_of_page()
    if verdict.status != 200:
        return _response(request, verdict.status, refusal(verdict), group, 0)
    try:
        return _response(request, 200, await answer(request), group, verdict.remaining)
    except ApiError as error:
        body = json.dumps({"error": {"name": error.status, "message": str(error)}})
        return _response(request, error.status, body, group, verdict.remaining)


def _response(request: web.Request, status: int, body: str, group: str, remaining: int) -> web.Response:
    response = web.Response(status=status, body=body.encode())
    response.headers.update({
        "Content-Type": "application/json;charset=UTF-8",
        "Cache-Control": "no-cache, no-store, max-age=0, must-revalidate",
        "Limit-By-Ip": "Yes",
        "Remaining-Req": f"group={group}; min=600; sec={remaining}",
    })  # fmt: skip
    if len(body) > 1024 and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _market(request: web.Request) -> Market:
    code = request.query.get("market", "").upper()
    if not code:
        raise ApiError(400, "missing parameter: market")
    if code not in MARKETS:
        raise ApiError(404, "Code not found")
    return MARKETS[code]


def _markets_asked(request: web.Request) -> list[Market]:
    asked = [code for code in request.query.get("markets", "").upper().split(",") if code]
    if not asked:
        raise ApiError(400, "missing parameter: markets")
    if any(code not in MARKETS for code in asked):
        raise ApiError(404, "Code not found")
    return [MARKETS[code] for code in asked]


def _number(request: web.Request, name: str, default: int, highest: int, lowest: int = 1) -> int:
    given = request.query.get(name)
    if not given:
        return default
    if not given.isdecimal() or not lowest <= int(given) <= highest:
        raise ApiError(400, f"{name} must be a whole number from {lowest} to {highest}, not {given}")
    return int(given)


def _time(request: web.Request, name: str, now_ms: int) -> int:
    """The second before which candles may begin; without the parameter, the one after now."""
    given = request.query.get(name)
    if not given:
        return now_ms // 1000 + 1
    try:
        at = datetime.fromisoformat(given)
    except ValueError as error:
        raise ApiError(400, f"{name} is no ISO-8601 time: {given} (encode a + as %2B)") from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return -int(-at.timestamp() // 1)


def _clock_ms(given: str) -> int:
    for form in ("%H%M%S", "%H:%M:%S"):
        try:
            at = datetime.strptime(given, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        return ((at.hour * 60 + at.minute) * 60 + at.second) * 1000
    raise ApiError(400, f"to is no time of day: {given} (HHmmss or HH:mm:ss)")


def _level(request: web.Request) -> int:
    given = request.query.get("level", "0")
    try:
        return int(float(given) * 10**8)
    except ValueError as error:
        raise ApiError(400, f"level must be a number, not {given}") from error


def _array(rows: Iterable[str]) -> str:
    return f"[{','.join(rows)}]"


def _candle_row(code: str, candle: Candle, extras: str) -> str:
    return (
        f'{{"market":"{code}","candle_date_time_utc":"{spelling.iso(candle.start)}",'
        f'"candle_date_time_kst":"{spelling.iso(candle.start + spelling.KST_S)}",'
        f'"opening_price":{spelling.fixed(candle.open)},"high_price":{spelling.fixed(candle.high)},'
        f'"low_price":{spelling.fixed(candle.low)},"trade_price":{spelling.fixed(candle.close)},'
        f'"timestamp":{candle.last_ms},"candle_acc_trade_price":{spelling.amount(candle.value)},'
        f'"candle_acc_trade_volume":{spelling.plain(candle.volume)}{extras}}}'
    )


def _tick_row(code: str, trade: Trade, prev_close: int) -> str:
    day, clock = spelling.date_and_time(trade.ms // 1000)
    return (
        f'{{"market":"{code}","trade_date_utc":"{day}","trade_time_utc":"{clock}","timestamp":{trade.ms},'
        f'"trade_price":{spelling.plain(trade.price)},"trade_volume":{spelling.double(trade.size)},'
        f'"prev_closing_price":{spelling.fixed(prev_close)},'
        f'"change_price":{spelling.fixed(trade.price - prev_close)},'
        f'"ask_bid":"{"ASK" if trade.is_ask else "BID"}","sequential_id":{trade.id}}}'
    )


def _ticker_row(code: str, t: Ticker) -> str:
    change, second = t.last.price - t.prev_close, t.last.ms // 1000
    (day, clock), (day_kst, clock_kst) = spelling.compact(second), spelling.compact(second + spelling.KST_S)
    change_rate = spelling.rate(change, t.prev_close)
    return (
        f'{{"market":"{code}","trade_date":"{day}","trade_time":"{clock}","trade_date_kst":"{day_kst}",'
        f'"trade_time_kst":"{clock_kst}","trade_timestamp":{t.last.ms},"opening_price":{spelling.fixed(t.open)},'
        f'"high_price":{spelling.fixed(t.high)},"low_price":{spelling.fixed(t.low)},'
        f'"trade_price":{spelling.fixed(t.last.price)},"prev_closing_price":{spelling.fixed(t.prev_close)},'
        f'"change":"{spelling.direction(change)}","change_price":{spelling.fixed(abs(change))},'
        f'"change_rate":{change_rate.lstrip("-")},"signed_change_price":{spelling.fixed(change)},'
        f'"signed_change_rate":{change_rate},"trade_volume":{spelling.double(t.last.size)},'
        f'"acc_trade_price":{spelling.amount(t.value)},"acc_trade_price_24h":{spelling.amount(t.value_24h)},'
        f'"acc_trade_volume":{spelling.fixed(t.volume)},"acc_trade_volume_24h":{spelling.fixed(t.volume_24h)},'
        f'"highest_52_week_price":{spelling.fixed(t.highest.price)},'
        f'"highest_52_week_date":"{spelling.date_and_time(t.highest.day * 86_400)[0]}",'
        f'"lowest_52_week_price":{spelling.fixed(t.lowest.price)},'
        f'"lowest_52_week_date":"{spelling.date_and_time(t.lowest.day * 86_400)[0]}","timestamp":{t.ms}}}'
    )


def _book_row(code: str, ms: int, units: list[tuple[int, int, int, int]], asks: int, bids: int, level: int) -> str:
    rows = ",".join(
        f'{{"ask_price":{_short(ask)},"bid_price":{_short(bid)},'
        f'"ask_size":{spelling.plain(ask_size)},"bid_size":{spelling.plain(bid_size)}}}'
        for ask, bid, ask_size, bid_size in units
    )
    return (
        f'{{"market":"{code}","timestamp":{ms},"total_ask_size":{spelling.plain(asks)},'
        f'"total_bid_size":{spelling.plain(bids)},"orderbook_units":[{rows}],"level":{_short(level)}}}'
    )


def _short(value: int) -> str:
    """Without a decimal point where none is needed: ``1000``, ``0.1``."""
    spelled = spelling.plain(value)
    return spelled.removesuffix(".0")
