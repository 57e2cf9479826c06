"""The endpoints for those who watch and test: ``/_sim/…``, answered to this machine only.

Lives here: progress, the oracle over HTTP, what is planted in the market, faults to order. Doesn't: the log itself
(``ledger``) and how faults are carried out (``hub``, ``faults``).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tidemark.local.simulator.faults import Order
from tidemark.local.simulator.hub import Hub
from tidemark.local.simulator.ledger import E8, Sent, SentBook, text
from tidemark.local.simulator.room import Room

_MAX_RAW = 64 * 1024 * 1024
_MAX_FLOOD = 200_000
_ON_FRAMES = ("drop", "duplicate", "reorder")


class Control:
    """The control endpoints; ``?exchange=`` chooses one, without it the first there is."""

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._rooms = rooms

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [
            web.get("/_sim/status", self._get_status),
            web.get("/_sim/trades", self._get_trades),
            web.get("/_sim/summary", self._get_summary),
            web.get("/_sim/candles", self._get_candles),
            web.get("/_sim/books", self._get_books),
            web.get("/_sim/anomalies", self._get_anomalies),
            web.get("/_sim/premium", self._get_premium),
            web.post("/_sim/faults", self._post_fault),
        ]

    def _room(self, name: str | None) -> Room:
        room = self._rooms[name or next(iter(self._rooms))] if not name or name in self._rooms else None
        if room is None:
            raise web.HTTPBadRequest(text=f"no exchange {name!r} here; there are: {', '.join(self._rooms)}")
        return room

    def _asked(self, request: web.Request) -> Room:
        return self._room(request.query.get("exchange"))

    async def _get_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).status())

    async def _get_trades(self, request: web.Request) -> web.Response:
        """Sent trades in the order of sending; ?market= and ?connection= choose."""
        found = self._asked(request).log.trades(request.query.get("market"), request.query.get("connection"))
        return web.Response(text=f"[{','.join(map(_trade_row, found))}]", content_type="application/json")

    async def _get_summary(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).log.summary())

    async def _get_candles(self, request: web.Request) -> web.Response:
        """?market=KRW-BTC&unit=1 (minutes) and, if wanted, from= and to= (ISO-8601, execution time)."""
        query, log = request.query, self._asked(request).log
        try:
            unit = int(query.get("unit", "1"))
            begin, end = _instant(query.get("from"), 0), _instant(query.get("to"), 2**62)
            if unit < 1:
                raise ValueError("unit must be 1 or more minutes")
            rows = log.candles(query["market"], unit * 60, begin, end)
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        return web.json_response(rows)

    async def _get_books(self, request: web.Request) -> web.Response:
        """?market=BTCUSDT: the best levels after each sent change of the book; ?id= that change alone."""
        query, log = request.query, self._asked(request).log
        try:
            rows = log.books(query["market"], int(query["id"]) if "id" in query else None)
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        return web.json_response([_book_row(row) for row in rows])

    async def _get_anomalies(self, request: web.Request) -> web.Response:
        """What was planted in the period played so far; ?from= and ?to= (ISO-8601) look anywhere."""
        room = self._asked(request)
        begin, end = room.period()
        try:
            begin, end = _instant(request.query.get("from"), begin), _instant(request.query.get("to"), end)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        anomalies = [a._asdict() for a in room.plan.anomalies(begin, end, room.markets)] if room.plan else []
        halts = [h._asdict() for h in room.plan.halts(begin, end) if h.market in room.markets] if room.plan else []
        return web.json_response({"anomalies": anomalies, "halts": halts})

    async def _get_premium(self, request: web.Request) -> web.Response:
        """What coins cost more in won than in dollars, hidden in the prices at ?at= (ISO-8601; now without it)."""
        room = self._asked(request)
        if room.timeline is None:
            raise web.HTTPBadRequest(text="a recording hides no premium")
        try:
            at = _instant(request.query.get("at"), room.period()[1])
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        return web.json_response({"ms": at, "premium": room.timeline.market.prices.premium_at(at)})

    async def _post_fault(self, request: web.Request) -> web.Response:
        """Order a fault: {"kind": …, "exchange": …, "connection": …}; see ``_carry_out`` for the kinds."""
        try:
            order = await request.json()
            return web.json_response({"done": self._carry_out(self._room(order.get("exchange")), order)})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise web.HTTPBadRequest(text=f"bad fault: {error!r}") from error

    def _carry_out(self, room: Room, order: dict[str, Any]) -> int:
        """How many connections it is about; all that are open, or the one that is named.

        To sockets: ``abort`` (without a word), ``close`` (the same; in order with a ``code``), ``half-open``
        (neither read nor written any more), ``notice`` (where the exchange has one; closed after ``seconds``, 60).
        To frames: ``raw`` (bytes in between), ``flood`` (the last one ``frames`` times again), ``drop``,
        ``duplicate`` and ``reorder`` (the next ``frames``, if wanted of a ``channel`` and a ``market``), ``silent``
        (nothing for ``seconds``; of a channel or market, these go missing; of all, the past waits).
        """
        hub, kind, name = room.hub, order["kind"], str(order.get("connection", ""))
        if kind == "abort" or (kind == "close" and "code" not in order):
            return hub.abort(name)
        if kind == "close":
            return hub.close_after(0.0, int(order["code"]), name)
        if kind == "half-open":
            return hub.freeze(name)
        if kind == "notice":
            return _give_notice(room, float(order.get("seconds", 60)), name)
        if kind == "raw":
            return hub.send_raw(_raw(order), name)
        if kind == "flood":
            return hub.flood(min(int(order["frames"]), _MAX_FLOOD), name)
        _disturb(hub, kind, order)
        return len(hub.connections)


def _give_notice(room: Room, seconds: float, name: str) -> int:
    if room.notice is None:
        raise ValueError(f"{room.name} gives no notice")
    for connection in room.hub.chosen(name):
        connection.write([room.notice(connection)])
    return room.hub.close_after(seconds, 1001, name)


def _disturb(hub: Hub, kind: str, order: dict[str, Any]) -> None:
    """Faults of frames on their way."""
    channel, market, connection = (str(order.get(name, "")) for name in ("channel", "market", "connection"))
    if kind == "silent" and not (channel or market or connection):
        hub.silence(float(order["seconds"]))
    elif kind == "silent":
        until = time.monotonic() + float(order["seconds"])
        hub.faults.order(Order(kind, 0, channel, market, connection, until))
    elif kind in _ON_FRAMES:
        hub.faults.order(Order(kind, int(order["frames"]), channel, market, connection))
    else:
        raise ValueError(f"unknown kind {kind!r}")


@web.middleware
async def only_this_machine(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse the control endpoints to other machines."""
    if request.path.startswith("/_sim/") and not _loopback(request.remote):
        raise web.HTTPForbidden(text="/_sim/ answers this machine only")
    return await handler(request)


