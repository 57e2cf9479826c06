"""What is sent in benchmarks: frames as an exchange spells them, made up from a seed.

Lives here: trades of about 460 bytes and books of 30 levels. Doesn't: sending (``broker``).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_START_MS = 1_789_874_437_622


def _codes(dice: random.Random) -> list[str]:
    return ["KRW-" + "".join(dice.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=dice.randint(3, 5))) for _ in range(200)]


def trades(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Market code and frame of trades, spelled in full; a few numbers with exponents."""
    dice = random.Random(seed)
    codes = _codes(dice)
    at = _START_MS
    for number in range(count):
        at += dice.randint(0, 3)
        code, price = dice.choice(codes), dice.randint(100, 150_000_000)
        size, ask_size = dice.randint(1, 10**9) / 1e8, dice.randint(1, 10**9) / 1e8
        bid_size = dice.choice(("7.9276E-4", "0.02228361", "12.5"))
        yield (
            code,
            (
                f'{{"type":"trade","code":"{code}","timestamp":{at + 48},"trade_date":"2026-09-20",'
                f'"trade_time":"03:20:37","trade_timestamp":{at},"trade_price":{price}.00000000,'
                f'"trade_volume":{size:.8f},"ask_bid":"{dice.choice(("ASK", "BID"))}",'
                f'"prev_closing_price":{price + 1000}.00000000,"change":"{dice.choice(("FALL", "RISE"))}",'
                f'"change_price":{dice.randint(1, 100_000)}.00000000,"sequential_id":{at * 10_000 + number % 10_000},'
                f'"best_ask_price":{price + 1},"best_ask_size":{ask_size:.8f},"best_bid_price":{price},'
                f'"best_bid_size":{bid_size},"stream_type":"REALTIME"}}'
            ).encode(),
        )


def books(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Market code and frame of books of 30 levels a side, spelled short, as the whole of a day is."""
    dice = random.Random(seed)
    codes = _codes(dice)
    units = [_units(dice) for _ in range(500)]
    for number in range(count):
        code = dice.choice(codes)
        yield (
            code,
            (
                f'{{"ty":"orderbook","cd":"{code}","tms":{_START_MS + number},"tas":{dice.random() * 1e4:.8f},'
                f'"tbs":{dice.random() * 1e4:.8f},"obu":[{dice.choice(units)}],"lv":0,"st":"REALTIME"}}'
            ).encode(),
        )


def _units(dice: random.Random) -> str:
    price = dice.randint(1_000, 100_000)
    return ",".join(
        f'{{"ap":{price + n}.0,"bp":{price - 1 - n}.0,"as":{dice.random() * 1e3:.8f},"bs":{dice.random() * 1e3:.8f}}}'
        for n in range(30)
    )
