"""The simulator's command line.

Contains: options, the ready line, signals, what a recording's play reports.
Does not contain: the simulator (``server``).
"""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemark.local.simulator.config import DEFAULT_PORT, ConfigError, SimulatorConfig
from tidemark.local.simulator.oddities import DEFAULT, Oddity
from tidemark.local.simulator.recording import Recording, RecordingError
from tidemark.local.simulator.replay import ReplayPlayer
from tidemark.local.simulator.server import Simulator
from tidemark.local.simulator.timeline import FAST, Cadence

_ZONES = {"kst": timezone(timedelta(hours=9)), "utc": UTC}
_DEFAULTS = SimulatorConfig()
_SKIPPED_SHOWN = 20


def _option(*names: str, text: str) -> Any:
    return typer.Option(*names, help=text)


_Host = Annotated[str, _option(text="Address to listen on.")]
_Port = Annotated[int, _option(text="Port for WebSocket and REST; 0 takes a free one.")]
_Seed = Annotated[int, _option(text="The market's seed: same seed, same market.")]
_Day = Annotated[str, _option(text="Past day that is played first: YYYY-MM-DD, yesterday, or '' for none.")]
_Zone = Annotated[str, _option(text="Whose day: kst (from 15:00 UTC the day before) or utc.")]
_From = Annotated[
    str, _option("--from", text="Begin of the past period instead of --day: ISO-8601, UTC without a zone.")
]
_To = Annotated[str, _option("--to", text="End of the past period.")]
_Live = Annotated[
    bool,
    _option(text="After the period go on: fast until now, then in real time. Otherwise stand at its end."),
]
_WaitFor = Annotated[
    str, _option(text="For whom fast playing waits: any subscriber, one of trade, or all-trades covered.")
]
_WaitCodes = Annotated[
    list[str], _option(text="With all-trades: only these of an exchange's markets (okx:BTC-USDT-SWAP,…; repeatable).")
]
_WaitChannels = Annotated[
    list[str],
    _option(text="With all-trades: wait for these channels too, at most a minute (okx:ticker,candle*6; repeatable)."),
]
_Trades = Annotated[int, _option(text="About so many trades a day on Upbit.")]
_SwapTrades = Annotated[int, _option(text="About so many trades a day on OKX, and on Binance.")]
_Oddities = Annotated[
    bool,
    _option(text="List what exchanges list beside their usual markets: placeholders, X-Perps, delistings, cautions."),
]
_TickerEvery = Annotated[int, _option(text="Fast: a market's ticker at most every N seconds of market time.")]
_BookEvery = Annotated[int, _option(text="Fast: a market's order book at most every N seconds.")]
_CandleEvery = Annotated[int, _option(text="Fast: a market's candle at most every N seconds.")]
_Replay = Annotated[
    Path | None, _option(text="Play this recording of one exchange (cryptofeed's format) instead of the markets.")
]
_Speed = Annotated[float | None, _option(text="Replay at so many times the recorded pace; without it, at once.")]
_Limits = Annotated[bool, _option(text="Keep the exchanges' request limits.")]
_Idle = Annotated[float, _option(text="Upbit: drop a socket that is silent for so many seconds.")]


