"""The whole platform by its two commands, in a state directory and on ports of the test's own.

Lives here: starting and stopping it, and asking its parts. Doesn't: what is expected (the tests beside it).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.integration.alerts.doubles import CHANNEL, TOKEN, FakeSlack
from tidemark.local import children, process
from tidemark.local.layout import Layout
from tidemark.settings import PROJECT_ROOT, LocalSettings, PlatformSettings, Settings

UP_S = 900


@dataclass
class Platform:
    """One platform. ``settings`` are what its processes were told."""

    state: Path
    env: dict[str, str]
    local: LocalSettings
    memory: bool
    exchanges: PlatformSettings

    def tidemark(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user does; its output is printed, so that a failing test shows it."""
        done = subprocess.run(
            [sys.executable, "-m", "tidemark.cli", *arguments],
            cwd=PROJECT_ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=UP_S,
            check=False,
        )
        print(done.stdout[-6000:], done.stderr[-3000:])
        return done

    @property
    def layout(self) -> Layout:
        return Layout(Settings(local=self.local, platform=self.exchanges))

    @property
    def settings(self) -> Settings:
        return children.local_settings(self.layout, self.memory)

    def rows(self, query: str | sql.Composed, *parameters: Any, user: str = "") -> list[tuple[Any, ...]]:
        url = self.layout.postgres.url(user=user) if user else self.layout.postgres.url()
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def oracle(self, question: str, exchange: str = "upbit", **parameters: object) -> Any:
        """The simulator's own account of what an exchange sent; its decimals are text."""
        query = urlencode({"exchange": exchange, **parameters})
        url = f"http://127.0.0.1:{self.local.simulator_port}/_sim/{question}?{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer, parse_float=Decimal)

    def exchange(self, question: str) -> Any:
        """What the simulated exchange answers over REST."""
        time.sleep(0.12)  # it keeps its limit of ten a second
        url = f"http://127.0.0.1:{self.local.simulator_port}/v1/{question}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return json.load(answer, parse_float=Decimal)

    def services(self) -> dict[Path, int]:
        """What runs by itself, by the file that names it; a task of Airflow's comes and goes."""
        found = {file: process.running(file) for file in self.state.rglob("*.pid")}
        return {file: pid for file, pid in found.items() if pid is not None}

    def processes(self) -> list[psutil.Process]:
        """Every process that knows of this platform's state directory."""
        found = []
        for one in psutil.process_iter():
            try:
                known = " ".join(one.cmdline()) + " ".join(one.environ().values()) + one.cwd()
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            if str(self.state) in known and one.pid != psutil.Process().pid:
                found.append(one)
        return found


def platform(
    state: Path, slack: FakeSlack, *, memory: bool, trades_per_day: int, exchanges: tuple[str, ...] = ()
) -> Iterator[Platform]:
    """A platform that is not started yet, of all exchanges or these; stopped at the end whatever happened."""
    carried = PlatformSettings(exchanges=exchanges) if exchanges else PlatformSettings()
    names = ("airflow", "pages", "kafka", "postgres", "valkey", "simulator")
    ports = {f"{name}_port": process.free_port() for name in names}
    local = LocalSettings(
        state_dir=state,
        broker="memory" if memory else "auto",
        trades_per_day=trades_per_day,
        swap_trades_per_day=trades_per_day // 5,
        **ports,
    )
    settings = {f"TIDEMARK_LOCAL__{name}".upper(): str(getattr(local, name)) for name in LocalSettings.model_fields}
    settings |= {
        "TIDEMARK_PLATFORM__EXCHANGES": json.dumps(carried.exchanges),
        "TIDEMARK_SLACK__BASE_URL": f"{slack.url}/api",
        "TIDEMARK_SLACK__TOKEN": TOKEN,
        "TIDEMARK_SLACK__CHANNEL": CHANNEL,
        "TIDEMARK_SINK__ROTATE_ROWS": "2500",  # chains with a first, a middle and a newest object
        "TIDEMARK_SINK__METRICS_PORT": "0",
        "TIDEMARK_PRODUCER__METRICS_PORT": "0",
    }
    one = Platform(state, process.environment(settings), local, memory, carried)
    try:
        yield one
    finally:
        one.tidemark("down")
        one.layout.postgres.remove()  # root's data lie outside of the state directory


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory; the jars of the project's cache are used again where they are."""
    state = tmp_path_factory.mktemp("state")
    cache = PROJECT_ROOT / ".tidemark" / "cache"
    if cache.is_dir():
        (state / "cache").symlink_to(cache)
    return state


@pytest.fixture(scope="module")
def slack() -> Iterator[FakeSlack]:
    """A Slack that nobody else posts to."""
    double = FakeSlack()
    with double.running():
        yield double
