"""A Slack of our own: takes ``chat.postMessage`` as the real API does and keeps what was posted.

Lives here: the server. Doesn't: anything about what is posted.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl


class SlackServer:
    """Listens on a free port of 127.0.0.1 while the ``with`` block lasts."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.posted))

    @property
    def url(self) -> str:
        """What to use as ``TIDEMARK_SLACK__BASE_URL``."""
        return f"http://127.0.0.1:{self._server.server_port}/api/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(posted: list[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            kind = self.headers.get("Content-Type", "")
            message = json.loads(body) if "json" in kind else dict(parse_qsl(body))
            posted.append({"method": self.path.rpartition("/")[2], **message})
            answer = {"ok": True, "channel": message.get("channel"), "ts": f"1776049200.{len(posted):06d}"}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            """Nothing on the terminal."""

    return Handler
