"""The command: one ready line, a clean stop, one clear line when it can't."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tidemark.local.simulator.command import period
from tidemark.local.simulator.config import ConfigError

ROOT = Path(__file__).resolve().parents[3]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tidemark.local.simulator", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_it_says_that_it_is_ready_and_stops_on_sigterm() -> None:
    process = start("--port", "0", "--trades-per-day", "2000")
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "until now, then live" in line
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        assert len(requests.get(address[0] + "/v1/market/all", timeout=5).json()) == 20
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--day", "tomorrow"], "--day is 'tomorrow'"),
        (["--replay", "nowhere.0"], "can't read the recording"),
        (["--to", "2026-01-01T00:00:00Z"], "--to needs --from"),
        (["--wait-for", "godot"], "wait_for"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: list[str], complaint: str) -> None:
    process = start("--port", "0", *arguments)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start("--port", str(port), "--trades-per-day", "2000")
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in err
    assert err.count("\n") == 1


def test_days_are_korean_unless_asked_otherwise() -> None:
    now = datetime(2026, 11, 20, 16, tzinfo=UTC)  # 01:00 on the 21st in Korea
    assert period("yesterday", "kst", "", "", now) == (
        datetime(2026, 11, 19, 15, tzinfo=UTC),
        datetime(2026, 11, 20, 15, tzinfo=UTC),
    )
    assert period("yesterday", "utc", "", "", now)[0] == datetime(2026, 11, 19, tzinfo=UTC)
    assert period("2026-11-01", "kst", "", "", now)[0] == datetime(2026, 10, 31, 15, tzinfo=UTC)
    assert period("", "kst", "", "", now) == (None, None)
    assert period("yesterday", "kst", "2026-11-01", "2026-11-02T09:00:00+09:00", now) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 11, 2, tzinfo=UTC),
    )
    with pytest.raises(ConfigError):
        period("yesterday", "mars", "", "", now)
