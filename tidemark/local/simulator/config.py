"""What a simulator can be told.

Contains: the settings of one simulator and their defaults.
Does not contain: the command line (``command``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tidemark.local.simulator import oddities
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.swap.timeline import SWAP_FAST, SWAP_LIVE, SWAP_LIVE_250, SwapCadence
from tidemark.local.simulator.timeline import FAST, LIVE, Cadence

DEFAULT_PORT = 9443
EXCHANGES = ("upbit", "okx", "binance")
WAIT_FOR = ("any", "trade", "all-trades")


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """Simulated exchanges, each with a clock of its own, so that none waits for another's subscribers.

    ``from_at``/``to_at`` (aware datetimes) are the past period that is played fast; with ``then_live``
    everything between ``to_at`` and now is played fast as well, and then real time goes on. Without
    ``from_at`` it is live from the start. ``wait_for`` says for whom fast playing waits: "any" subscriber,
    one of "trade", or subscribers that cover the trades of all markets ("all-trades"), or of those that
    ``wait_codes`` names for the exchange; then ``wait_channels`` says of each exchange how many channels of each kind
    must cover them too. ``replay`` plays a recording of one exchange instead of the markets.
    ``trades_per_day`` are those of all of an exchange's usual markets: of Upbit, and of each exchange of swaps.
    ``oddities`` are shown beside the usual markets; nothing waits for clients of theirs.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    seed: int = 7
    from_at: datetime | None = None
    to_at: datetime | None = None
    then_live: bool = True
    wait_for: str = "any"
    wait_codes: Mapping[str, Collection[str]] = field(default_factory=dict)
    wait_channels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exchanges: tuple[str, ...] = EXCHANGES
    trades_per_day: int = 150_000
    swap_trades_per_day: int = 15_000
    oddities: frozenset[Oddity] = oddities.DEFAULT
    minute_days: int = 14
    day_days: int = 130
    fast: Cadence = FAST
    live: Cadence = LIVE
    swap_fast: SwapCadence = SWAP_FAST
    okx_live: SwapCadence = SWAP_LIVE
    binance_live: SwapCadence = SWAP_LIVE_250
    replay: Path | None = None
    speed: float | None = None
    limits: bool = True
    idle_timeout_s: float = 120.0
    status_every_s: float = 10.0
    okx_silence_s: float = 30.0
    binance_ping_s: float = 180.0
    binance_pong_s: float = 600.0
    binance_lifetime_s: float = 86_400.0


class ConfigError(Exception):
    """Settings that can't be simulated; the message says what to change."""


def check(config: SimulatorConfig, now: datetime) -> None:
    """Raise ConfigError when the settings contradict each other or the time of day."""
    if config.wait_for not in WAIT_FOR:
        raise ConfigError(f"wait_for is {config.wait_for!r}; use one of {', '.join(WAIT_FOR)}")
    for name in ("trades_per_day", "swap_trades_per_day"):
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}; use 1 or more")
    unknown = {*config.exchanges, *config.wait_codes, *config.wait_channels} - set(EXCHANGES)
    if unknown or not config.exchanges:
        raise ConfigError(f"no exchange {', '.join(sorted(unknown))}; there are: {', '.join(EXCHANGES)}")
    if config.speed is not None and config.speed <= 0:
        raise ConfigError(f"speed is {config.speed}; use a number above 0, or leave it out")
    for name, at in (("from", config.from_at), ("to", config.to_at)):
        if at is not None and at.tzinfo is None:
            raise ConfigError(f"{name} has no time zone: {at}; write it as 2026-11-19T15:00:00Z")
    start = config.from_at or now
    if config.then_live and start > now:
        raise ConfigError(f"the period begins in the future ({start}); choose an earlier one, or don't go on live")
    if not config.then_live and (config.to_at is None or config.to_at <= start):
        raise ConfigError("without going on live a period with its end after its beginning is needed (from, to)")
