"""Binance's subscriptions.

Lives here: names of streams and the root each stands on, reading a request and its errors, which frames follow
from it. Doesn't: the socket (``stream``).

A stream on the wrong root is acknowledged and brings nothing, as one that doesn't exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Any

from tidemark.local.simulator.binance.frames import render
from tidemark.local.simulator.binance.instruments import INTERVALS
from tidemark.local.simulator.swap.timeline import DEPTH
from tidemark.local.simulator.timeline import CANDLE, Happening

ROOTS = ("public", "market")
MAX_STREAMS = 1024
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")
#: Binance's streams of a symbol and our channels, by root.
_STREAMS = {
    "public": {"depth": f"{DEPTH}250", "depth@100ms": f"{DEPTH}100", "depth@500ms": f"{DEPTH}500"},
    "market": {"aggTrade": "trade", "ticker": "ticker", **{f"kline_{name}": f"{CANDLE}{name}" for name in INTERVALS}},
}
_KINDS = {"public": ("depth", "bookTicker", "rpiDepth"), "market": ("",)}


class RequestError(Exception):
    """A request that Binance answers with an error."""

    def __init__(self, code: int, message: str, request_id: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id

    def frame(self) -> bytes:
        """The error as it goes over the wire."""
        return json.dumps({"error": {"code": self.code, "msg": str(self)}, "id": self.request_id}).encode()


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its method, the streams it names, and its id (any JSON value)."""

    method: str
    streams: tuple[str, ...]
    id: Any


@dataclass(slots=True)
class BinanceSubscription:
    """What a connection gets: the names of streams in the order of asking, and by channel and symbol."""

    root: str
    combined: bool
    names: dict[str, None] = field(default_factory=dict)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def channels(self) -> Set[str]:
        """Channels that it listens to."""
        return self.asked.keys()

    def codes(self, channel: str) -> Set[str]:
        """Symbols on a channel."""
        return self.asked.get(channel, {}).keys()

    def frame(self, happening: Happening) -> bytes | None:
        """The payload for this subscriber; None when it didn't ask for it."""
        stream = self.asked.get(happening.channel, {}).get(happening.code)
        return render(happening, stream, self.combined) if stream is not None else None

    def add(self, names: Iterable[str]) -> None:
        """From now on these as well."""
        for name in names:
            self.names[name] = None
            symbol, _, kind = name.partition("@")
            channel = _STREAMS[self.root].get(kind)
            if channel is not None and symbol.islower():
                self.asked.setdefault(channel, {})[symbol.upper()] = name

    def remove(self, names: Iterable[str]) -> None:
        """From now on these no longer."""
        for name in names:
            self.names.pop(name, None)
            symbol, _, kind = name.partition("@")
            channel = _STREAMS[self.root].get(kind, "")
            self.asked.get(channel, {}).pop(symbol.upper(), None)
            if not self.asked.get(channel, True):
                del self.asked[channel]


def root_of(stream: str) -> str:
    """The root that a stream stands on."""
    kind = stream.partition("@")[2]
    return next(root for root, kinds in _KINDS.items() if kind.startswith(kinds))


def read_request(text: str) -> Request:
    """What a message asks for; or RequestError."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise RequestError(3, f"Invalid JSON: {error}") from error
    if not isinstance(given, dict):
        raise RequestError(2, "Invalid request: request must be an object")
    request_id, method, streams = given.get("id"), given.get("method"), given.get("params", [])
    if method not in _METHODS:
        raise RequestError(2, f"Invalid request: unknown method {method!r}", request_id)
    if not isinstance(streams, list) or not all(isinstance(stream, str) for stream in streams):
        raise RequestError(1, "Invalid value type: expected Array of strings", request_id)
    return Request(method, tuple(streams), request_id)
