"""The yardstick for reading frames: polars, with exact decimals, one program for each dataset of each exchange.

Contains: ``readers``, the fastest programs found that give the same columns as ours. Does not contain: timing
(``read_json``), the proof that the columns are the same (``json_to_arrow``).

Where numbers are texts, polars' own JSON reader is the fastest (``str.json_decode``; ``read_ndjson`` takes twice as
long). Bare numbers would pass through floats there, which lose digits, so lines are cut at their commas by what their
fields are known to be, and the names are checked; quoting the numbers before reading JSON takes twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import polars as pl

Read = Callable[[Sequence[bytes]], pl.DataFrame]

_DECIMAL: Final = pl.Decimal(38, 18)
_TEXT, _WHOLE = pl.String, pl.Int64
_LEVELS: Final = pl.List(pl.List(_TEXT))
_SIDES: Final = {"ASK": "sell", "BID": "buy"}


def _lines(frames: Sequence[bytes]) -> pl.Series:
    return pl.Series("frame", frames, dtype=pl.Binary).cast(_TEXT)


def _objects(frames: Sequence[bytes], schema: Mapping[str, Any]) -> pl.DataFrame:
    return _lines(frames).str.json_decode(pl.Struct(schema)).struct.unnest()


def _time(name: str) -> pl.Expr:
    """Unix milliseconds as a time."""
    return (pl.col(name).cast(_WHOLE) * 1_000).cast(pl.Datetime("us", "UTC"))


def _number(name: str) -> pl.Expr:
    """A text as a decimal, an empty one as null."""
    return pl.col(name).cast(_DECIMAL)


def _by_word(words: pl.Series, convert: Callable[[str], Any], kind: Any = _TEXT) -> pl.Series:
    """Each word by what it is converted to; each different word once."""
    different = words.unique()
    return words.replace_strict(different, pl.Series([convert(word) for word in different], dtype=kind))


# --- Upbit ---------------------------------------------------------------------------------------------------

#: Column, long name, short name, and what it is: (t)ext, (w)hole number, (n)umber, (m)illiseconds, (i)so time, (s)ide,
#: (k)ind, (c)ode, (d)elisting date or - where it repeats another.
_UPBIT: Final = {
    "trade": "- type ty t,code code cd c,published_at timestamp tms m,- trade_date td t,- trade_time ttm t,"
    "event_at trade_timestamp ttms m,price trade_price tp n,size trade_volume tv n,side ask_bid ab s,"
    "prev_closing_price prev_closing_price pcp n,change change c t,change_price change_price cp n,"
    "trade_id sequential_id sid w,best_ask_price best_ask_price bap n,best_ask_size best_ask_size bas n,"
    "best_bid_price best_bid_price bbp n,best_bid_size best_bid_size bbs n,stream_type stream_type st t",
    "ticker": "- type ty t,code code cd c,opening_price opening_price op n,high_price high_price hp n,"
    "low_price low_price lp n,trade_price trade_price tp n,prev_closing_price prev_closing_price pcp n,"
    "acc_trade_price acc_trade_price atp n,change change c t,change_price change_price cp n,"
    "signed_change_price signed_change_price scp n,change_rate change_rate cr n,"
    "signed_change_rate signed_change_rate scr n,side ask_bid ab s,trade_volume trade_volume tv n,"
    "acc_trade_volume acc_trade_volume atv n,trade_date trade_date tdt t,trade_time trade_time ttm t,"
    "trade_at trade_timestamp ttms m,acc_ask_volume acc_ask_volume aav n,acc_bid_volume acc_bid_volume abv n,"
    "highest_52_week_price highest_52_week_price h52wp n,highest_52_week_date highest_52_week_date h52wdt t,"
    "lowest_52_week_price lowest_52_week_price l52wp n,lowest_52_week_date lowest_52_week_date l52wdt t,"
    "market_state market_state ms t,delisting_date delisting_date dd d,event_at timestamp tms m,"
    "acc_trade_price_24h acc_trade_price_24h atp24h n,acc_trade_volume_24h acc_trade_volume_24h atv24h n,"
    "stream_type stream_type st t",
    "orderbook": "- type ty t,code code cd c,event_at timestamp tms m,total_ask_size total_ask_size tas n,"
    "total_bid_size total_bid_size tbs n,stream_type stream_type st t,level level lv n",
    "candle": "interval type ty k,code code cd c,event_at candle_date_time_utc cdttmu i,"
    "- candle_date_time_kst cdttmk t,open opening_price op n,high high_price hp n,low low_price lp n,"
    "close trade_price tp n,volume_base candle_acc_trade_volume catv n,volume_quote candle_acc_trade_price catp n,"
    "updated_at timestamp tms m,stream_type stream_type st t",
}
_UNIT: Final = ("ask_prices ask_price ap", "bid_prices bid_price bp", "ask_sizes ask_size as", "bid_sizes bid_size bs")
_DAY: Final = r'\{"year":(\d+),"month":(\d+),"day":(\d+)\}'


def _cut(lines: pl.Series, names: Sequence[str], quoted: Sequence[bool]) -> pl.DataFrame:
    """The values of objects that hold these fields in this order, as texts without quotes."""
    pieces = lines.str.strip_chars_end("}").str.split_exact(",", len(names) - 1).struct.unnest()
    pieces.columns = list(names)
    heads = [f'"{name}":' + '"' * text for name, text in zip(names, quoted, strict=True)]
    heads[0] = "{" + heads[0]
    right = pieces.select(pl.col(n).str.starts_with(head).all() for n, head in zip(names, heads, strict=True))
    assert all(right.row(0)), "a frame is spelled otherwise"
    values = (pl.col(name).str.slice(len(head)) for name, head in zip(names, heads, strict=True))
    return pieces.select(v.str.strip_chars_end('"') if text else v for v, text in zip(values, quoted, strict=True))


def _upbit(dataset: str, short: bool) -> Read:
    fields = [field.split(" ") for field in _UPBIT[dataset].split(",")]
    names = [field[2 if short else 1] for field in fields]
    kinds = [field[3] for field in fields]
    wanted = [(column, name, kind) for (column, *_, kind), name in zip(fields, names, strict=True) if column != "-"]

    def read(frames: Sequence[bytes]) -> pl.DataFrame:
        lines, levels = _lines(frames), ()
        if dataset == "orderbook":
            lines, levels = _upbit_levels(lines, short)
        if dataset == "ticker":
            lines = lines.str.replace(_DAY, "$1-$2-$3")
        values = _cut(lines, names, [kind in "tciks" for kind in kinds])
        found = values.select(_upbit_value(name, kind).alias(column) for column, name, kind in wanted)
        return found.with_columns(_by_word(found["code"], _upbit_market).alias("market"), *levels)

    return read


def _upbit_value(name: str, kind: str) -> pl.Expr:
    value = pl.col(name)
    match kind:
        case "n":
            return _number(name)
        case "w":
            return value.cast(_WHOLE)
        case "m":
            return _time(name)
        case "i":
            return value.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", time_zone="UTC")
        case "s":
            return value.replace_strict(_SIDES)
        case "k":
            return value.str.slice(len("candle."))
        case "d":
            return pl.when(value != "null").then(value.str.to_date("%Y-%m-%d", strict=False).dt.to_string("%Y-%m-%d"))
    return value


def _upbit_levels(lines: pl.Series, short: bool) -> tuple[pl.Series, tuple[pl.Series, ...]]:
    """The lines without their levels, and the list columns."""
    name = "obu" if short else "orderbook_units"
    unit = [field.split(" ") for field in _UNIT]
    columns, names = [field[0] for field in unit], [field[2 if short else 1] for field in unit]
    each = lines.str.extract(rf'"{name}":\[\{{([^\]]*)\}}\]').str.split("},{")
    rows = pl.Series("row", range(len(lines)), dtype=pl.UInt32).repeat_by(each.list.len()).explode()
    flat = each.explode().str.split_exact(",", len(names) - 1).struct.unnest()
    flat.columns = columns
    flat = flat.with_columns(
        pl.col(column).str.slice(len(field) + 3).cast(_DECIMAL) for column, field in zip(columns, names, strict=True)
    )
    lists = flat.with_columns(rows).group_by("row", maintain_order=True).agg(columns)
    return lines.str.replace(rf'"{name}":\[[^\]]*\],', ""), tuple(lists.select(columns))


def _upbit_market(code: str) -> str:
    quote, base = code.split("-")
    return f"{base}-{quote}"


# --- OKX -----------------------------------------------------------------------------------------------------

_ARG: Final = pl.Struct({"channel": _TEXT, "instId": _TEXT})
_TRADE: Final = dict.fromkeys(("instId", "tradeId", "px", "sz", "side", "ts", "count"), _TEXT)
_TICKER_FIELDS: Final = (
    "instId", "last", "lastSz", "askPx", "askSz", "bidPx", "bidSz", "open24h", "high24h", "low24h", "sodUtc0",
    "volCcy24h", "vol24h", "ts",
)  # fmt: skip
_TICKER: Final = dict.fromkeys(_TICKER_FIELDS, _TEXT)
_BOOK: Final = {"asks": _LEVELS, "bids": _LEVELS, "ts": _TEXT, "checksum": _WHOLE, "seqId": _WHOLE, "prevSeqId": _WHOLE}


def _okx(item: Any) -> Callable[[Sequence[bytes]], pl.DataFrame]:
    """The frames' events, a row each, with channel, instrument and action."""
    schema = {"arg": _ARG, "action": _TEXT, "data": pl.List(item)}
    return lambda frames: _objects(frames, schema).explode("data")


