"""The simulator: one port, one exchange.

Lives here: building it from a configuration, starting and stopping. Doesn't: any of its parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection
from datetime import UTC, datetime

from aiohttp import web

from tidemark.local.simulator.config import SimulatorConfig, check
from tidemark.local.simulator.control import Control, only_this_machine
from tidemark.local.simulator.hub import Hub
from tidemark.local.simulator.ledger import SentLog
from tidemark.local.simulator.market.hidden import HiddenMarket
from tidemark.local.simulator.market.instruments import MARKETS
from tidemark.local.simulator.player import Phases, Player
from tidemark.local.simulator.replay import ReplayPlayer, read_recording
from tidemark.local.simulator.timeline import Timeline
from tidemark.local.simulator.upbit.limits import Limits
from tidemark.local.simulator.upbit.replayed import ReplayedRest
from tidemark.local.simulator.upbit.rest import UpbitRest
from tidemark.local.simulator.upbit.stream import PATH, UpbitStream


class Simulator:
    """One simulated exchange in this process: ``port = await start()``, later ``await stop()``."""

    def __init__(self, config: SimulatorConfig) -> None:
        """ConfigError for settings that contradict each other, RecordingError for an unplayable recording."""
        self._now = datetime.now(UTC)
        if config.replay is None:
            check(config, self._now)
        self.config = config
        self.log = SentLog()
        self.phases = Phases()
        self.port = 0
        self._recording = read_recording(config.replay) if config.replay else None
        wait_for = "any" if config.replay else config.wait_for
        self.hub = Hub(self.log, wait_for, MARKETS)
        self._limits: dict[str, Limits] = {}
        self._timeline = None if self._recording else self._make_timeline()
        self._player = self._make_player()
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

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
        self._task = asyncio.create_task(self._player.run())
        return self.port

    async def stop(self) -> None:
        """Close the sockets (code 1001) and the port."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for connection in list(self.hub.connections.values()):
            if connection.open:
                await connection.ws.close(code=1001)
        if self._runner is not None:
            await self._runner.cleanup()

    async def failed(self) -> None:
        """Wait until playing breaks, and raise why; returns when there is nothing more to play."""
        if self._task is not None:
            await asyncio.shield(self._task)

    @property
    def url(self) -> str:
        """Scheme, host and port of REST."""
        return f"http://{self.config.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """The whole address of the WebSocket."""
        return f"ws://{self.config.host}:{self.port}{PATH}"

    def status(self) -> dict[str, object]:
        """How far it is: phase, simulated clock (Unix ms), what was sent, who is connected.

        ``period_progress`` is the share of the past period that has been played, ``progress`` that of all
        that is played fast (up to now, when it goes on live).
        """
        return {
            "phase": self.phases.current,
            "phases": self.phases.history,
            "waiting": not self.hub.ready(),
            **self._progress(),
            "trades_sent": len(self.log),
            "trades_missed": self.log.missed.total(),
            "frames": dict(self.hub.counts),
            "connections": [
                {
                    "name": one.name,
                    "opened_at": one.opened_at,
                    "subscribed": sorted(one.subscription.channels()) if one.subscription else [],
                    "frames": one.frames,
                    "trades": self.log.sent_to(one.name),
                }
                for one in self.hub.connections.values()
            ],
            "connections_closed": self.hub.closed,
        }

    def _progress(self) -> dict[str, object]:
        if isinstance(self._player, ReplayPlayer):
            frames = len(self._player.recording.frames)
            return {"replay": True, "progress": round(self._player.place / frames, 4), "frames_total": frames}
        begin, now = self._period()
        fast_end = self._fast_end_ms()
        end = _ms(self.config.to_at) if self.config.to_at else fast_end
        return {
            "from_ms": begin,
            "to_ms": end,
            "now_ms": now,
            "period_progress": _share(begin, now, end),
            "progress": 1.0 if self.phases.current in ("live", "done") else _share(begin, now, fast_end),
        }

    def _period(self) -> tuple[int, int]:
        return (self._timeline.start_ms, self._timeline.now_ms) if self._timeline else (0, 0)

    def _fast_end_ms(self) -> int:
        """Until when is played fast: the end of the period, or now when it goes on live."""
        if self.config.then_live or self.config.to_at is None:
            return time.time_ns() // 1_000_000
        return _ms(self.config.to_at)

    def _make_timeline(self) -> Timeline:
        config = self.config
        start = _ms(config.from_at or self._now)
        end = None if config.then_live or config.to_at is None else _ms(config.to_at)
        market = HiddenMarket(
            config.seed,
            start,
            self._period_now,
            end_ms=end,
            trades_per_day=config.trades_per_day,
            minute_days=config.minute_days,
            day_days=config.day_days,
        )
        return Timeline(market, start, end, config.fast)

    def _period_now(self) -> int:
        return self._period()[1]

    def _make_player(self) -> Player | ReplayPlayer:
        if self._timeline is None:
            assert self._recording is not None  # noqa: S101 (one of the two is always there)
            return ReplayPlayer(self._recording, self.hub, self.log, self.phases, self.config.speed)
        stop = None if self.config.then_live else self._timeline.end_ms
        return Player(self._timeline, self.hub, self.log, self.phases, stop_at_ms=stop, live=self.config.live)

    def _routes(self) -> list[web.RouteDef]:
        known = _in_market if self._timeline else _any_code
        stream = UpbitStream(self.config, self.hub, self._timeline, known, self._limits_of)
        if self._timeline is not None:
            rest = UpbitRest(self._timeline, self._limits_of).routes()
            plan = self._timeline.market.plan
        else:
            assert self._recording is not None  # noqa: S101
            rest, plan = ReplayedRest(self._recording.codes(), self._limits_of).routes(), None
        control = Control(self.hub, self.log, plan, self._period, self.status)
        return [web.get(PATH, stream.handle), *rest, *control.routes()]

    def _limits_of(self, address: str) -> Limits:
        return self._limits.setdefault(address, Limits(self.config.limits))


def _share(begin: int, now: int, end: int) -> float:
    return round(min((now - begin) / (end - begin), 1.0), 4) if end > begin else 1.0


def _in_market(named: list[str]) -> Collection[str]:
    return MARKETS


def _any_code(named: list[str]) -> Collection[str]:
    return set(named)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
