"""What a simulator can be told.

Lives here: the settings of one simulator and their defaults. Doesn't: the command line (``command``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tidemark.local.simulator.timeline import FAST, LIVE, Cadence

DEFAULT_PORT = 9443
WAIT_FOR = ("any", "trade", "all-trades")


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """One simulated exchange.

    ``from_at``/``to_at`` (aware datetimes) are the past period that is played fast; with ``then_live``
    everything between ``to_at`` and now is played fast as well, and then real time goes on. Without
    ``from_at`` it is live from the start. ``wait_for`` says for whom fast playing waits: "any" subscriber,
    one of "trade", or subscribers that cover the trades of all markets ("all-trades"). ``replay`` plays a
    recording instead of the market.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    seed: int = 7
    from_at: datetime | None = None
    to_at: datetime | None = None
    then_live: bool = True
    wait_for: str = "any"
    trades_per_day: int = 150_000
    minute_days: int = 14
    day_days: int = 130
    fast: Cadence = FAST
    live: Cadence = LIVE
    replay: Path | None = None
    speed: float | None = None
    limits: bool = True
    idle_timeout_s: float = 120.0
    status_every_s: float = 10.0


class ConfigError(Exception):
    """Settings that can't be simulated; the message says what to change."""


def check(config: SimulatorConfig, now: datetime) -> None:
    """Raise ConfigError when the settings contradict each other or the time of day."""
    if config.wait_for not in WAIT_FOR:
        raise ConfigError(f"wait_for is {config.wait_for!r}; use one of {', '.join(WAIT_FOR)}")
    if config.trades_per_day < 1:
        raise ConfigError(f"trades_per_day is {config.trades_per_day}; use 1 or more")
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