def _okx_trades(contracts: Mapping[str, str]) -> Read:
    events = _okx(pl.Struct(_TRADE))

    def read(frames: Sequence[bytes]) -> pl.DataFrame:
        trades = events(frames)["data"].struct.unnest()
        last, count = pl.col("tradeId").cast(_WHOLE), pl.col("count").cast(_WHOLE)
        found = trades.select(
            pl.col("instId").alias("code"),
            last.alias("trade_id"),
            _time("ts").alias("event_at"),
            _number("px").alias("price"),
            _number("sz").alias("size"),
            "side",
            pl.when(count > 1).then(last - count + 1).alias("first_trade_id"),
            pl.when(count > 1).then(last).alias("last_trade_id"),
        )
        return _in_coins(found, contracts, {"size": "size_contracts"})

    return read


def _okx_tickers(contracts: Mapping[str, str]) -> Read:
    events = _okx(pl.Struct(_TICKER))
    numbers = {
        "trade_price": "last", "trade_volume": "lastSz", "best_ask_price": "askPx", "best_ask_size": "askSz",
        "best_bid_price": "bidPx", "best_bid_size": "bidSz", "opening_price": "sodUtc0", "open_price_24h": "open24h",
        "high_price_24h": "high24h", "low_price_24h": "low24h",
    }  # fmt: skip

    def read(frames: Sequence[bytes]) -> pl.DataFrame:
        tickers = events(frames)["data"].struct.unnest()
        tickers = tickers.with_columns(pl.col("last", "lastSz").replace("", None))
        swap = pl.col("instId").str.ends_with("-SWAP")
        found = tickers.select(
            pl.col("instId").alias("code"),
            _time("ts").alias("event_at"),
            *(_number(name).alias(column) for column, name in numbers.items()),
            pl.when(swap).then("volCcy24h").otherwise("vol24h").cast(_DECIMAL).alias("acc_trade_volume_24h"),
            pl.when(~swap).then("volCcy24h").cast(_DECIMAL).alias("acc_trade_price_24h"),
        )
        sizes = ("trade_volume", "best_ask_size", "best_bid_size")
        return _in_coins(found, contracts, {name: f"{name.removesuffix('_size')}_contracts" for name in sizes})

    return read


