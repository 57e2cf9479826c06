"""What is planted in a Korean day: price spikes, volume surges, block trades, one halt.

Lives here: when and how strongly. Doesn't: the trades that show it (``tape``). Everything planned lies within
its KST day, so a day is whole by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from random import Random
from typing import NamedTuple

from tidemark.local.simulator.market.instruments import MARKETS, Market, coin

MINUTE_MS = 60_000
DAY_MS = 86_400_000
KST_MS = 9 * 3_600_000
_BUSY = 0.02  # markets below this share are too quiet to show a surge

# Single trades large enough to be news, in hours busy enough that they don't make the hour stand out.
_BLOCK_COIN = "BTC"
_BLOCK_HOURS = (9, 10, 14, 15, 20, 21, 22, 23)
_BLOCK_WON = (305e6, 360e6)

_SWAP_COINS = ("ETH", "XRP", "SOL", "DOGE")  # listed as swaps; BTC's show the block trades
_SWAP_VOLUME = 12.0
_PRICE = (0.012, -0.02, 0.03, -0.045, 0.07)
_VOLUME = (4.0, 7.0, 12.0, 20.0)


class Anomaly(NamedTuple):
    """A planted anomaly: a "price" one moves by its amplitude (relative), a "volume" one multiplies by it."""

    market: str
    kind: str
    at_ms: int
    until_ms: int
    amplitude: float


class Halt(NamedTuple):
    """A market without trades from ``at_ms`` until before ``until_ms``."""

    market: str
    at_ms: int
    until_ms: int


class Block(NamedTuple):
    """A single trade worth ``won`` in the minute that begins at ``at_ms``, in every busy market of its coin."""

    at_ms: int
    won: float


@dataclass(frozen=True, slots=True)
class DayPlan:
    """The plan of one KST day."""

    spikes: dict[str, list[Anomaly]]  # by coin: the hidden price moves, so all its markets do
    surges: dict[str, list[Anomaly]]  # by market
    swap_surge: Anomaly  # of a coin: in each of its swaps
    halt: Halt
    blocks: tuple[Block, ...]

    def anomalies(self, markets: Mapping[str, Market]) -> list[Anomaly]:
        """All that is planted in ``markets``, by time; a price spike is named once for each that it moves."""
        found = [surge for code, surges in self.surges.items() if code in markets for surge in surges]
        found += [self.swap_surge._replace(market=swap.code) for swap in markets.values() if self._swaps_surge(swap)]
        for market in markets.values():
            found += [spike._replace(market=market.code) for spike in self.spikes.get(market.coin.symbol, ())]
            for spike in self.spikes.get(market.quote, ()):  # its price is told in a coin that moves
                found.append(spike._replace(market=market.code, amplitude=-spike.amplitude / (1 + spike.amplitude)))
        return sorted(found, key=lambda a: (a.at_ms, a.market))

    def bump(self, coin: str, minute: int) -> float:
        """By how much (log) the coin's price stands off its path at the start of epoch ``minute``."""
        return sum(log1p(_shape(spike, minute)) for spike in self.spikes.get(coin, ()))

    def surge(self, market: Market, minute: int) -> float:
        """How many times its usual volume the market trades in epoch ``minute``."""
        factor = 1.0
        surges = [self.swap_surge] if self._swaps_surge(market) else self.surges.get(market.code, [])
        for surge in surges:
            if surge.at_ms <= minute * MINUTE_MS < surge.until_ms:
                factor *= surge.amplitude
        for spike in self.spikes.get(market.coin.symbol, ()):
            if 0 <= minute - spike.at_ms // MINUTE_MS < 6:
                factor *= 3.0
        return factor

    def _swaps_surge(self, market: Market) -> bool:
        return market.is_swap and market.coin.symbol == self.swap_surge.market

    def block(self, market: Market, minute: int) -> float:
        """What the first trade of epoch ``minute`` is worth in the quote currency, where it is a block; else 0."""
        if market.coin.symbol != _BLOCK_COIN or market.share < _BUSY:
            return 0.0
        won = sum(block.won for block in self.blocks if block.at_ms == minute * MINUTE_MS)
        return won if market.quote == "KRW" else won / coin("USDT").price

    def halted(self, market: Market, minute: int) -> bool:
        """Whether the market stands still in epoch ``minute``."""
        return market.code == self.halt.market and self.halt.at_ms <= minute * MINUTE_MS < self.halt.until_ms


