"""A warehouse with all of dbt over it, for benchmarks that fill raw themselves.

Lives here: starting it, dbt in this process. Doesn't: rows, what is timed, a lake (``warehouse``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from dbt.cli.main import dbtRunner

from tests.bench.harness import PROJECT_ROOT
from tidemark.local import process
from tidemark.local.postgres import PostgresServer
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.connection import dbt_environment
from tidemark.warehouse.migrate import migrate


class Build:
    """dbt over one warehouse."""

    def __init__(self, url: str, folder: Path) -> None:
        os.environ.update(dbt_environment(WarehouseSettings(url=url, dbt_user="tidemark_dbt")))
        os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
        project = str(PROJECT_ROOT / "dbt")
        self._place = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(folder)]
        self._place += ["--log-path", str(folder), "--no-write-json", "--quiet"]
        self._runner = dbtRunner(manifest=dbtRunner().invoke(["parse", *self._place]).result)

    def __call__(self, *models: str) -> tuple[float, dict[str, float]]:
        """Seconds of one build of these models, or of everything, and of each of them."""
        began = time.perf_counter()
        result = self._runner.invoke(["run", *self._place, *(["--select", *models] if models else [])])
        if not result.success:
            bad = [f"{r.node.name}: {r.message}" for r in result.result.results if r.status == "error"]
            raise SystemExit("\n".join(bad) or str(result.exception))
        times = {r.node.name: r.execution_time for r in result.result.results}
        return time.perf_counter() - began, times


@dataclass(frozen=True)
class Transformed:
    """A migrated warehouse without a row: its server, its administrator's connection, dbt."""

    server: PostgresServer
    connection: psycopg.Connection[Any]
    build: Build


@contextmanager
def transformed(folder: Path, *, durable: bool = True) -> Iterator[Transformed]:
    """PostgreSQL of this run's own, migrated; trades and candles of any day have a partition."""
    server = PostgresServer(folder / "postgres", process.free_port(), folder / "postgres.log", durable=durable)
    server.start()
    try:
        migrate(WarehouseSettings(url=server.url(), admin_url=server.url()))
        with psycopg.connect(server.url(), autocommit=True) as connection:
            for dataset in ("trade", "candle"):
                connection.execute(f"create table raw.{dataset}_v1_any partition of raw.{dataset}_v1 default".encode())
                connection.execute(f"grant select on raw.{dataset}_v1_any to tidemark_dbt".encode())
            yield Transformed(server, connection, Build(server.url(user="tidemark_dbt"), folder))
    finally:
        server.remove()
