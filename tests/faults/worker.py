"""One worker as a process of its own, as it is run in earnest: started by its module, told its settings.

Lives here: starting, signals, its log, its memory. Doesn't: fail points (``failing``).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemark.local import children, process
from tidemark.settings import PROJECT_ROOT, Settings


class Worker:
    """``python -m <module>`` (or these lines of ``code``); its output goes to ``log``."""

    def __init__(
        self,
        module: str,
        settings: Settings,
        log: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        code: str = "",
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self.popen = subprocess.Popen(
                [sys.executable, *(("-c", code) if code else ("-m", module)), *arguments],
                cwd=PROJECT_ROOT,
                env=process.environment(children.environment(settings) | dict(environment or {})),
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs (or stands still)."""
        return self.popen.poll() is None

    def kill(self) -> None:
        """``kill -9``, also when it is stopped; returns when it is gone."""
        if self.alive:
            self.popen.kill()
        self.popen.wait(20)

    def pause(self) -> None:
        """It stands still and doesn't know it."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it stood."""
        self.popen.send_signal(signal.SIGCONT)

    def killed(self, timeout_s: float = 60) -> None:
        """Wait until it has killed itself at its fail point."""
        code = self.popen.wait(timeout_s)
        assert code == -signal.SIGKILL, f"ended with {code}\n{self.tail()}"

    def stopped(self, timeout_s: float = 60) -> None:
        """Wait until it has stopped itself at its fail point."""
        deadline = time.monotonic() + timeout_s
        while Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, self.tail()
            assert self.alive, self.tail()
            time.sleep(0.05)

    def drained(self, timeout_s: float = 60) -> int:
        """SIGTERM; its exit code."""
        if self.alive:
            self.popen.terminate()
        return self.ended(timeout_s)

    def ended(self, timeout_s: float = 60) -> int:
        """Its exit code once it has ended by itself."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it still runs after {timeout_s:.0f} s\n{self.tail()}") from None

    def rss(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines with this event."""
        return [line for line in self._lines() if line.get("event") == event]

    def until_said(self, event: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait for a log line with this event; the last one."""
        deadline = time.monotonic() + timeout_s
        while not (found := self.said(event)):
            assert time.monotonic() < deadline, f"it never said {event!r}\n{self.tail()}"
            time.sleep(0.05)
        return found[-1]

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-3_000:]

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.log.read_text("utf-8", "replace").splitlines():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found
