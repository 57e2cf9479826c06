"""Logs: whole JSON lines, in a file that is set aside when it is full."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tidemark import logs
from tidemark.settings import LogSettings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    for handler in logging.getLogger().handlers:
        stream = getattr(handler, "stream", None)
        if isinstance(stream, logs._Rotating):
            stream.close()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_without_a_file_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("w-1", "INFO", LogSettings())
    structlog.get_logger().info("hello", n=1)
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["worker"], said["n"], said["level"]) == ("hello", "w-1", 1, "info")


def test_a_file_is_set_aside_before_it_grows_too_large_and_no_line_is_lost_or_cut(tmp_path: Path) -> None:
    logs.setup("w-1", "INFO", LogSettings(file=f"{tmp_path}/deep/{{worker}}.log", max_bytes=20_000, keep=50))
    log = structlog.get_logger()

    def write(first: int) -> None:
        for number in range(first, first + 250):
            log.info("값 á", number=number, text="x\ny" * 20)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 1_000, 250)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = sorted((tmp_path / "deep").iterdir())
    assert len(files) > 5
    assert {f.name.split(".log")[0] for f in files} == {"w-1"}
    assert all(f.stat().st_size <= 20_000 for f in files)
    assert sorted(int(str(line["number"])) for f in files for line in lines(f)) == list(range(1_000))


def test_no_more_than_so_many_are_kept(tmp_path: Path) -> None:
    logs.setup("w", "INFO", LogSettings(file=f"{tmp_path}/w.log", max_bytes=4_096, keep=2))
    for number in range(500):
        structlog.get_logger().info("line", number=number)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["w.log", "w.log.1", "w.log.2"]
    assert lines(tmp_path / "w.log")[-1]["number"] == 499


def test_what_other_libraries_say_lands_in_the_same_file(tmp_path: Path) -> None:
    logs.setup("w", "INFO", LogSettings(file=f"{tmp_path}/w.log"))
    logging.getLogger("librdkafka").warning("trouble")
    (line,) = lines(tmp_path / "w.log")
    assert (line["event"], line["logger"], line["worker"]) == ("trouble", "librdkafka", "w")


def test_a_file_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="TIDEMARK_LOG__FILE"):
        logs.setup("w", "INFO", LogSettings(file=f"{tmp_path}/file/w.log"))
