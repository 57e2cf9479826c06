"""The simulator's command line.

Lives here: options, the ready line, signals. Doesn't: the simulator (``server``).
"""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from tidemark.local.simulator.config import DEFAULT_PORT, ConfigError, SimulatorConfig
from tidemark.local.simulator.replay import RecordingError
from tidemark.local.simulator.server import Simulator
from tidemark.local.simulator.timeline import Cadence

_ZONES = {"kst": timezone(timedelta(hours=9)), "utc": UTC}
_DEFAULTS = SimulatorConfig()


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port for WebSocket and REST; 0 takes a free one.")
    ] = DEFAULT_PORT,
    seed: Annotated[int, typer.Option(help="The market's seed: same seed, same market.")] = _DEFAULTS.seed,
    day: Annotated[
        str, typer.Option(help="Past day that is played first: YYYY-MM-DD, 'yesterday', or '' for none.")
    ] = "yesterday",
    day_zone: Annotated[
        str, typer.Option(help="Whose day: kst (from 15:00 UTC the day before) or utc.")
    ] = "kst",
    from_at: Annotated[
        str,
        typer.Option(
            "--from", help="Begin of the past period (ISO-8601, UTC without a zone); instead of --day."
        ),
    ] = "",
    to_at: Annotated[str, typer.Option("--to", help="End of the past period; instead of --day.")] = "",
    then_live: Annotated[
        bool,
        typer.Option(
            help="After the period: play on, fast until now, then in real time. Otherwise stand at its end."
        ),
    ] = True,
    wait_for: Annotated[
        str,
        typer.Option(
            help="Whom fast playing waits for: any subscriber, one of trade, or all-trades covered."
        ),
    ] = "any",
    trades_per_day: Annotated[
        int, typer.Option(help="About so many trades a day.")
    ] = _DEFAULTS.trades_per_day,
    ticker_every: Annotated[int, typer.Option(help="Fast: a market's ticker at most every N seconds.")] = 30,
    orderbook_every: Annotated[
        int, typer.Option(help="Fast: a market's order book at most every N seconds.")
    ] = 60,
    candle_every: Annotated[int, typer.Option(help="Fast: a market's candle at most every N seconds.")] = 10,
    replay: Annotated[
        Path | None, typer.Option(help="Play this recording (cryptofeed's format) instead of a market.")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Replay at so many times the recorded pace.")] = None,
    limits: Annotated[bool, typer.Option(help="Keep the exchange's request limits.")] = True,
    idle_timeout: Annotated[float, typer.Option(help="Drop a socket silent for so many seconds.")] = 120.0,
) -> None:
    """Run a simulated exchange: Upbit's WebSocket and REST over a seeded market, on one port.

    It plays a past day as fast as its subscribers take it and goes on in real time. Progress, the oracle and
    faults to order are under /_sim/ (status, trades, summary, candles, anomalies, faults). Ctrl-C or SIGTERM
    ends it.
    """
    try:
        begin, end = (None, None) if replay else period(day, day_zone, from_at, to_at, datetime.now(UTC))
        config = SimulatorConfig(
            host=host,
            port=port,
            seed=seed,
            from_at=begin,
            to_at=end,
            then_live=then_live,
            wait_for=wait_for,
            trades_per_day=trades_per_day,
            fast=Cadence(max(ticker_every, 1), max(orderbook_every, 1), max(candle_every, 1)),
            replay=replay,
            speed=speed,
            limits=limits,
            idle_timeout_s=idle_timeout,
        )
        run(config)
    except (ConfigError, RecordingError) as error:
        raise _ended(str(error)) from error
    except OSError as error:
        raise _ended(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from error


def run(config: SimulatorConfig) -> None:
    """Run a simulator until SIGTERM or SIGINT; prints one line when it is ready."""
    with asyncio.Runner(loop_factory=_fast_loop) as runner:
        runner.run(_serve(config))


def period(
    day: str, zone: str, from_at: str, to_at: str, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """The past period that the options name (aware datetimes), (None, None) for none; or ConfigError."""
    if from_at or to_at:
        begin, end = (_instant(text) if text else None for text in (from_at, to_at))
        if begin is None:
            raise ConfigError("--to needs --from")
        return begin, end
    if not day:
        return None, None
    if zone not in _ZONES:
        raise ConfigError(f"--day-zone is {zone!r}; use kst or utc")
    try:
        chosen = (
            now.astimezone(_ZONES[zone]).date() - timedelta(days=1)
            if day == "yesterday"
            else date.fromisoformat(day)
        )
    except ValueError as error:
        raise ConfigError(f"--day is {day!r}; write it as 2026-11-19, or yesterday") from error
    begin = datetime(chosen.year, chosen.month, chosen.day, tzinfo=_ZONES[zone]).astimezone(UTC)
    return begin, begin + timedelta(days=1)


async def _serve(config: SimulatorConfig) -> None:
    simulator = Simulator(config)
    await simulator.start()
    typer.echo(f"simulator ready: REST {simulator.url}, WebSocket {simulator.ws_url}, {_plays(config)}")
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    playing, waiting = asyncio.create_task(simulator.failed()), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
            await waiting
    finally:
        playing.cancel()
        waiting.cancel()
        await simulator.stop()


def _plays(config: SimulatorConfig) -> str:
    if config.replay:
        return f"replays {config.replay.name} to whoever subscribes"
    if config.from_at is None:
        return "live"
    past = f"plays {config.from_at:%Y-%m-%d %H:%MZ}"
    if config.then_live:
        return f"{past} until now, then live"
    return f"{past} to {config.to_at:%Y-%m-%d %H:%MZ}"


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no ISO-8601 time; write it as 2026-11-19T15:00:00Z") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _fast_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _ended(message: str) -> typer.Exit:
    typer.echo(f"simulate: {message}", err=True)
    return typer.Exit(1)
