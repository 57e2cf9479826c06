"""One-minute bars computed from the lake's trades alone, by another engine than the warehouse's.

Lives here: DuckDB over Parquet, with silver's rules for trades (contract, known markets, one row a trade) and exact
decimals. Doesn't: which objects there are, and what becomes of the bars (``jobs.rebuild``).

What silver decides by more than a rule, a trade of which the lake holds two versions, is not decided here: such
markets are named and left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from tidemark.contracts import CONTRACTS, plausible
from tidemark.contracts.render_rules import rules

_MEMORY: Final = "1GB"
#: A window is computed in so many parts, one after the other: whoever takes them needn't wait for the last.
PARTS: Final = 8
_WIDEST: Final = 38  # digits of DuckDB's and Arrow's decimals
_SCALES: Final = (4, 8, 12, 18)
#: Rows that silver would take, of the window. `spans`: one row for several ids, its own the last of them.
_SEEN: Final = """
create view seen as
select market, trade_id, event_at, price, size, side,
    coalesce(first_trade_id < last_trade_id and last_trade_id = trade_id, false) as spans, first_trade_id
from {source}
where exchange = $exchange and event_at >= $start and event_at < $end and (case {rules} end) is null {known}
"""
#: Trades as they lie in the lake; older objects have no column of contracts.
_SOURCE: Final = "(select *{added} from read_parquet({paths}, union_by_name = true)) as trade"
_COLUMNS: Final = "select * from {source} limit 0"
_NO_CONTRACTS: Final = ", null::decimal(38, 18) as size_contracts"
#: The sizes of contracts that silver knows, and its rule for them (dbt/macros/instruments.sql).
_SIZES: Final = """
create table sizes (code varchar, size decimal(38, 18), is_inverse boolean, is_override boolean, known_from timestamptz,
    from_at timestamptz, to_at timestamptz)
"""
_SIZED: Final = """
(select trade.* replace (case
    when trade.size_contracts is null then trade.size
    when ruled.size is not null then coins(trade.size_contracts, ruled.size, ruled.is_inverse, trade.price)
    when listed.size is not null and (trade.event_at >= listed.known_from or trade.size is null)
        then coins(trade.size_contracts, listed.size, listed.is_inverse, trade.price)
    else trade.size end as size)
from {source}
left join sizes as ruled on ruled.is_override and trade.code = ruled.code
    and trade.event_at >= ruled.from_at and trade.event_at < ruled.to_at
left join sizes as listed on not listed.is_override and trade.code = listed.code
    and trade.event_at >= listed.from_at and trade.event_at < listed.to_at) as trade
"""
#: Contracts in coins, exactly as silver and the parser round, for numbers of at most 9 decimals (compared as what they
#: are: a wider one is an error, never another number). A quotient is one of integers, half to even at its last place.
_COINS: Final = """
create macro nine(x) as if((x::decimal(19, 9))::decimal(38, 18) = x, x::decimal(19, 9), error('more than 9 decimals'));
create macro scaled(x) as (nine(x) * 1000000000::decimal(10, 0))::hugeint;
create macro rounded(n, d) as
    n // d + if(2 * (n % d) > d or (2 * (n % d) = d and (n // d) % 2 = 1), 1, 0);
