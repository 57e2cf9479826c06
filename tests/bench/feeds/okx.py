"""OKX's frames as they are sent today: spot markets and swaps, the fields ``source`` and ``seqId`` in trades.

Contains: trades (one a frame, or a few), tickers (some before their first trade), changes of books, bars. Does not
contain: which frames are measured (``feeds``). All numbers are texts but ``seqId`` and its kin.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from tests.bench.feeds.markets import COINS, E8, START_MS, Market, fixed, markets, plain, size, walk

#: Coins in one contract of the swaps that are listed.
CONTRACTS: Final = {
    "BTC": "0.01", "ETH": "0.1", "SOL": "1", "XRP": "100", "DOGE": "1000", "ADA": "100", "LINK": "1", "LTC": "1",
    "AVAX": "1", "PEPE": "10000000", "SHIB": "1000000", "SUI": "1", "BCH": "0.1", "TRX": "1000", "ARB": "10",
}  # fmt: skip
#: The share of tickers of instruments that have not been traded yet.
_UNTRADED: Final = 0.005
_SEQUENCE: Final = 279_183_506_666


def trades(dice: random.Random, count: int, *, several: bool, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of trades; ``several``: one frame in five holds two to five of them."""
    all_markets, at, sequence = _markets(), START_MS, _SEQUENCE
    for number in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        items = dice.randint(2, 5) if several and dice.random() < 0.2 else 1
        events = []
        for _ in range(items):
            sequence += dice.randint(1, 3)
            fills, side = "1" if dice.random() < 0.8 else str(dice.randint(2, 9)), dice.choice(("buy", "sell"))
            events.append(
                f'{{"instId":"{market.code}","tradeId":"{2_005_639_579 + 12 * number + len(events)}",'
                f'"px":"{plain(walk(dice, market))}","sz":"{_size(dice, market)}","side":"{side}",'
                f'"ts":"{at}","count":"{fills}","source":"{int(dice.random() < 0.02)}","seqId":{sequence}'
                f"{_more(dice, more)}}}"
            )
        yield market.code, _frame("trades", market.code, ",".join(events))


def tickers(dice: random.Random, count: int, *, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of tickers."""
    all_markets, at = _markets(), START_MS
    for _ in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        price, step = walk(dice, market), market.step
        kind = "SWAP" if market.code.endswith("-SWAP") else "SPOT"
        last, last_size = ("", "") if dice.random() < _UNTRADED else (plain(price), _size(dice, market))
        volume = market.size * dice.randint(1, 10**5)
        event = (
            f'{{"instType":"{kind}","instId":"{market.code}","last":"{last}","lastSz":"{last_size}",'
            f'"askPx":"{plain(price + step)}","askSz":"{_size(dice, market)}","bidPx":"{plain(price)}",'
            f'"bidSz":"{_size(dice, market)}","open24h":"{plain(price + 30 * step)}",'
            f'"high24h":"{plain(price + 90 * step)}",'
            f'"low24h":"{plain(max(price - 90 * step, step))}","sodUtc0":"{plain(price + 7 * step)}",'
            f'"sodUtc8":"{plain(price + 9 * step)}","volCcy24h":"{plain(volume * 3)}","vol24h":"{plain(volume)}",'
            f'"ts":"{at}"{_more(dice, more)}}}'
        )
        yield market.code, _frame("tickers", market.code, event)


def changes(dice: random.Random, count: int, *, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of changes of books: a few levels mostly, some sides empty, one in 2,000 the whole book."""
    all_markets, at, sequence = _markets(), START_MS, _SEQUENCE
    for _ in range(count):
        at += dice.randint(0, 3)
        market = dice.choice(all_markets)
        whole = dice.random() < 0.0005
        before, sequence = sequence, sequence + dice.randint(1, 60)
        price = walk(dice, market) + 500 * market.step
        asks, bids = (_side(dice, market, price, sign, 400 if whole else _levels(dice)) for sign in (1, -1))
        event = (
            f'{{"asks":[{asks}],"bids":[{bids}],"ts":"{at}","checksum":0,"seqId":{sequence},'
            f'"prevSeqId":{-1 if whole else before}{_more(dice, more)}}}'
        )
        action = f'"action":"{"snapshot" if whole else "update"}",'
        yield market.code, _frame("books", market.code, event, action)


def candles(dice: random.Random, count: int, *, more: bool) -> Iterator[tuple[str, bytes]]:
    """Code and frame of bars of a minute; ``more`` is a tenth value."""
    all_markets, at = _markets(), START_MS
    for _ in range(count):
        at += dice.randint(0, 9)
        market = dice.choice(all_markets)
        price, spread = walk(dice, market), dice.randint(0, 5) * market.step
        volume = market.size * dice.randint(0, 500)
        values = [
            str(at // 60_000 * 60_000),
            *map(plain, (price, price + spread, max(price - spread, market.step), price)),
            *map(plain, (volume, volume * 3, volume * 7)),
            str(int(dice.random() < 0.02)),
        ]
        values += [plain(volume * 11)] if more else []
        yield market.code, _frame("candle1m", market.code, "[" + ",".join(f'"{value}"' for value in values) + "]")


def _markets() -> list[Market]:
    codes = [(f"{coin}-USDT", coin) for coin in COINS] + [(f"{coin}-USDT-SWAP", coin) for coin in CONTRACTS]
    return markets(codes, 1.0, 6)


def _frame(channel: str, code: str, events: str, action: str = "") -> bytes:
    return f'{{"arg":{{"channel":"{channel}","instId":"{code}"}},{action}"data":[{events}]}}'.encode()


def _size(dice: random.Random, market: Market) -> str:
    """A size in coins, or in hundredths of a contract."""
    if market.code.endswith("-SWAP"):
        return fixed(dice.randint(1, 50_000) * E8 // 100, 2).rstrip("0").rstrip(".")
    return plain(size(dice, market))


def _levels(dice: random.Random) -> int:
    """How many levels of a side changed: median 4, mean 6, at times none or fifty."""
    return min(int(dice.expovariate(1 / 6)), 60)


def _side(dice: random.Random, market: Market, price: int, sign: int, count: int) -> str:
    levels = []
    for _ in range(count):
        price += sign * dice.randint(1, 4) * market.step
        gone = dice.random() < 0.3
        text = "0" if gone else _size(dice, market)
        levels.append(f'["{plain(max(price, market.step))}","{text}","0","{0 if gone else dice.randint(1, 12)}"]')
    return ",".join(levels)


def _more(dice: random.Random, more: bool) -> str:
    if not more:
        return ""
    return f',"fundingScore":"{dice.randint(1, 10**6)}","auction":{{"phase":"open","leftMs":{dice.randint(0, 10**4)}}}'
