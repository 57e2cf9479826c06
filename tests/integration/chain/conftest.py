"""The chain from socket to gold, started piece by piece: a simulator, a producer and a sink as processes, the load in
this one, dbt as a command.

Lives here: the harness. Doesn't: what is expected of it (the tests beside it).
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from tidemark.jobs import fetch_markets, load, migrate
from tidemark.local import children, dbt, process
from tidemark.local.kafka import KafkaServer
from tidemark.settings import (
    PROJECT_ROOT,
    ExchangeSettings,
    KafkaSettings,
    LakeSettings,
    PlatformSettings,
    Settings,
    SinkSettings,
    WarehouseSettings,
)
from tidemark.warehouse.connection import dbt_environment

PATIENCE_S = 90.0


@dataclass
class Chain:
    """One whole chain of one exchange on servers of its own."""

    settings: Settings
    folder: Path
    exchange: str = "upbit"
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part as a process; its output goes to a log in the test's folder."""
        with (self.folder / f"{module}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=PROJECT_ROOT,
                env=process.environment(children.environment(self.settings)),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running.append(child)
        return child

    def log(self, module: str) -> str:
        return (self.folder / f"{module}.log").read_text("utf-8")

    def load(self, *datasets: str) -> None:
        for dataset in datasets:
            load.run(self.settings, dataset, self.exchange)

    def load_until(self, offsets: int, *datasets: str) -> None:
        """Load what has landed until the ledger accounts for so many offsets of these datasets."""
        give_up = time.monotonic() + PATIENCE_S
        query = """
            select coalesce(sum(parsed + dead + ignored), 0) from ops.load_ledger
            where kind = 'data' and dataset = any(%s)
        """
        while self.one(query, [list(datasets)]) < offsets:
            assert time.monotonic() < give_up, self.log("streaming.consumer")[-3000:]
            time.sleep(0.5)
            self.load(*datasets)

    def build(self, *select: str) -> None:
        """``dbt build`` of silver and gold (or a selection), tests included."""
        environment = dbt_environment(self.settings.warehouse)
        done = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", "--quiet", "build", "--exclude-resource-type", "unit_test"]
            + ["--target-path", str(self.folder / "target")]
            + ["--log-path", str(self.folder), "--project-dir", str(dbt.PROJECT), "--profiles-dir", str(dbt.PROJECT)]
            + (["--select", *select] if select else []),
            cwd=self.folder,
            env=process.environment(environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]

    def rows(self, query: LiteralString, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.warehouse.admin_url.get_secret_value()) as connection:
            return connection.execute(query, parameters).fetchall()

    def one(self, query: LiteralString, parameters: Sequence[Any] = ()) -> Any:
        return self.rows(query, parameters)[0][0]

    def stop(self) -> None:
        for child in reversed(self.running):
            child.terminate()
        for child in self.running:
            child.wait(30)


@pytest.fixture
def chain(
    fresh_kafka: Callable[[], KafkaServer], fresh_database: Callable[..., str], tmp_path: Path
) -> Iterator[Callable[..., Chain]]:
    """A function that makes a chain against a simulator with the options given; migrated, its market list loaded."""
    made: list[Chain] = []

    def make(*simulator_options: str, exchange: str = "upbit", **taken: Any) -> Chain:
        origin = f"127.0.0.1:{process.free_port()}"
        url = fresh_database()
        configured: ExchangeSettings = getattr(Settings(), exchange)
        where = {"ws_url": f"ws://{origin}", "rest_url": f"http://{origin}"}
        settings = Settings(
            **{exchange: configured.model_copy(update={**where, **taken})},
            platform=PlatformSettings(exchanges=(exchange,)),
            kafka=KafkaSettings(bootstrap_servers=fresh_kafka().bootstrap),
            lake=LakeSettings(url=f"file://{tmp_path}/lake"),
            warehouse=WarehouseSettings(
                url=SecretStr(make_conninfo(url, user="tidemark_loader")), admin_url=SecretStr(url)
            ),
            sink=SinkSettings(rotate_seconds=1.0),
        )
        chain = Chain(settings, tmp_path, exchange)
        made.append(chain)
        chain.start("tidemark.local.simulator", "--port", origin.rpartition(":")[2], *simulator_options)
        _await_line(chain, "tidemark.local.simulator", r"simulator ready")
        migrate.run(settings)
        fetch_markets.run(settings, exchange)
        chain.load("market")
        return chain

    yield make
    for chain in made:
        chain.stop()


def _await_line(chain: Chain, module: str, pattern: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not re.search(pattern, chain.log(module)):
        assert time.monotonic() < give_up, chain.log(module)
        time.sleep(0.1)
