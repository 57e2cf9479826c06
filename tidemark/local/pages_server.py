"""The pages server's own process: ``python -m tidemark.local.pages_server FOLDER PORT``.

Lives here: serving one folder's files on 127.0.0.1. Doesn't: what the pages say (``pages``).
"""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MISSING = "%(code)d %(message)s: not there yet. It is written at the end of `make up`."


class _Pages(SimpleHTTPRequestHandler):
    """Files only: no listings, nothing kept by the browser, because pages are rewritten in place."""

    error_message_format = _MISSING
    error_content_type = "text/plain; charset=utf-8"

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
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, directory=folder))
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
