"""OKX's subscriptions.

Lives here: reading a request and its errors, which channels stand on which root, which frames follow from it.
Doesn't: the socket (``stream``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Set
from dataclasses import dataclass, field
from typing import Any

from tidemark.local.simulator.okx.frames import BOOKS, render
from tidemark.local.simulator.okx.instruments import INTERVALS
from tidemark.local.simulator.timeline import CANDLE, Happening

#: OKX's channels and ours, by root.
CHANNELS: dict[str, dict[str, str]] = {
    "public": {"trades": "trade", "tickers": "ticker", "books": BOOKS},
    "business": {f"candle{name}": f"{CANDLE}{name}" for name in INTERVALS},
}
_OPERATIONS = ("subscribe", "unsubscribe")


class RequestError(Exception):
    """A request, or a part of one, that OKX answers with an error event."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Arg:
    """One part of a request: a channel (ours) of one instrument, and how the client named it."""

    channel: str
    code: str
    named: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request: what to do with which parts; ``args`` are as the client sent them."""

    operation: str
    args: list[Any]
    id: str | None


@dataclass(slots=True)
class OkxSubscription:
    """What a connection gets: instruments by channel (ours)."""

    asked: dict[str, set[str]] = field(default_factory=dict)

    def channels(self) -> Set[str]:
        """Channels that it listens to."""
        return self.asked.keys()

    def codes(self, channel: str) -> Set[str]:
        """Instruments on a channel."""
        return self.asked.get(channel, set())

    def frame(self, happening: Happening) -> bytes | None:
        """The payload for this subscriber; None when it didn't ask for it."""
        return render(happening) if happening.code in self.asked.get(happening.channel, ()) else None

    def add(self, arg: Arg) -> None:
        """From now on this as well."""
        self.asked.setdefault(arg.channel, set()).add(arg.code)

    def remove(self, arg: Arg) -> None:
        """From now on this no longer."""
        codes = self.asked.get(arg.channel, set())
        codes.discard(arg.code)
        if not codes:
            self.asked.pop(arg.channel, None)


def read_request(text: str) -> Request:
    """What a message asks for; or RequestError."""
    try:
        given = json.loads(text)
        operation, args = given["op"], given["args"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _illegal(text) from error
    if operation not in _OPERATIONS or not isinstance(args, list) or not args:
        raise _illegal(text)
    return Request(operation, args, str(given["id"]) if "id" in given else None)


def read_arg(given: Any, root: str, known: Collection[str] | None) -> Arg:
    """One part of a request at this root; or RequestError.

    ``known``: the instruments there are; None: whatever is asked for exists.
    """
    if not isinstance(given, dict) or not isinstance(given.get("channel"), str):
        raise _illegal(json.dumps(given))
    name, code = given["channel"], given.get("instId")
    if known is None:
        return Arg(CHANNELS[root].get(name) or str(name), str(code), given)
    channel = CHANNELS[root].get(name)
    if channel is None or code not in known:
        raise RequestError(
            "60018",
            f"Wrong URL or channel:{name},instId:{code} doesn't exist. Please use the correct URL, channel and "
            "parameters referring to API document.",
        )
    return Arg(channel, str(code), given)


def _illegal(text: str) -> RequestError:
    return RequestError("60012", f"Illegal request: {text[:500]}")
