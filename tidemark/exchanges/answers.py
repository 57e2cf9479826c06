"""REST answers read row by row: a row that cannot be read is set aside, every other row is taken.

Contains: splitting an answer into rows, reading each by itself, and what pages are followed by. Does not contain: any
exchange's paths or fields (``<exchange>/rest``), where set-aside rows are reported (``jobs.fetching``,
``streaming.producer.markets``).

An answer whose frame is wrong (no JSON, an error, no list where one belongs) is no matter of single rows and is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from tidemark.contracts import plausible
from tidemark.exchanges import messages
from tidemark.exchanges.base import Exchange, Row, Rows, SetAside, Unparsable
from tidemark.exchanges.values import shown

#: Reads one row: its position, its bytes and its decoded value.
ReadOne = Callable[[int, bytes, Any], Row]

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
#: What an odd row may raise beside ``Unparsable``; it must not cost the others.
_ROW_ERRORS: Final = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)
_KINDS: Final[dict[type, str]] = {dict: "an object", list: "a list of values"}


def split(body: bytes, what: str = "the answer") -> list[bytes]:
    """The elements of a JSON array, each as it was spelled.

    Raises:
        Unparsable: ``not_json``, or ``not_an_object`` when it is JSON and no array.
    """
    try:
        return [bytes(one) for one in _LIST.decode(body)]
    except msgspec.ValidationError:
        raise Unparsable("not_an_object", f"{what} is not a list: {shown(body[:60])}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unparsable("not_json", f"{str(error)[:120]} in {shown(body[:60])}") from None


def read(
    elements: Iterable[bytes],
    code_field: str,
    read_one: ReadOne,
    *,
    codes: Container[str] | None = None,
    unique: bool = False,
) -> Rows:
    """The rows of an answer's elements, which must be objects; ``code_field`` names the field with the market code.

    ``codes``: the answer holds more markets than were asked for, and rows of others are left out.
    ``unique``: an answer holds one row a code, so a further row of the same code is set aside as ``repeated``.
    """
    rows = _Reading(dict, code_field)
    for item, element in enumerate(elements):
        rows.take(item, element, read_one, codes, unique=unique)
    return Rows(rows.read, rows.aside)


def read_lists(elements: Iterable[bytes], read_one: ReadOne) -> Rows:
    """The rows of an answer's elements, which must be lists of values (bars)."""
    rows = _Reading(list)
    for item, element in enumerate(elements):
        rows.take(item, element, read_one)
    return Rows(rows.read, rows.aside)


def sole(rows: Rows) -> Rows:
    """The rows of an answer that must hold exactly one.

    Raises:
        Unparsable: it holds none or several, or the one cannot be read.
    """
    for aside in rows.set_aside:
        raise Unparsable(aside.reason, aside.message)
    if len(rows) != 1:
        raise Unparsable("bad_type", f"the answer holds {len(rows)} rows: one is expected")
    return rows


def moments(rows: Sequence[Row], field: Callable[[Any], datetime]) -> list[datetime]:
    """The times by which pages are followed: of every row, and of those set aside that still tell one.

    A time before 2010 says nothing of the page: one such row would end the paging too early.

    Raises:
        Unparsable: ``bad_time``: the answer holds rows, and none of them has a time.
    """
    found = [one for one in _keys(rows, "event_at", field, datetime) if one >= plausible.EARLIEST]
    return found or _none("bad_time", "a time", rows)


def numbers(rows: Sequence[Row], field: Callable[[Any], int]) -> list[int]:
    """The trade ids by which pages are followed: of every row, and of those set aside that still tell one.

    Raises:
        Unparsable: ``missing_id``: the answer holds rows, and none of them has an id.
    """
    return _keys(rows, "trade_id", field, int) or _none("missing_id", "an id", rows)


def held(rows: Sequence[Row]) -> int:
    """How many rows a page held, readable or not."""
    return rows.answered if isinstance(rows, Rows) else len(rows)


def misread(exchange: Exchange, market: Row) -> str:
    """Why the frames of a listed market cannot be read as that market's; empty: they can.

    The list may say more of a market than its code: frames carry the code only.
    """
    try:
        by_code = exchange.market(str(market["code"]))
    except Unparsable as error:
        return str(error)
    return "" if by_code == market["market"] else f"bad_code: {by_code} by its code, {market['market']} by the list"


class _Reading:
    """The rows of one answer while it is read: what could be read, and what is set aside."""

    def __init__(self, kind: type, code_field: str = "") -> None:
        self.read: list[Row] = []
        self.aside: list[SetAside] = []
        self._kind = kind
        self._code_field = code_field
        self._seen: set[str] = set()

    def take(
        self,
        item: int,
        element: bytes,
        read_one: ReadOne,
        codes: Container[str] | None = None,
        *,
        unique: bool = False,
    ) -> None:
        """Read one element; whatever is wrong with it stays its own matter."""
        value: Any = None
        code: str | None = None
        try:
            value = messages.decode(element)
            if not isinstance(value, self._kind):
                raise Unparsable("not_an_object", f"{shown(value)} is not {_KINDS[self._kind]}")
            code = self._code(value)
            if code and codes is not None and code not in codes:
                return
            row = read_one(item, element, value)
            if unique and code and code in self._seen:
                raise Unparsable("repeated", "the answer holds this code more than once")
        except Unparsable as error:
            self.aside.append(SetAside(item, code, error.reason, error.message, value))
        except _ROW_ERRORS as error:
            said = f"{type(error).__name__}: {str(error)[:120]} in {shown(element[:60])}"
            self.aside.append(SetAside(item, code, "unexpected", said, value))
        else:
            self._seen.add(code or "")
            self.read.append(row)

    def _code(self, value: Any) -> str | None:
        code = value.get(self._code_field) if isinstance(value, dict) else None
        return code if isinstance(code, str) and code else None


def _keys(rows: Sequence[Row], column: str, field: Callable[[Any], Any], kind: type) -> list[Any]:
    found = [row[column] for row in rows if isinstance(row[column], kind)]
    for aside in rows.set_aside if isinstance(rows, Rows) else ():
        try:
            found.append(field(aside.value))
        except (Unparsable, *_ROW_ERRORS):
            continue
    return found


def _none(reason: str, what: str, rows: Sequence[Row]) -> Any:
    aside = rows.set_aside if isinstance(rows, Rows) else ()
    first = f"; the first that cannot be read is {aside[0]}" if aside else ""
    raise Unparsable(reason, f"a page of {held(rows)} rows, none with {what}: cannot go on from it{first}")