def _loopback(address: str | None) -> bool:
    return address is not None and ipaddress.ip_address(address).is_loopback


def _raw(order: dict[str, Any]) -> bytes:
    """The bytes to send: "text", "base64", or "size" for so many bytes of filling inside a JSON string."""
    if "text" in order:
        return str(order["text"]).encode()
    if "base64" in order:
        try:
            return base64.b64decode(order["base64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"base64: {error}") from error
    size = int(order["size"])
    if not 2 <= size <= _MAX_RAW:
        raise ValueError(f"size must be from 2 to {_MAX_RAW}")
    return b'"' + b"x" * (size - 2) + b'"'


def _trade_row(trade: Sent) -> str:
    row = {
        "market": trade.code,
        "id": trade.id,
        "ms": trade.ms,
        "price": text(trade.price, E8),
        "size": text(trade.size, E8),
        "side": "sell" if trade.is_ask else "buy",
    }
    if trade.number or trade.first != trade.id:
        row |= {"first": trade.first, "number": trade.number}
    return json.dumps(row)


def _book_row(book: SentBook) -> dict[str, object]:
    best = {"bid": book.best_bid, "ask": book.best_ask}
    levels = {name: {"price": text(price, E8), "size": text(size, E8)} for name, (price, size) in best.items()}
    return {"id": book.number, "ms": book.ms, **levels}


def _instant(given: str | None, default: int) -> int:
    if given is None:
        return default
    at = datetime.fromisoformat(given)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
