"""HTTP with rate limits and retries: how every REST question of the platform travels.

Lives here: one GET at a time with a limit for each group, back-off with jitter, time-outs, and errors by
kind. Doesn't: what is asked and how answers are read (``exchanges``).

Nothing is sent that a browser would send (no Origin header: exchanges limit those to a trickle).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import requests

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_TOO_MANY: Final = 429
_BANNED: Final = 418
_SHOWN: Final = 300


class TransportError(Exception):
    """A question that got no usable answer."""


class RefusedError(TransportError):
    """The server understood and said no (4xx, or a redirect): asking again would not help."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        said = body[:_SHOWN].decode("utf-8", errors="replace")
        super().__init__(f"{url} was refused with {status}: {said or 'no reason given'}")
        self.status = status


class BannedError(TransportError):
    """418: this address is blocked for asking too much. Nothing more is sent: that would lengthen it."""


class UnavailableError(TransportError):
    """No answer in spite of all retries: connection errors, time-outs, 429 or 5xx."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer; ``asked_at`` (UTC, our clock) is when the question was sent."""

    body: bytes
    headers: Mapping[str, str]
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one question may take: attempts, back-off between them and time-outs, in seconds."""

    attempts: int = 6
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0

    def pause(self, failures: int) -> float:
        """Seconds before the next attempt: full jitter under a ceiling that doubles with each failure."""
        ceiling = min(self.backoff_max_s, self.backoff_min_s * 2 ** min(failures - 1, 30))
        return random.uniform(0, ceiling)  # noqa: S311 - spreads retries, hides nothing


@dataclass
class Limit:
    """A token bucket that holds one token: requests are spaced, so no window of a second ever sees more."""

    per_second: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def take(self) -> None:
        """Wait for this caller's turn."""
        with self._lock:
            now = self.clock()
            turn = max(now, self._next)
            self._next = turn + 1 / self.per_second
        if turn > now:
            self.sleep(turn - now)

    def hold(self, seconds: float) -> None:
        """Let nobody have a turn for so long."""
        with self._lock:
            self._next = max(self._next, self.clock() + seconds)


class Transport:
    """GET requests to one host; may be shared by threads.

    ``limits`` are requests a second by group; ``remaining`` reads from an answer's headers how many requests
    the server still allows in this second (None: it doesn't say): at 0 the group waits for the next one.
    """

    def __init__(
        self,
        base_url: str,
        limits: Mapping[str, float],
        remaining: Callable[[Mapping[str, str]], int | None] = lambda _: None,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._limits = {group: Limit(rate, clock, sleep) for group, rate in limits.items()}
        self._remaining = remaining
        self._patience = patience or Patience()
        self._sleep = sleep
        self._banned: BannedError | None = None
        self._session = requests.Session()
        # A proxy from the environment is for the world outside; servers on this machine are not behind it.
        self._session.trust_env = urlsplit(base_url).hostname not in _LOOPBACK
        self._session.headers.update({"Accept": "application/json", "User-Agent": "tidemark"})

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(self, path: str, params: Sequence[tuple[str, str]], group: str) -> Answer:
        """The answer to one question, after as many attempts as patience allows.

        Raises:
            RefusedError: 3xx or 4xx other than 418 and 429; at once.
            BannedError: 418, or it came before on this transport; at once.
            UnavailableError: connection errors, time-outs, 429 or 5xx until patience ran out.
            KeyError: no limit is known for ``group``.
        """
        limit = self._limits[group]
        problem = ""
        for failures in range(1, self._patience.attempts + 1):
            if self._banned:
                raise self._banned
            limit.take()
            answer = self._attempt(path, params, limit)
            if isinstance(answer, Answer):
                return answer
            problem, wait = answer
            if failures < self._patience.attempts:
                self._sleep(max(wait, self._patience.pause(failures)))
        raise UnavailableError(f"{self._base_url}{path}: {problem} ({self._patience.attempts} attempts)")

    def _attempt(self, path: str, params: Sequence[tuple[str, str]], limit: Limit) -> Answer | tuple[str, float]:
        """An answer, or what went wrong and the seconds the server asks to wait."""
        asked_at = datetime.now(UTC)
        try:
            response = self._session.get(
                self._base_url + path,
                params=list(params),
                timeout=(self._patience.connect_timeout_s, self._patience.read_timeout_s),
                allow_redirects=False,
            )
            body = response.content
        except requests.RequestException as error:
            return f"{type(error).__name__}: {error}"[:_SHOWN], 0.0
        if self._remaining(response.headers) == 0:
            limit.hold(1.0)
        if response.ok and response.status_code < 300:
            return Answer(body, response.headers, asked_at)
        return self._failure(response, body, limit)

    def _failure(self, response: requests.Response, body: bytes, limit: Limit) -> tuple[str, float]:
        status = response.status_code
        if status == _BANNED:
            said = body[:_SHOWN].decode("utf-8", errors="replace")
            self._banned = BannedError(
                f"{self._base_url} has blocked this address (418): {said}; ask no more until then"
            )
            raise self._banned
        if status != _TOO_MANY and status < 500:
            raise RefusedError(response.url, status, body)
        wait = _seconds(response.headers.get("Retry-After", ""))
        if status == _TOO_MANY:
            limit.hold(max(1.0, wait))
        return f"answered with {status}", wait


def _seconds(header: str) -> float:
    """``Retry-After`` in seconds (its form as a date is not used by the exchanges)."""
    return min(float(header), 60.0) if header.isdigit() else 0.0
