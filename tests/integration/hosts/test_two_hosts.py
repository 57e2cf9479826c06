"""Producer and sink on two hosts: two network namespaces that reach a broker in a third, and not each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import _CACHE, _need_java
from tidemark.lake import parquet
from tidemark.lake.local import LocalStore
from tidemark.settings import PROJECT_ROOT

BROKER = "10.77.0.1"
TRADES = 2_000
TOPIC = "raw.upbit.trade.v1"


@dataclass
class Host:
    """One network namespace."""

    name: str

    def command(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*command), capture_output=True, text=True, timeout=30)

    def ask(self, port: int, path: str) -> tuple[int, dict[str, object]]:
        """What a worker of this host answers."""
        code = f"""import sys, urllib.request, urllib.error
try: answer = urllib.request.urlopen('http://127.0.0.1:{port}/{path}', timeout=5)
except urllib.error.HTTPError as error: answer = error
print(answer.status, answer.read().decode())"""
        done = self.run(sys.executable, "-c", code)
        if done.returncode:
            return 0, {}
        status, _, body = done.stdout.partition(" ")
        return int(status), json.loads(body)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    """``broker`` at 10.77.0.1, with a line of its own to each of ``producer`` and ``sink``; nothing is forwarded."""
    number = os.getpid() % 10_000
    made = {name: Host(f"tm{number}-{name}") for name in ("broker", "producer", "sink")}
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("no network namespaces here")
    try:
        for host in made.values():
            _ip("netns", "add", host.name)
    except subprocess.CalledProcessError:
        for host in made.values():
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)
        pytest.skip("no network namespaces here")
    try:
        for host in made.values():
            _ip("-n", host.name, "link", "set", "lo", "up")
        _ip("-n", made["broker"].name, "address", "add", f"{BROKER}/32", "dev", "lo")
        for line, name in enumerate(("producer", "sink"), 1):
            here, there = f"tm{number}b{line}", f"tm{number}w{line}"
            _ip("link", "add", here, "netns", made["broker"].name, "type", "veth",
                "peer", "name", there, "netns", made[name].name)  # fmt: skip
            for host, device, end in ((made["broker"], here, 1), (made[name], there, 2)):
                _ip("-n", host.name, "address", "add", f"10.77.{line}.{end}/30", "dev", device)
                _ip("-n", host.name, "link", "set", device, "up")
            _ip("-n", made[name].name, "route", "add", BROKER, "via", f"10.77.{line}.1")
        yield made
    finally:
        for host in made.values():
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process on a host; all are ended, the last one first."""
    with ExitStack() as stack:

        def start(host: Host, name: str, command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
            clean = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMARK_")}
            log = stack.enter_context((tmp_path / f"{name}.log").open("w"))
            process = subprocess.Popen(
                host.command(sys.executable, "-m", *command),
                cwd=PROJECT_ROOT, env={**clean, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    if process.stdout:
        process.stdout.close()


def said(process: subprocess.Popen[str], tmp_path: Path, name: str) -> str:
    """The line in which a role says where it is."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, (tmp_path / f"{name}.log").read_text()
    return line


def landed(store: LocalStore) -> list[int]:
    """The ids of all trades in the lake."""
    rows = [
        row
        for listed in store.list(f"landing/{TOPIC}/")
        for row in parquet.read(store.get(listed.path), ["trade_id"]).to_pylist()
    ]
    return sorted(row["trade_id"] for row in rows)


def until(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


def test_data_flows_between_hosts_that_share_nothing_but_the_broker(
    hosts: dict[str, Host], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    _need_java()
    folder = tmp_path / "broker" / "kafka"
    roles = "tests.integration.hosts.roles"
    broker = start(hosts["broker"], "broker", [roles, "broker", BROKER, str(folder), str(_CACHE)])
    exchange = start(hosts["producer"], "exchange", [roles, "exchange", str(TRADES)])
    shared = {
        "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS": said(broker, tmp_path, "broker"),
        "TIDEMARK_PLATFORM__EXCHANGES": '["upbit"]',
    }
    assert shared["TIDEMARK_KAFKA__BOOTSTRAP_SERVERS"] == f"{BROKER}:9092"
    assert hosts["sink"].run("ping", "-c1", "-W1", "10.77.1.2").returncode != 0  # they don't reach each other

    start(
        hosts["producer"], "producer", ["streaming.producer"], **shared,
        TIDEMARK_UPBIT__WS_URL=said(exchange, tmp_path, "exchange"), TIDEMARK_UPBIT__CODES='["KRW-BTC"]',
        TIDEMARK_UPBIT__DATASETS='["trade"]',
    )  # fmt: skip
    start(
        hosts["sink"], "sink", ["streaming.consumer", "--topic", TOPIC], **shared,
        TIDEMARK_LAKE__URL=f"file://{tmp_path}/lake", TIDEMARK_SINK__ROTATE_SECONDS="0.5",
    )  # fmt: skip
    until(lambda: hosts["sink"].ask(9102, "readyz")[0] == 200)
    store = LocalStore.from_url(f"file://{tmp_path}/lake")
    until(lambda: len(landed(store)) > TRADES)
    found = landed(store)
    assert found == list(range(len(found)))

    # The line between broker and sink is cut and mended: nothing is lost, nothing comes twice.
    number = hosts["sink"].name.split("-")[0]
    _ip("-n", hosts["sink"].name, "link", "set", f"{number}w2", "down")
    time.sleep(3)
    _ip("-n", hosts["sink"].name, "link", "set", f"{number}w2", "up")
    _ip("-n", hosts["sink"].name, "route", "add", BROKER, "via", "10.77.2.1")
    before = len(found)
    until(lambda: len(landed(store)) > before + 30)
    found = landed(store)
    assert found == list(range(len(found)))
