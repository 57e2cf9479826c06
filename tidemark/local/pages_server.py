"""The pages server's own process: ``python -m tidemark.local.pages_server FOLDER PORT``.

Contains: serving one folder's files on 127.0.0.1, and the index page with figures of this moment. Does not contain:
what the pages say (``pages``, ``home``).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidemark import settings
from tidemark.local import home
from tidemark.local.pages import Figure, with_figures

_MISSING = "%(code)d %(message)s: not there yet. It is written at the end of `make up`."


#: Seconds for which the figures of the index page are kept, whoever asks.
_KEPT_S = 10.0


class _Figures:
    """The figures of the index page, asked for at most every ten seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._asked_at = -_KEPT_S
        self._figures: list[Figure] = []

    def now(self) -> list[Figure]:
        with self._lock:
            if time.monotonic() - self._asked_at >= _KEPT_S:
                self._figures = home.figures(self._url, datetime.now(UTC))
                self._asked_at = time.monotonic()
            return self._figures


class _Pages(SimpleHTTPRequestHandler):
    """Files only: no listings, nothing kept by the browser, because pages are rewritten in place."""

    def __init__(self, *arguments: Any, figures: _Figures, **named: Any) -> None:
        self._figures = figures
        super().__init__(*arguments, **named)

    error_message_format = _MISSING
    error_content_type = "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        """Serve a file; the index page gets its figures."""
        index = Path(self.directory) / "index.html"
        if urlsplit(self.path).path not in ("/", "/index.html") or not index.is_file():
            super().do_GET()
            return
        body = with_figures(index.read_text(encoding="utf-8"), self._figures.now()).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests aren't logged."""


def main(folder: str, port: int) -> None:
    """Serve ``folder`` until SIGTERM."""
    figures = _Figures(settings.load().warehouse.url.get_secret_value())
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, directory=folder, figures=figures))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
