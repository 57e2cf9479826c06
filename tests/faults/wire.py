"""A wire between two parties that can be cut, left hanging, or closed: a TCP proxy on loopback.

Lives here: the proxy. Doesn't: either party.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from urllib.parse import urlsplit


class Wire:
    """``with Wire(port) as wire``: what connects to ``wire.port`` is connected to 127.0.0.1:``port``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flows = threading.Event()
        self._flows.set()
        self._breaks_after: int | None = None
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    def to(cls, url: str) -> Wire:
        """A wire to the port of ``url``."""
        port = urlsplit(url).port
        assert port is not None
        return cls(port)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._flows.set()
        self._server.close()
        self.cut()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def hold(self) -> None:
        """Nothing passes any more, and neither side is told: a half-open connection."""
        self._flows.clear()

    def release(self) -> None:
        """What was held passes, and all that follows."""
        self._flows.set()

    def cut(self) -> None:
        """Reset every connection."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                    end.close()

    def break_after(self, size: int) -> None:
        """Reset every connection once so many more bytes have gone towards the server, and then work again."""
        self._breaks_after = size

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self._pairs.append((near, far))
        for one, other, outward in ((near, far, True), (far, near, False)):
            threading.Thread(target=self._pump, args=(one, other, outward), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, outward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                self._flows.wait()
                other.sendall(data)
                if outward and self._breaks_after is not None:
                    self._breaks_after -= len(data)
                    if self._breaks_after <= 0:
                        self._breaks_after = None
                        self.cut()
                        return
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
