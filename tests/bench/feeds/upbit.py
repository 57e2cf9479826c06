"""Upbit's frames as they are sent today, in the formats DEFAULT (long names) and SIMPLE (short ones).

Contains: trades, tickers without the two fields that were announced to go, books of up to 30 levels, bars. Does not
contain: which frames are measured (``feeds``). DEFAULT spells a number as Java prints a double (``1.16539E8``) or with
eight decimals and more, SIMPLE plainly.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.feeds.markets import COINS, E8, START_MS, Market, fixed, markets, plain, size, walk

_WON: Final = 1343.0
_KST_MS: Final = 9 * 3_600_000
#: Long name and short name; a name in quotes holds a text.
_TRADE: Final = (
    "'type' ty,'code' cd,timestamp tms,'trade_date' td,'trade_time' ttm,trade_timestamp ttms,trade_price tp,"
    "trade_volume tv,'ask_bid' ab,prev_closing_price pcp,'change' c,change_price cp,sequential_id sid,"
    "best_ask_price bap,best_ask_size bas,best_bid_price bbp,best_bid_size bbs,'stream_type' st"
)
_TICKER: Final = (
    "'type' ty,'code' cd,opening_price op,high_price hp,low_price lp,trade_price tp,prev_closing_price pcp,"
    "acc_trade_price atp,'change' c,change_price cp,signed_change_price scp,change_rate cr,signed_change_rate scr,"
    "'ask_bid' ab,trade_volume tv,acc_trade_volume atv,'trade_date' tdt,'trade_time' ttm,trade_timestamp ttms,"
    "acc_ask_volume aav,acc_bid_volume abv,highest_52_week_price h52wp,'highest_52_week_date' h52wdt,"
    "lowest_52_week_price l52wp,'lowest_52_week_date' l52wdt,'market_state' ms,delisting_date dd,timestamp tms,"
    "acc_trade_price_24h atp24h,acc_trade_volume_24h atv24h,'stream_type' st"
)
_BOOK: Final = (
    "'type' ty,'code' cd,timestamp tms,total_ask_size tas,total_bid_size tbs,orderbook_units obu,'stream_type' st,"
    "level lv"
)
_UNIT: Final = "ask_price ap,bid_price bp,ask_size as,bid_size bs"
_CANDLE: Final = (
    "'type' ty,'code' cd,'candle_date_time_utc' cdttmu,'candle_date_time_kst' cdttmk,opening_price op,high_price hp,"
    "low_price lp,trade_price tp,candle_acc_trade_volume catv,candle_acc_trade_price catp,timestamp tms,"
    "'stream_type' st"
)
#: Quote currency, dollars in it, and how many times more often than the least its markets are traded.
_QUOTES: Final = (("KRW", _WON, 16), ("USDT", 1.0, 1), ("BTC", 1 / 91467.1, 1))
#: The coins that are traded most, four times as often as others.
_FAVOURITES: Final = ("BTC", "ETH", "XRP", "SOL", "DOGE")
#: The share of markets that are to be delisted.
_LEAVING: Final = 0.005
#: Whole sides of books that are made up for each market and used in turns.
_SIDES: Final = 12


def trades(dice: random.Random, count: int, *, short: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of trades; with ``more``, two fields that nobody knows yet."""
    template, all_markets, at = _template(_TRADE, short, more), _markets(), START_MS
    for number in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        price, opened = walk(dice, market), market.price + dice.randint(-40, 40) * market.step
        day, clock = _when(at)
        values = (
            "trade", market.code, at + dice.randint(20, 90), day, clock, at, _number(price, short),
            _number(size(dice, market), short), dice.choice(("ASK", "BID")), _long(opened, short),
            _direction(price - opened), _long(abs(price - opened), short), at * 10_000 + number % 10_000,
            _number(price + market.step, short), _number(size(dice, market), short), _number(price, short),
            _number(size(dice, market), short), "REALTIME",
        )  # fmt: skip
        yield market.code, (template % (*values, *_more(dice, more))).encode()


