"""The streaming workers and the simulator exchange as background processes.

Lives here: how each is started, how one sees that it works. Doesn't: what they do (``streaming``,
``simulator``).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import requests

from tidemark.local import process
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError, Program
from tidemark.settings import PROJECT_ROOT

#: A worker that lives this long after its start has read its settings and found its broker.
_SETTLED_S = 2.0


def sink(layout: Layout, env: Mapping[str, str]) -> Program:
    """The process that carries records to Parquet. SIGTERM: it uploads what it holds, commits and ends."""
    return _module(layout, "sink", ("streaming.consumer",), env, grace_s=45.0)


def producer(layout: Layout, env: Mapping[str, str]) -> Program:
    """The process that carries frames to the broker. SIGTERM: it sends what it holds and ends."""
    return _module(layout, "producer", ("streaming.producer",), env, grace_s=30.0)


def simulator(layout: Layout, day: Sequence[str] = ()) -> Program:
    """The simulator exchange; ``day`` are the options that say which past it plays."""
    local = layout.settings.local
    options = ["--port", str(local.simulator_port), "--seed", str(local.seed)]
    options += ["--trades-per-day", str(local.trades_per_day), "--wait-for", "all-trades", *day]
    env = {"PYTHONPATH": str(PROJECT_ROOT)}
    return _module(layout, "simulator", ("tidemark.local.simulator", *options), env)


def start(program: Program) -> None:
    """Start a worker and watch it for a moment.

    Raises:
        LocalError: it ended at once; quotes its log.
    """
    if process.running(program.pid_file) is not None:
        return
    process.start(program)
    process.settled(program.name, program.pid_file, program.log, _SETTLED_S)


def start_simulator(layout: Layout, day: Sequence[str]) -> None:
    """Start the simulator and wait until it answers.

    Raises:
        LocalError: the port is taken, or it ended or did not answer in time.
    """
    program = simulator(layout, day)
    if process.running(program.pid_file) is None:
        process.require_port("the simulator", layout.settings.local.simulator_port)
        process.start(program)
    process.wait_until(
        "the simulator",
        lambda: bool(_status(layout)),
        timeout_s=60,
        pid_file=program.pid_file,
        log=program.log,
    )


def simulator_status(layout: Layout) -> dict[str, Any]:
    """What the simulator says of its progress.

    Raises:
        LocalError: it doesn't answer.
    """
    status = _status(layout)
    if not status:
        raise LocalError(f"the simulator does not answer; see {layout.logs / 'simulator.log'}")
    return status


def simulator_trades(layout: Layout) -> dict[str, Any]:
    """The simulator's own count of the trades that it sent, by market."""
    return dict(_ask(layout, "/_sim/summary") or {})


def simulator_begin(layout: Layout) -> datetime:
    """The first instant that the simulator has played (UTC)."""
    return datetime.fromtimestamp(simulator_status(layout)["from_ms"] / 1000, UTC)


@dataclass(frozen=True)
class Candle:
    """One candle from the simulator's own log: open, high, low, close, base volume, number of trades."""

    begin: datetime
    values: tuple[Decimal, ...]


def simulator_candles(layout: Layout, code: str, begin: datetime, end: datetime) -> list[Candle]:
    """Hourly candles of one market from the trades that the simulator sent in [``begin``, ``end``)."""
    query = urlencode({"market": code, "unit": 60, "from": begin.isoformat(), "to": end.isoformat()})
    names = ("open", "high", "low", "close", "volume", "trades")
    return [
        Candle(
            datetime.fromtimestamp(row["start"] / 1000, UTC),
            tuple(Decimal(row[name]).normalize() for name in names),
        )
        for row in _ask(layout, f"/_sim/candles?{query}") or []
    ]


def _status(layout: Layout) -> dict[str, Any]:
    return dict(_ask(layout, "/_sim/status") or {})


def _ask(layout: Layout, path: str) -> Any:
    url = f"http://127.0.0.1:{layout.settings.local.simulator_port}{path}"
    with requests.Session() as session:
        session.trust_env = False  # it is on this machine: never through a proxy
        try:
            answer = session.get(url, timeout=30)
            return answer.json() if answer.ok else None
        except (requests.RequestException, ValueError):
            return None


def _module(layout: Layout, name: str, module: Sequence[str], env: Mapping[str, str], grace_s: float = 10.0) -> Program:
    home = layout.state / name
    return Program(
        name=f"the {name}",
        command=[sys.executable, "-m", *module],
        home=home,
        log=layout.logs / f"{name}.log",
        pid_file=home / f"{name}.pid",
        env=env,
        grace_s=grace_s,
    )
