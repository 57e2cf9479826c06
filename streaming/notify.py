"""Telling systemd how a worker is: the protocol of sd_notify(3).

Lives here: one datagram to the socket that systemd names. Doesn't: what is told and when (``health``); reading the
environment (``tidemark.settings``).
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

import structlog

log = structlog.get_logger()


@dataclass(frozen=True)
class ServiceManager:
    """Who started the worker. ``address`` is where it listens (a path, or ``@name``); empty: nobody does.

    ``watchdog_s`` is how long it waits for a sign of life before it kills the worker; None: it doesn't.
    """

    address: str = ""
    watchdog_s: float | None = None

    @property
    def listens(self) -> bool:
        """Whether anybody wants to know."""
        return bool(self.address)

    def tell(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``. Never blocks, never raises: a deaf manager must not stop the worker."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.warning("systemd was not told", address=self.address, said=lines[0], error=str(error))