create macro lowest(n) as ((n // 1000000000000000000)::decimal(20, 0)::decimal(38, 18)
    + ((n % 1000000000000000000)::decimal(18, 0) * 0.000000000000000001::decimal(18, 18))::decimal(38, 18))
    ::decimal(38, 18);
create macro coins(contracts, size, is_inverse, price) as case
    when not is_inverse then (nine(contracts) * nine(size))::decimal(38, 18)
    when price > 0
        then lowest(rounded(scaled(contracts) * scaled(size) * 1000000000::hugeint, scaled(price)))
end;
"""
#: How many, and whether nothing has to be put together (then the view itself is read, twice as fast as a table). Two
#: trades of equal hash would be taken for one, and everything be put together, to the same bars.
_PLAIN: Final = """
select count(*), count(*) = count(distinct hash(market, trade_id)) and not coalesce(bool_or(spans), false) from seen
"""
#: One row a trade. Two rows of one id that differ in what they say are a conflict, which silver judges.
_TRADES: Final = """
create table trades as
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
#: Event time, then id, as one number: a struct of both takes half as long again.
_KEY: Final = "epoch_us(event_at)::hugeint * 9223372036854775808 + trade_id"
#: Bars of whole multiples of 1e-8, which nearly all numbers are: integers take half as long as decimals. The way to
#: them leads through a float and may miss, so that each is held against its decimal; sums of integers are exact.
_USUAL: Final = f"""
select market, epoch_us(event_at) // 60000000 as minute,
    arg_min(p, {_KEY}) || 'e-8' as open, max(p) || 'e-8' as high, min(p) || 'e-8' as low,
    arg_max(p, {_KEY}) || 'e-8' as close, sum(s) || 'e-8' as volume_base, sum(p::hugeint * s) || 'e-16' as volume_quote,
    count(*) as trade_count, coalesce(sum(s) filter (side = 'buy'), 0) || 'e-8' as buy_volume_base,
    sum(s) - coalesce(sum(s) filter (side = 'buy'), 0) || 'e-8' as sell_volume_base,
    count(*) filter (p * 0.00000001::decimal(9, 8) = price and s * 0.00000001::decimal(9, 8) = size) = count(*) as exact
from (
    select *, try_cast(price::double * 1e8 as bigint) as p, try_cast(size::double * 1e8 as bigint) as s
    from trades where {{where}}
) as trades group by all
"""  # noqa: S608 - own names only
#: How many digits each market's numbers have: before the point, and whether so many behind it hold all of them.
_SHAPES: Final = """
select market, length(cast(floor(max(price)) as varchar)), {price}, length(cast(floor(max(size)) as varchar)), {size}
from trades where {where} group by market order by market
"""
#: Compared as what it is: DuckDB rounds where it has to find a common type itself.
_FITS: Final = "bool_and({column}::decimal(38, {scale})::decimal(38, 18) = {column})"
#: Bars of any other numbers. What was paid comes as text: a union would round it to the scale of another class.
_BARS: Final = f"""
select market, epoch_us(event_at) // 60000000 as minute,
    arg_min(price, {_KEY}) as open, max(price) as high, min(price) as low, arg_max(price, {_KEY}) as close,
    sum(size) as volume_base, sum({{price}} * {{size}})::varchar as volume_quote, count(*) as trade_count,
    coalesce(sum(size) filter (side = 'buy'), 0) as buy_volume_base,
    sum(size) - coalesce(sum(size) filter (side = 'buy'), 0) as sell_volume_base,
    count(*) filter ({{price}} = price and {{size}} = size) = count(*) as exact
from trades where {{where}} group by all
"""  # noqa: S608 - own names only
#: `try_cast` is three times as fast as a cast; a null or a rounded number would show in ``exact``.
_AS: Final = "try_cast({column} as decimal({type}))"
_COPY: Final = "copy (select {columns} from bars order by market, minute) to {target} (format csv, header false)"


class Size(NamedTuple):
    """What one contract of a code was from ``from_at`` up to ``to_at`` (UTC), listed since ``known_from``."""

    code: str
    size: Decimal
    is_inverse: bool
    is_override: bool
    known_from: datetime
    from_at: datetime
    to_at: datetime


class LakeBarsError(Exception):
    """Bars can't be computed exactly; the message says of what and why."""


class Part(NamedTuple):
    """A CSV file of bars (see :data:`COLUMNS`) of ``start`` to ``end`` (UTC, not included), by market and time."""

    start: datetime
    end: datetime
    path: Path


#: Of the CSV files: no header; minutes since 1970 UTC; prices and volumes exact.
COLUMNS: Final = (
    "market", "minute", "open", "high", "low", "close", "volume_base", "volume_quote", "trade_count",
    "buy_volume_base", "sell_volume_base",
)  # fmt: skip


class LakeBars:
    """The bars of a window: how many ``trades`` they hold, and the ``undecided`` markets that were left out."""

    def __init__(self, engine: Any, window: tuple[datetime, datetime], folder: Path) -> None:
        """``engine`` has a view `seen`, or None where there is nothing to see; files go to ``folder``."""
        self._engine = engine
        self._window = window
        self._folder = folder
        self.trades = 0
        self.undecided: tuple[str, ...] = ()
        if engine is not None:
            self._put_together()

    def part(self, number: int) -> Part:
        """One of the window's :data:`PARTS`, with all its bars; several may be computed at once.

        Raises:
            LakeBarsError: prices and sizes have more digits than an exact product can hold.
        """
        first, last = self._window
        start, end = (first + (last - first) * n / PARTS for n in (number, number + 1))
        path = self._folder / f"bars-{number}.csv"
        path.touch()
        if self.trades:
            with self._engine.cursor() as engine:
                self._write(engine, start, end, path)
        return Part(start, end, path)

    def _put_together(self) -> None:
        try:
            self.trades, plain = self._engine.execute(_PLAIN).fetchone()
        except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException) as error:
            raise LakeBarsError(f"sizes of contracts cannot be turned into coins exactly: {error}") from None
        if plain:
            self._engine.execute("create view trades as select *, false as differs from seen")
            return
        self._engine.execute(_TRADES)
        self._engine.execute(_ONE_BY_ONE)
        (self.trades,) = self._engine.execute("select count(*) from trades").fetchone()
        self.undecided = tuple(market for (market,) in self._engine.execute(_UNDECIDED).fetchall())

    def _write(self, engine: Any, start: datetime, end: datetime, path: Path) -> None:
        where = f"event_at >= {_moment(start)} and event_at < {_moment(end)}"
        if self.undecided:
            where += f" and market not in ({_listed(self.undecided)})"
        if not _exact(engine, _USUAL.format(where=where)):
            classes = _classes(_shapes(engine, where))
            each = (_bars(widest, f"{where} and market in ({_listed(markets)})") for widest, markets in classes)
            if not _exact(engine, " union all ".join(each)):
                raise LakeBarsError(f"the sum of a minute needs more than {_WIDEST} digits")
        engine.execute(_COPY.format(columns=", ".join(COLUMNS), target=_quoted(str(path))))


