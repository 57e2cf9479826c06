"""The in-memory broker: for machines without Java. Nothing survives its stop.

Lives here: starting and stopping it. Doesn't: the broker's own process (``memory_broker``) and the pace that
keeps it from dropping records (the producer, when ``TIDEMARK_KAFKA__MEMORY`` is true).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tidemark.local import process
from tidemark.local.process import Program
from tidemark.settings import PROJECT_ROOT

#: A partition holds 5 MiB and then drops its oldest records silently; stay well below it.
SAFE_LAG_BYTES = 3 * 1024 * 1024


@dataclass(frozen=True)
class MemoryBroker:
    """One in-memory broker with the topics of ``exchanges``; it chooses its own port."""

    home: Path
    log: Path
    exchanges: tuple[str, ...] = ("upbit",)

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers of the running broker (empty when it isn't there)."""
        try:
            return self._port_file.read_text().strip() if self.running() else ""
        except OSError:
            return ""

    @cached_property
    def program(self) -> Program:
        """How the broker is started and stopped."""
        exchanges = [part for exchange in self.exchanges for part in ("--exchange", exchange)]
        command = [sys.executable, "-m", "tidemark.local.memory_broker", "--port-file", str(self._port_file)]
        return Program(
            name="in-memory broker",
            command=[*command, *exchanges],
            home=self.home,
            log=self.log,
            pid_file=self.home / "memory.pid",
            env={"PYTHONPATH": str(PROJECT_ROOT)},
        )

    def running(self) -> bool:
        """Whether this very broker runs."""
        return process.running(self.home / "memory.pid") is not None

    def start(self, timeout_s: float = 20.0) -> None:
        """Start the broker and wait until it has said where it is.

        Raises:
            LocalError: it ended or did not answer in time.
        """
        if not self.running():
            self._port_file.unlink(missing_ok=True)
            process.start(self.program)
        process.wait_until(
            "the in-memory broker",
            self._answers,
            timeout_s=timeout_s,
            pid_file=self.program.pid_file,
            log=self.log,
        )

    def stop(self) -> bool:
        """Stop the broker; True if it ran. What it held is gone."""
        return process.stop(self.program)

    @property
    def _port_file(self) -> Path:
        return self.home.resolve() / "bootstrap"

    def _answers(self) -> bool:
        return bool(self.bootstrap) and process.port_open(int(self.bootstrap.rpartition(":")[2]))
