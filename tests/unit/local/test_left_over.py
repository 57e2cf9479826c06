"""What outlives the process that we started is found and stopped, even where it hides from its own user."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tidemark.local import process
from tidemark.local.process import Program
from tidemark.settings import PROJECT_ROOT

#: A child as Airflow's workers are: its environment and folder can be read by root only (prctl 4: PR_SET_DUMPABLE).
LEADER = """
import ctypes, os, sys, time
if os.fork() == 0:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    {group}
    print(os.getpid(), flush=True)
time.sleep(600)
"""
#: As an ordinary account does it: leader started, leader killed, then what the argument says.
ACCOUNT = """
import os, signal, sys
from pathlib import Path
from tidemark.local import process
from tidemark.local.process import Program

folder = Path(sys.argv[1])
leader = Program("it", [sys.executable, "-c", sys.argv[2]], folder, folder / "log", folder / "pid")
pid = process.start(leader)
process.wait_until("it", lambda: leader.log.read_text().strip().isdigit(), timeout_s=20)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print(int(leader.log.read_text()), flush=True)
if sys.argv[3] == "stop":
    print(process.stop(leader))
else:
    print(process.start(leader) != pid)
"""


def account(folder: Path, group: str, action: str) -> tuple[int, bool]:
    """Run it without root's right to look into other processes; the pid of the child, and what the action returned."""

    def drop() -> None:
        if sys.platform == "linux" and os.geteuid() == 0:
            for right in (19, 21, 38):  # CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON
                ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP

    done = subprocess.run(
        [sys.executable, "-c", ACCOUNT, str(folder), LEADER.format(group=group), action],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
        preexec_fn=drop,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    child, result = done.stdout.split()
    return int(child), result == "True"


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("group", ["pass", "os.setpgid(0, 0)"], ids=["worker", "task"])
def test_who_hides_from_its_own_user_is_stopped(tmp_path: Path, group: str) -> None:
    child, stopped = account(tmp_path, group, "stop")
    try:
        assert stopped
        assert gone(child)
    finally:
        if not gone(child):
            os.kill(child, signal.SIGKILL)


def test_a_start_stops_what_the_killed_one_before_it_left(tmp_path: Path) -> None:
    """The pid file names one session only: what it forgets is never found again."""
    child, started = account(tmp_path, "pass", "start")
    leader = Program("it", (), tmp_path, tmp_path / "log", tmp_path / "pid")
    try:
        assert started
        assert gone(child)
    finally:
        process.stop(leader)
        if not gone(child):
            os.kill(child, signal.SIGKILL)


def test_another_sessions_process_lives(tmp_path: Path) -> None:
    """A stranger got the number of the one we started, after the whole of its session had ended."""
    code = "import time; print(1, flush=True); time.sleep(600)"
    stranger = Program(
        "stranger", [sys.executable, "-c", code], tmp_path / "a", tmp_path / "log", tmp_path / "a" / "pid"
    )
    pid = process.start(stranger)
    try:
        process.wait_until("it", lambda: stranger.log.read_text().strip() == "1", timeout_s=20)
        record = json.loads(stranger.pid_file.read_text())
        boot = record["identity"].partition(":")[0]
        mine = Program("mine", (), tmp_path / "b", tmp_path / "log", tmp_path / "b" / "pid")
        mine.home.mkdir()
        for identity in (f"{boot}:1", "another-boot:1"):
            mine.pid_file.write_text(json.dumps(record | {"identity": identity, "home": str(mine.home)}))
            assert process.stop(mine) is False
            assert process.running(stranger.pid_file) == pid
    finally:
        process.stop(stranger)


def test_what_cannot_be_recorded_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk: without a record nobody would find it again."""
    spawned: list[int] = []
    spawn = process._spawn
    monkeypatch.setattr(process, "_spawn", lambda program: spawned.append(spawn(program)) or spawned[0])
    (tmp_path / "pid.new").mkdir()  # the record can't be written
    code = "import time; time.sleep(600)"
    one = Program("it", [sys.executable, "-c", code], tmp_path, tmp_path / "log", tmp_path / "pid")
    with pytest.raises(process.LocalError, match="it can't be recorded in"):
        process.start(one)
    assert gone(spawned[0])
