"""One POST with an end, against servers that misbehave on real sockets."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemark import post as post_module
from tidemark.post import NoReplyError, NotSentError, UnreadableReplyError, post

Script = Callable[[socket.socket], None]
TOKEN = {"Authorization": "Bearer xoxb-secret"}


class Server:
    """Accepts connections, reads each request whole and runs a script on it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.closed_by_client = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/api/method"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(read_request(connection))
                try:
                    self.script(connection)
                except OSError:
                    self.closed_by_client.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer(body: bytes, status: str = "200 OK", **headers: str) -> Script:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda connection: connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def drip(head: bytes, piece: bytes) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            time.sleep(0.05)
            connection.sendall(piece)

    return script


def send(server: Server, **more: Any) -> Any:
    return post(server.url, b'{"text": "x"}', TOKEN, **{"timeout_s": 5.0, **more})


def test_an_answer_is_whole_and_the_request_is_sent_once(serve: Callable[[Script], Server]) -> None:
    server = serve(answer(b'{"ok": true}', "429 Too Many Requests", Retry_After="7"))
    reply = send(server)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (429, b'{"ok": true}', "7")
    (request,) = server.requests
    assert request.startswith(b"POST /api/method HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"text": "x"}')
    assert b"Authorization: Bearer xoxb-secret" in request


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "header", "headers", "body", "body-to-the-end", "chunks", "continue"],
)
def test_the_deadline_holds_whatever_drips(serve: Callable[[Script], Server], head: bytes, piece: bytes) -> None:
    server = serve(drip(head, piece))
    started = time.monotonic()
    with pytest.raises(NoReplyError, match=r"no answer within 0\.5 s"):
        send(server, timeout_s=0.5)
    assert time.monotonic() - started < 5
    for thread in threading.enumerate():
        if thread.name == "post":
            thread.join(5)
            assert not thread.is_alive()  # its connection was broken off


def test_a_redirect_is_an_answer_and_is_not_followed(serve: Callable[[Script], Server]) -> None:
    server = serve(answer(b"", "302 Found", Location="/api/method"))
    assert send(server).status == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
def test_an_answer_without_end_is_not_kept(serve: Callable[[Script], Server], status: str) -> None:
    def script(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {status}\r\nLocation: /\r\nContent-Length: 300000000\r\n\r\n".encode())
        for _ in range(300):
            connection.sendall(b" " * 1_000_000)

    server = serve(script)
    with pytest.raises(UnreadableReplyError, match="more than 1000000 bytes"):
        send(server, max_bytes=1_000_000)
    assert server.closed_by_client.wait(5)


def test_a_compressed_answer_is_unpacked(serve: Callable[[Script], Server]) -> None:
    assert send(serve(answer(gzip.compress(b'{"ok": true}'), Content_Encoding="gzip"))).body == b'{"ok": true}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"no gzip", "gzip"),
        (gzip.compress(b'{"ok": true}')[:-9], "gzip"),
        (gzip.compress(b" " * 100_000_000), "gzip"),
        (b"...", "br"),
    ],
    ids=["not-gzip", "cut-off", "bomb", "unknown"],
)
def test_an_answer_that_cannot_be_unpacked_is_none(
    serve: Callable[[Script], Server], body: bytes, encoding: str
) -> None:
    with pytest.raises(UnreadableReplyError):
        send(serve(answer(body, Content_Encoding=encoding)), max_bytes=1_000_000)


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12", b"not HTTP at all\r\n\r\n"])
def test_a_broken_answer_leaves_the_outcome_unknown(serve: Callable[[Script], Server], text: bytes) -> None:
    with pytest.raises(NoReplyError):
        send(serve(lambda connection: connection.sendall(text)))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://no-such-host.invalid/", "nonsense://x/", "http:///"])
def test_nobody_there_means_nothing_was_sent(url: str) -> None:
    with pytest.raises(NotSentError):
        post(url, b"{}", {}, timeout_s=5.0)


def test_a_bad_header_is_not_shown(serve: Callable[[Script], Server]) -> None:
    server = serve(answer(b"{}"))
    with pytest.raises(NotSentError) as caught:
        post(server.url, b"{}", {"Authorization": "Bearer xoxb-secret\n"}, timeout_s=5.0)
    assert "xoxb" not in str(caught.value)
    assert server.requests == []


def test_an_entry_in_a_netrc_does_not_replace_the_token(
    serve: Callable[[Script], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(post_module, "_LOOPBACK", ())  # as if the server were outside, where the environment counts
    server = serve(answer(b"{}"))
    send(server)
    assert b"Authorization: Bearer xoxb-secret" in server.requests[0]


def test_a_request_that_waits_for_its_connection_is_withdrawn_at_the_deadline() -> None:
    """The server's queue is full, so the connection waits; when it is made at last, nothing is sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(NotSentError):
            post(url, b"{}", {}, timeout_s=0.5)
        for filler in fillers:
            filler.close()
