"""Upbit's subscription request.

Contains: reading the array and its errors, which frames follow from it, and the list of what a connection has.
Does not contain: the socket (``stream``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from tidemark.local.simulator.market.book import Book
from tidemark.local.simulator.market.instruments import MARKETS, tick_size
from tidemark.local.simulator.timeline import CANDLE, Happening
from tidemark.local.simulator.upbit.frames import CANDLE_NAMES, CANDLE_TYPES, FORMATS, Variant, render

_TYPES = {"trade", "ticker", "orderbook", *CANDLE_TYPES}
_LIST = "LIST_SUBSCRIPTIONS"
_LEVELS = {"1": 1, "5": 5, "15": 15, "30": 30}
_BOOK_STEPS = (10, 100, 1_000, 10_000, 100_000)


class RequestError(Exception):
    """A request that Upbit answers with an error frame."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name

    def frame(self) -> bytes:
        """The error as it goes over the wire."""
        return json.dumps({"error": {"name": self.name, "message": str(self)}}, ensure_ascii=False).encode()


class ListRequest(NamedTuple):
    """A question for what a connection is subscribed to; its format is that of the answer."""

    ticket: str
    format: str


@dataclass(slots=True)
class UpbitSubscription:
    """What a connection gets: real-time frames by channel and code, and one snapshot of each in ``first``."""

    live: dict[str, dict[str, Variant]] = field(default_factory=dict)
    first: dict[str, dict[str, Variant]] = field(default_factory=dict)

    def channels(self) -> Set[str]:
        """Channels that get real-time frames."""
        return self.live.keys()

    def codes(self, channel: str) -> Set[str]:
        """Market codes that get real-time frames on a channel."""
        return self.live.get(channel, {}).keys()

    def listed(self, request: ListRequest) -> bytes:
        """The answer to LIST_SUBSCRIPTIONS; from now on the request's format is that of the frames as well."""
        for codes in self.live.values():
            for code, variant in codes.items():
                codes[code] = variant._replace(format=request.format)
        short = request.format.startswith("SIMPLE")
        method, result, ticket = ("mthd", "rslt", "tckt") if short else ("method", "result", "ticket")
        rows = [_listed(channel, codes, short) for channel, codes in self.live.items()]
        return json.dumps({method: _LIST, result: rows, ticket: request.ticket}, separators=(",", ":")).encode()

    def frame(self, happening: Happening) -> bytes | None:
        """The payload for this subscriber; None when it didn't ask for it."""
        codes = (self.first if happening.snapshot else self.live).get(happening.channel)
        variant = codes.get(happening.code) if codes else None
        if variant is None or (variant.level and not _has_level(happening, variant.level)):
            return None
        return render(happening, variant)


def read_list_request(text: str | bytes) -> ListRequest | None:
    """The request when a message asks for the list of subscriptions; None when it asks for anything else."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list) or not any(isinstance(one, dict) and one.get("method") == _LIST for one in items):
        return None
    given: dict[str, Any] = {}
    for item in items:
        given |= item if isinstance(item, dict) else {}
    form = given.get("format", "DEFAULT")
    if not given.get("ticket"):
        raise RequestError("NO_TICKET", "티켓이 존재하지 않습니다.")
    if form not in FORMATS:
        raise RequestError("INVALID_PARAM", f"format이 올바르지 않습니다: {form}")
    return ListRequest(str(given["ticket"]), form)


def read_request(text: str | bytes, known: Collection[str]) -> UpbitSubscription:
    """The subscription a message asks for, without codes that aren't ``known``; or RequestError."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError("WRONG_FORMAT", "Format이 맞지 않습니다.") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RequestError("WRONG_FORMAT", "Format이 맞지 않습니다.")
    if not any(item.get("ticket") for item in items):
        raise RequestError("NO_TICKET", "티켓이 존재하지 않습니다.")
    wanted = [item for item in items if "type" in item or "codes" in item]
    if not wanted or not all(item.get("type") for item in wanted):
        raise RequestError("NO_TYPE", "타입이 존재하지 않습니다.")
    form = next((item["format"] for item in items if "format" in item), "DEFAULT")
    if form not in FORMATS:
        raise RequestError("INVALID_PARAM", f"format이 올바르지 않습니다: {form}")
    subscription = UpbitSubscription()
    for item in wanted:
        _add(subscription, item, form, known)
    return subscription


def book_levels(code: str, price: float) -> list[int]:
    """The price groups (1e-8) a book can be asked for; 0 is none. Only markets in won have any."""
    tick = tick_size(MARKETS[code].quote, price)
    return [0, *(tick * step for step in _BOOK_STEPS)] if MARKETS[code].quote == "KRW" else [0]


def _listed(channel: str, codes: Mapping[str, Variant], short: bool) -> dict[str, object]:
    kind = CANDLE_NAMES.get(channel, channel)
    row: dict[str, object] = {"ty" if short else "type": kind, "cds" if short else "codes": list(codes)}
    if kind == "orderbook":
        row["lv" if short else "level"] = next(iter(codes.values())).level // 10**8
    return row


def _has_level(happening: Happening, level: int) -> bool:
    return isinstance(happening.body, Book) and level in book_levels(happening.code, happening.body.bids[0][0])


def _add(subscription: UpbitSubscription, item: dict[str, Any], form: str, known: Collection[str]) -> None:
    kind, codes = item["type"], item.get("codes")
    if kind not in _TYPES:
        raise RequestError("INVALID_PARAM", f"지원하지 않는 type입니다: {kind}")
    if not isinstance(codes, list) or not codes:
        raise RequestError("NO_CODES", "codes가 존재하지 않습니다.")
    only_snapshot = _flag(item, "is_only_snapshot", "isOnlySnapshot")
    only_realtime = _flag(item, "is_only_realtime", "isOnlyRealtime")
    channel = f"{CANDLE}{CANDLE_TYPES[kind]}" if kind in CANDLE_TYPES else kind
    variants = _variants(kind, codes, form, _level(item), known)
    if variants and not only_snapshot:
        subscription.live.setdefault(channel, {}).update(variants)
    if variants and not only_realtime:
        subscription.first.setdefault(channel, {}).update(variants)


def _variants(kind: str, codes: list[Any], form: str, level: int, known: Collection[str]) -> dict[str, Variant]:
    found = {}
    for code in codes:
        name, _, suffix = str(code).partition(".") if kind == "orderbook" else (str(code), "", "")
        if name in known and not (level and kind == "orderbook" and not name.startswith("KRW-")):
            found[name] = Variant(form, _LEVELS.get(suffix, 30), level if kind == "orderbook" else 0)
    return found


def _level(item: dict[str, Any]) -> int:
    try:
        return int(Decimal(str(item.get("level", 0))) * 10**8)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise RequestError("INVALID_PARAM", "level이 올바르지 않습니다.") from error


def _flag(item: dict[str, Any], *names: str) -> bool:
    return any(item.get(name) in (True, "true") for name in names)
