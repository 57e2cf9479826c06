"""The streaming workers and the simulated exchanges as background processes.

Lives here: how each is started, how one sees that it works. Doesn't: what they do (``streaming``,
``simulator``).
"""

from __future__ import annotations

import contextlib
import os
import signal
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


def write_soon(layout: Layout) -> None:
    """Ask the sink to write what it has gathered. One that does not listen yet is not disturbed."""
    pid = process.running(sink(layout, {}).pid_file)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGURG)


def producers(layout: Layout, envs: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Program]:
    """For each exchange that is carried the process that carries its frames to the broker.

    One each: what befalls one exchange, or the code that reads it, changes nothing for the others. SIGTERM: it
    sends what it holds and ends. ``envs``: what each is told; not needed to stop them.
    """
    return {name: _producer(layout, name, (envs or {}).get(name, {})) for name in layout.settings.exchanges}


def former_producers(layout: Layout) -> list[Program]:
    """Producers that run here, or may, of exchanges that are no longer carried, and the one for all of old."""
    carried = {f"producer-{name}" for name in layout.settings.exchanges}
    others = sorted({folder.name for folder in layout.state.glob("producer*")} - carried)
    return [_module(layout, name, ("streaming.producer",), {}, grace_s=30.0) for name in others]


def simulator(layout: Layout, day: Sequence[str] = ()) -> Program:
    """The simulated exchanges; ``day`` are the options that say which past they play."""
    local = layout.settings.local
    options = ["--port", str(local.simulator_port), "--seed", str(local.seed), "--wait-for", "all-trades"]
    options += ["--trades-per-day", str(local.trades_per_day), "--swap-trades-per-day", str(local.swap_trades_per_day)]
    for name, exchange in layout.settings.exchanges.items():
        if exchange.codes:
            options += ["--wait-codes", f"{name}:{','.join(exchange.codes)}"]
        counts = {"candle": len(exchange.candle_intervals)}  # a channel each
        kinds = [f"{dataset}*{counts.get(dataset, 1)}" for dataset in exchange.datasets]
        options += ["--wait-channels", f"{name}:{','.join(kinds)}"]
    env = {"PYTHONPATH": str(PROJECT_ROOT)}
    return _module(layout, "simulator", ("tidemark.local.simulator", *options, *day), env)


def start(*programs: Program) -> None:
    """Start those workers that don't run, and watch them for a moment.

    Raises:
        LocalError: one ended at once; quotes its log.
    """
    started = [program for program in programs if process.running(program.pid_file) is None]
    for program in started:
        process.start(program)
    for place, program in enumerate(started):
        process.settled(program.name, program.pid_file, program.log, 0.1 if place else _SETTLED_S)


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
        lambda: bool(_ask(layout, "/_sim/status")),
        timeout_s=60,
        pid_file=program.pid_file,
        log=program.log,
    )


def simulator_status(layout: Layout) -> dict[str, dict[str, Any]]:
    """What the simulator says of its progress, for each exchange that is carried.

    Raises:
        LocalError: it doesn't answer.
    """
    found = {name: dict(_ask(layout, f"/_sim/status?exchange={name}") or {}) for name in layout.settings.exchanges}
    if not all(found.values()):
        raise LocalError(f"the simulator does not answer; see {layout.logs / 'simulator.log'}")
    return found


def simulator_trades(layout: Layout, exchange: str) -> dict[str, Any]:
    """The simulator's own count of the trades that it sent, by market."""
    return dict(_ask(layout, f"/_sim/summary?exchange={exchange}") or {})


def simulator_begin(layout: Layout) -> datetime:
    """The first instant that the simulator has played (UTC).

    Raises:
        LocalError: it doesn't answer.
    """
    began = min(status["from_ms"] for status in simulator_status(layout).values())
    return datetime.fromtimestamp(began / 1000, UTC)


@dataclass(frozen=True)
class Candle:
    """One candle from the simulator's own log: open, high, low, close, base volume, number of trades."""

    begin: datetime
    values: tuple[Decimal, ...]


def simulator_candles(layout: Layout, exchange: str, code: str, begin: datetime, end: datetime) -> list[Candle]:
    """Hourly candles of one market from the trades that the simulator sent in [``begin``, ``end``)."""
    window = {"from": begin.isoformat(), "to": end.isoformat()}
    query = urlencode({"exchange": exchange, "market": code, "unit": 60, **window})
    names = ("open", "high", "low", "close", "volume", "trades")
    return [
        Candle(
            datetime.fromtimestamp(row["start"] / 1000, UTC),
            tuple(Decimal(row[name]).normalize() for name in names),
        )
        for row in _ask(layout, f"/_sim/candles?{query}") or []
    ]


def _producer(layout: Layout, exchange: str, env: Mapping[str, str]) -> Program:
    name = f"producer-{exchange}"
    return _module(layout, name, ("streaming.producer", "--exchange", exchange), env, grace_s=30.0)


def _ask(layout: Layout, path: str) -> Any:
    """What our own simulator answers; None without one: whoever else has the port plays another day."""
    if process.running(simulator(layout).pid_file) is None:
        return None
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
