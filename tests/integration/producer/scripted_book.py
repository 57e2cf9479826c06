"""A market whose book changes on demand: its changes as frames, its snapshots over HTTP, and the truth.

Lives here: the scripted exchange that keepers of books are tested against. Doesn't: sockets (frames are handed over).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]
Top = tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]


class Market:
    """One contract's book; ``at`` holds what it was after each number."""

    def __init__(self, code: str = "BTCUSDT", depth: int = 60) -> None:
        self.code = code
        self.number = 1_000
        self._ahead_ms = 0
        self.sides: Sides = (
            {Decimal(10_001 + n): Decimal(1) for n in range(depth)},
            {Decimal(10_000 - n): Decimal(1) for n in range(depth)},
        )
        self.at: dict[int, Top] = {}
        self._remember()

    def change(self, asks: dict[int, int] | None = None, bids: dict[int, int] | None = None) -> bytes:
        """Change the book; the frame that says so. Numbers in between belong to other markets."""
        before, first = self.number, self.number + 3
        self.number = first + 4
        for side, changes in zip(self.sides, (asks or {}, bids or {}), strict=True):
            for price, size in changes.items():
                side.pop(Decimal(price), None)
                if size:
                    side[Decimal(price)] = Decimal(size)
        self._remember()
        event = {"e": "depthUpdate", "E": self._ms + 5, "T": self._ms, "s": self.code}
        event |= {"U": first, "u": self.number, "pu": before, "b": _spelled(bids), "a": _spelled(asks)}
        return json.dumps({"stream": f"{self.code.lower()}@depth@100ms", "data": event}, separators=(",", ":")).encode()

    def tick(self) -> bytes:
        """Any change within the best levels."""
        return self.change({10_001: self.number}, {10_000: self.number + 1})

    def restart(self) -> None:
        """Begin to count again, while the clock goes on."""
        self._ahead_ms += self.number
        self.number = 10
        self._remember()

    def snapshot(self, most: int = 1_000) -> bytes:
        """The answer to the question for the book."""
        asks, bids = self.top(most)
        levels = {"bids": [[f"{p}", f"{s}"] for p, s in bids], "asks": [[f"{p}", f"{s}"] for p, s in asks]}
        return json.dumps({"lastUpdateId": self.number, "E": self._ms, "T": self._ms, **levels}).encode()

    def top(self, count: int) -> Top:
        """The best levels of both sides."""
        return sorted(self.sides[0].items())[:count], sorted(self.sides[1].items(), reverse=True)[:count]

    @property
    def _ms(self) -> int:
        return 1_774_000_000_000 + self._ahead_ms + self.number

    def _remember(self) -> None:
        self.at[self.number] = self.top(30)


def _spelled(changes: dict[int, int] | None) -> list[list[str]]:
    return [[f"{price}.00", f"{size}.000"] for price, size in (changes or {}).items()]


class Server:
    """REST of the scripted exchange: ``answers`` are given first (status and body), then the books as they are."""

    def __init__(self, *markets: Market) -> None:
        self.markets = {market.code: market for market in markets}
        self.answers: deque[tuple[int, bytes]] = deque()
        self.asked: list[str] = []
        self.url = ""

    def answer(self, code: str) -> tuple[int, bytes]:
        """Status and body for the next question."""
        self.asked.append(code)
        return self.answers.popleft() if self.answers else (200, self.markets[code].snapshot())

    @contextmanager
    def listening(self) -> Iterator[Server]:
        """Serve on a free port."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                assert parts.path == "/fapi/v1/depth"
                status, body = script.answer(parse_qs(parts.query)["symbol"][0])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-MBX-USED-WEIGHT-1M", "20")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
