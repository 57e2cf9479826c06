"""Upbit's WebSocket frames: what they are, and the rows they hold.

Lives here: ``parse`` (all four formats: DEFAULT and SIMPLE, as an object or in an array) and ``classify``,
the cheap look that picks the topic. Doesn't: fields one by one (``fields``), subscribing (``subscribe``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tidemark.exchanges import layout, messages
from tidemark.exchanges.base import Ignored, Parsed, Reply, Row, Unparsable, Word
from tidemark.exchanges.upbit import fields, symbols
from tidemark.exchanges.values import decimal, shown

#: Upbit's types, the dataset of each, and the interval where it is a candle.
TYPES: Final[dict[str, tuple[str, str | None]]] = {
    "trade": ("trade", None),
    "ticker": ("ticker", None),
    "orderbook": ("orderbook", None),
    **{f"candle.{theirs}": ("candle", ours) for ours, theirs in symbols.STREAM_INTERVALS.items()},
}
_SYSTEM: Final = "system"
LONG_UNIT: Final = ("ask_price", "ask_size", "bid_price", "bid_size")
SHORT_UNIT: Final = ("ap", "as", "bp", "bs")
_HEAD: Final = re.compile(
    rb'\s*\[?\s*\{\s*"(?:type|ty)"\s*:\s*"([a-z0-9.]{1,20})"\s*,\s*"(?:code|cd)"\s*:\s*"([A-Z0-9]{1,20}-[A-Z0-9]{1,20})"'
)


#: Where the comma behind the code of the shortest frame stands; no longer type's first comma stands so far behind.
_TYPE_AND_CODE: Final = 23
#: What frames that begin like this are. Every market, dataset and interval is some twelve thousand beginnings.
_SEEN: Final[dict[bytes, tuple[str, str]]] = {}
_MOST_SEEN: Final = 50_000


class _Peek(msgspec.Struct):
    type: Any = None
    ty: Any = None
    code: Any = None
    cd: Any = None


_PEEK: Final = msgspec.json.Decoder(_Peek | list[_Peek])


def classify(frame: bytes) -> tuple[str, str]:
    """The dataset whose topic a frame belongs to, and its market code or an empty text. Never an error."""
    head = frame[: frame.find(b",", _TYPE_AND_CODE)]
    found = _SEEN.get(head)
    return _look(frame, head) if found is None else found


def parse(dataset: str, frame: bytes) -> Parsed | Ignored:
    """The events of a frame from the topic of ``dataset``; frames of status are ignored.

    Raises:
        Unparsable: it cannot be placed (see ``Exchange.parse``).
    """
    found = messages.objects(frame)
    if dataset == _SYSTEM:
        return _system(found)
    return Parsed([_event(dataset, frame, item, message) for item, message in enumerate(found)])


def reply(frame: bytes) -> Reply | None:
    """A sign of life, or an error, which is always about the whole subscription. Never an error of ours."""
    try:
        message = messages.objects(frame)[0]
    except Unparsable:
        return None
    if "error" in message:
        return Reply(Word.REFUSED, message=_error_text(message["error"]))
    return Reply(Word.ALIVE) if "status" in message else None


def _system(found: list[dict[str, Any]]) -> Ignored:
    """What is not market data: only a sign of life is in order."""
    message = found[0]
    kind = _type_of(message)
    if isinstance(kind, str) and kind in TYPES:
        raise Unparsable("wrong_topic", f"a frame of type {kind} among the system's")
    if kind is not None:
        raise Unparsable("unknown_type", f"frames of type {shown(kind)} are not known")
    if "error" in message:
        raise Unparsable("exchange_error", _error_text(message["error"]))
    if "status" in message:
        return Ignored("status")
    raise Unparsable("unknown_type", f"the frame names no type; its fields are {shown(', '.join(message))}")


def _event(dataset: str, frame: bytes, item: int, message: dict[str, Any]) -> Row:
    kind = _type_of(message)
    if kind is None and ("status" in message or "error" in message):
        raise Unparsable("wrong_topic", f"a frame of the system among those of {dataset}")
    known = TYPES.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise Unparsable("unknown_type", f"frames of type {shown(kind)} are not known")
    if known[0] != dataset:
        raise Unparsable("wrong_topic", f"a frame of type {kind} among those of {dataset}")
    long = "type" in message
    row, left = layout.fill((fields.LONG if long else fields.SHORT)[dataset], message)
    place(row, message.get("code" if long else "cd"))
    if dataset == "candle":
        row["interval"] = known[1]
    elif dataset == "orderbook":
        left += _book(row, message, "orderbook_units" if long else "obu", LONG_UNIT if long else SHORT_UNIT)
    if left:
        row["extra"] = messages.unknown_fields(frame, item, message, left)
    return row


def place(row: Row, code: object) -> None:
    """Write whose row it is: exchange, market and code.

    Raises:
        Unparsable: no market code, or a malformed one.
    """
    row["market"] = symbols.market(code)
    row["code"] = code
    row["exchange"] = symbols.NAME


def _look(frame: bytes, head: bytes) -> tuple[str, str]:
    """``classify`` for a head that hasn't been seen; it is remembered where nothing behind it can matter."""
    match = _HEAD.match(frame)
    kind: object
    code: object
    if match:
        kind, code = match[1].decode(), match[2].decode()
    else:
        kind, code = _peek(frame)
    known = TYPES.get(kind) if isinstance(kind, str) else None
    found = (_SYSTEM, "")
    if known is not None:
        found = known[0], code if isinstance(code, str) and _is_code(code) else ""
    if match and match.end() <= len(head) and len(_SEEN) < _MOST_SEEN:
        _SEEN[head] = found
    return found


def _book(row: Row, message: Mapping[str, Any], name: str, unit_names: tuple[str, ...]) -> list[str]:
    """Write the four level columns; the name of the levels' field when a level holds a field not known."""
    units = message.get(name)
    if units is None:
        return []
    if not isinstance(units, list) or not all(isinstance(unit, dict) for unit in units):
        raise Unparsable("bad_type", f"{name} is not a list of levels")
    ask_price, ask_size, bid_price, bid_size = unit_names
    row["ask_prices"], row["ask_sizes"] = _levels(units, ask_price, ask_size)
    row["bid_prices"], row["bid_sizes"] = _levels(units, bid_price, bid_size)
    return [name] if any(unit.keys() - unit_names for unit in units) else []


def _levels(units: list[dict[str, Any]], price: str, size: str) -> tuple[list[object], list[object]]:
    """Prices and sizes of one side, without the zeros that pad a thin side."""
    prices: list[object] = []
    sizes: list[object] = []
    for unit in units:
        one, other = _level(unit, price), _level(unit, size)
        if one or other:
            prices.append(one)
            sizes.append(other)
    return prices, sizes


def _level(unit: Mapping[str, Any], name: str) -> object:
    value = unit.get(name)
    return None if value is None else decimal(value, name)


def _type_of(message: Mapping[str, Any]) -> object:
    return message["type"] if "type" in message else message.get("ty")


def _error_text(error: object) -> str:
    if isinstance(error, dict):
        return f"{shown(error.get('name'))}: {str(error.get('message'))[:200]}"
    return shown(error)


def _peek(frame: bytes) -> tuple[object, object]:
    try:
        found = _PEEK.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return None, None
    first = (found[0] if found else _Peek()) if isinstance(found, list) else found
    long = first.type is not None
    return (first.type, first.code) if long else (first.ty, first.cd)


def _is_code(code: str) -> bool:
    try:
        return bool(symbols.market(code))
    except Unparsable:
        return False
