"""How OKX's frames are read by the column: the same fields and conversions as one by one.

Lives here: ``SHAPES`` for trades of spot markets and of contracts whose size is known. Doesn't: which field is which
column (``rows``), reading (``columnar``). Everything else, and frames with several trades, go one by one.
"""

from __future__ import annotations

from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.columnar.shape import Column, Joined, Path, Shape
from tidemark.exchanges.okx import frames, rows, sizes, symbols
from tidemark.exchanges.values import decimal, integer, shown, text, unix_time

_EVENT: Final[Path] = ("data", 0)


def _of_trades(value: object, _: str) -> bool:
    if frames.CHANNELS.get(text(value, "channel")) != "trade":
        raise Unparsable("wrong_topic", f"a frame of channel {shown(value)} among those of trade")
    return True


def _market(value: object, _: str) -> str:
    return symbols.read(value).market


def _coins(texts: tuple[str | None, ...]) -> tuple[object, ...]:
    """The size in coins of an instrument's contracts, where neither price nor time matter."""
    instrument = symbols.read(texts[0])
    if instrument.is_inverse or instrument.kind == "option":
        raise Unparsable("one_by_one", f"the size of {instrument.code} depends on more")
    return (sizes.coins(instrument, decimal(texts[1], "sz"), None, None),)


def _ids(texts: tuple[str | None, ...]) -> tuple[object, ...]:
    """First and last id of the trades that a message stands for; none where it is one."""
    last, count = integer(texts[0], "tradeId"), 1 if texts[1] is None else integer(texts[1], "count")
    if count < 1:
        raise Unparsable("bad_number", f"count = {count}: a message stands for one trade at least")
    return (last - count + 1, last) if count > 1 else (None, None)


def _at(name: str) -> Path:
    return (*_EVENT, name)


SHAPES: Final = {
    "trade": (
        Shape(
            "trade",
            columns=(
                Column(("arg", "channel"), None, _of_trades, required=True),
                Column(_at("instId"), "market", _market, required=True),
                Column(_at("instId"), "code", text, required=True),
                Column(_at("tradeId"), "trade_id", integer, required=True),
                Column(_at("ts"), "event_at", unix_time, required=True),
                Column(_at("px"), "price", decimal, required=True),
                Column(_at("sz"), None, decimal, required=True),
                Column(_at("side"), "side", rows.side, required=True),
                Column(_at("count"), None, integer),
            ),
            joined=(
                Joined((_at("instId"), _at("sz")), ("size",), _coins),
                Joined((_at("tradeId"), _at("count")), ("first_trade_id", "last_trade_id"), _ids),
            ),
            redundant=frozenset((("arg", "instId"),)),
            constants={"exchange": symbols.NAME},
        ),
    ),
}