@contextmanager
def computed(
    paths: Sequence[Path],
    exchange: str,
    window: tuple[datetime, datetime],
    known: Sequence[str] | None,
    sizes: Sequence[Size],
    folder: Path,
) -> Iterator[LakeBars]:
    """Bars of the trades in ``paths`` (Parquet) that were executed in ``window`` (UTC, its end not included).

    ``known`` are the markets that the exchange lists, None where no list of it has arrived; ``sizes`` are those of its
    contracts (``silver.contract_size``); ``folder`` takes the files and what doesn't fit into memory.

    Raises:
        LakeBarsError: contracts can't be turned into coins exactly.
    """
    if not paths:
        yield LakeBars(None, window, folder)
        return
    with duckdb.connect() as engine:
        engine.execute(
            f"set memory_limit = '{_MEMORY}'; set temp_directory = {_quoted(str(folder))}; set timezone = 'UTC'; "
            "set parquet_metadata_cache = true"
        )
        source = _source(engine, paths, sizes)
        engine.execute(_seen(source, exchange, window, known))
        yield LakeBars(engine, window, folder)


def _source(engine: Any, paths: Sequence[Path], sizes: Sequence[Size]) -> str:
    """The rows of the objects, with the sizes of contracts in coins where there are any."""
    listed = f"[{_listed(map(str, paths))}]"
    columns = engine.execute(_COLUMNS.format(source=_SOURCE.format(paths=listed, added=""))).description
    has_contracts = any(name == "size_contracts" for name, *_ in columns)
    source = _SOURCE.format(paths=listed, added="" if has_contracts else _NO_CONTRACTS)
    if not sizes or not has_contracts:
        return source
    engine.execute(_SIZES)
    engine.executemany("insert into sizes values (?, ?, ?, ?, ?, ?, ?)", sizes)
    engine.execute(_COINS)
    return _SIZED.format(source=source)


def _seen(source: str, exchange: str, window: tuple[datetime, datetime], known: Sequence[str] | None) -> str:
    markets = "" if known is None else f"and market in ({_listed(known) or 'null'})"
    conditions = " ".join(rules(CONTRACTS["trade"], plausible.in_duckdb))
    text = _SEEN.format(source=source, rules=conditions, known=markets)
    for name, value in (("exchange", _quoted(exchange)), ("start", _moment(window[0])), ("end", _moment(window[1]))):
        text = text.replace(f"${name}", value)
    return text


def _exact(engine: Any, query: str) -> bool:
    """Make the table of bars, of this cursor alone; whether its numbers are the trades' to the digit."""
    try:
        engine.execute(f"create or replace temp table bars as {query}")
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        return False
    return bool(engine.execute("select coalesce(bool_and(exact), true) from bars").fetchone()[0])


class _Shape(NamedTuple):
    """Digits in all, and behind the point, that hold every price and every size of a market."""

    market: str
    price: tuple[int, int]
    size: tuple[int, int]

    @property
    def fits(self) -> bool:
        """Whether the product of the two is exact."""
        return self.price[0] + self.size[0] <= _WIDEST


def _bars(shape: _Shape, where: str) -> str:
    """The price takes what the size leaves of 38 digits: of two types of at most 18, DuckDB's product has no more."""
    price = _AS.format(column="price", type=f"{_WIDEST - shape.size[0]}, {shape.price[1]}")
    size = _AS.format(column="size", type="{}, {}".format(*shape.size))
    return _BARS.format(price=price, size=size, where=where)


def _shapes(engine: Any, where: str) -> list[_Shape]:
    asked = {
        column: ", ".join(_FITS.format(column=column, scale=scale) for scale in _SCALES) for column in ("price", "size")
    }
    return [
        _Shape(market, *(_decimal(*row[n : n + 1 + len(_SCALES)]) for n in (0, 1 + len(_SCALES))))
        for market, *row in engine.execute(_SHAPES.format(where=where, **asked)).fetchall()
    ]


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


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(_quoted, texts))


def _moment(moment: datetime) -> str:
    return f"{_quoted(moment.isoformat())}::timestamptz"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