def _okx_depth(contracts: Mapping[str, str]) -> Read:
    events = _okx(pl.Struct(_BOOK))

    def read(frames: Sequence[bytes]) -> pl.DataFrame:
        found = events(frames)
        books = found.hstack(found["data"].struct.unnest())
        code = books["arg"].struct.field("instId").alias("code")
        columns = books.select(
            code,
            _time("ts").alias("event_at"),
            pl.col("action").alias("kind"),
            pl.col("seqId").alias("last_update_id"),
            pl.col("prevSeqId").replace(-1, None).alias("prev_update_id"),
            *_sides("asks", "bids"),
        )
        size = _contract(code, contracts)
        coins = (_times(columns[f"{side}_sizes"], size) for side in ("ask", "bid"))
        return columns.with_columns(_by_word(code, _okx_market).alias("market"), *coins)

    return read


def _okx_candles(frames: Sequence[bytes]) -> pl.DataFrame:
    bars = _okx(pl.List(_TEXT))(frames)
    code = bars["arg"].struct.field("instId").alias("code")
    values = bars.select(pl.col("data").list.get(n).alias(str(n)) for n in range(9)).with_columns(code)
    swap, closed = pl.col("code").str.ends_with("-SWAP"), pl.col("8") == "1"
    start = pl.col("0").cast(_WHOLE) * 1_000
    found = values.select(
        "code",
        pl.lit("1m").alias("interval"),
        start.cast(pl.Datetime("us", "UTC")).alias("event_at"),
        *(_number(str(n)).alias(column) for n, column in enumerate(("open", "high", "low", "close"), 1)),
        pl.when(swap).then("5").cast(_DECIMAL).alias("volume_contracts"),
        pl.when(swap).then("6").otherwise("5").cast(_DECIMAL).alias("volume_base"),
        pl.when(swap).then("7").otherwise("6").cast(_DECIMAL).alias("volume_quote"),
        closed.alias("is_closed"),
        (start + pl.when(closed).then(60_000_000).otherwise(0)).cast(pl.Datetime("us", "UTC")).alias("updated_at"),
    )
    return found.with_columns(_by_word(code, _okx_market).alias("market"))


