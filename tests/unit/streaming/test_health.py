"""Health: what a work loop tells systemd and whoever asks, with a real notify socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.health import Health, Pulse, Report
from streaming.notify import ServiceManager
from tidemark import settings


class Clock:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Systemd:
    """The end of the socket that systemd would hold."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@tidemark-{tmp_path.name}-{id(request)}"


@pytest.fixture
def systemd(address: str) -> Iterator[Systemd]:
    systemd = Systemd(address)
    yield systemd
    systemd.close()


def test_ready_is_said_once_and_only_when_nothing_fails(systemd: Systemd, address: str) -> None:
    clock, failing = Clock(), {"broker": "no answer"}
    pulse = Pulse(ServiceManager(address, 30.0), lambda: Report(failing=dict(failing)), clock)
    pulse.beat()
    assert systemd.heard() == [["EXTEND_TIMEOUT_USEC=180000000", "STATUS=broker: no answer"]]
    clock.at += 1.0
    pulse.beat()
    assert systemd.heard() == [["EXTEND_TIMEOUT_USEC=180000000"]]
    failing.clear()
    clock.at += 1.0
    pulse.beat()
    assert systemd.heard() == [["READY=1", "WATCHDOG=1", "STATUS=ready"]]
    failing["broker"] = "gone again"
    clock.at += 10.0
    pulse.beat()
    assert systemd.heard() == [["WATCHDOG=1", "STATUS=broker: gone again"]]


def test_the_watchdog_is_fed_three_times_an_interval_by_beats_alone(systemd: Systemd, address: str) -> None:
    clock = Clock()
    pulse = Pulse(ServiceManager(address, 30.0), now=clock)
    for _ in range(600):
        pulse.beat()
        clock.at += 0.1
    fed = [lines for lines in systemd.heard() if "WATCHDOG=1" in lines]
    assert len(fed) == 6
    clock.at += 3_600  # the loop hangs
    assert systemd.heard() == []


def test_the_end_is_said(systemd: Systemd, address: str) -> None:
    Pulse(ServiceManager(address)).stopping()
    assert systemd.heard()[0][0] == "STOPPING=1"


def test_a_deaf_manager_stops_nobody(tmp_path: Path) -> None:
    pulse = Pulse(ServiceManager(str(tmp_path / "nobody"), 1.0))
    pulse.beat()
    assert pulse.ready


def test_a_manager_that_does_not_read_blocks_nobody(systemd: Systemd, address: str) -> None:
    manager = ServiceManager(address)
    for _ in range(5_000):
        manager.tell("WATCHDOG=1")
    assert len(systemd.heard()) < 5_000


def test_without_systemd_nothing_is_said() -> None:
    def report() -> Report:
        raise AssertionError("nobody asked")

    Pulse(report=report).beat()


def test_alive_is_a_loop_that_turned_a_moment_ago() -> None:
    clock = Clock()
    pulse = Pulse(now=clock)
    health = Health("sink-1", pulse, Report, stuck_after_s=60)
    assert health.live()[0]
    clock.at += 61
    well, answer = health.live()
    assert not well
    assert answer["failing"] == {"loop": "the work loop has not turned for 61 s (limit 60 s)"}
    pulse.beat()
    assert health.live()[0]


def test_ready_says_what_is_missing_and_a_stuck_loop_never_is() -> None:
    clock = Clock()
    reports = [Report(failing={"lag": "not known yet"}), Report(degraded={"x": "breaker open"}), Report()]
    health = Health("w", Pulse(now=clock), lambda: reports.pop(0), stuck_after_s=60)
    well, answer = health.ready()
    assert (well, answer["status"], answer["failing"]) == (False, "failing", {"lag": "not known yet"})
    well, answer = health.ready()
    assert (well, answer["status"], answer["degraded"]) == (True, "degraded", {"x": "breaker open"})
    clock.at += 100
    assert not health.ready()[0]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000"}, ("/run/n", 30.0)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, ("@n", None)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "soon"}, ("@n", None)),
        ({"WATCHDOG_USEC": "0"}, ("", None)),
    ],
)
def test_what_systemd_said_is_read(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: tuple[str, float | None]
) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert settings.service_manager() == expected
