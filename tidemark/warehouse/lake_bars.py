"""One-minute bars computed from the lake's trades alone, by another engine than the warehouse's.

Lives here: DuckDB over Parquet, with silver's rules for trades (contract, known markets, one row a trade) and exact
decimals. Doesn't: which objects there are, and what becomes of the bars (``jobs.rebuild``).

What silver decides by more than a rule, a trade of which the lake holds two versions, is not decided here: such
markets are named and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from tidemark.contracts import CONTRACTS
from tidemark.contracts.render_rules import rules

_MEMORY: Final = "1GB"
_WIDEST: Final = 38  # digits of DuckDB's and Arrow's decimals
_SCALES: Final = (4, 8, 12, 18)
#: Rows that silver would take, of the window. `spans`: one row for several ids, its own the last of them.
_SEEN: Final = """
create temp view seen as
select market, trade_id, event_at, price, size, side,
    coalesce(first_trade_id < last_trade_id and last_trade_id = trade_id, false) as spans, first_trade_id
from read_parquet({paths}, union_by_name = true)
where exchange = $exchange and event_at >= $start and event_at < $end and (case {rules} end) is null {known}
"""
#: Whether anything has to be put together. Where not, the view itself is read: that is twice as fast as a table.
_PLAIN: Final = """
select not exists (select 1 from seen group by market, trade_id having count(*) > 1)
    and not exists (select 1 from seen where spans)
"""
_AS_SEEN: Final = "create temp view trades as select *, false as differs from seen"
#: One row a trade. Two rows of one id that differ in what they say are a conflict, which silver judges.
_TRADES: Final = """
create temp table trades as
select market, trade_id, any_value(event_at) as event_at, any_value(price) as price, any_value(size) as size,
    any_value(side) as side, spans, min(first_trade_id) as first_trade_id,
    min(event_at) <> max(event_at) or min(price) <> max(price) or min(size) <> max(size) or min(side) <> max(side)
        as differs
from seen group by market, trade_id, spans
"""
_ONE_BY_ONE: Final = """
delete from trades using trades as sum
where sum.spans and not trades.spans and trades.market = sum.market
    and trades.trade_id between sum.first_trade_id and sum.trade_id
"""
_UNDECIDED: Final = """
select distinct market from trades where differs
union
select distinct a.market from trades as a join trades as b on a.market = b.market and a.trade_id < b.trade_id
where a.spans and b.spans and b.first_trade_id <= a.trade_id
order by 1
"""
#: What nearly all numbers are: up to ten digits before the point and eight behind it, which is also the fastest.
_USUAL: Final = (18, 8)
_ALL_USUAL: Final = """
select bool_and(try_cast(price as decimal(18, 8)) = price) and bool_and(try_cast(size as decimal(18, 8)) = size)
from trades
"""
#: How many digits each market's numbers have: before the point, and whether so many behind it hold all of them.
_SHAPES: Final = """
select market, length(cast(floor(max(price)) as varchar)), {price}, length(cast(floor(max(size)) as varchar)), {size}
from trades group by market order by market
"""
#: Compared as what it is: DuckDB rounds where it has to find a common type itself.
_FITS: Final = "bool_and({column}::decimal(38, {scale})::decimal(38, 18) = {column})"
#: What was paid comes as text: a union would round it to the scale of another class.
_BARS: Final = """
select market, epoch_us(event_at) // 60000000 as minute,
    arg_min(price, {key}), max(price), min(price), arg_max(price, {key}),
    sum(size), case when count({value}) = count(*) then sum({value}) end::varchar, count(*),
    coalesce(sum(size) filter (side = 'buy'), 0), coalesce(sum(size) filter (side = 'sell'), 0)
from trades where market in ({markets}) group by all
"""
#: A trade's value. `try_cast` is three times as fast as a cast; the types hold every number, and a null would show.
_VALUE: Final = "try_cast(price as decimal({price})) * try_cast(size as decimal({size}))"
#: Event time, then id, as one number: a struct of both takes half as long again.
_KEY: Final = "epoch_us(event_at)::hugeint * 9223372036854775808 + trade_id"
_COPY: Final = "copy ({bars}) to {target} (format csv, header false)"


class LakeBarsError(Exception):
    """Bars can't be computed exactly; the message says of what and why."""


@dataclass(frozen=True, slots=True)
class LakeBars:
    """What came of it: a CSV file of bars (see :data:`COLUMNS`), how many trades, the markets that were left out."""

    path: Path
    trades: int
    undecided: tuple[str, ...]


#: Of the CSV file: no header; minutes since 1970 UTC; prices and volumes exact.
COLUMNS: Final = (
    "market", "minute", "open", "high", "low", "close", "volume_base", "volume_quote", "trade_count",
    "buy_volume_base", "sell_volume_base",
)  # fmt: skip


