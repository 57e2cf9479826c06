"""Values as messages spell them, turned into what columns hold; strict, because a wrong value must not pass.

Lives here: the conversions that every exchange needs. Doesn't: which field is which column
(``<exchange>/fields``). Each takes the value as decoded and the field's name for the message, and raises
``Unparsable`` where it doesn't fit.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.exchanges.base import Unparsable

_STEP: Final = Decimal(1).scaleb(-DECIMAL_SCALE)
_LAKE: Final = Context(prec=DECIMAL_PRECISION, traps=[Inexact, InvalidOperation])
_NUMBER: Final = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,4})?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT64: Final = 2**63
_SECONDS_BELOW: Final = 10**11
_MILLISECONDS_BELOW: Final = 10**14
_MICROSECONDS_BELOW: Final = 10**17


def decimal(value: object, name: str) -> Decimal:
    """A number with 18 decimals, exactly: from a JSON number or its spelling as text.

    More than 18 decimals or 20 digits before the point is ``bad_number``: the lake could not hold it.
    """
    try:
        return _LAKE.quantize(_number(value, name), _STEP)
    except (Inexact, InvalidOperation):
        raise Unparsable("bad_number", f"{name} = {shown(value)} does not fit decimal(38, 18)") from None


def integer(value: object, name: str) -> int:
    """A whole number of 64 bits, never by way of a float; ``1E3`` and ``1000.0`` are whole too."""
    number = _number(value, name)
    if not -_INT64 <= number < _INT64 or number != number.to_integral_value():
        raise Unparsable("bad_number", f"{name} = {shown(value)} is not a whole number of 64 bits")
    return int(number)


def unix_time(value: object, name: str) -> datetime:
    """A Unix time in seconds, milli- or microseconds, told apart by magnitude (all are after 1973)."""
    number = value if type(value) is int else integer(value, name)
    if not 0 <= number < _MICROSECONDS_BELOW:
        raise Unparsable("bad_time", f"{name} = {shown(value)} is not a Unix time")
    if number < _SECONDS_BELOW:
        number *= 1_000_000
    elif number < _MILLISECONDS_BELOW:
        number *= 1_000
    return _EPOCH + timedelta(microseconds=number)


def iso_time(value: object, name: str) -> datetime:
    """A time such as ``2026-07-30T07:45:00``; UTC where it names no zone."""
    try:
        time = datetime.fromisoformat(text(value, name))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unparsable("bad_time", f"{name} = {shown(value)} is not a time") from None


def text(value: object, name: str) -> str:
    """A text without NUL, which PostgreSQL cannot hold."""
    if type(value) is not str:
        raise Unparsable("bad_type", f"{name} = {shown(value)} is not a text")
    if "\0" in value:
        raise Unparsable("bad_text", f"{name} holds a NUL character")
    return value


def boolean(value: object, name: str) -> bool:
    """True or false, as JSON spells it."""
    if type(value) is not bool:
        raise Unparsable("bad_type", f"{name} = {shown(value)} is neither true nor false")
    return value


def shown(value: object) -> str:
    """A value for a message: short, whatever was sent."""
    whole = repr(value) if not isinstance(value, str) else repr(value[:60])
    return whole if len(whole) <= 60 else whole[:57] + "..."


def _number(value: object, name: str) -> Decimal:
    if type(value) is Decimal:
        return value
    if type(value) is int:
        return Decimal(value)
    if type(value) is str and _NUMBER.fullmatch(value):
        return Decimal(value)
    raise Unparsable("bad_type", f"{name} = {shown(value)} is not a number")
