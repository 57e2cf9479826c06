"""What a machine may lack: each is one line, said before or when it matters."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidemark import naming
from tidemark.exchanges import registry
from tidemark.local import children, preflight, process, stack
from tidemark.local.layout import Layout
from tidemark.local.postgres import PostgresServer
from tidemark.local.process import LocalError, Program


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", [stack.up, stack.down, stack.status])
def test_a_state_folder_that_is_a_file_is_one_line(
    layout: Layout, command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.state.write_text("not a folder")
    assert callable(command)
    code = command(layout.settings)
    said = out(capsys)
    assert "Traceback" not in said
    if command is stack.up:
        assert code == 1
        assert f"the state directory {layout.state} can't be written" in said
        assert "TIDEMARK_LOCAL__STATE_DIR" in said


def full(monkeypatch: pytest.MonkeyPatch, mib: int) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=mib * 1024**2))


def test_a_full_disk_is_named_when_a_step_fails(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full(monkeypatch, 12)

    def fails(self: object) -> int:
        raise LocalError("the broker does not answer")

    monkeypatch.setattr(stack.Up, "run", fails)
    assert stack.up(layout.settings) == 1
    said = out(capsys)
    assert "the broker does not answer" in said
    assert "The disk is full: 12 MiB are free at" in said


def test_a_platform_that_runs_needs_no_room_for_a_start(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, 1024)
    with pytest.raises(LocalError, match="2 GiB are needed"):
        preflight.check(layout, memory=True)
    server = Program("it", [sys.executable, "-c", "import time; time.sleep(60)"], layout.state, layout.state / "log",
                     layout.postgres.program.pid_file)  # fmt: skip
    process.start(server)
    try:
        preflight.check(layout, memory=True)
        full(monkeypatch, 12)
        with pytest.raises(LocalError, match=r"^The disk is full: 12 MiB"):
            preflight.check(layout, memory=True)
    finally:
        process.stop(server)


def test_little_memory_is_one_line(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own, or what its control group leaves."""
    monkeypatch.setattr(preflight, "_CGROUPS", ())
    monkeypatch.setattr(preflight.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 1024**3))
    assert preflight.little_memory(layout) == ""
    (tmp_path / "max").write_text(f"{2 * 1024**3}\n")
    (tmp_path / "current").write_text(f"{512 * 1024**2}\n")
    monkeypatch.setattr(preflight, "_CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert preflight.little_memory(layout).startswith("Memory: 1.5 GiB are available, the platform takes about 3 GiB.")
    (tmp_path / "max").write_text("max\n")
    assert preflight.little_memory(layout) == ""


def test_the_note_of_a_dead_postmaster_is_removed(tmp_path: Path) -> None:
    """Its number is a stranger's by now, as after a restart of the machine; that of one that we don't know stays."""
    server = PostgresServer(tmp_path / "postgres", process.free_port(), tmp_path / "log")
    server.data.mkdir(parents=True)
    note, stranger = server.data / "postmaster.pid", os.getppid()
    note.write_text(f"{stranger}\n{server.data}\n")
    server._forget_dead()
    assert note.exists()
    server.home.mkdir(exist_ok=True)
    (server.home / "postgres.pid").write_text(
        json.dumps({"name": "PostgreSQL", "pid": stranger, "identity": "another-boot:1", "home": str(server.data)})
    )
    server._forget_dead()
    assert not note.exists()


def test_services_of_other_code_are_named(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    home = layout.state / "sink"
    sink = Program("it", [sys.executable, "-c", "import time; time.sleep(60)"], home, home / "log", home / "sink.pid")
    process.start(sink)
    try:
        stack.status(layout.settings)
        assert "other code" not in out(capsys)
        record = json.loads(sink.pid_file.read_text())
        sink.pid_file.write_text(json.dumps(record | {"code": "of the release before"}))
        stack.status(layout.settings)
        assert "Started with other code than this folder holds: sink. Restart with: make down, make up" in out(capsys)
    finally:
        process.stop(sink)


@pytest.mark.parametrize("memory", [False, True])
def test_the_number_of_landing_objects_is_bounded(layout: Layout, memory: bool) -> None:
    """An hour's, by the clock: one a slot and partition, and one when the hour ends."""
    told = children.local_settings(layout, memory).sink
    topics = [t for name in layout.settings.exchanges for t in naming.topics(name, registry.get(name).datasets)]
    partitions = sum(t.partitions for t in topics if not t.name.endswith(".dlq"))
    assert partitions * (3600 / told.rotate_seconds + 1) < 400
    assert told.buffer_bytes == layout.settings.sink.buffer_bytes