def compute(
    paths: Sequence[Path],
    exchange: str,
    window: tuple[datetime, datetime],
    known: Sequence[str] | None,
    folder: Path,
) -> LakeBars:
    """Bars of the trades in ``paths`` (Parquet) that were executed in ``window`` (UTC, its end not included).

    ``known`` are the markets that the exchange lists, None where no list of it has arrived; ``folder`` takes the file
    and what doesn't fit into memory.

    Raises:
        LakeBarsError: prices and sizes have more digits than an exact product can hold.
    """
    target = folder / "bars.csv"
    if not paths:
        target.touch()
        return LakeBars(target, 0, ())
    with duckdb.connect() as engine:
        engine.execute(
            f"set memory_limit = '{_MEMORY}'; set temp_directory = {_quoted(str(folder))}; set timezone = 'UTC'"
        )
        _read(engine, paths, exchange, window, known)
        counted = engine.execute("select count(*) from trades").fetchone()
        undecided = [market for (market,) in engine.execute(_UNDECIDED).fetchall()]
        _write(engine, target, undecided)
    return LakeBars(target, counted[0] if counted else 0, tuple(undecided))


def _read(
    engine: Any, paths: Sequence[Path], exchange: str, window: tuple[datetime, datetime], known: Sequence[str] | None
) -> None:
    listed = ", ".join(_quoted(str(path)) for path in paths)
    markets = "" if known is None else f"and market in ({', '.join(map(_quoted, known)) or 'null'})"
    text = _SEEN.format(paths=f"[{listed}]", rules=" ".join(rules(CONTRACTS["trade"])), known=markets)
    for name, value in (("exchange", exchange), ("start", window[0].isoformat()), ("end", window[1].isoformat())):
        text = text.replace(f"${name}", _quoted(value) + ("" if name == "exchange" else "::timestamptz"))
    engine.execute(text)
    if engine.execute(_PLAIN).fetchall() == [(True,)]:
        engine.execute(_AS_SEEN)
    else:
        engine.execute(_TRADES)
        engine.execute(_ONE_BY_ONE)


def _write(engine: Any, target: Path, undecided: Sequence[str]) -> None:
    shapes = [shape for shape in _shapes(engine) if shape.market not in undecided]
    if not shapes:
        target.touch()
        return
    bars = " union all ".join(
        _BARS.format(key=_KEY, value=_value(widest), markets=", ".join(_quoted(market) for market in markets))
        for widest, markets in _classes(shapes)
    )
    try:
        engine.execute(_COPY.format(bars=bars, target=_quoted(str(target))))
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise LakeBarsError(f"the sum of a minute needs more than {_WIDEST} digits: {error}") from error


class _Shape(NamedTuple):
    """Digits in all, and behind the point, that hold every price and every size of a market."""

    market: str
    price: tuple[int, int]
    size: tuple[int, int]

    @property
    def fits(self) -> bool:
        """Whether the product of the two is exact."""
        return self.price[0] + self.size[0] <= _WIDEST


def _shapes(engine: Any) -> list[_Shape]:
    if engine.execute(_ALL_USUAL).fetchall() == [(True,)]:
        markets = engine.execute("select distinct market from trades order by market").fetchall()
        return [_Shape(market, _USUAL, _USUAL) for (market,) in markets]
    asked = {
        column: ", ".join(_FITS.format(column=column, scale=scale) for scale in _SCALES) for column in ("price", "size")
    }
    return [
        _Shape(market, *(_decimal(*row[n : n + 1 + len(_SCALES)]) for n in (0, 1 + len(_SCALES))))
        for market, *row in engine.execute(_SHAPES.format(**asked)).fetchall()
    ]


def _value(shape: _Shape) -> str:
    """The price takes what the size leaves of 38 digits: of two types of at most 18, DuckDB's product has no more."""
    return _VALUE.format(price=f"{_WIDEST - shape.size[0]}, {shape.price[1]}", size="{}, {}".format(*shape.size))


def _decimal(digits: int, *enough: bool) -> tuple[int, int]:
    scale = next(scale for scale, holds in zip(_SCALES, enough, strict=True) if holds is not False)
    return digits + scale, scale


def _classes(shapes: list[_Shape]) -> Iterator[tuple[_Shape, list[str]]]:
    """Markets that one pair of types holds: all of them where that is exact, else those of equal scales, else each.

    Raises:
        LakeBarsError: one market's numbers alone are too wide.
    """
    widest = _Shape("", *(_widest([getattr(shape, name) for shape in shapes]) for name in ("price", "size")))
    scales = {(shape.price[1], shape.size[1]) for shape in shapes}
    if widest.fits:
        yield widest, [shape.market for shape in shapes]
    elif len(scales) > 1:
        for pair in sorted(scales):
            yield from _classes([shape for shape in shapes if (shape.price[1], shape.size[1]) == pair])
    elif len(shapes) > 1:
        for shape in shapes:
            yield from _classes([shape])
    else:
        raise LakeBarsError(f"{shapes[0].market}: price times size needs more than {_WIDEST} digits")


def _widest(types: list[tuple[int, int]]) -> tuple[int, int]:
    scale = max(scale for _, scale in types)
    return max(width - own for width, own in types) + scale, scale


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
