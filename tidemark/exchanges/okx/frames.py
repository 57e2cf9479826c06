"""OKX's WebSocket frames: what they are, and the rows they hold.

Lives here: ``parse``, ``classify`` (the cheap look that picks the topic) and ``reply`` (what the exchange says beside
data). Doesn't: one event (``rows``), subscribing (``subscribe``).

A frame of data names its channel and instrument in ``arg`` and lists its events in ``data``. Acknowledgements, errors
and notices have an ``event`` instead, and a ping is answered with the bare text ``pong``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tidemark.exchanges import messages
from tidemark.exchanges.base import Ignored, Parsed, Reply, Row, Unparsable, Word
from tidemark.exchanges.okx import rows, symbols
from tidemark.exchanges.okx.symbols import Instrument
from tidemark.exchanges.values import shown

_SYSTEM: Final = "system"
_PONG: Final = b"pong"
_LEAVING: Final = "64008"
#: Errors that pass: too many requests (60014), errors of the exchange's own (63999, 64007).
_PASSING: Final = ("60014", "63999", "64007")
#: A bar's channel and its interval; None: it opens at 00:00 UTC+8, which no other exchange's bar does.
_BARS: Final[dict[str, str | None]] = {
    **{f"candle{bar}": interval for interval, bar in symbols.INTERVALS.items()},
    **{f"candle{bar}": None for bar in symbols.OTHER_DAYS},
}
#: OKX's channels and the dataset of each; all books of 50 levels and more come as a snapshot and its changes.
CHANNELS: Final[dict[str, str]] = {
    "trades": "trade",
    "trades-all": "trade",
    "tickers": "ticker",
    "books": "depth",
    "books-l2-tbt": "depth",
    "books50-l2-tbt": "depth",
    **dict.fromkeys(_BARS, "candle"),
}
#: Events that carry nothing to keep, and why.
_IGNORED: Final = {
    "subscribe": "acknowledgement",
    "unsubscribe": "acknowledgement",
    "notice": "notice",
    "channel-conn-count": "connection count",
}
_HEAD: Final = re.compile(
    rb'\s*\{\s*"arg"\s*:\s*\{\s*"channel"\s*:\s*"([A-Za-z0-9-]{1,30})"\s*,\s*"instId"\s*:\s*"([A-Z0-9_.-]{1,60})"\s*\}'
    rb'\s*,\s*(?:"action"\s*:\s*"[a-z]{1,20}"\s*,\s*)?"data"\s*:'
)
#: How the text of an error names the part that it is about.
_NAMED: Final = re.compile(r"channel:([A-Za-z0-9-]{1,30}),instId:([A-Z0-9_.-]{1,60})")


class _Peek(msgspec.Struct):
    arg: Any = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Events(msgspec.Struct):
    data: list[msgspec.Raw]


_PEEK: Final = msgspec.json.Decoder(_Peek)
_EVENTS: Final = msgspec.json.Decoder(_Events)


def classify(frame: bytes) -> tuple[str, str]:
    """The dataset whose topic a frame belongs to, and its instrument or an empty text. Never an error."""
    head = _HEAD.match(frame)
    channel: object
    code: object
    if head:
        channel, code = head[1].decode(), head[2].decode()
    else:
        channel, code = _peek(frame)
    dataset = CHANNELS.get(channel) if isinstance(channel, str) else None
    if dataset is None:
        return _SYSTEM, ""
    return dataset, code if isinstance(code, str) and _is_code(code) else ""


def parse(dataset: str, frame: bytes) -> Parsed | Ignored:
    """The events of a frame from the topic of ``dataset``; what the exchange says beside data is ignored.

    Raises:
        Unparsable: it cannot be placed (see ``Exchange.parse``).
    """
    if frame.strip() == _PONG:
        if dataset != _SYSTEM:
            raise Unparsable("wrong_topic", f"a frame of the system among those of {dataset}")
        return Ignored("pong")
    message = _object(frame)
    channel = _channel(message)
    found = CHANNELS.get(channel, _SYSTEM) if channel is not None else _SYSTEM
    if found != dataset:
        what = f"channel {channel}" if found != _SYSTEM else "the system"
        raise Unparsable("wrong_topic", f"a frame of {what} among those of {dataset}")
    if channel is None:
        return _said(message)
    if found == _SYSTEM:
        raise Unparsable("unknown_channel", f"frames of channel {shown(channel)} are not known")
    return _events(frame, channel, message)


def reply(frame: bytes) -> Reply | None:
    """An acknowledgement, an error, a notice that the connection will be closed, or a sign of life."""
    if frame.strip() == _PONG:
        return Reply(Word.ALIVE)
    try:
        message = _object(frame)
    except Unparsable:
        return None
    event, code = message.get("event"), message.get("code")
    if event == "subscribe":
        return Reply(Word.ACKNOWLEDGED, about=_about(message))
    if event == "notice" and code == _LEAVING:
        return Reply(Word.LEAVING, message=_error_text(message))
    if event in ("error", "channel-conn-count-error") and code not in _PASSING:
        return Reply(Word.REFUSED, about=_about(message), message=_error_text(message))
    return None


def _said(message: Mapping[str, Any]) -> Ignored:
    """What the exchange says beside data: an error is for a person to see, all else is in order."""
    event = message.get("event")
    if event in ("error", "channel-conn-count-error"):
        raise Unparsable("exchange_error", _error_text(message))
    if isinstance(event, str) and event in _IGNORED:
        return Ignored(_IGNORED[event])
    if event is not None:
        raise Unparsable("unknown_type", f"events of type {shown(event)} are not known")
    raise Unparsable("unknown_type", f"neither data nor an event; the fields are {shown(', '.join(message))}")


def _events(frame: bytes, channel: str, message: Mapping[str, Any]) -> Parsed | Ignored:
    data, code = message["data"], message["arg"].get("instId")
    if not isinstance(data, list):
        raise Unparsable("bad_type", f"data is {shown(data)}, not a list of events")
    if not data:
        return Ignored("no events")
    if CHANNELS[channel] == "candle":
        instrument, length = symbols.read(code), interval(channel)
        return Parsed([rows.candle(instrument, length, values) for values in data])
    return Parsed([_event(frame, channel, item, message) for item in range(len(data))])


def _event(frame: bytes, channel: str, item: int, message: Mapping[str, Any]) -> Row:
    """One event that is an object; it names its instrument itself where the exchange does so."""
    event = message["data"][item]
    if not isinstance(event, dict):
        raise Unparsable("bad_type", f"an event of {channel} is {shown(event)}, not an object")
    row, left = _read(channel, symbols.read(event.get("instId", message["arg"].get("instId"))), message, event)
    if left:
        row["extra"] = messages.unknown_fields(bytes(_EVENTS.decode(frame).data[item]), 0, event, left)
    return row


def _read(channel: str, instrument: Instrument, message: Mapping[str, Any], event: Mapping[str, Any]) -> rows.Read:
    match CHANNELS[channel]:
        case "trade":
            return rows.trade(instrument, event)
        case "ticker":
            return rows.ticker(instrument, event)
        case _:
            return rows.depth(instrument, message.get("action"), event)


def interval(channel: str) -> str:
    """The interval of a channel of bars.

    Raises:
        Unparsable: ``other_day``: its bars open at 00:00 UTC+8.
    """
    found = _BARS[channel]
    if found is None:
        raise Unparsable(
            "other_day", f"{channel} opens at 00:00 UTC+8; subscribe to {channel}utc, which opens at 00:00 UTC"
        )
    return found


def _object(frame: bytes) -> dict[str, Any]:
    message = messages.decode(frame)
    if not isinstance(message, dict):
        raise Unparsable("not_an_object", f"not an object: {shown(frame[:60])}")
    return message


def _channel(message: Mapping[str, Any]) -> str | None:
    """The channel of a frame of data; None for anything else."""
    arg = message.get("arg")
    channel = arg.get("channel") if isinstance(arg, dict) and "data" in message else None
    return channel if isinstance(channel, str) else None


def _about(message: Mapping[str, Any]) -> str:
    """The part of the subscription that is meant, such as ``trades:BTC-USDT-SWAP``; empty for the whole."""
    arg = message.get("arg")
    if isinstance(arg, dict):
        return f"{arg.get('channel', '')}:{arg.get('instId', '')}"
    named = _NAMED.search(str(message.get("msg")))
    return f"{named[1]}:{named[2]}" if named else ""


def _error_text(message: Mapping[str, Any]) -> str:
    return f"{shown(message.get('code'))}: {str(message.get('msg'))[:200]}"


def _peek(frame: bytes) -> tuple[object, object]:
    try:
        found = _PEEK.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    if found.data is msgspec.UNSET or not isinstance(found.arg, dict):
        return None, None
    return found.arg.get("channel"), found.arg.get("instId")


def _is_code(code: str) -> bool:
    try:
        return bool(symbols.instrument(code))
    except Unparsable:
        return False
