"""The gate between sockets and the broker: while it is held, no socket is read.

Lives here: who holds it and whom that stops. Doesn't: why it is held (``broker``: its buffer is full;
``pace``: the sink is too far behind).
"""

from __future__ import annotations

import time
from typing import Protocol

import structlog

log = structlog.get_logger()


class Pausable(Protocol):
    """A socket that can be left unread; the sender then has to wait, as TCP does it."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Read again."""


class Gate:
    """Held for as long as anyone holds it; each holder by its own name."""

    def __init__(self) -> None:
        self._holders: set[str] = set()
        self._sockets: set[Pausable] = set()
        self.times_held = 0
        self._held_s = 0.0
        self._since = 0.0

    @property
    def held(self) -> bool:
        """Whether sockets are left unread at the moment."""
        return bool(self._holders)

    @property
    def held_s(self) -> float:
        """Seconds for which sockets were left unread, until now."""
        return self._held_s + (time.monotonic() - self._since if self._holders else 0.0)

    def hold(self, holder: str) -> None:
        """Leave all sockets unread until ``holder`` releases."""
        if holder in self._holders:
            return
        self._holders.add(holder)
        if len(self._holders) == 1:
            self.times_held += 1
            self._since = time.monotonic()
            log.debug("sockets paused", because=holder)
            for socket in list(self._sockets):
                socket.pause()

    def release(self, holder: str) -> None:
        """Take back one hold; when it was the last, read again."""
        if holder not in self._holders:
            return
        held_s = self.held_s
        self._holders.remove(holder)
        if not self._holders:
            self._held_s = held_s
            log.debug("sockets read again")
            for socket in list(self._sockets):
                if not self.held:  # a socket that was read again may have filled the buffer at once
                    socket.resume()

    def add(self, socket: Pausable) -> None:
        """A socket that the gate stops from now on."""
        self._sockets.add(socket)
        if self.held:
            socket.pause()

    def remove(self, socket: Pausable) -> None:
        """A socket that is no more."""
        self._sockets.discard(socket)