def _sides(asks: str, bids: str) -> list[pl.Expr]:
    """The list columns of both sides; a level's price and size come first."""
    return [
        pl.col(name).list.eval(pl.element().list.get(place)).cast(pl.List(_DECIMAL)).alias(f"{side}_{what}")
        for side, name in (("ask", asks), ("bid", bids))
        for place, what in enumerate(("prices", "sizes"))
    ]


def _times(lists: pl.Series, factors: pl.Series) -> pl.Series:
    """Each list's numbers times that row's factor."""
    rows = pl.Series("row", range(len(lists)), dtype=pl.UInt32)
    of_level = rows.repeat_by(lists.list.len()).explode(empty_as_null=False)
    products = lists.explode(empty_as_null=False) * factors.gather(of_level)
    some = pl.DataFrame({"row": of_level, "product": products.cast(_DECIMAL)}).group_by("row", maintain_order=True)
    every = rows.to_frame().join(some.agg("product"), on="row", how="left", maintain_order="left")
    return every["product"].fill_null([]).alias(lists.name)


def _in_coins(found: pl.DataFrame, contracts: Mapping[str, str], sizes: Mapping[str, str]) -> pl.DataFrame:
    """``sizes`` in coins, and by their other names the contracts that were counted; null where coins were."""
    code = found["code"]
    size, swap = _contract(code, contracts), pl.col("code").str.ends_with("-SWAP")
    return found.with_columns(
        _by_word(code, _okx_market).alias("market"),
        *((pl.col(name) * size).cast(_DECIMAL) for name in sizes),
        *(pl.when(swap).then(pl.col(name)).alias(counted) for name, counted in sizes.items()),
    )


def _contract(codes: pl.Series, contracts: Mapping[str, str]) -> pl.Series:
    """Coins of one unit of each instrument."""

    def coins(code: str) -> str:
        base, _, swap = code.split("-") if code.endswith("-SWAP") else (code, "", "")
        return contracts[base] if swap else "1"

    return _by_word(codes, coins).cast(pl.Decimal(38, 2))


def _okx_market(code: str) -> str:
    return code.removesuffix("-SWAP") if code.endswith("-SWAP") else f"{code}-SPOT"


# --- Binance -------------------------------------------------------------------------------------------------

_AGGREGATE: Final = {
    "E": _WHOLE, "a": _WHOLE, "s": _TEXT, "p": _TEXT, "q": _TEXT, "f": _WHOLE, "l": _WHOLE, "T": _WHOLE,
    "m": pl.Boolean,
}  # fmt: skip
_BAR: Final = {
    "t": _WHOLE, "i": _TEXT, "f": _WHOLE, "L": _WHOLE, "n": _WHOLE, "x": pl.Boolean,
    **dict.fromkeys(("o", "c", "h", "l", "v", "q", "V", "Q"), _TEXT),
}  # fmt: skip
_DAY_TICKER: Final = {"E": _WHOLE, "s": _TEXT, **dict.fromkeys(("c", "Q", "o", "h", "l", "v", "q"), _TEXT)}
_CHANGE: Final = {
    "E": _WHOLE, "T": _WHOLE, "s": _TEXT, "U": _WHOLE, "u": _WHOLE, "pu": _WHOLE, "b": _LEVELS, "a": _LEVELS,
}  # fmt: skip


