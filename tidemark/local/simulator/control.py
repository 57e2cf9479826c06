"""The endpoints for those who watch and test: ``/_sim/…``, answered to this machine only.

Lives here: progress, the oracle over HTTP, the planted anomalies, faults to order. Doesn't: the log itself
(``ledger``) and how faults are carried out (``hub``).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tidemark.local.simulator.hub import Hub
from tidemark.local.simulator.ledger import E8, Sent, SentLog, text
from tidemark.local.simulator.market.plan import Plan

Status = Callable[[], dict[str, object]]
_MAX_RAW = 64 * 1024 * 1024


class Control:
    """The control endpoints."""

    def __init__(
        self, hub: Hub, log: SentLog, plan: Plan | None, period: Callable[[], tuple[int, int]], status: Status
    ) -> None:
        """``plan``: what is planted (None in a replay); ``period``: the played period so far, in Unix ms."""
        self._hub = hub
        self._log = log
        self._plan = plan
        self._period = period
        self._status = status

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        return [
            web.get("/_sim/status", self._get_status),
            web.get("/_sim/trades", self._get_trades),
            web.get("/_sim/summary", self._get_summary),
            web.get("/_sim/candles", self._get_candles),
            web.get("/_sim/anomalies", self._get_anomalies),
            web.post("/_sim/faults", self._post_fault),
        ]

    async def _get_status(self, request: web.Request) -> web.Response:
        return web.json_response(self._status())

    async def _get_trades(self, request: web.Request) -> web.Response:
        """Sent trades in the order of sending; ?market= and ?connection= choose."""
        found = self._log.trades(request.query.get("market"), request.query.get("connection"))
        return web.Response(text=f"[{','.join(map(_trade_row, found))}]", content_type="application/json")

    async def _get_summary(self, request: web.Request) -> web.Response:
        return web.json_response(self._log.summary())

    async def _get_candles(self, request: web.Request) -> web.Response:
        """?market=KRW-BTC&unit=1 (minutes) and, if wanted, from= and to= (ISO-8601, execution time)."""
        query = request.query
        try:
            unit = int(query.get("unit", "1"))
            begin, end = _instant(query.get("from"), 0), _instant(query.get("to"), 2**62)
            if unit < 1:
                raise ValueError("unit must be 1 or more minutes")
            rows = self._log.candles(query["market"], unit * 60, begin, end)
        except (KeyError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        return web.json_response(rows)

    async def _get_anomalies(self, request: web.Request) -> web.Response:
        """What was planted in the period played so far; ?from= and ?to= (ISO-8601) look anywhere."""
        begin, end = self._period()
        try:
            begin, end = _instant(request.query.get("from"), begin), _instant(request.query.get("to"), end)
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"bad parameters: {error}") from error
        anomalies = [a._asdict() for a in self._plan.anomalies(begin, end)] if self._plan else []
        halts = [h._asdict() for h in self._plan.halts(begin, end)] if self._plan else []
        return web.json_response({"anomalies": anomalies, "halts": halts})

    async def _post_fault(self, request: web.Request) -> web.Response:
        """Order a fault: {"kind": "close"|"raw"|"silent"|"duplicate", …}."""
        try:
            order = await request.json()
            return web.json_response({"done": self._carry_out(order)})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise web.HTTPBadRequest(text=f"bad fault: {error!r}") from error

    def _carry_out(self, order: dict[str, Any]) -> int:
        kind = order["kind"]
        if kind == "close":
            return self._hub.abort_all()
        if kind == "silent":
            self._hub.silence(float(order["seconds"]))
        elif kind == "duplicate":
            self._hub.duplicate_next = int(order["frames"])
        elif kind == "raw":
            return self._hub.send_raw(_raw(order))
        else:
            raise ValueError(f"unknown kind {kind!r}")
        return len(self._hub.connections)


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
    return json.dumps(
        {
            "market": trade.code,
            "id": trade.id,
            "ms": trade.ms,
            "price": text(trade.price, E8),
            "size": text(trade.size, E8),
            "side": "sell" if trade.is_ask else "buy",
        }
    )


def _instant(given: str | None, default: int) -> int:
    if given is None:
        return default
    at = datetime.fromisoformat(given)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