def simulate(
    host: _Host = _DEFAULTS.host,
    port: _Port = DEFAULT_PORT,
    seed: _Seed = _DEFAULTS.seed,
    day: _Day = "yesterday",
    day_zone: _Zone = "kst",
    from_at: _From = "",
    to_at: _To = "",
    then_live: _Live = True,
    wait_for: _WaitFor = _DEFAULTS.wait_for,
    wait_codes: _WaitCodes = [],  # noqa: B006 (typer copies it)
    wait_channels: _WaitChannels = [],  # noqa: B006 (the same)
    trades_per_day: _Trades = _DEFAULTS.trades_per_day,
    swap_trades_per_day: _SwapTrades = _DEFAULTS.swap_trades_per_day,
    oddities: _Oddities = bool(DEFAULT),
    ticker_every: _TickerEvery = FAST.ticker_s,
    orderbook_every: _BookEvery = FAST.orderbook_s,
    candle_every: _CandleEvery = FAST.candle_s,
    replay: _Replay = None,
    speed: _Speed = None,
    limits: _Limits = True,
    idle_timeout: _Idle = _DEFAULTS.idle_timeout_s,
) -> None:
    """Run simulated exchanges: WebSocket and REST of Upbit, OKX and Binance over one seeded market, on one port.

    Each plays a past day as fast as its own subscribers take it and goes on in real time. Progress, the oracle
    and faults to order are under /_sim/ (status, trades, summary, candles, books, anomalies, premium, faults;
    ?exchange= chooses, upbit without it). Ctrl-C or SIGTERM ends it.
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
            wait_codes=_by_exchange(wait_codes),
            wait_channels=_channels(wait_channels),
            trades_per_day=trades_per_day,
            swap_trades_per_day=swap_trades_per_day,
            oddities=frozenset(Oddity) if oddities else frozenset(),
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
        raise _ended(f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port") from error


def run(config: SimulatorConfig) -> None:
    """Run a simulator until SIGTERM or SIGINT; prints one line when it is ready."""
    with asyncio.Runner(loop_factory=_fast_loop) as runner:
        runner.run(_serve(config))


def period(day: str, zone: str, from_at: str, to_at: str, now: datetime) -> tuple[datetime | None, datetime | None]:
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
            now.astimezone(_ZONES[zone]).date() - timedelta(days=1) if day == "yesterday" else date.fromisoformat(day)
        )
    except ValueError as error:
        raise ConfigError(f"--day is {day!r}; write it as 2026-11-19, or yesterday") from error
    begin = datetime(chosen.year, chosen.month, chosen.day, tzinfo=_ZONES[zone]).astimezone(UTC)
    return begin, begin + timedelta(days=1)


async def _serve(config: SimulatorConfig) -> None:
    simulator = Simulator(config)
    await simulator.start()
    _report_skipped(simulator.recording)
    names = ", ".join(simulator.rooms)
    typer.echo(f"simulator ready ({names}): REST {simulator.url}, WebSocket {simulator.ws_root}, {_plays(config)}")
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    playing, waiting = asyncio.create_task(simulator.failed()), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
            _report_played(simulator)
            await waiting
    finally:
        playing.cancel()
        waiting.cancel()
        await simulator.stop()


def _report_skipped(recording: Recording | None) -> None:
    """A line for each skipped line of a recording, the first ones."""
    skipped = recording.skipped if recording else ()
    for one in skipped[:_SKIPPED_SHOWN]:
        typer.echo(f"simulate: line {one.line} of the recording is skipped: {one.reason}", err=True)
    if len(skipped) > _SKIPPED_SHOWN:
        typer.echo(f"simulate: {len(skipped) - _SKIPPED_SHOWN} more lines are skipped", err=True)


def _report_played(simulator: Simulator) -> None:
    """A line when a recording has been played to its end."""
    recording = simulator.recording
    if recording is not None:
        given_up = sum(
            room.player.given_up for room in simulator.rooms.values() if isinstance(room.player, ReplayPlayer)
        )
        typer.echo(
            f"simulator: the recording is played: {len(recording.frames) - given_up} frames sent, "
            f"{len(recording.skipped)} lines skipped, {given_up} frames given up because no connection survived them"
        )


def _by_exchange(named: list[str]) -> dict[str, set[str]]:
    found = {}
    for one in named:
        exchange, colon, codes = one.partition(":")
        if not colon or not codes:
            raise ConfigError(f"--wait-codes is {one!r}; write it as okx:BTC-USDT-SWAP,ETH-USDT-SWAP")
        found[exchange] = set(codes.split(","))
    return found


def _channels(named: list[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for one in named:
        exchange, colon, kinds = one.partition(":")
        for kind, star, count in (text.partition("*") for text in kinds.split(",")):
            if not colon or not kind or (star and not count.isdecimal()):
                raise ConfigError(f"--wait-channels is {one!r}; write it as okx:ticker,candle*6")
            found.setdefault(exchange, {})[kind] = int(count or 1)
    return found


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
