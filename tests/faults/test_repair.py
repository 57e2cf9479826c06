"""What was missed is asked for at the exchange: a gap that a fault tore is named, then refilled to the last trade."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import Stages
from tests.faults.feed import CODE
from tests.faults.stage import EXCHANGE, Stage, until
from tests.faults.worker import Worker
from tidemark.jobs import fetch_trades, repair
from tidemark.local import process
from tidemark.local.kafka import KafkaServer
from tidemark.settings import ExchangeSettings


@pytest.fixture
def live(stages: Stages, broker: KafkaServer, tmp_path: Path) -> Stage:
    """A stage whose exchange is the simulator, in real time and busy, REST included."""
    stage = stages(broker.bootstrap)
    origin = f"127.0.0.1:{process.free_port()}"
    upbit = ExchangeSettings(ws_url=f"ws://{origin}", rest_url=f"http://{origin}", datasets=("trade",), codes=(CODE,))
    stage.settings = stage.settings.model_copy(update={"upbit": upbit})
    options = ["--port", origin.rpartition(":")[2], "--day", "", "--trades-per-day", "4000000"]
    simulator = Worker("tidemark.local.simulator", stage.settings, tmp_path / "simulator.log", options)
    stage.workers.append(simulator)
    until(lambda: "simulator ready" in simulator.tail(), 600, simulator.tail)  # it makes up the day so far
    return stage


def order(stage: Stage, **fault: object) -> None:
    """Have the simulator do something wrong."""
    url = f"{stage.settings.upbit.rest_url}/_sim/faults"
    asked = urllib.request.Request(url, json.dumps({"exchange": EXCHANGE, **fault}).encode(), method="POST")
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


def ids(stage: Stage, source: str) -> set[int]:
    """The trades that the warehouse has from the socket (``ws``) or by request (``rest``)."""
    with psycopg.connect(stage.settings.warehouse.admin_url.get_secret_value()) as connection:
        rows = connection.execute("SELECT trade_id FROM raw.trade_v1 WHERE source = %s", [source]).fetchall()
    return {row[0] for row in rows}


def mend(stage: Stage) -> tuple[set[int], set[int]]:
    """Bring it to rest, check, repair; the trades missing before and after, by the exchange's own answer."""
    stage.rest()
    stage.load()
    stage.check()
    heard = ids(stage, "ws")
    asked_at = datetime.now(UTC) + timedelta(hours=2)
    summary = repair.run(stage.settings, EXCHANGE, now=asked_at)
    assert summary.outcomes.get("repaired"), str(summary)
    mended = heard | ids(stage, "rest")
    everything = _everything(stage, heard)
    return everything - heard, everything - mended


def _everything(stage: Stage, heard: set[int]) -> set[int]:
    """Every trade between the first and the last one heard, as the exchange serves it now."""
    before = ids(stage, "rest")
    end = datetime.now(UTC)
    fetch_trades.run(stage.settings, EXCHANGE, stage.began - timedelta(minutes=1), end)
    stage.load("trade")
    return {one for one in before | ids(stage, "rest") if min(heard) <= one <= max(heard)} | heard


def test_gap_after_a_kill_is_refilled(live: Stage) -> None:
    """``kill -9`` of the producer, seconds without one, a new one → the gap is asked for at the exchange, and not one
    trade is missing afterwards."""
    live.sink()
    producer = live.producer()
    live.landed(100)
    producer.kill()
    time.sleep(4)
    before = live._landed()
    live.producer()
    live.landed(before + 100)
    missing, after = mend(live)
    assert len(missing) > 0
    assert after == set()


def test_gap_of_a_half_open_line_is_refilled(live: Stage) -> None:
    """The exchange's side of the line freezes, the producer notices and connects again → the same."""
    live.sink()
    live.producer()
    live.landed(100)
    order(live, kind="half-open")
    producer = live.workers[-1]
    until(lambda: bool(producer.said("disconnected")), 30, producer.tail)
    before = live._landed()
    live.landed(before + 100)
    missing, after = mend(live)
    assert len(missing) > 0
    assert after == set()
