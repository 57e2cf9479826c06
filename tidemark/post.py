"""One HTTP POST, sent at most once, with an end: how messages go to Slack and questions to the language model.

Contains: one deadline over name resolution, connection, request and answer; a limit on the answer's size; the
difference between "nothing was sent" and "it may have been carried out". Does not contain: retries and what an answer
means (the callers), GET requests to exchanges (``transport``).

No redirect is followed: a POST that arrived must not be repeated elsewhere. Time-outs of sockets are per read, so a
server that sends one byte a second never meets them; here a thread does the work and the caller stops waiting.
"""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_CONNECT_S: Final = 10.0
_CHUNK: Final = 64 * 1024
#: Default limit of an answer, bytes; pages of Slack's history and texts of a model are far smaller.
MAX_BYTES: Final = 8 * 1024 * 1024


class PostError(Exception):
    """A POST without a usable answer."""


class NotSentError(PostError):
    """Nothing reached the server: its name has no address, or nothing accepts connections there in time."""


class NoReplyError(PostError):
    """The request was sent, wholly or in part, and no whole answer came: it may have been carried out."""


class UnreadableReplyError(NoReplyError):
    """An answer came that is too large, or encoded in a way that was not asked for."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer of any status, its body decoded; ``headers`` are found in any case of letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, max_bytes: int = MAX_BYTES) -> Reply:
    """Send ``body`` once and return the answer, ``timeout_s`` seconds from now at the latest.

    Raises:
        NotSentError: nothing was sent, and nothing will be.
        NoReplyError: it may have been carried out; UnreadableReplyError where the answer cannot be used.
    """
    exchange = _Exchange(url, body, headers, timeout_s, max_bytes)
    worker = threading.Thread(target=exchange.run, name="post", daemon=True)
    worker.start()
    worker.join(max(timeout_s, 0.0))
    return exchange.outcome(timeout_s)


class _Body(io.BytesIO):
    """A request's body that knows whether it was read, and can be withdrawn until then."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.lock = threading.Lock()
        self.withdrawn = False
        self.taken = False

    def read(self, size: int | None = -1, /) -> bytes:
        with self.lock:
            if self.withdrawn:
                raise OSError("the request was withdrawn: its time was over before it was sent")
            self.taken = True
        return super().read(size)

    def withdraw(self) -> bool:
        """Let nobody read it from now on; whether nobody has."""
        with self.lock:
            self.withdrawn = True
            return not self.taken


class _Adapter(HTTPAdapter):
    """The connections of one request, which another thread can break off.

    Sockets are kept from the moment of connection: a connection forgets its own once the answer's head is read.
    """

    def __init__(self) -> None:
        super().__init__(max_retries=0)
        self.sockets: list[Any] = []

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        sockets = self.sockets

        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        pool.ConnectionCls = Connection
        return pool

    def break_off(self) -> None:
        for sock in self.sockets:
            with contextlib.suppress(OSError, TypeError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # wakes the thread that reads; it closes


class _Exchange:
    """One request and its outcome."""

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float, max_bytes: int) -> None:
        self.url = url
        self.headers = {**headers, "Accept-Encoding": "identity", "Connection": "close"}
        self.body = _Body(body)
        self.timeout_s = timeout_s
        self.max_bytes = max_bytes
        self.adapter = _Adapter()
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        """Send and read; the work of the thread."""
        try:
            self.reply = self._send()
        except Exception as error:  # whatever it was, the caller decides by whether the body was taken
            self.error = error
        finally:
            self.done.set()
            self.adapter.close()

    def outcome(self, timeout_s: float) -> Reply:
        """The answer, or the error that says whether anything was sent. Ends the thread if it still runs."""
        if not self.done.is_set():
            unsent = self.body.withdraw()
            self.adapter.break_off()
            raise (NotSentError if unsent else NoReplyError)(f"no answer within {timeout_s:.1f} s")
        if self.reply is not None:
            return self.reply
        if isinstance(self.error, requests.exceptions.InvalidHeader):  # its text shows the header: a token, perhaps
            self.error = ValueError("a header holds characters that HTTP does not allow")
        problem = f"{type(self.error).__name__}: {self.error}"[:500]
        if self.body.withdraw():
            raise NotSentError(problem) from self.error
        if isinstance(self.error, UnreadableReplyError):
            raise self.error
        raise NoReplyError(problem) from self.error

    def _send(self) -> Reply:
        with requests.Session() as session:
            # A proxy from the environment is for the world outside; servers on this machine are not behind it.
            session.trust_env = urlsplit(self.url).hostname not in _LOOPBACK
            request = session.prepare_request(
                requests.Request("POST", self.url, self.headers, data=self.body, auth=_as_it_is)
            )
            more: Any = session.merge_environment_settings(self.url, {}, True, None, None)
            # The adapter itself: a session would read the body of a redirect without a limit.
            response = self.adapter.send(
                request, timeout=(min(_CONNECT_S, self.timeout_s), self.timeout_s + _CONNECT_S), stream=True,
                verify=more["verify"], cert=more["cert"], proxies=more["proxies"],
            )  # fmt: skip
            try:
                return Reply(response.status_code, response.headers, self._read(response))
            finally:
                response.close()  # an answer that is too large is not read to its end

    def _read(self, response: requests.Response) -> bytes:
        data = bytearray()
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > self.max_bytes:
                raise UnreadableReplyError(f"HTTP {response.status_code}: more than {self.max_bytes} bytes")
        return _decoded(bytes(data), response.headers.get("Content-Encoding", ""), self.max_bytes)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No authentication but the caller's header: without this, an entry in a .netrc would replace it."""
    return request


def _decoded(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body without its compression, which some proxies apply although nobody asks."""
    if encoding.strip().lower() in ("", "identity"):
        return data
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise UnreadableReplyError(f"the answer is encoded as {encoding[:50]!r}")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        decoded = inflater.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise UnreadableReplyError(f"the answer says {encoding[:50]!r} and is not: {error}") from None
    if len(decoded) > max_bytes or not inflater.eof:
        raise UnreadableReplyError(f"the answer, unpacked, is incomplete or more than {max_bytes} bytes")
    return decoded
