"""Binance's WebSocket frames: what they are, and the rows they hold.

Lives here: ``parse`` (bare events, and events wrapped as ``{"stream": …, "data": …}``), ``classify``, the cheap look
that picks the topic, and ``reply``. Doesn't: fields one by one (``fields``), subscribing (``subscribe``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tidemark.exchanges import layout, messages
from tidemark.exchanges.base import Ignored, Parsed, Reply, Row, Unparsable, Word
from tidemark.exchanges.binance import fields, symbols
from tidemark.exchanges.values import decimal, shown

#: Binance's event types that become rows, and the dataset of each.
TYPES: Final = {"aggTrade": "trade", "kline": "candle", "depthUpdate": "depth", "24hrTicker": "ticker"}
#: Types that are known and belong to no dataset: nobody asks for them, and they wait as dead letters.
#: ``trade`` counts by other ids than aggregate trades; ``bookTicker`` is the top of a book that ``depth`` carries.
WITHOUT_DATASET: Final = frozenset(
    ("trade", "bookTicker", "markPriceUpdate", "forceOrder", "24hrMiniTicker", "continuous_kline", "contractInfo")
)
_SYSTEM: Final = "system"
_LEAVING: Final = "serverShutdown"
# {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT" … with or without the wrapper
_HEAD: Final = re.compile(
    rb'\s*(?:\{\s*"stream"\s*:\s*"([^"\\]{1,80})"\s*,\s*"data"\s*:\s*)?\[?\s*\{\s*"e"\s*:\s*"(\w{1,30})"'
    rb'(?:\s*,\s*"\w{1,4}"\s*:\s*[0-9]{1,20}){0,8}\s*,\s*"s"\s*:\s*"([^"\\]{1,60})"'
)
# Partial books (@depth20) and books with hidden orders (@rpiDepth) call themselves depthUpdate too.
CHANGES: Final = re.compile(r"[^@]*@depth(@[0-9]+ms)?")


class _Peek(msgspec.Struct):
    stream: Any = None
    data: msgspec.Raw = msgspec.Raw()
    e: Any = None
    s: Any = None


class _Wrapper(msgspec.Struct):
    data: msgspec.Raw


_PEEK: Final = msgspec.json.Decoder(_Peek | list[_Peek])
_WRAPPER: Final = msgspec.json.Decoder(_Wrapper)


def classify(frame: bytes) -> tuple[str, str]:
    """The dataset whose topic a frame belongs to, and its market code or an empty text. Never an error."""
    stream: object
    kind: object
    code: object
    head = _HEAD.match(frame)
    if head:
        named, event, said = head.groups()
        stream, kind, code = named.decode("utf-8", "replace") if named else None, event.decode(), _text(said)
    else:
        stream, kind, code = _peek(frame)
    dataset = _dataset(kind, stream)
    if dataset is None:
        return _SYSTEM, ""
    return dataset, code if isinstance(code, str) and _is_code(code) else ""


def parse(dataset: str, frame: bytes) -> Parsed | Ignored:
    """The events of a frame from the topic of ``dataset``; answers to subscriptions are ignored.

    Raises:
        Unparsable: it cannot be placed (see ``Exchange.parse``).
    """
    stream, found = _unwrapped(frame)
    if dataset == _SYSTEM:
        return _system(stream, found[0])
    return Parsed([_event(dataset, stream, frame, item, message) for item, message in enumerate(found)])


def reply(frame: bytes) -> Reply | None:
    """An answer to a subscription, or a farewell. Never an error of ours."""
    try:
        _, (message, *_) = _unwrapped(frame)
    except Unparsable:
        return None
    if message.get("e") == _LEAVING:
        return Reply(Word.LEAVING, message="the server is about to shut down")
    about = "" if message.get("id") is None else str(message["id"])
    if (error := _error(message)) is not None:
        return Reply(Word.REFUSED, about, error)
    return Reply(Word.ACKNOWLEDGED, about) if _is_acknowledgement(message) else None


def place(row: Row, code: object) -> None:
    """Write whose row it is: exchange, market and code.

    Raises:
        Unparsable: no market code, or a malformed one.
    """
    row["market"] = symbols.market(code)
    row["code"] = code
    row["exchange"] = symbols.NAME


def levels(row: Row, message: Mapping[str, Any], asks: str, bids: str) -> list[str]:
    """Write the four level columns; the names of fields whose levels hold more than a price and a size."""
    left = []
    for side, name in (("ask", asks), ("bid", bids)):
        found = message.get(name)
        if found is None:
            continue
        if not isinstance(found, list) or not all(isinstance(one, list) and len(one) >= 2 for one in found):
            raise Unparsable("bad_type", f"{name} is not a list of levels")
        row[f"{side}_prices"] = [decimal(one[0], name) for one in found]
        row[f"{side}_sizes"] = [decimal(one[1], name) for one in found]
        if any(len(one) > 2 for one in found):
            left.append(name)
    return left


def candle(message: dict[str, Any]) -> tuple[Row, list[str]]:
    """The row of a bar, and the fields that no column holds. A bar without trades has -1 for ids."""
    row, left = layout.fill(fields.CANDLE, message)
    for name in ("first_trade_id", "last_trade_id"):
        if row[name] == -1:
            row[name] = None
    return row, left


def _system(stream: str | None, message: dict[str, Any]) -> Ignored:
    """What is no market data: only answers to what was asked are in order."""
    kind = message.get("e")
    if _dataset(kind, stream) is not None:
        raise Unparsable("wrong_topic", f"a frame of type {kind} among the system's")
    if kind == _LEAVING:
        return Ignored("leaving")
    if isinstance(kind, str) and (kind in WITHOUT_DATASET or kind in TYPES):
        raise Unparsable("no_dataset", f"frames of type {kind} ({shown(stream)}) belong to no dataset")
    if kind is not None:
        raise Unparsable("unknown_type", f"frames of type {shown(kind)} are not known")
    if (error := _error(message)) is not None:
        raise Unparsable("exchange_error", error)
    if _is_acknowledgement(message):
        return Ignored("acknowledgement")
    raise Unparsable("unknown_type", f"the frame names no type; its fields are {shown(', '.join(message))}")


def _event(dataset: str, stream: str | None, frame: bytes, item: int, message: dict[str, Any]) -> Row:
    kind = message.get("e")
    belongs = _dataset(kind, stream)
    if belongs is None:
        reason = "unknown_type" if kind is not None else "wrong_topic"
        raise Unparsable(reason, f"a frame of type {shown(kind)} among those of {dataset}")
    if belongs != dataset:
        raise Unparsable("wrong_topic", f"a frame of type {kind} among those of {dataset}")
    row, left = _ROWS[dataset](message)
    place(row, message.get("s"))
    if left:
        inner = bytes(_WRAPPER.decode(frame).data) if stream is not None else frame
        row["extra"] = messages.unknown_fields(inner, item, message, left)
    return row


def _trade(message: dict[str, Any]) -> tuple[Row, list[str]]:
    return layout.fill(fields.TRADE, message)


def _ticker(message: dict[str, Any]) -> tuple[Row, list[str]]:
    return layout.fill(fields.TICKER, message)


def _candle(message: dict[str, Any]) -> tuple[Row, list[str]]:
    bar = message.get("k")
    if not isinstance(bar, dict):
        raise Unparsable("bad_type", f"k is {shown(bar)}, not a bar")
    row, inner = candle(bar)
    around, left = layout.fill(fields.CANDLE_FRAME, message)
    row["updated_at"] = around["updated_at"]
    return row, [*left, "k"] if inner else left


def _depth(message: dict[str, Any]) -> tuple[Row, list[str]]:
    row, left = layout.fill(fields.DEPTH, message)
    row["kind"] = "update"
    return row, left + levels(row, message, "a", "b")


_ROWS: Final = {"trade": _trade, "ticker": _ticker, "candle": _candle, "depth": _depth}


def _unwrapped(frame: bytes) -> tuple[str | None, list[dict[str, Any]]]:
    """The stream's name (None without a wrapper) and the events.

    Raises:
        Unparsable: ``not_json``, ``bad_number``, ``not_an_object``.
    """
    found = messages.decode(frame)
    stream = None
    if isinstance(found, dict) and "stream" in found and "data" in found:
        stream, found = str(found["stream"]), found["data"]
    events = found if isinstance(found, list) else [found]
    if not events or not all(isinstance(one, dict) for one in events):
        raise Unparsable("not_an_object", f"neither an object nor an array of objects: {shown(frame[:60])}")
    return stream, events


def _dataset(kind: object, stream: object) -> str | None:
    known = TYPES.get(kind) if isinstance(kind, str) else None
    if known == "depth" and isinstance(stream, str) and not CHANGES.fullmatch(stream):
        return None
    return known


def _error(message: Mapping[str, Any]) -> str | None:
    """``{"error":{"code":2,"msg":…},"id":1}``, or the error bare."""
    error = message.get("error", message)
    if isinstance(error, dict) and "code" in error and "msg" in error:
        return f"{shown(error['code'])}: {str(error['msg'])[:200]}"
    return shown(message["error"]) if "error" in message else None


def _is_acknowledgement(message: Mapping[str, Any]) -> bool:
    return message.get("result", message) is None and "id" in message


def _peek(frame: bytes) -> tuple[object, object, object]:
    """Stream, type and code of a frame that isn't spelled as usual."""
    try:
        first = _first(_PEEK.decode(frame))
        if not bytes(first.data):
            return None, first.e, first.s
        inner = _first(_PEEK.decode(first.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return None, None, None
    return first.stream, inner.e, inner.s


def _first(found: _Peek | list[_Peek]) -> _Peek:
    return (found[0] if found else _Peek()) if isinstance(found, list) else found


def _text(said: bytes) -> str | None:
    try:
        return said.decode()
    except UnicodeDecodeError:
        return None


def _is_code(code: str) -> bool:
    try:
        return bool(symbols.market(code))
    except Unparsable:
        return False
