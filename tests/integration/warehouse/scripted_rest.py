"""A scripted REST host: answers by path and query, and remembers what was asked.

Contains: the server. Does not contain: what an exchange answers (the tests).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

#: Status, headers and body (bytes, or what becomes JSON) for a path and its parameters.
Reply = tuple[int, dict[str, str], object]
Answer = Callable[[str, dict[str, str]], Reply]


class ScriptedRest:
    """Answers each request with what ``answer`` returns; ``asked`` has them in order."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def count(self, *words: str) -> int:
        """How many requests have all of these words in their path or parameters."""
        return sum(all(word in f"{path} {params}" for word in words) for path, params in self.asked)

    @contextmanager
    def listening(self) -> Iterator[ScriptedRest]:
        """Serve on a free port."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                params = dict(parse_qsl(parts.query))
                script.asked.append((parts.path, params))
                status, headers, body = script.answer(parts.path, params)
                sent = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(sent)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

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
