"""JSON with exact numbers, and the part of a message that no contract knows, kept as it was spelled.

Lives here: decoding of JSON for every exchange, and ``unknown_fields``. Doesn't: what fields mean.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.values import shown

_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)
_VERBATIM: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]])
_ENCODE: Final = msgspec.json.Encoder(decimal_format="number").encode
#: PostgreSQL's jsonb holds numbers of up to 131,072 digits; no exchange means any near a hundred.
_WILDEST: Final = 1_000
_DEEPEST: Final = 100


def decode(message: bytes) -> Any:
    """The message's JSON; whole numbers as ``int``, all others as ``Decimal``, digit for digit.

    Raises:
        Unparsable: ``not_json`` or ``bad_number`` (a number beyond all bounds).
    """
    try:
        return _EXACT.decode(message)
    except msgspec.ValidationError as error:
        raise Unparsable("bad_number", str(error)) from None
    except InvalidOperation:
        raise Unparsable("bad_number", "a number with an exponent beyond all bounds") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unparsable("not_json", f"{str(error)[:120]} in {shown(message[:60])}") from None


def objects(message: bytes) -> list[dict[str, Any]]:
    """The objects of a message that is an object or an array of objects.

    Raises:
        Unparsable: it is neither, or the array is empty.
    """
    decoded = decode(message)
    found = decoded if isinstance(decoded, list) else [decoded]
    if not found or not all(isinstance(one, dict) for one in found):
        raise Unparsable("not_an_object", f"neither an object nor an array of objects: {shown(message[:60])}")
    return found


def unknown_fields(message: bytes, item: int, decoded: dict[str, Any], names: Collection[str]) -> str | None:
    """The fields ``names`` of object number ``item``, in its order, as JSON text with every value as it was spelled.

    Raises:
        Unparsable: a value that PostgreSQL's jsonb cannot hold.
    """
    if not names:
        return None
    _must_fit_jsonb({name: decoded[name] for name in names})
    raw = _VERBATIM.decode(message)
    fields = raw[item] if isinstance(raw, list) else raw
    kept = ((name, value) for name, value in fields.items() if name in names)
    return "{" + ",".join(f"{text(name)}:{bytes(value).decode()}" for name, value in kept) + "}"


def text(value: object) -> str:
    """A decoded value as JSON text; numbers keep their digits.

    Raises:
        Unparsable: a value that PostgreSQL's jsonb cannot hold.
    """
    _must_fit_jsonb(value)
    return _ENCODE(value).decode()


def _must_fit_jsonb(value: object, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise Unparsable("too_deep", f"an unknown field is nested more than {_DEEPEST} deep")
    if isinstance(value, str) and "\0" in value:
        raise Unparsable("bad_text", "an unknown field holds a NUL character")
    if isinstance(value, Decimal) and not _is_tame(value):
        raise Unparsable("bad_number", f"an unknown field holds {shown(value)}")
    if isinstance(value, list):
        for one in value:
            _must_fit_jsonb(one, depth + 1)
    if isinstance(value, dict):
        for name, one in value.items():
            _must_fit_jsonb(name, depth + 1)
            _must_fit_jsonb(one, depth + 1)


def _is_tame(number: Decimal) -> bool:
    _, _, exponent = number.as_tuple()
    return isinstance(exponent, int) and abs(exponent) <= _WILDEST and abs(number.adjusted()) <= _WILDEST