def _binance(schema: Mapping[str, Any], columns: Sequence[pl.Expr], wrapped: bool = True) -> Read:
    def read(frames: Sequence[bytes]) -> pl.DataFrame:
        if wrapped:
            events = _objects(frames, {"data": pl.Struct(schema)})["data"].struct.unnest()
        else:
            events = _objects(frames, schema)
        found = events.select(pl.col("s").alias("code"), *columns)
        return found.with_columns(_by_word(found["code"], _binance_market).alias("market"))

    return read


def _numbers(columns: Mapping[str, str]) -> list[pl.Expr]:
    return [_number(name).alias(column) for column, name in columns.items()]


def _bar(name: str) -> pl.Expr:
    return pl.col("k").struct.field(name)


def _binance_trades(wrapped: bool) -> Read:
    columns = [
        pl.col("a").alias("trade_id"),
        _time("T").alias("event_at"),
        *_numbers({"price": "p", "size": "q"}),
        pl.when("m").then(pl.lit("sell")).otherwise(pl.lit("buy")).alias("side"),
        _time("E").alias("published_at"),
        pl.col("f").alias("first_trade_id"),
        pl.col("l").alias("last_trade_id"),
    ]
    return _binance(_AGGREGATE, columns, wrapped)


def _binance_candles() -> Read:
    decimals = {
        "open": "o", "high": "h", "low": "l", "close": "c", "volume_base": "v", "volume_quote": "q",
        "buy_volume_base": "V", "buy_volume_quote": "Q",
    }  # fmt: skip
    columns = [
        (_bar("t") * 1_000).cast(pl.Datetime("us", "UTC")).alias("event_at"),
        _bar("i").alias("interval"),
        *(_bar(name).cast(_DECIMAL).alias(column) for column, name in decimals.items()),
        _bar("x").alias("is_closed"),
        _bar("n").alias("trade_count"),
        _bar("f").replace(-1, None).alias("first_trade_id"),
        _bar("L").replace(-1, None).alias("last_trade_id"),
        _time("E").alias("updated_at"),
    ]
    return _binance({"E": _WHOLE, "s": _TEXT, "k": pl.Struct(_BAR)}, columns)


def _binance_tickers() -> Read:
    decimals = {
        "trade_price": "c", "trade_volume": "Q", "open_price_24h": "o", "high_price_24h": "h", "low_price_24h": "l",
        "acc_trade_volume_24h": "v", "acc_trade_price_24h": "q",
    }  # fmt: skip
    return _binance(_DAY_TICKER, [_time("E").alias("event_at"), *_numbers(decimals)])


def _binance_depth() -> Read:
    columns = [
        _time("E").alias("event_at"),
        _time("T").alias("changed_at"),
        pl.lit("update").alias("kind"),
        pl.col("U").alias("first_update_id"),
        pl.col("u").alias("last_update_id"),
        pl.col("pu").alias("prev_update_id"),
        *_sides("a", "b"),
    ]
    return _binance(_CHANGE, columns)


def _binance_market(code: str) -> str:
    return f"{code[:-4]}-{code[-4:]}"


def readers(contracts: Mapping[str, str]) -> dict[str, Read]:
    """The programs by the name of what they read (``feeds.FEEDS``); ``contracts``: coins in one contract of a swap."""
    return {
        **{
            f"upbit {dataset}, {name}": _upbit(dataset, short)
            for dataset in _UPBIT
            for name, short in (("DEFAULT", False), ("SIMPLE", True))
        },
        "okx trade": _okx_trades(contracts),
        "okx trade, several a frame": _okx_trades(contracts),
        "okx ticker": _okx_tickers(contracts),
        "okx candle": _okx_candles,
        "okx depth": _okx_depth(contracts),
        "binance trade": _binance_trades(wrapped=True),
        "binance trade, bare": _binance_trades(wrapped=False),
        "binance ticker": _binance_tickers(),
        "binance candle": _binance_candles(),
        "binance depth": _binance_depth(),
    }