def tickers(dice: random.Random, count: int, *, short: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of tickers, one in two hundred of a market that is to be delisted."""
    template, all_markets, at = _template(_TICKER, short, more), _markets(), START_MS
    for _ in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        price, opened = walk(dice, market), market.price + dice.randint(-40, 40) * market.step
        change, sold, bought = (
            price - opened,
            market.size * dice.randint(1, 10**5),
            market.size * dice.randint(1, 10**5),
        )
        day, clock = _when(at)
        rate = _rate(abs(change), opened)
        values = (
            "ticker", market.code, *(_long(n, short) for n in (opened, price + 9 * market.step)),
            _long(max(price - 9 * market.step, market.step), short), _long(price, short), _long(opened, short),
            _money(dice, market), _direction(change), _long(abs(change), short), _long(change, short), rate,
            f"-{rate}" if change < 0 and rate != "0" else rate, dice.choice(("ASK", "BID")),
            _long(size(dice, market), short), _long(sold + bought, short), day.replace("-", ""),
            clock.replace(":", ""), at, _long(sold, short), _long(bought, short), _long(price * 2, short), "2026-01-20",
            _long(max(price // 2, market.step), short), "2026-08-05", "ACTIVE",
            '{"year":2026,"month":12,"day":1}' if dice.random() < _LEAVING else "null", at + dice.randint(20, 90),
            _money(dice, market), _long(2 * sold + bought, short), "REALTIME",
        )  # fmt: skip
        yield market.code, (template % (*values, *_more(dice, more))).encode()


def books(dice: random.Random, count: int, *, short: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of whole books of 30 levels, some of 15."""
    template, unit, at = _template(_BOOK, short, more), _template(_UNIT, short, False), START_MS
    all_markets = _markets()
    different = {market.code: market for market in all_markets}
    ready = {code: [_units(dice, market, unit, short) for _ in range(_SIDES)] for code, market in different.items()}
    for _ in range(count):
        at += dice.randint(0, 2)
        market = dice.choice(all_markets)
        units, asks, bids = dice.choice(ready[market.code])
        values = ("orderbook", market.code, at, plain(asks), plain(bids), f"[{units}]", "REALTIME", 0)
        yield market.code, (template % (*values, *_more(dice, more))).encode()


def candles(dice: random.Random, count: int, *, short: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of bars of a second and a minute, each state as it grows."""
    template, all_markets, at = _template(_CANDLE, short, more), _markets(), START_MS
    for _ in range(count):
        at += dice.randint(0, 9)
        market = dice.choice(all_markets)
        price, spread = walk(dice, market), dice.randint(0, 5) * market.step
        name, length = dice.choice((("1s", 1_000), ("1m", 60_000)))
        start = at // length * length
        values = (
            f"candle.{name}", market.code, "T".join(_when(start)), "T".join(_when(start + _KST_MS)),
            *(_long(n, short) for n in (price, price + spread, max(price - spread, market.step), price)),
            fixed(size(dice, market)), _money(dice, market), at, "REALTIME",
        )  # fmt: skip
        yield market.code, (template % (*values, *_more(dice, more))).encode()


def _markets() -> list[Market]:
    """Markets, each as often as its share of the trades demands."""
    found = []
    for quote, rate, often in _QUOTES:
        some = markets([(f"{quote}-{coin}", coin) for coin in COINS if coin != quote], rate)
        found += often * (some + 3 * [market for market in some if market.base in _FAVOURITES])
    return found


def _units(dice: random.Random, market: Market, unit: str, short: bool) -> tuple[str, int, int]:
    """The levels of a book as JSON, and the sums of their sizes."""
    price, count = walk(dice, market) + 40 * market.step, dice.choice((15, 30, 30, 30))
    asks, bids = ([size(dice, market) for _ in range(count)] for _ in range(2))
    levels = (
        unit
        % (_number(price + n * market.step, short), _number(price - (n + 1) * market.step, short), plain(a), plain(b))
        for n, (a, b) in enumerate(zip(asks, bids, strict=True))
    )
    return ",".join(levels), sum(asks), sum(bids)


def _template(fields: str, short: bool, more: bool) -> str:
    parts = []
    for field in fields.split(","):
        long, abbreviation = field.split()
        value = '"%s"' if long.startswith("'") else "%s"
        parts.append(f'"{abbreviation if short else long.strip(chr(39))}":{value}')
    if more:
        parts += ['"funding_score":%s', '"auction":{"phase":"%s","left_ms":%s}']
    return "{" + ",".join(parts) + "}"


def _more(dice: random.Random, more: bool) -> Sequence[object]:
    return (dice.randint(1, 10**6), dice.choice(("OPEN", "CLOSED")), dice.randint(0, 10**4)) if more else ()


def _number(value: int, short: bool) -> str:
    """As Java prints a double, which has 17 digits at most, or plainly; always with a decimal."""
    digits = str(value)
    if not short and len(digits) <= 17 and (value >= 10_000_000 * E8 or 0 < value < 100_000):
        return f"{digits[0]}.{digits[1:].rstrip('0') or '0'}E{len(digits) - 9}"
    text = plain(value)
    return text if "." in text else f"{text}.0"


def _long(value: int, short: bool) -> str:
    """Eight decimals, zero as ``0E-8``; plainly in SIMPLE."""
    if short:
        return _number(value, short)
    return fixed(value) if value else "0E-8"


def _money(dice: random.Random, market: Market) -> str:
    """What was traded, in the quote: up to sixteen decimals, more digits than a float holds."""
    amount = market.price * market.size // E8 * dice.randint(1, 10**6)
    return f"{amount // E8}.{amount % E8:08d}{dice.randint(0, 10**8 - 1):08d}"


def _rate(change: int, base: int) -> str:
    scaled = (change * 10**11 // base + 5) // 10
    return f"{scaled // 10**10}.{scaled % 10**10:010d}" if scaled else "0"


def _direction(change: int) -> str:
    return "RISE" if change > 0 else "FALL" if change < 0 else "EVEN"


_NAMED: Final[dict[int, tuple[str, str]]] = {}


def _when(ms: int) -> tuple[str, str]:
    """``yyyy-MM-dd`` and ``HH:mm:ss`` in UTC."""
    second = ms // 1_000
    if second not in _NAMED:
        at = time.gmtime(second)
        _NAMED[second] = time.strftime("%Y-%m-%d", at), time.strftime("%H:%M:%S", at)
    return _NAMED[second]
