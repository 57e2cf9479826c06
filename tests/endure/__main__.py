"""``make endure MINUTES=75 FAULTS=0 BUSY=0``: the platform by its own schedule, and what it says of itself then.

Contains: ``make up`` on ports of its own, a line a minute, faults ordered meanwhile, and the verdict: without faults no
gap, no red hour, no reconnect, no failed run, no alarm; with faults exactly those. Does not contain: ordering and
matching faults (``faults``). Begin it some minutes before a full hour, so that it crosses two of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.endure import faults
from tests.endure.faults import Found, Ordered
from tests.integration.alerts.doubles import FakeSlack
from tests.integration.end_to_end.conftest import Platform, platform
from tidemark.local import day as market_day
from tidemark.local import stack
from tidemark.local.airflow_client import AirflowClient
from tidemark.settings import PROJECT_ROOT, Settings

_MIB = 1024 * 1024
#: Faults are ordered until so many minutes before the end, so that each can be found by then.
_CALM_MINUTES = 10
_PLANNED = ("planned", "the producer stops", "replaced before", "the plan of connections", "not in the plan")
_COLUMNS = ("minute", "time", "raw rows", "gaps", "red", "open", "failed", "reconnects", "alarms", "lake files", "MiB")
_GAPS = """
select exchange, stream, from_at, to_at, cause, state from ops.gap where from_at >= %s or to_at is null or to_at >= %s
order by from_at
"""
_CLOSED = "select exchange, connection, event_at, reason from raw.system_v1 where kind = 'close' and event_at >= %s"


@dataclass
class State:
    """What was seen at one look."""

    rows: int = 0
    gaps: list[Found] = field(default_factory=list)
    red: list[str] = field(default_factory=list)
    open: int = 0
    failed: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.endure", description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--faults", type=int, default=0, help="so many random faults")
    parser.add_argument("--busy", type=int, default=0, help="so many processes that only take CPU time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tidemark-endure-") as folder, _busy(options.busy):
        return _run(Path(folder), options.minutes, options.faults, random.Random(options.seed))


def _run(folder: Path, minutes: float, count: int, chance: random.Random) -> int:
    slack = FakeSlack()
    with slack.running(), contextlib.contextmanager(_platform)(folder, slack) as one:
        began = time.monotonic()
        done = one.tidemark("up")
        if done.returncode:
            print("FAILED: make up did not end well")
            return 1
        since = datetime.now(UTC)
        print(f"\nup after {time.monotonic() - began:.0f} s; {minutes:g} minutes from {since:%Y-%m-%d %H:%M} UTC on\n")
        ordered = _watch(one, slack, since, minutes, count, chance)
        print("\neverything that came in is loaded, built and checked")
        _settle(one)
        state = _look(one, slack, since)
        return _judged(state, ordered)


def _platform(folder: Path, slack: FakeSlack) -> Iterator[Platform]:
    """A platform of the usual size and the usual rotation."""
    cache = PROJECT_ROOT / ".tidemark" / "cache"
    if cache.is_dir():
        (folder / "cache").symlink_to(cache)
    for one in platform(folder, slack, memory=False, trades_per_day=Settings().local.trades_per_day):
        del one.env["TIDEMARK_SINK__ROTATE_ROWS"]
        yield one


def _watch(
    one: Platform, slack: FakeSlack, since: datetime, minutes: float, count: int, chance: random.Random
) -> list[Ordered]:
    """A line a minute; faults in between."""
    ordered: list[Ordered] = []
    begin = time.monotonic()
    due = faults.moments(count, max(1.0, minutes - _CALM_MINUTES) * 60, chance)
    print("  ".join(f"{name:>10}" for name in _COLUMNS))
    line_at = begin
    while (now := time.monotonic()) < begin + minutes * 60:
        if due and now - begin >= due[0]:
            due.pop(0)
            ordered.append(faults.order(one.local.simulator_port, chance))
            print(f"  ordered: {ordered[-1].kind} of {ordered[-1].exchange}, {ordered[-1].reached} connections")
        if now >= line_at:
            line_at += 60
            _line(round((now - begin) / 60), _look(one, slack, since))
        time.sleep(0.5)
    return ordered


def _line(minute: int, state: State) -> None:
    counts = [len(state.gaps), len(state.red), state.open, len(state.failed), len(state.closed), len(state.alarms)]
    cells = [minute, f"{datetime.now(UTC):%H:%M}", state.rows, *counts, state.files, round(state.bytes / _MIB)]
    print("  ".join(f"{cell:>10}" for cell in cells), flush=True)


def _look(one: Platform, slack: FakeSlack, since: datetime) -> State:
    state = State()
    state.rows = int(one.rows("select coalesce(sum(rows), 0) from ops.load_ledger")[0][0])
    state.gaps = [Found(*row) for row in one.rows(_GAPS, since, since)]
    state.red = [
        f"identity {i}, {x} {d}, {h:%H:00}: {detail}"
        for i, x, d, h, detail in one.rows(
            "select identity, exchange, dataset, hour_at, detail from ops.completeness where status = 'red'"
        )
    ]
    state.open = int(one.rows("select count(*) from ops.completeness where status = 'open'")[0][0])
    runs = _client(one).runs(limit=100)
    state.failed = sorted(f"{run['dag_id']} {run['dag_run_id']}" for run in runs if run["state"] == "failed")
    state.closed = [
        f"{exchange} {name} {at:%H:%M:%S}: {reason}"
        for exchange, name, at, reason in one.rows(_CLOSED, since)
        if not str(reason).startswith(_PLANNED)
    ]
    state.alarms = [json.dumps(m.get("text", ""))[:200] for m in slack.messages if "metadata" not in m]
    lake = list(one.layout.lake.rglob("*.parquet"))
    state.files, state.bytes = len(lake), sum(file.stat().st_size for file in lake if file.exists())
    return state


def _settle(one: Platform) -> None:
    """Land, load, build and check all there is, then ask for what is missing and check again."""
    layout, settings, client = one.layout, one.settings, _client(one)
    market_day.wait_until_landed(layout, settings, lambda _: None)
    for dags in (market_day.loads(settings), ("raw__candle__fetch",), (market_day.REPAIR,), market_day.loads(settings)):
        market_day.run_anew(client, dags, lambda _: None)
    market_day.run_anew(client, market_day.BUILDS, lambda _: None)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    window = {"window_start": (now - timedelta(hours=26)).isoformat(), "window_end": now.isoformat()}
    with contextlib.suppress(Exception):  # red is an outcome, and looked at below
        market_day.run(client, market_day.CHECK, window, lambda _: None)


def _judged(state: State, ordered: list[Ordered]) -> int:
    problems = [*(f"red: {one}" for one in state.red), *(f"failed run: {one}" for one in state.failed)]
    problems += faults.differences(ordered, state.gaps)
    if not ordered:
        problems += [f"reconnect: {one}" for one in state.closed] + [f"alarm: {one}" for one in state.alarms]
    for one in ordered:
        mine = [str(gap) for gap in state.gaps if one.explains(gap)]
        print(f"  {one.at:%H:%M:%S} {one.kind:<10} {one.exchange:<8} {'; '.join(mine) or 'nothing on record'}")
    for problem in problems:
        print(f"✗ {problem}")
    counts = f"{len(state.gaps)} gaps, {len(state.red)} red, {len(state.closed)} reconnects, {len(state.failed)} failed"
    print(f"{'FAILED' if problems else 'passed'}: {len(ordered)} faults ordered; {counts} runs")
    return 1 if problems else 0


def _client(one: Platform) -> AirflowClient:
    return stack.airflow_server(one.layout, one.settings).client


def _spin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pass


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that take what CPU time there is."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for one in spinning:
        one.start()
    try:
        yield
    finally:
        for one in spinning:
            one.kill()


if __name__ == "__main__":
    sys.exit(main())
