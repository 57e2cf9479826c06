"""A warehouse, a lake and a real Airflow for the tests in this folder.

Lives here: putting them together, filling the lake with trades, and what changed in the warehouse. Doesn't: starting
servers (``tidemark.local``), the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from tests.dags.slack import SlackServer
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.local import LocalStore
from tidemark.lake.parquet import Footer
from tidemark.local import process
from tidemark.local.airflow import AirflowServer
from tidemark.local.airflow_client import DONE, AirflowClient
from tidemark.naming import chain_object, raw_topic

EXCHANGE = "upbit"
CLUSTER = "test"
BASE = datetime(2026, 4, 13, 3, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Platform:
    """What a test gets: Airflow, the lake, the administrator's URL of the warehouse, Slack."""

    airflow: AirflowServer
    lake: LocalStore
    warehouse: str
    slack: SlackServer

    @property
    def client(self) -> AirflowClient:
        """Airflow's REST API."""
        return self.airflow.client

    def land_trades(self, start: int, count: int) -> None:
        """Put an object of ``count`` trades into the lake, as the sink does, at offset ``start``."""
        topic = raw_topic(EXCHANGE, "trade")
        rows = [_trade(topic, offset) for offset in range(start, start + count)]
        received = [int(row["received_at"].timestamp()) * 10**9 for row in rows]  # type: ignore[attr-defined]
        footer = Footer(
            topic, 0, CLUSTER, 0, start, start + count - 1, rows=count, parsed=count,
            received_min=min(received), received_max=max(received),
        )  # fmt: skip
        path = chain_object(topic, CLUSTER, 0, 0, start)
        assert self.lake.put_new(path, parquet.write(CONTRACTS["trade"], rows, footer))

    def contents(self, *tables: str) -> dict[str, tuple[int, str]]:
        """For each table its number of rows and a hash over all of them."""
        query = "select count(*), coalesce(md5(string_agg(t::text, '' order by t::text)), '') from {} as t"
        with psycopg.connect(self.warehouse) as connection:
            found = {}
            for table in tables:
                row = connection.execute(sql.SQL(query).format(sql.Identifier(*table.split(".")))).fetchone()
                assert row is not None
                found[table] = (row[0], row[1])
            return found

    def settle(self, *dag_ids: str, timeout_s: float = 400) -> None:
        """Wait until none of these DAGs has a run that isn't over: an unpaused DAG also runs by itself."""

        def over() -> bool:
            runs = [run for dag_id in dag_ids for run in self.client.runs(dag_id)]
            return bool(runs) and all(run["state"] in DONE for run in runs)

        process.wait_until(f"the end of {', '.join(dag_ids)}", over, timeout_s=timeout_s, every_s=0.5)
        failed = [
            (r["dag_id"], r["dag_run_id"]) for d in dag_ids for r in self.client.runs(d) if r["state"] != "success"
        ]
        assert failed == []

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows of the warehouse."""
        with psycopg.connect(self.warehouse) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload,no-any-return]

    def log(self, dag_id: str, run_id: str) -> str:
        """Everything that the tasks of one run logged."""
        folder = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(path.read_text("utf-8") for path in sorted(folder.rglob("*.log")))


def wait_for_dags(airflow: AirflowServer, wanted: frozenset[str]) -> None:
    """Wait until the DAG processor has parsed every file, with or without success."""
    log = airflow.programs["dag-processor"].log

    def parsed() -> bool:
        return set(airflow.client.dags()) >= wanted or bool(airflow.client.import_errors())

    process.wait_until("the DAGs", parsed, timeout_s=200, log=log, every_s=0.5)


def _trade(topic: str, offset: int) -> dict[str, object]:
    at = BASE + timedelta(seconds=7 * offset)
    return {
        "exchange": EXCHANGE,
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "trade_id": 17_000_000_000_000_000 + offset,
        "event_at": at,
        "price": Decimal(100_000_000 + 1_000 * (offset % 17)),
        "size": Decimal("0.00012345") + Decimal(offset) / 10**8,
        "side": "buy" if offset % 3 else "sell",
        "published_at": at,
        "stream_type": "REALTIME",
        "source": "ws",
        "received_at": at + timedelta(milliseconds=40),
        "connection_id": "connection-1",
        "frame_no": offset + 1,
        "kafka_cluster": CLUSTER,
        "kafka_epoch": 0,
        "kafka_topic": topic,
        "kafka_partition": 0,
        "kafka_offset": offset,
        "item": 0,
        "frame": b"{}",
    }
