"""The watcher: services that end by themselves are started again, and their logs stay bounded.

Contains: its program, its loop, the rotation of logs. Does not contain: how a service is started (``stack`` does, in
the same order and under the same lock as ``tidemark up``). A service that was stopped has no pid file and is left
alone. ADR 24 says why this is no supervisor that owns the processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import structlog
from rich.console import Console

from tidemark import logs, settings
from tidemark.local import children, preflight, process
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError, Program
from tidemark.local.steps import Progress

log = structlog.get_logger()

#: How the lock of the state directory names it.
NAME = "watcher"
_LOOK_S = 1.0
_PAUSE_S = (1.0, 60.0)
#: Seconds without an end after which the pause is short again.
_QUIET_S = 300.0
_ROTATE_S = 30.0
#: Seconds between two looks at Airflow's heartbeats, and the number of looks without one after which it hangs.
_HEALTH_S = 60.0
_HUNG_LOOKS = 5
#: Bytes of one service's log before it is set aside, and the number of those that are kept.
LOG_BYTES = 16 * 1024**2
LOG_KEEP = 2
#: Seconds that a log of an Airflow task is kept.
_TASK_LOG_S = 7 * 86_400.0


def pid_file(layout: Layout) -> Path:
    """Where the watcher is recorded."""
    return layout.state / "watcher" / "watcher.pid"


def program(layout: Layout) -> Program:
    """The watcher's process. It reads the same settings as the command that starts it."""
    local = layout.settings.local.model_copy(update={"state_dir": layout.state})  # absolute: it works elsewhere
    same = layout.settings.model_copy(update={"local": local})
    return Program(
        name="the watcher",
        command=[sys.executable, "-m", "tidemark.local.watcher"],
        home=layout.state / "watcher",
        log=layout.logs / "watcher.log",
        pid_file=pid_file(layout),
        env=children.environment(same),
    )


def start(layout: Layout) -> None:
    """Start the watcher unless it runs; one that was started with other settings is replaced."""
    one = program(layout)
    digest = hashlib.sha256(json.dumps(dict(one.env), sort_keys=True).encode()).hexdigest()
    if layout.note("watcher").get("settings") != digest:
        process.stop(one)
        layout.write_note("watcher", {"settings": digest})
    process.start(one)


class Watcher:
    """Looks after the services of one state directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._pause_s = _PAUSE_S[0]
        self._next_try = 0.0
        self._next_rotation = 0.0
        self._next_health = 0.0
        self._hung: Counter[str] = Counter()
        self._full = False

    def turn(self, now: float) -> None:
        """Look once at everything (``now``: seconds of a monotonic clock)."""
        from tidemark.local import stack

        if now >= self._next_rotation:
            self._next_rotation = now + _ROTATE_S
            rotate(self._layout.logs)
            stack.remember_played(self._layout)  # where a simulator that is killed goes on
            forget_task_logs(self._layout.state / "airflow" / "logs", time.time() - _TASK_LOG_S)
        if now >= self._next_health:
            self._next_health = now + _HEALTH_S
            self._kill_hung()
        died = self._died()
        if died and now >= self._next_try:
            self._restart(died)
        elif not died and now >= self._next_try + _QUIET_S:
            self._pause_s = _PAUSE_S[0]

    def _kill_hung(self) -> None:
        """End those of Airflow's processes that have sent no heartbeat for long; they are started again."""
        from tidemark.local import stack

        if not (self._layout.state / "airflow" / "secrets.json").exists():
            return
        airflow = stack.airflow_server(self._layout, self._layout.settings)
        hung = airflow.hung()
        self._hung = Counter({name: self._hung[name] + 1 for name in hung})
        for name in [name for name, looks in self._hung.items() if looks >= _HUNG_LOOKS]:
            log.warning("service_hung", service=f"Airflow {name}")
            airflow.kill(name)

    def _died(self) -> list[str]:
        from tidemark.local import stack

        return [name for name, file, _ in stack.services(self._layout) if name != "watcher" and process.died(file)]

    def _restart(self, died: list[str]) -> None:
        from tidemark.local import stack

        if self._disk_is_full(died):
            self._wait()
            return
        began = time.monotonic()
        process.code_version.cache_clear()
        self._layout.write_note("unclean", {"at": datetime.now(UTC).isoformat(), "services": died})
        log.warning("services_died", services=died)
        try:
            with stack.only_one(self._layout, NAME):
                silent = Console(file=StringIO())
                stack.Up(self._layout, silent).start_servers(Progress(silent))
            log.warning("services_restarted", services=died, seconds=round(time.monotonic() - began, 1))
        except LocalError as error:
            log.error("restart_failed", services=died, error=str(error))
        self._wait()

    def _disk_is_full(self, died: list[str]) -> bool:
        full = preflight.full_disk(self._layout)
        if full and not self._full:
            log.error("disk_full", services=died, detail=full)
        self._full = bool(full)
        return self._full

    def _wait(self) -> None:
        """Try again after a pause that grows as long as services keep ending."""
        self._next_try = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _PAUSE_S[1])


def rotate(folder: Path, most: int = LOG_BYTES, keep: int = LOG_KEEP) -> None:
    """Set the logs aside that are too large. They are copied and cut, because their writers hold them open.

    Writers append, so that the next line begins the file. On a full disk a log is cut without a copy.
    """
    for file in sorted(folder.glob("*.log")):
        try:
            if file.stat().st_size <= most:
                continue
            for number in range(keep, 1, -1):
                if (older := _aside(file, number - 1)).exists():
                    older.replace(_aside(file, number))
            copy = _aside(file, 1).with_suffix(".new")
            try:
                shutil.copyfile(file, copy)
                copy.replace(_aside(file, 1))
            except OSError:
                copy.unlink(missing_ok=True)
            os.truncate(file, 0)
        except OSError as error:
            log.error("log_not_rotated", file=str(file), error=str(error))


def forget_task_logs(folder: Path, before: float) -> None:
    """Delete what is below ``folder`` and was last written ``before`` (Unix seconds): files, and empty folders."""
    for path in sorted(_below(folder), reverse=True):  # what a folder holds comes before the folder
        try:
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()) and path.stat().st_mtime < before:
                    path.rmdir()
            elif path.lstat().st_mtime < before:
                path.unlink()
        except OSError as error:
            log.warning("task_log_not_deleted", file=str(path), error=str(error))


def _below(folder: Path) -> Iterator[Path]:
    return folder.rglob("*") if folder.is_dir() else iter(())


def _aside(file: Path, number: int) -> Path:
    return file.with_name(f"{file.name}.{number}")


def main() -> int:
    """Watch until SIGTERM. A start that is under way is recorded before the process ends."""
    loaded = settings.load()
    logs.setup("watcher", loaded.log.level)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    threading.Thread(target=_end_when, args=(stopping,), daemon=True).start()
    watcher = Watcher(Layout(loaded))
    log.info("watcher_started", state=str(loaded.local.state_dir))
    while not stopping.is_set():
        try:
            watcher.turn(time.monotonic())
        except Exception:  # it must outlive whatever it meets, above all a full disk
            log.exception("watcher_turn_failed")
        stopping.wait(_LOOK_S)
    return 0


def _end_when(stopping: threading.Event) -> None:
    """End the process at once, whatever a restart is waiting for, but not between a start and its record."""
    stopping.wait()
    with process.spawning:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
