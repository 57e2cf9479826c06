"""HTTP with rate limits and retries: how every REST question of the platform travels.

Contains: one GET at a time with a limit for each group, back-off with jitter, time-outs, errors by kind, and keeping
quiet while this address is banned. Does not contain: what is asked and how answers are read (``exchanges``), where a
ban is remembered (``bans``).

Nothing is sent that a browser would send (no Origin header: exchanges limit those to a trickle).
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import requests

from tidemark.bans import Ban

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_FORBIDDEN: Final = 403
_BANNED: Final = 418
_TOO_MANY: Final = 429
_SHOWN: Final = 300


class TransportError(Exception):
    """A question that got no usable answer."""


class RefusedError(TransportError):
    """The server understood and said no (4xx, or a redirect): asking again would not help."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        said = body[:_SHOWN].decode("utf-8", errors="replace")
        super().__init__(f"{url} was refused with {status}: {said or 'no reason given'}")
        self.status = status
        self.body = body


class BannedError(TransportError):
    """The exchange has banned this address (or told it to wait) for longer than the caller's patience.

    Nothing is sent before ``until`` (UTC; None: unknown), by any process of this machine: that would lengthen it.
    """

    def __init__(self, message: str, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


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


#: Reads from an answer's text until when this address is banned. Parameters: body, and the time (UTC) when it was
#: written. None: the text names no end.
ReadEnd = Callable[[bytes, datetime], datetime | None]


class Transport:
    """GET requests to one host; may be shared by threads.

    ``limits`` are requests a second by group; ``remaining`` reads from an answer's headers how many requests
    the server still allows in this second (None: unknown): at 0 the group waits for the next one. ``ban`` remembers
    bans (None: for this transport only), and ``banned_until`` reads their ends from an answer's text. An attempt waits
    for ``longest_wait_s`` at most where the server asks for that (a ban, a ``Retry-After``).
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
        ban: Ban | None = None,
        banned_until: ReadEnd = lambda _body, _at: None,
        longest_wait_s: float = 60.0,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._limits = {group: Limit(rate, clock, sleep) for group, rate in limits.items()}
        self._remaining = remaining
        self._patience = patience or Patience()
        self._sleep = sleep
        self._ban = ban or Ban("the server", self._base_url)
        self._banned_until = banned_until
        self._longest_wait_s = longest_wait_s
        #: Requests that were sent, answered or not.
        self.sent = 0
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
            BannedError: this address is banned for longer than patience allows. Nothing was sent since.
            UnavailableError: connection errors, time-outs, 429 or 5xx until patience ran out.
            KeyError: no limit is known for ``group``.
        """
        limit = self._limits[group]
        problem = ""
        for failures in range(1, self._patience.attempts + 1):
            waited_for = self._wait_out(0.0)
            limit.take()
            self._wait_out(waited_for)  # another thread or process may have been banned meanwhile
            answer = self._attempt(path, params, limit)
            if isinstance(answer, Answer):
                self._ban.lift()
                return answer
            problem, wait = answer
            if wait > self._longest_wait_s:
                raise UnavailableError(f"{self._base_url}{path}: {problem}; it asks to come again in {wait:.0f} s")
            if failures < self._patience.attempts and not self._ban.until:
                self._sleep(wait or self._patience.pause(failures))
        if self._ban.until:
            raise self._banned()
        raise UnavailableError(f"{self._base_url}{path}: {problem} ({self._patience.attempts} attempts)")

    def _wait_out(self, waited_for: float) -> float:
        """Return when there is no ban but the one that was waited for already: the end (Unix time) of the last one.

        Raises:
            BannedError: it ends too late to wait for.
        """
        while (until := self._ban.until) > waited_for:
            left = self._ban.left_s
            if left > self._longest_wait_s:
                raise self._banned()
            self._sleep(math.ceil(left * 10) / 10)  # a moment too late rather than too early
            waited_for = until
        return waited_for

    def _banned(self) -> BannedError:
        note = self._ban.note()
        until, words = (note.until, note.said) if note is not None else (0.0, "")
        end = datetime.fromtimestamp(until, UTC)
        return BannedError(
            f"{self._ban.exchange} ({self._base_url}) has banned this address until {end:%Y-%m-%d %H:%M:%S} UTC; "
            f"nothing is sent before, by any process of this machine. Its answer was: {words}",
            end,
        )

    def _attempt(self, path: str, params: Sequence[tuple[str, str]], limit: Limit) -> Answer | tuple[str, float]:
        """An answer, or what went wrong and the seconds the server asks to wait."""
        asked_at = datetime.now(UTC)
        self.sent += 1
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
        if note_ban(self._ban, status, response.headers, body, self._banned_until):
            return f"answered with {status}", 0.0
        if status != _TOO_MANY and status < 500:
            raise RefusedError(response.url, status, body)
        if status == _TOO_MANY:
            limit.hold(1.0)
        return f"answered with {status}", retry_after_s(response.headers)


def note_ban(ban: Ban, status: int, headers: Mapping[str, str], body: bytes, read_end: ReadEnd) -> bool:
    """Remember the ban that an answer imposes on this address; whether it imposes one.

    418 always does. 429 does where it names a time, in ``Retry-After`` or in its text; 403 where its text names one.
    """
    if status not in (_FORBIDDEN, _BANNED, _TOO_MANY):
        return False
    here = datetime.now(UTC)
    there = _date(headers.get("Date", "")) or here
    end = read_end(body, there)
    waits = [(end - there).total_seconds()] if end is not None else []
    if status != _FORBIDDEN:
        waits.append(retry_after_s(headers))
    wait = max(waits, default=0.0)
    if wait <= 0 and status != _BANNED:
        return False
    words = body[:_SHOWN].decode("utf-8", errors="replace")
    ban.begin(ban.clock() + wait if wait > 0 else None, f"{status} {words}".strip())
    return True


def retry_after_s(headers: Mapping[str, str]) -> float:
    """``Retry-After`` in seconds from now, whether it is a number or a date; 0: there is none, or it has passed.

    A date is measured by the server's own clock, where it sends one.
    """
    value = headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isascii() and value.replace(".", "", 1).isdecimal():
        return float(value)
    end = _date(value)
    return max(0.0, (end - (_date(headers.get("Date", "")) or datetime.now(UTC))).total_seconds()) if end else 0.0


def _date(value: str) -> datetime | None:
    """An HTTP date (RFC 9110); None: it is none."""
    try:
        found = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
