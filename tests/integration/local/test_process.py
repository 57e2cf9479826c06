"""Background processes: found again, stopped, and never mistaken for a stranger with the same pid."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from tidemark.local import process
from tidemark.local.process import LocalError, Program

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def program(folder: Path, code: str = "import time; time.sleep(60)", grace_s: float = 10) -> Program:
    return Program("sleeper", [sys.executable, "-c", code], folder, folder / "log", folder / "pid", grace_s=grace_s)


def test_starts_once_and_stops(tmp_path: Path) -> None:
    sleeper = program(tmp_path)
    pid = process.start(sleeper)
    assert process.start(sleeper) == pid == process.running(sleeper.pid_file)
    assert process.stop(sleeper) is True
    assert not psutil.pid_exists(pid)
    assert process.running(sleeper.pid_file) is None
    assert process.stop(sleeper) is False


def test_a_recycled_pid_is_never_killed(tmp_path: Path) -> None:
    """The pid file names a living process, which isn't the one that was started."""
    stranger = program(tmp_path / "stranger")
    process.start(stranger)
    record = json.loads(stranger.pid_file.read_text())
    mine = program(tmp_path / "mine")
    mine.home.mkdir()
    mine.pid_file.write_text(json.dumps(record | {"identity": "started at another time", "home": str(mine.home)}))

    assert process.running(mine.pid_file) is None
    assert process.stop(mine) is False
    assert process.running(stranger.pid_file) == record["pid"]
    process.stop(stranger)


@pytest.mark.parametrize("text", ["", "12", "[]", '{"pid": "1", "identity": "x"}', "{"])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert process.running(tmp_path / "pid") is None
    assert process.stop(program(tmp_path)) is False


def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = program(tmp_path, STUBBORN, grace_s=0.5)
    pid = process.start(stubborn)
    process.wait_until("it", lambda: "up" in stubborn.log.read_text(), timeout_s=10)
    assert process.stop(stubborn) is True
    assert not psutil.pid_exists(pid)


def test_children_that_outlive_a_killed_leader_are_stopped(tmp_path: Path) -> None:
    leader = program(tmp_path, PARENT)
    pid = process.start(leader)
    process.wait_until("it", lambda: leader.log.read_text().strip().isdigit(), timeout_s=10)
    child = int(leader.log.read_text())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert psutil.pid_exists(child)
    assert process.stop(leader) is True
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_child_with_a_session_of_its_own_is_stopped_too(tmp_path: Path) -> None:
    leader = program(tmp_path, PARENT.replace('time.sleep(60)"]', 'time.sleep(60)"], start_new_session=True'))
    pid = process.start(leader)
    process.wait_until("it", lambda: leader.log.read_text().strip().isdigit(), timeout_s=10)
    child = psutil.Process(int(leader.log.read_text()))
    assert os.getsid(child.pid) != pid
    assert process.stop(leader) is True
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_early_end_quotes_the_log(tmp_path: Path) -> None:
    broken = program(tmp_path, "import sys; sys.exit('the reason it gives')")
    process.start(broken)
    with pytest.raises(LocalError, match=r"(?s)thing ended while starting.*the reason it gives"):
        process.wait_until("thing", lambda: False, timeout_s=20, pid_file=broken.pid_file, log=broken.log)


def test_waiting_ends_with_the_time_given(tmp_path: Path) -> None:
    sleeper = program(tmp_path)
    process.start(sleeper)
    began = time.monotonic()
    with pytest.raises(LocalError, match="thing is not ready after 1 s"):
        process.wait_until("thing", lambda: False, timeout_s=1, pid_file=sleeper.pid_file, log=sleeper.log)
    assert 1 <= time.monotonic() - began < 15
    process.stop(sleeper)


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(LocalError, match=rf"^port {port} for Thing is taken by .+ \(pid {os.getpid()}\): .+$"):
            process.require_port("Thing", port)
    process.require_port("Thing", port)


def test_children_get_no_settings_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LAKE__URL", "gs://somebody-elses")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere")
    env = process.environment({"TIDEMARK_LAKE__URL": "file:///mine"})
    assert env["TIDEMARK_LAKE__URL"] == "file:///mine"
    assert "AIRFLOW_HOME" not in env
    assert env["PATH"] == os.environ["PATH"]
