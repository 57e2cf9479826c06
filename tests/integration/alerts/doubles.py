"""Local servers that behave like Slack's Web API and Anthropic's Messages API, as far as the report uses them.

Contains: the two servers and their ill moods. Does not contain: assertions.

Slack's rules that are kept: bearer token, known channel, at most 50 blocks, 3000 characters a section, 150 a header,
about 13,200 over all; history without thread replies, newest first, in pages, metadata only when asked for.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN = "xoxb-test"
CHANNEL = "C0REPORT01"
KEY = "sk-test"


@dataclass(frozen=True)
class Raw:
    """An answer byte by byte, whatever the API would say. ``accept``: the request is carried out first.

    ``drip``: after the head, one byte of the body each 50 ms, without end. ``repeat``: the body is sent so many times.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    accept: bool = True
    drip: bool = False
    repeat: int = 1


class Double:
    """A server on a free loopback port. ``moods`` are used up, one a request to the moody method."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.moods: list[Any] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                double.answer(self, body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        raise NotImplementedError

    def mood(self) -> Any:
        with self.lock:
            return self.moods.pop(0) if self.moods else "ok"

    @contextmanager
    def running(self) -> Iterator[Double]:
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    try:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json; charset=utf-8")
        handler.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
    except OSError:
        pass  # the client had enough


def reply_raw(handler: BaseHTTPRequestHandler, raw: Raw) -> None:
    try:
        handler.send_response(raw.status)
        handler.send_header("Content-Length", str(10**9 if raw.drip else len(raw.body) * raw.repeat))
        for name, value in raw.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        for _ in range(raw.repeat):
            handler.wfile.write(raw.body)
        while raw.drip:
            time.sleep(0.05)
            handler.wfile.write(b" ")
    except OSError:
        pass  # the client had enough


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Break the connection off as a crashed peer does."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    handler.rfile.close()


class FakeSlack(Double):
    """Slack. Moods of chat.postMessage: ``ok``, ``429``, ``500``, ``500 accepted``, ``slow accepted``, ``slow lost``,
    ``reset accepted``, ``page``, an error code of Slack's (``<code> accepted`` posts and says the code), or a ``Raw``.

    The history shows a message ``lag_s`` seconds after it was posted; ``history_moods`` are its moods.
    """

    def __init__(self, *, slow_s: float = 2.0, page: int = 2) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.slow_s = slow_s
        self.page = page
        self.history_error = ""
        self.history_moods: list[Any] = []
        self.lag_s = 0.0

    @property
    def keys(self) -> list[str]:
        return [m["metadata"]["event_payload"]["key"] for m in self.messages if "metadata" in m]

    def calls(self, method: str) -> int:
        return sum(name == method for name, _ in self.requests)

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        method = handler.path.removeprefix("/api/")
        arguments = _arguments(handler, body)
        with self.lock:
            self.requests.append((method, arguments))
        if handler.headers.get("Authorization") != f"Bearer {TOKEN}":
            reply(handler, 200, {"ok": False, "error": "invalid_auth"})
        elif arguments.get("channel") != CHANNEL:
            reply(handler, 200, {"ok": False, "error": "channel_not_found"})
        elif method == "chat.postMessage":
            self._post(handler, arguments)
        elif method in ("conversations.history", "conversations.replies"):
            self._read(handler, method, arguments)
        else:
            reply(handler, 200, {"ok": False, "error": "unknown_method"})

    def _post(self, handler: BaseHTTPRequestHandler, arguments: dict[str, Any]) -> None:
        mood = self.mood()
        if isinstance(mood, Raw):
            self._post_raw(handler, arguments, mood)
            return
        if mood == "429":
            reply(handler, 429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "0"})
            return
        if mood in ("500", "slow lost"):
            time.sleep(self.slow_s if mood == "slow lost" else 0)
            reply(handler, 500, "upstream had a problem")
            return
        problem = _invalid(arguments)
        if problem or (mood not in ("ok", "page") and "accepted" not in mood):
            reply(handler, 200, {"ok": False, "error": problem or mood})
            return
        ts = self._keep(arguments)
        if mood == "slow accepted":
            time.sleep(self.slow_s)
        if mood == "reset accepted":
            reset(handler)
        elif mood == "500 accepted":
            reply(handler, 500, "upstream had a problem")
        elif mood == "page":
            reply(handler, 200, "<html>a proxy's page</html>")
        elif mood.endswith("accepted") and mood != "slow accepted":
            reply(handler, 200, {"ok": False, "error": mood.removesuffix(" accepted")})
        else:
            reply(handler, 200, {"ok": True, "channel": CHANNEL, "ts": ts, "message": {}})

    def _post_raw(self, handler: BaseHTTPRequestHandler, arguments: dict[str, Any], raw: Raw) -> None:
        if raw.accept:
            self._keep(arguments)
        reply_raw(handler, raw)

    def _keep(self, arguments: dict[str, Any]) -> str:
        with self.lock:
            ts = f"{time.time():.6f}"
            self.messages.append({**arguments, "ts": ts})
            return ts

    def _read(self, handler: BaseHTTPRequestHandler, method: str, arguments: dict[str, Any]) -> None:
        with self.lock:
            mood = self.history_moods.pop(0) if self.history_moods else None
        if isinstance(mood, Raw):
            reply_raw(handler, mood)
            return
        if self.history_error:
            reply(handler, 200, {"ok": False, "error": self.history_error})
            return
        thread = arguments.get("ts") if method == "conversations.replies" else None
        with self.lock:
            shown_until = time.time() - self.lag_s
            found = [
                m for m in self.messages if arguments.get("oldest", "0") < m["ts"] and float(m["ts"]) <= shown_until
            ]
        found = [m for m in found if (m.get("thread_ts") == thread or m["ts"] == thread)][::-1]
        start = int(arguments.get("cursor") or 0)
        shown = [
            {k: v for k, v in m.items() if k != "metadata" or arguments.get("include_all_metadata") in ("1", True)}
            for m in found[start : start + self.page]
        ]
        following = str(start + self.page) if start + self.page < len(found) else ""
        reply(handler, 200, {"ok": True, "messages": shown, "response_metadata": {"next_cursor": following}})


class FakeAnthropic(Double):
    """The Messages API. A mood is an answer's text, a status (int, with an optional Retry-After in a tuple), a dict
    that overrides fields of the message, a ``Raw``, or ``garbage``, ``slow``, ``reset``.
    """

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        request = json.loads(body)
        with self.lock:
            self.requests.append((handler.path, request))
        if KEY not in (handler.headers.get("x-api-key"), (handler.headers.get("Authorization") or "")[7:]):
            reply(
                handler,
                401,
                {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
            )
            return
        mood = self.mood()
        if isinstance(mood, Raw):
            reply_raw(handler, mood)
            return
        if isinstance(mood, int | tuple):
            status, after = mood if isinstance(mood, tuple) else (mood, None)
            headers = {"retry-after": str(after)} if after is not None else {}
            reply(handler, status, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, headers)
        elif mood == "garbage":
            reply(handler, 200, '{"type": "message", "content": [')
        elif mood == "slow":
            time.sleep(1.5)
            reply(handler, 200, {})
        elif mood == "reset":
            reset(handler)
        else:
            reply(handler, 200, _message(request, mood))


def _message(request: dict[str, Any], mood: Any) -> dict[str, Any]:
    message = {
        "id": "msg_test", "type": "message", "role": "assistant", "model": request["model"],
        "content": [{"type": "text", "text": mood if isinstance(mood, str) else ""}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 1234, "output_tokens": 56},
    }  # fmt: skip
    return message | mood if isinstance(mood, dict) else message


def _arguments(handler: BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
    if "json" in (handler.headers.get("Content-Type") or ""):
        return dict(json.loads(body))
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


def _invalid(arguments: dict[str, Any]) -> str:
    blocks = arguments.get("blocks", [])
    total = 0
    for block in blocks:
        texts = [block["text"]] if "text" in block else block.get("elements", [])
        longest = {"header": 150, "section": 3000, "context": 3000}.get(block["type"], 0)
        if any(not text["text"] or len(text["text"]) > longest for text in texts):
            return "invalid_blocks"
        total += sum(len(text["text"]) for text in texts)
    if not arguments.get("text"):
        return "no_text"
    return "invalid_blocks" if len(blocks) > 50 else "msg_blocks_too_long" if total > 13_200 else ""
