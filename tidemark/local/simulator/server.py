"""The simulator: one port, three exchanges.

Contains: building it from a configuration, starting and stopping.
Does not contain: any of its parts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Set
from datetime import UTC, datetime

from aiohttp import web

from tidemark.local.simulator.binance import instruments as binance
from tidemark.local.simulator.binance.limits import BinanceLimits
from tidemark.local.simulator.binance.replayed import ReplayedBinanceRest
from tidemark.local.simulator.binance.rest import BinanceRest
from tidemark.local.simulator.binance.stream import BinanceStream
from tidemark.local.simulator.config import SimulatorConfig, check
from tidemark.local.simulator.control import Control, only_this_machine
from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.ledger import SentLog
from tidemark.local.simulator.market.hidden import HiddenMarket, SwapMarket
from tidemark.local.simulator.market.instruments import MARKETS, Market
from tidemark.local.simulator.market.intervals import Interval
from tidemark.local.simulator.oddities import Oddity
from tidemark.local.simulator.okx import instruments as okx
from tidemark.local.simulator.okx.replayed import ReplayedOkxRest
from tidemark.local.simulator.okx.rest import OkxLimits, OkxRest
from tidemark.local.simulator.okx.stream import OkxStream, notice
from tidemark.local.simulator.player import Phases, Player
from tidemark.local.simulator.recording import Recording, read_recording
from tidemark.local.simulator.replay import ReplayPlayer
from tidemark.local.simulator.room import Room
from tidemark.local.simulator.swap.timeline import SwapCadence, SwapTimeline
from tidemark.local.simulator.timeline import Timeline
from tidemark.local.simulator.upbit import listing as upbit
from tidemark.local.simulator.upbit.limits import Limits
from tidemark.local.simulator.upbit.replayed import ReplayedRest
from tidemark.local.simulator.upbit.rest import UpbitRest
from tidemark.local.simulator.upbit.stream import PATH, UpbitStream

_SWAPS: dict[str, tuple[Callable[[Set[Oddity]], dict[str, Market]], dict[str, Interval]]] = {
    "okx": (okx.markets, okx.INTERVALS),
    "binance": (binance.markets, binance.INTERVALS),
}
_HEARTBEATS_MS = {"okx": 60_000}


class Simulator:
    """Simulated exchanges in this process: ``port = await start()``, later ``await stop()``."""

    def __init__(self, config: SimulatorConfig) -> None:
        """ConfigError for settings that contradict each other, RecordingError for an unplayable recording."""
        self._now = datetime.now(UTC)
        if config.replay is None:
            check(config, self._now)
        self.config = config
        self.port = 0
        self._limits: dict[str, Limits] = {}
        self.recording = read_recording(config.replay) if config.replay else None
        names = (self.recording.exchange,) if self.recording else config.exchanges
        self.rooms = {name: self._room(name) for name in names}
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> int:
        """Listen and begin to play when somebody subscribes; the port. OSError when the port is taken."""
        app = web.Application(middlewares=[only_this_machine])
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.config.host, self.config.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])
        self._tasks = [asyncio.create_task(room.player.run()) for room in self.rooms.values()]
        return self.port

    async def stop(self) -> None:
        """Close the sockets (code 1001) and the port."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for room in self.rooms.values():
            for connection in list(room.hub.connections.values()):
                await connection.close(1001)
        if self._runner is not None:
            await self._runner.cleanup()

    async def failed(self) -> None:
        """Wait until playing breaks, and raise why; returns when there is nothing more to play."""
        await asyncio.gather(*(asyncio.shield(task) for task in self._tasks))

    @property
    def url(self) -> str:
        """Scheme, host and port of REST."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def ws_root(self) -> str:
        """Scheme, host and port of the WebSockets."""
        return f"ws://{self.config.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The whole address of Upbit's WebSocket."""
        return self.ws_root + PATH

    @property
    def hub(self) -> Hub:
        """The sockets of the first exchange."""
        return self._first.hub

    @property
    def log(self) -> SentLog:
        """What the first exchange sent."""
        return self._first.log

    @property
    def phases(self) -> Phases:
        """How far the first exchange is."""
        return self._first.phases

    def status(self) -> dict[str, object]:
        """How far the first exchange is: see ``Room.status``."""
        return self._first.status()

    @property
    def _first(self) -> Room:
        return next(iter(self.rooms.values()))

    def _room(self, name: str) -> Room:
        config, log, phases = self.config, SentLog(), Phases()
        if self.recording is not None:
            hub = Hub(log, "any", ())
            player = ReplayPlayer(self.recording, hub, log, phases, config.speed)
            return Room(name, hub, log, phases, player, None, notice=_notice(name))
        every = _SWAPS[name][0](config.oddities) if name in _SWAPS else MARKETS
        markets = {code: market for code, market in every.items() if not market.aside}
        codes = set(config.wait_codes.get(name, markets)) & set(every)
        hub = Hub(log, config.wait_for, codes, set(markets), config.wait_channels.get(name))
        timeline = self._timeline(name)
        stop = None if config.then_live else timeline.end_ms
        return Room(
            name,
            hub,
            log,
            phases,
            Player(timeline, hub, log, phases, stop_at_ms=stop),
            timeline,
            period_end_ms=_ms(config.to_at) if config.to_at else None,
            fast_end_ms=None if config.then_live or config.to_at is None else _ms(config.to_at),
            plan=timeline.market.plan,
            markets=markets,
            notice=_notice(name),
        )

    def _timeline(self, name: str) -> Timeline | SwapTimeline:
        config = self.config
        start = _ms(config.from_at or self._now)
        end = None if config.then_live or config.to_at is None else _ms(config.to_at)
        days = {"minute_days": config.minute_days, "day_days": config.day_days}
        built: list[Timeline | SwapTimeline] = []

        def now() -> int:
            return built[0].now_ms if built else start

        if name in _SWAPS:
            markets_of, intervals = _SWAPS[name]
            swaps = SwapMarket(
                config.seed, markets_of(config.oddities), start, now, end_ms=end,
                trades_per_day=config.swap_trades_per_day, spot_trades_per_day=config.trades_per_day, **days,
            )  # fmt: skip
            built.append(
                SwapTimeline(swaps, intervals, start, end, config.swap_fast, self._live(name), _HEARTBEATS_MS.get(name))
            )
        else:
            market = HiddenMarket(config.seed, start, now, end_ms=end, trades_per_day=config.trades_per_day, **days)
            leaves = upbit.leaving(config.oddities, start)
            built.append(Timeline(market, start, end, config.fast, config.live, leaves))
        return built[0]

    def _live(self, name: str) -> SwapCadence:
        return self.config.binance_live if name == "binance" else self.config.okx_live

    def _routes(self) -> list[web.RouteDef]:
        routes = Control(self.rooms).routes()
        makers: Mapping[str, Callable[[Room], list[web.RouteDef]]] = {
            "upbit": self._upbit, "okx": self._okx, "binance": self._binance,
        }  # fmt: skip
        for name, room in self.rooms.items():
            routes += makers[name](room)
        return routes

    def _upbit(self, room: Room) -> list[web.RouteDef]:
        timeline = room.timeline if isinstance(room.timeline, Timeline) else None
        stream = UpbitStream(self.config, room.hub, timeline, _in_market if timeline else _any_code, self._limits_of)
        rest = (
            UpbitRest(timeline, self._limits_of, self.config.oddities).routes()
            if timeline
            else ReplayedRest(self._recorded().codes(), self._limits_of).routes()
        )
        return [web.get(PATH, stream.handle), *rest]

    def _okx(self, room: Room) -> list[web.RouteDef]:
        timeline = room.timeline if isinstance(room.timeline, SwapTimeline) else None
        limits = OkxLimits(self.config.limits)
        stream = OkxStream(self.config, room.hub, timeline, timeline.codes if timeline else None)
        rest = (
            OkxRest(timeline, limits, self.config.oddities) if timeline else ReplayedOkxRest(self._recorded(), limits)
        )
        return [*stream.routes(), *rest.routes()]

    def _binance(self, room: Room) -> list[web.RouteDef]:
        timeline = room.timeline if isinstance(room.timeline, SwapTimeline) else None
        shown = self.config.oddities
        limits = BinanceLimits(self.config.limits, ban_in_words=Oddity.BINANCE_BAN_IN_WORDS in shown)
        rest = BinanceRest(timeline, limits, shown) if timeline else ReplayedBinanceRest(self._recorded(), limits)
        return [*BinanceStream(self.config, room.hub).routes(), *rest.routes()]

    def _recorded(self) -> Recording:
        assert self.recording is not None  # noqa: S101 (without a timeline there is one)
        return self.recording

    def _limits_of(self, address: str) -> Limits:
        return self._limits.setdefault(address, Limits(self.config.limits))


def _notice(name: str) -> Callable[[Connection], bytes] | None:
    return notice if name == "okx" else None


def _in_market(named: list[str]) -> Collection[str]:
    return MARKETS


def _any_code(named: list[str]) -> Collection[str]:
    return set(named)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
