"""Binance's USDⓈ-M frames as they are sent today: ``nq`` and ``st`` in trades, ``ps`` and ``st`` beside them in others.

Contains: aggregate trades, changes of books, bars, tickers, wrapped in their stream's name (as the producer asks for
them) or bare. Does not contain: which frames are measured (``feeds``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from tests.bench.feeds.markets import COINS, START_MS, Market, fixed, markets, size, walk

_UPDATE: Final = 11_139_947_831_981


def trades(dice: random.Random, count: int, *, wrapped: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of aggregate trades."""
    all_markets, at, last = _markets(), START_MS, 7_111_099_183
    for number in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        amount = size(dice, market, 3)
        hidden = 0 if dice.random() < 0.9 else amount // 2
        first, last = last + 1, last + (1 if dice.random() < 0.7 else dice.randint(2, 9))
        event = (
            f'{{"e":"aggTrade","E":{at + dice.randint(1, 200)},"a":{3_057_600_382 + number},"s":"{market.code}",'
            f'"p":"{_price(walk(dice, market), market)}","q":"{fixed(amount, 3)}","nq":"{fixed(amount - hidden, 3)}",'
            f'"f":{first},"l":{last},"T":{at},"m":{dice.choice(("true", "false"))},"st":1{_more(dice, more)}}}'
        )
        yield market.code, _framed(event, market, "aggTrade", wrapped)


def changes(dice: random.Random, count: int, *, wrapped: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of changes of books, every 100 ms."""
    all_markets, at, last = _markets(), START_MS, _UPDATE
    for _ in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        before, first = last, last + dice.randint(1, 40)
        last = first + dice.randint(0, 2_000)
        price = walk(dice, market) + 500 * market.step
        asks, bids = (_side(dice, market, price, sign) for sign in (1, -1))
        event = (
            f'{{"e":"depthUpdate","E":{at + dice.randint(1, 20)},"T":{at},"s":"{market.code}","ps":"{market.code}",'
            f'"st":1,"U":{first},"u":{last},"pu":{before},"b":[{bids}],"a":[{asks}]{_more(dice, more)}}}'
        )
        yield market.code, _framed(event, market, "depth@100ms", wrapped)


def candles(dice: random.Random, count: int, *, wrapped: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of bars of a minute; one in a hundred has no trades."""
    all_markets, at = _markets(), START_MS
    for number in range(count):
        at += dice.randint(0, 9)
        market = dice.choice(all_markets)
        price, spread, start = walk(dice, market), dice.randint(0, 5) * market.step, at // 60_000 * 60_000
        busy = int(dice.random() > 0.01)
        volume = market.size // 10**5 * 10**5 * dice.randint(1, 500) * busy
        first = 7_111_099_183 + 50 * number if busy else -1
        high, low = price + spread, max(price - spread, market.step)
        opened, closed, high, low = (_price(n, market) for n in (price, price, high, low))
        last, is_closed = first + 40 * busy, "true" if dice.random() < 0.02 else "false"
        event = (
            f'{{"e":"kline","E":{at},"s":"{market.code}","k":{{"t":{start},"T":{start + 59_999},"s":"{market.code}",'
            f'"i":"1m","f":{first},"L":{last},"o":"{opened}","c":"{closed}","h":"{high}","l":"{low}",'
            f'"v":"{fixed(volume, 3)}","n":{41 * busy},"x":{is_closed},'
            f'"q":"{fixed(volume * 3, 5)}","V":"{fixed(volume // 2, 3)}","Q":"{fixed(volume * 3 // 2, 5)}","B":"0"}}'
            f"{_more(dice, more)}}}"
        )
        yield market.code, _framed(event, market, "kline_1m", wrapped)


def tickers(dice: random.Random, count: int, *, wrapped: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of the statistics of 24 hours."""
    all_markets, at = _markets(), START_MS
    for number in range(count):
        at += dice.randint(0, 9)
        market = dice.choice(all_markets)
        price, opened = walk(dice, market), market.price + dice.randint(-40, 40) * market.step
        volume = market.size // 10**5 * 10**5 * dice.randint(1, 10**5)
        high, low = price + 90 * market.step, max(price - 90 * market.step, market.step)
        event = (
            f'{{"e":"24hrTicker","E":{at},"s":"{market.code}","ps":"{market.code}",'
            f'"p":"{_price(price - opened, market)}","P":"{dice.randint(-9_999, 9_999) / 1_000:.3f}",'
            f'"w":"{_price(price, market)}","c":"{_price(price, market)}",'
            f'"Q":"{fixed(size(dice, market, 3), 3)}","o":"{_price(opened, market)}","h":"{_price(high, market)}",'
            f'"l":"{_price(low, market)}","v":"{fixed(volume, 3)}","q":"{fixed(volume * 3, 2)}","O":{at - 86_400_000},'
            f'"C":{at},"F":{number},"L":{number + 90_000},"n":90001,"st":1{_more(dice, more)}}}'
        )
        yield market.code, _framed(event, market, "ticker", wrapped)


def _markets() -> list[Market]:
    quotes = (("USDT", COINS), ("USDC", COINS[:12]))
    return markets([(f"{coin}{quote}", coin) for quote, coins in quotes for coin in coins], 1.0, 6)


def _price(value: int, market: Market) -> str:
    """With the decimals of the market's step, at least two."""
    decimals = max(8 - (len(str(market.step)) - 1), 2)
    return fixed(value, min(decimals, 8))


def _side(dice: random.Random, market: Market, price: int, sign: int) -> str:
    """Levels of one side: 10 in the mean, at times none or a hundred."""
    levels = []
    for _ in range(min(int(dice.expovariate(1 / 10)), 150)):
        price += sign * dice.randint(1, 4) * market.step
        amount = 0 if dice.random() < 0.3 else size(dice, market, 3)
        levels.append(f'["{_price(max(price, market.step), market)}","{fixed(amount, 3)}"]')
    return ",".join(levels)


def _framed(event: str, market: Market, stream: str, wrapped: bool) -> bytes:
    return (f'{{"stream":"{market.code.lower()}@{stream}","data":{event}}}' if wrapped else event).encode()


def _more(dice: random.Random, more: bool) -> str:
    if not more:
        return ""
    return f',"fs":{dice.randint(1, 10**6)},"au":{{"phase":"open","leftMs":{dice.randint(0, 10**4)}}}'
