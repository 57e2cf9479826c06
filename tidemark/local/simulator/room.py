"""One exchange of the simulator: its sockets, its log, its clock, its player.

Lives here: what the server and the control endpoints need of an exchange, whichever it is. Doesn't: building it
(``server``), any of its parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tidemark.local.simulator.hub import Connection, Hub
from tidemark.local.simulator.ledger import SentLog
from tidemark.local.simulator.market.instruments import Market
from tidemark.local.simulator.market.plan import Plan
from tidemark.local.simulator.player import Phases, Player
from tidemark.local.simulator.replay import ReplayPlayer
from tidemark.local.simulator.swap.timeline import SwapTimeline
from tidemark.local.simulator.timeline import Timeline


@dataclass
class Room:
    """One exchange. Without a timeline it plays a recording, and knows no plan and no markets."""

    name: str
    hub: Hub
    log: SentLog
    phases: Phases
    player: Player | ReplayPlayer
    timeline: Timeline | SwapTimeline | None
    #: The end of the past period and of fast playing, Unix ms; None: now.
    period_end_ms: int | None = None
    fast_end_ms: int | None = None
    plan: Plan | None = None
    markets: Mapping[str, Market] = field(default_factory=dict)
    #: What the exchange says before it closes a connection for a while.
    notice: Callable[[Connection], bytes] | None = None

    def period(self) -> tuple[int, int]:
        """The played period so far, in Unix ms."""
        return (self.timeline.start_ms, self.timeline.now_ms) if self.timeline else (0, 0)

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
        if isinstance(self.player, ReplayPlayer):
            frames = len(self.player.recording.frames)
            return {
                "replay": True,
                "progress": round(self.player.place / frames, 4),
                "frames_total": frames,
                "frames_given_up": self.player.given_up,
                "lines_skipped": len(self.player.recording.skipped),
            }
        begin, now = self.period()
        fast_end = self.fast_end_ms or time.time_ns() // 1_000_000
        end = self.period_end_ms or fast_end
        return {
            "from_ms": begin,
            "to_ms": end,
            "now_ms": now,
            "period_progress": _share(begin, now, end),
            "progress": 1.0 if self.phases.current in ("live", "done") else _share(begin, now, fast_end),
        }


def _share(begin: int, now: int, end: int) -> float:
    return round(min((now - begin) / (end - begin), 1.0), 4) if end > begin else 1.0
