"""A sink as Prometheus, probes and systemd see it: the figures are those of the lake, and health tells the truth."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.sink.plant import START_NS, Frame, Plant, headers, trades, until
from tidemark.lake.chain import Chain
from tidemark.local import process
from tidemark.settings import PROJECT_ROOT

READY = 90


class Observed:
    """A sink in a process of its own, started as systemd would start it, and what it shows."""

    def __init__(self, plant: Plant, *topics: str, folder: Path, **environment: str) -> None:
        self.port = process.free_port()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.setblocking(False)
        self.log = folder / "sink.log"
        settings = plant.settings()
        own = {
            "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": plant.bootstrap,
            "TIDEMARK_LAKE__URL": settings.lake.url,
            "TIDEMARK_SINK__GROUP": plant.group,
            "TIDEMARK_SINK__ROTATE_SECONDS": "0.4",
            "TIDEMARK_SINK__SESSION_TIMEOUT_MS": "6000",
            "TIDEMARK_SINK__METRICS_PORT": str(self.port),
            "TIDEMARK_LOG__FILE": str(self.log),
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": "3000000",
        }
        arguments = [part for topic in topics for part in ("--topic", topic)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streaming.consumer", *arguments],
            cwd=PROJECT_ROOT, env={**clean, **own, **environment},
        )  # fmt: skip

    def heard(self) -> list[str]:
        """Everything said to systemd since the last time."""
        found: list[str] = []
        while True:
            try:
                found += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return found

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}/{path}", timeout=3)
        except requests.RequestException:
            return 0, {}
        return answer.status_code, answer.json()

    def metrics(self) -> dict[str, float]:
        """Values by ``name{label}``, of one topic each."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=3).text
        return {
            s.name + "".join(f"{{{v}}}" for k, v in sorted(s.labels.items()) if k != "topic"): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.socket.close()


@pytest.fixture
def start(plant: Plant, tmp_path: Path) -> Iterator[Callable[..., Observed]]:
    made: list[Observed] = []

    def start(*topics: str, **environment: str) -> Observed:
        made.append(Observed(plant, *topics, folder=tmp_path, **environment))
        return made[-1]

    yield start
    for observed in made:
        observed.end()


def test_its_figures_are_those_of_the_lake(plant: Plant, start: Callable[..., Observed]) -> None:
    topic = plant.make_topic()
    bad: list[Frame] = [(b"no json", headers(n, START_NS + n)) for n in (501, 502, 503)]
    plant.send(topic, [*trades(0, 500), *bad])
    sink = start(topic)
    until(lambda: plant.end(topic) == 502, READY)
    until(lambda: sink.metrics().get("tidemark_sink_lag_offsets") == 0, 20)
    found = sink.metrics()
    footers = plant.footers(topic)
    objects = sum(o.size for o in plant.store.list(f"landing/{topic}/"))
    assert found["tidemark_sink_records_total"] == 503
    assert found["tidemark_sink_rows_total"] == sum(f.rows for f in footers) == 500
    assert found["tidemark_sink_objects_total"] == len(footers)
    assert found["tidemark_sink_object_bytes_total"] == objects
    assert sum(v for k, v in found.items() if k.startswith("tidemark_sink_dead_letters_total{")) == 3
    assert found["tidemark_sink_ignored_records_total"] == 0
    assert found["tidemark_sink_upload_seconds_count"] == len(footers)
    assert found["tidemark_sink_lag_seconds"] == 0
    assert found["tidemark_sink_partitions"] == 1
    assert found["tidemark_sink_gathered_bytes"] == 0


def test_ready_is_said_when_the_partitions_are_open_and_the_watchdog_is_fed_while_it_works(
    plant: Plant, start: Callable[..., Observed]
) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 10))
    sink = start(topic)
    heard: list[str] = []

    def said(word: str) -> bool:
        heard.extend(sink.heard())
        return word in heard

    until(lambda: said("READY=1"), READY)
    assert sink.ask("readyz")[0] == 200
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in heard[: heard.index("READY=1")])
    heard.clear()
    until(lambda: said("") or heard.count("WATCHDOG=1") >= 2)
    sink.process.terminate()
    assert sink.process.wait(30) == 0
    assert said("STOPPING=1")
    assert "sink ends" in [json.loads(line)["event"] for line in sink.log.read_text().splitlines()]


def test_a_loop_that_hangs_is_not_fed_and_not_alive(plant: Plant, start: Callable[..., Observed]) -> None:
    topic = plant.make_topic()
    plant.send(topic, trades(0, 5))
    sink = start(topic, TIDEMARK_MONITOR__STUCK_AFTER_S="2")
    until(lambda: plant.end(topic) == 4, READY)
    until(lambda: sink.ask("livez")[0] == 200, 10)
    # A disk that hangs: a pipe that nobody writes to, where the next object would be. Whoever opens it waits forever.
    os.mkfifo(plant.folder / "lake" / Chain(topic, plant.cluster, 0, 0).path(5))
    plant.send(topic, trades(5, 5))
    until(lambda: sink.ask("livez")[0] == 503, 30)
    sink.heard()
    time.sleep(3.5)
    assert sink.heard() == []
    status, answer = sink.ask("livez")
    assert status == 503
    assert "has not turned for" in answer["failing"]["loop"]
    assert sink.ask("readyz")[0] == 503