class Plan:
    """The plans of all days of a seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._days: dict[int, DayPlan] = {}

    def at(self, ms: int) -> DayPlan:
        """The plan of the KST day in which Unix ``ms`` lies."""
        day = (ms + KST_MS) // DAY_MS
        if day not in self._days:
            self._days[day] = _plan_day(self._seed, day)
        return self._days[day]

    def anomalies(self, from_ms: int, to_ms: int, markets: Mapping[str, Market] = MARKETS) -> list[Anomaly]:
        """Anomalies of ``markets`` that begin in [from, to), by time."""
        plans = self._plans(from_ms, to_ms)
        return [a for plan in plans for a in plan.anomalies(markets) if from_ms <= a.at_ms < to_ms]

    def halts(self, from_ms: int, to_ms: int) -> list[Halt]:
        """Halts that begin in [from, to), by time."""
        return [p.halt for p in self._plans(from_ms, to_ms) if from_ms <= p.halt.at_ms < to_ms]

    def _plans(self, from_ms: int, to_ms: int) -> list[DayPlan]:
        first, last = (from_ms + KST_MS) // DAY_MS, (to_ms - 1 + KST_MS) // DAY_MS
        return [self.at(day * DAY_MS - KST_MS) for day in range(first, last + 1)]


def _shape(spike: Anomaly, minute: int) -> float:
    """Full amplitude one minute after the start, held for four, then back in a straight line."""
    passed = minute - spike.at_ms // MINUTE_MS
    length = (spike.until_ms - spike.at_ms) // MINUTE_MS
    if passed <= 0 or passed >= length:
        return 0.0
    return spike.amplitude if passed <= 5 else spike.amplitude * (length - passed) / (length - 5)


def _plan_day(seed: int, day: int) -> DayPlan:
    rng = Random(f"{seed}/plan/{day}")
    start = day * DAY_MS - KST_MS
    busy = [market for market in MARKETS.values() if market.share >= _BUSY and market.coin.symbol != "USDT"]
    rng.shuffle(busy)
    spiked, surged, halted = busy[:5], busy[5:9], rng.choice(busy[-2:])
    spikes = {
        market.coin.symbol: [_anomaly(rng, start, market.coin.symbol, "price", amplitude)]
        for market, amplitude in zip(spiked, _PRICE, strict=False)
    }
    surges = {
        market.code: [_anomaly(rng, start, market.code, "volume", amplitude)]
        for market, amplitude in zip(surged, _VOLUME, strict=False)
        if market is not halted
    }
    halt_at = start + rng.randrange(60, 1080) * MINUTE_MS
    halt = Halt(halted.code, halt_at, halt_at + rng.randrange(120, 241) * MINUTE_MS)
    minutes = [hour * 60 + rng.randrange(60) for hour in rng.sample(_BLOCK_HOURS, 3)]
    blocks = tuple(Block(start + minute * MINUTE_MS, rng.uniform(*_BLOCK_WON)) for minute in minutes)
    swaps = Random(f"{seed}/plan/swaps/{day}")
    swap_surge = _anomaly(swaps, start, swaps.choice(_SWAP_COINS), "volume", _SWAP_VOLUME)
    return DayPlan(spikes, surges, swap_surge, halt, blocks)


def _anomaly(rng: Random, start: int, name: str, kind: str, amplitude: float) -> Anomaly:
    at = start + rng.randrange(30, 1330) * MINUTE_MS
    return Anomaly(name, kind, at, at + rng.randrange(40, 61) * MINUTE_MS, amplitude)
