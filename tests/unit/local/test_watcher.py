"""The watcher: what it looks after, when it waits, and that logs and workers survive a full disk."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.unit.local.conftest import with_local
from tidemark.local import children, preflight, process, stack, watcher
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError, Program
from tidemark.local.watcher import Watcher
from tidemark.settings import PROJECT_ROOT

SLEEPS = "import time; time.sleep(600)"
COUNTS = """
import sys, time
for number in range(100_000_000):
    print(number, flush=True)
    if number % 1000 == 999: time.sleep(0.002)
"""
LOGS = """
import logging, structlog, sys
from tidemark import logs
logs.setup("w-1")
structlog.get_logger().warning("first")
logging.getLogger("a library").warning("second")
sys.exit(7)
"""


def service(layout: Layout, name: str) -> Program:
    home = layout.state / name
    return Program(name, [sys.executable, "-c", SLEEPS], home, home / "log", home / f"{name}.pid")


def kill(program: Program) -> None:
    pid = process.running(program.pid_file)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert process.ended(program.pid_file, 20)


def test_it_looks_after_what_ended_and_not_after_what_was_stopped(layout: Layout) -> None:
    sink, valkey = service(layout, "sink"), service(layout, "valkey")
    for one in (sink, valkey):
        process.start(one)
    watching = Watcher(layout)
    assert watching._died() == []
    kill(sink)
    process.stop(valkey)
    assert watching._died() == ["sink"]
    process.stop(sink)
    assert watching._died() == []


def test_the_in_memory_broker_is_looked_after_when_it_is_the_one_in_use(layout: Layout) -> None:
    broker = service(layout, "memory")
    process.start(broker)
    layout.write_note("broker", {"memory": True})
    kill(broker)
    assert Watcher(layout)._died() == ["in-memory broker"]
    process.stop(broker)


def test_on_a_full_disk_it_waits_and_says_so_once(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = service(layout, "sink")
    process.start(sink)
    kill(sink)
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=1))
    watching = Watcher(layout)
    for now in (0.0, 1e6, 2e6):
        watching.turn(now)
    said = capsys.readouterr().out
    assert said.count("disk_full") == 1
    assert "restart_failed" not in said
    assert layout.note("unclean") == {}
    process.stop(sink)


def test_a_restart_that_fails_is_logged_and_tried_again_later(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody else starts services just now."""
    sink = service(layout, "sink")
    process.start(sink)
    kill(sink)
    watching = Watcher(layout)
    with stack.only_one(layout):
        watching.turn(0.0)
        pause = watching._next_try - time.monotonic()
        watching.turn(time.monotonic())  # too early
    assert capsys.readouterr().out.count("restart_failed") == 1
    assert 0 < pause <= 1
    assert watching._pause_s == 2
    assert layout.note("unclean")["services"] == ["sink"]
    process.stop(sink)


def test_a_command_waits_for_a_restart_and_a_restart_for_nobody(layout: Layout) -> None:
    entered = threading.Event()

    def up() -> None:
        with stack.only_one(layout):
            entered.set()

    with stack.only_one(layout, watcher.NAME):
        waiting = threading.Thread(target=up)
        waiting.start()
        assert not entered.wait(1)
        with pytest.raises(LocalError, match="another `watcher` is in progress"), stack.only_one(layout, watcher.NAME):
            pass
    assert entered.wait(20)
    waiting.join()


def test_its_process_reads_the_settings_of_its_starter(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidemark import settings

    for name, value in watcher.program(layout).env.items():
        monkeypatch.setenv(name, value)
    read = Layout(settings.load())
    assert read.state == layout.state
    for memory in (False, True):
        assert children.local_settings(read, memory) == children.local_settings(layout, memory).model_copy(
            update={"local": read.settings.local}
        )


def test_other_settings_replace_it_and_the_same_do_not(layout: Layout) -> None:
    watcher.start(layout)
    try:
        first = process.running(watcher.pid_file(layout))
        watcher.start(layout)
        assert process.running(watcher.pid_file(layout)) == first
        watcher.start(with_local(layout, trades_per_day=2_000))
        assert process.running(watcher.pid_file(layout)) not in (None, first)
    finally:
        process.stop(watcher.program(layout))


def test_it_ends_at_once_when_asked_to(layout: Layout) -> None:
    watcher.start(layout)
    process.wait_until("it", lambda: "watcher_started" in process.tail(layout.logs / "watcher.log"), timeout_s=20)
    began = time.monotonic()
    assert process.stop(watcher.program(layout))
    assert time.monotonic() - began < 10


def test_logs_rotate_under_their_writers(tmp_path: Path) -> None:
    writer = Program("writer", [sys.executable, "-c", COUNTS], tmp_path, tmp_path / "it.log", tmp_path / "pid")
    process.start(writer)
    try:
        for _ in range(4):
            process.wait_until("lines", lambda: writer.log.stat().st_size > 100_000, timeout_s=20, every_s=0.01)
            watcher.rotate(tmp_path, most=100_000, keep=2)
    finally:
        process.stop(writer)
    assert sorted(file.name for file in tmp_path.glob("it.log*")) == ["it.log", "it.log.1", "it.log.2"]
    numbers = [int(line) for name in ("it.log.2", "it.log.1") for line in (tmp_path / name).read_text().split()[:-1]]
    assert all(later > earlier for earlier, later in itertools.pairwise(numbers))
    assert writer.log.read_bytes()[:1] != b"\0"  # cut, not sparse


def test_old_task_logs_are_deleted(tmp_path: Path) -> None:
    old, new = tmp_path / "dag_id=a" / "run" / "1.log", tmp_path / "dag_id=b" / "1.log"
    for file in (old, new):
        file.parent.mkdir(parents=True)
        file.write_text("x")
    for path in (old, old.parent, old.parent.parent):
        os.utime(path, (1_000, 1_000))
    watcher.forget_task_logs(tmp_path, 2_000)
    assert not old.exists()
    assert new.exists()
    watcher.forget_task_logs(tmp_path / "nothing", 2_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_worker_outlives_a_log_that_cannot_be_written() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-u", "-c", LOGS], stdout=full, stderr=full, cwd=PROJECT_ROOT, check=False, timeout=60
        )
    assert done.returncode == 7


def test_lost_lines_are_counted_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    from tidemark import logs

    class Stream:
        full = True
        text = ""

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            self.text += text
            return len(text)

        def flush(self) -> None:
            pass

    stream = Stream()
    out = logs._Unfailing(stream)  # type: ignore[arg-type]
    out.write("one\n")
    out.write("two\n")
    stream.full = False
    out.write("three\n")
    first, second = stream.text.splitlines()
    assert json.loads(first) == {"event": "log_lines_lost", "count": 2}
    assert second == "three"
