"""One Airflow, warehouse and lake for all tests of this folder: starting them takes half a minute.

Lives here: the fixture. Doesn't: what it gives (``stage``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from tests.dags import project
from tests.dags.slack import SlackServer
from tests.integration.airflow.stage import Platform, wait_for_dags
from tidemark.exchanges.registry import EXCHANGES
from tidemark.lake.local import LocalStore
from tidemark.local import process
from tidemark.local.airflow import AirflowServer
from tidemark.local.postgres import PostgresServer
from tidemark.local.process import Program
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.migrate import migrate


@pytest.fixture(scope="session")
def platform(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A real Airflow with the project's DAGs, over a migrated warehouse and an empty lake."""
    folder = tmp_path_factory.mktemp("platform")
    warehouse = postgres_server.url("dag_warehouse")
    migrate(WarehouseSettings(admin_url=SecretStr(warehouse)))
    postgres_server.create_database("dag_airflow")
    exchange = _simulator(folder, process.free_port())
    with SlackServer() as slack:
        airflow = _airflow(folder, postgres_server, slack, exchange)
        try:
            process.start(exchange)
            airflow.start()
            wait_for_dags(airflow, project.DAG_IDS)
            yield Platform(airflow, LocalStore(folder / "lake"), warehouse, slack)
        finally:
            airflow.stop()
            process.stop(exchange)
            _drop(postgres_server, "dag_warehouse", "dag_airflow")


def _airflow(folder: Path, server: PostgresServer, slack: SlackServer, exchange: Program) -> AirflowServer:
    rest = {f"TIDEMARK_{name.upper()}__REST_URL": f"http://127.0.0.1:{exchange.command[-1]}" for name in EXCHANGES}
    settings = rest | {
        "AIRFLOW__COSMOS__CACHE_DIR": str(folder / "cosmos"),
        "TIDEMARK_LAKE__URL": f"file://{folder / 'lake'}",
        "TIDEMARK_WAREHOUSE__URL": server.url("dag_warehouse", "tidemark_loader"),
        "TIDEMARK_SLACK__BASE_URL": slack.url,
        "TIDEMARK_SLACK__TOKEN": "xoxb-test",
        "TIDEMARK_SLACK__CHANNEL": "C0REPORT",
        "TIDEMARK_SLACK__ALERT_CHANNEL": "C0ALERTS",
    }
    return AirflowServer(folder / "airflow", process.free_port(), folder / "logs", server.url("dag_airflow"), settings)


def _simulator(folder: Path, port: int) -> Program:
    """An exchange that has a past and plays nothing: nobody subscribes."""
    home = folder / "simulator"
    command = [sys.executable, "-m", "tidemark.local.simulator", "--port", str(port)]
    return Program("the simulator", command, home, home / "log", home / "pid", env={"PYTHONPATH": str(project.ROOT)})


def _drop(server: PostgresServer, *names: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(f'drop database if exists "{name}" with (force)')  # type: ignore[call-overload]
