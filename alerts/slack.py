"""Posting to Slack exactly once, within a deadline.

Contains: the outbox. Does not contain: the calls and what Slack's answers prove (``slack_api``), what is posted
(``report.blocks``, ``failure``).

Slack has no idempotency key, so each message carries its key as metadata, and ``ops.slack_outbox`` keeps what is known
of it: ``pending`` (not posted) → ``sending`` → ``sent``, or ``unknown`` where no answer proves either. A message found
in ``sending`` or ``unknown`` is first looked for in the channel; it is posted again only when Slack has had
``SETTLE_S`` seconds to show it and does not. A lock on the key, held over the whole attempt, makes two at once post
once. So the bot needs ``channels:history`` (or ``groups:history``) beside ``chat:write``, and the channel is best given
by its id.

What remains: a request that Slack accepted, did not answer, and shows more than ``SETTLE_S`` seconds later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from alerts.slack_api import (
    RefusedCallError,
    SlackClient,
    UnknownCallError,
    UnsentCallError,
    client,
    time_stamp,
)
from tidemark.settings import SlackSettings
from tidemark.warehouse.connection import Connection

log = logging.getLogger(__name__)

EVENT_TYPE: Final = "tidemark_message"
#: How long Slack's history may take to show a message that Slack accepted, seconds.
SETTLE_S: Final = 20.0
#: When the channel is looked at within that time, as shares of it: pauses between looks.
_LOOKS: Final = (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
_ATTEMPTS: Final = 3
_LOOK_ATTEMPTS: Final = 3
_LOOK_PAUSE_S: Final = 1.0
_LOOK_BACK_S: Final = 300
_PAGE: Final = 100
_PAGES: Final = 40
_ALERT_S: Final = 10.0


class SlackError(Exception):
    """Slack refused a message, or nobody can say whether it was posted; the message says what to do."""


class SlackRefusedError(SlackError):
    """Slack refuses until a person changes a setting, the channel, the app or the message: no retry helps."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that is in the channel. ``fresh``: posted by this call."""

    key: str
    ts: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the outbox. ``oldest``: Unix time before which the message cannot be; ``age_s``: since its change."""

    channel: str
    payload: Mapping[str, Any]
    state: str
    ts: str | None
    oldest: float
    age_s: float


class _Time:
    """The time that is left for one delivery."""

    def __init__(self, total_s: float) -> None:
        self.end = time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        return self.end - time.monotonic()


class Outbox:
    """Posts messages exactly once. Wants a connection in autocommit mode, not through a pool that shares sessions.

    ``total_s`` bounds all posts of one outbox together, their attempts, looks and pauses; it starts with the first.
    """

    def __init__(
        self,
        connection: Connection,
        slack: SlackClient,
        *,
        settle_s: float = SETTLE_S,
        total_s: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not connection.autocommit:
            raise ValueError(
                "the outbox needs a connection in autocommit mode: each state must be kept before the next"
            )
        self.connection = connection
        self.slack = slack
        self.settle_s = settle_s
        self.total_s = total_s
        self.sleep = sleep
        self.time: _Time | None = None

    def post(self, key: str, channel: str, payload: Mapping[str, Any]) -> Posted:
        """Post ``payload`` (text, blocks, perhaps thread_ts) unless a message of that key is in the channel already.

        Raises:
            SlackError: Slack refused it (it can be tried again), its fate can't be found out, or the time is over.
        """
        self.time = self.time or _Time(self.total_s)
        with self._locked(key):
            self._enter(key, channel, payload)
            row = self._row(key)
            if row.state == "sent":
                return Posted(key, row.ts or "", fresh=False)
            if row.state in ("sending", "unknown") and (ts := self._look_first(key, row)):
                self._sent(key, ts)
                return Posted(key, ts, fresh=False)
            return Posted(key, self._deliver(key, row, self.time), fresh=True)

    def is_touched(self, key: str) -> bool:
        """Whether a message of that key is posted or may be: from then on it isn't changed."""
        query = "select state <> 'pending' from ops.slack_outbox where key = %s"
        row = self.connection.execute(query, (key,)).fetchone()
        return bool(row and row[0])

    # --- delivery -------------------------------------------------------------------------------------------

    def _deliver(self, key: str, row: _Row, clock: _Time) -> str:
        problem = ""
        untouched = "pending" if row.state == "pending" else "unknown"
        for _ in range(_ATTEMPTS):
            if clock.left_s <= 0:
                break
            self._mark(key, "sending", count=True)
            try:
                ts = self._send(key, row, clock.left_s)
            except RefusedCallError as error:
                self._mark(key, untouched, f"HTTP 200 {error.code}")
                raise _refusal(f"Slack refused {key} for channel {row.channel}", error) from error
            except UnsentCallError as error:
                self._mark(key, untouched, str(error))
                raise SlackError(
                    f"no connection to Slack at {self.slack.base_url} ({error}); nothing was posted"
                ) from error
            except UnknownCallError as error:
                untouched, problem = "unknown", str(error)
                self._mark(key, "unknown", problem)
                log.warning("no word from Slack about %s (%s); looking whether it is there", key, error)
                found = self._look_long(key, row, error.after)
                if not found:
                    continue
                ts = found
            self._sent(key, ts)
            return ts
        raise SlackError(
            f"Slack did not take {key} in {_ATTEMPTS} attempts and {self.total_s:.0f} s ({problem or 'no time left'}); "
            "the channel does not show it. Run again later: the channel is looked at first"
        )

    def _send(self, key: str, row: _Row, left_s: float) -> str:
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": key}}
        more = {"channel": row.channel, "metadata": metadata, "unfurl_links": False, "unfurl_media": False}
        return time_stamp(self.slack.call("chat.postMessage", {**row.payload, **more}, left_s))

    # --- looking --------------------------------------------------------------------------------------------

    def _look_first(self, key: str, row: _Row) -> str | None:
        """Look for a message that an earlier run may have posted: for as long as Slack may need to show it."""
        if row.age_s > self.slack.timeout_s + self.settle_s:
            return self._find(key, row)
        return self._find(key, row) or self._look_long(key, row, 0.0)

    def _look_long(self, key: str, row: _Row, after: float) -> str | None:
        """Look again and again until Slack has had its time to show the message; None: it isn't there."""
        if after > self.settle_s:
            self._pause(key, after - self.settle_s)
        for share in _LOOKS:
            self._pause(key, self.settle_s * share)
            if ts := self._find(key, row):
                return ts
        return None

    def _pause(self, key: str, seconds: float) -> None:
        """Wait, unless that would outlast the time for this delivery.

        Raises:
            SlackError: it would.
        """
        if self.time is not None and seconds >= self.time.left_s:
            raise SlackError(
                f"{key} may or may not be posted, and a wait of {seconds:.0f} s more would outlast its time of "
                f"{self.total_s:.0f} s (TIDEMARK_SLACK__TIMEOUT_S). Run again later: the channel is looked at first"
            )
        self.sleep(seconds)

    def _find(self, key: str, row: _Row) -> str | None:
        """The time stamp of the message that carries ``key``, or None when the channel (or thread) hasn't got it.

        Raises:
            SlackError: the channel can't be read, so nobody knows.
        """
        unknown = (
            f"{key} may or may not be posted, and the channel {row.channel} can't be read; it isn't sent blindly. "
            "Run again once the bot can read it"
        )
        for attempt in range(_LOOK_ATTEMPTS):
            try:
                return next((time_stamp(m) for m in self._history(row) if _key(m) == key), None)
            except RefusedCallError as error:
                if error.for_good:
                    raise _refusal(unknown, error) from error
                problem, pause = error.code, _LOOK_PAUSE_S * 2**attempt
            except (UnsentCallError, UnknownCallError) as error:
                problem, pause = str(error), _LOOK_PAUSE_S * 2**attempt
                pause = max(pause, error.after) if isinstance(error, UnknownCallError) else pause
            if attempt + 1 < _LOOK_ATTEMPTS:
                self._pause(key, pause)
        raise SlackError(f"{unknown} (channels:history, the channel's id in TIDEMARK_SLACK__CHANNEL): {problem}")

    def _history(self, row: _Row) -> Iterator[Mapping[str, Any]]:
        """Messages of the channel (or of the message's thread) since the row was made, all of them.

        Raises:
            UnknownCallError: an answer isn't a page of messages; RefusedCallError, UnsentCallError as any call.
            SlackError: there are too many.
        """
        arguments: dict[str, Any] = {
            "channel": row.channel,
            "oldest": f"{row.oldest - _LOOK_BACK_S:.6f}",
            "limit": _PAGE,
            "include_all_metadata": 1,
        }
        method = "conversations.history"
        if thread := row.payload.get("thread_ts"):
            arguments["ts"] = thread
            method = "conversations.replies"
        for _ in range(_PAGES):
            answer = self.slack.call(method, arguments, self.time.left_s if self.time else None)
            yield from _messages(answer)
            cursor = _cursor(answer)
            if not cursor:
                return
            arguments["cursor"] = cursor
        raise SlackError(
            f"the channel {row.channel} has more than {_PAGES} pages of messages since; can't look through it"
        )

    # --- the table ------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key for this session; the server lets go when the session dies."""
        self.connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (f"slack_outbox:{key}",))
        try:
            yield
        finally:
            self.connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (f"slack_outbox:{key}",))

    def _enter(self, key: str, channel: str, payload: Mapping[str, Any]) -> None:
        """Make the row, or bring one that nobody has tried to send up to date."""
        self.connection.execute(
            "insert into ops.slack_outbox (key, channel, payload, state) values (%s, %s, %s, 'pending') "
            "on conflict (key) do update set channel = excluded.channel, payload = excluded.payload, "
            "updated_at = now() where slack_outbox.state = 'pending'",
            (key, channel, Jsonb(dict(payload))),
        )

    def _row(self, key: str) -> _Row:
        query = (
            "select channel, payload, state, ts, extract(epoch from created_at)::float8, "
            "extract(epoch from now() - updated_at)::float8 from ops.slack_outbox where key = %s"
        )
        row = self.connection.execute(query, (key,)).fetchone()
        if row is None:
            raise SlackError(f"ops.slack_outbox lost the row {key}")
        return _Row(*row)

    def _mark(self, key: str, state: str, error: str = "", *, count: bool = False) -> None:
        self.connection.execute(
            "update ops.slack_outbox set state = %s, error = %s, attempts = attempts + %s, updated_at = now() "
            "where key = %s",
            (state, printable(error)[:1000], int(count), key),
        )

    def _sent(self, key: str, ts: str) -> None:
        self.connection.execute(
            "update ops.slack_outbox set state = 'sent', ts = %s, error = '', updated_at = now() where key = %s",
            (ts, key),
        )


def printable(text: str) -> str:
    """Text that PostgreSQL takes: without NUL and lone surrogates, which JSON of others may hold."""
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode("utf-8")


def _refusal(what: str, error: RefusedCallError) -> SlackError:
    kind = SlackRefusedError if error.for_good else SlackError
    return kind(f"{what}: {error.code}; {error.advice}")


def _messages(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages of one page. A page without any list of them shows nothing about what is in the channel."""
    messages = answer.get("messages")
    if not isinstance(messages, list):
        raise UnknownCallError("Slack answered ok without a list of messages")
    return [message for message in messages if isinstance(message, Mapping)]


def _cursor(answer: Mapping[str, Any]) -> str:
    """Where the next page begins; empty after the last."""
    more: Any = answer.get("response_metadata")
    cursor = more.get("next_cursor") if isinstance(more, Mapping) else None
    if isinstance(cursor, str) and cursor:
        return cursor
    if answer.get("has_more") is True:
        raise UnknownCallError("Slack has more messages and does not say where they begin")
    return ""


def _key(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata")
    payload = metadata.get("event_payload") if isinstance(metadata, Mapping) else None
    key = payload.get("key") if isinstance(payload, Mapping) else None
    return key if isinstance(key, str) else None


def send(settings: SlackSettings, channel: str, text: str, blocks: Sequence[Mapping[str, Any]]) -> str:
    """Post one message without an outbox, at most once, and return its time stamp.

    For failures, where a lost message is better than a second one and the warehouse may be what failed.

    Raises:
        SlackError: it was not posted, or nobody knows.
    """
    arguments = {"channel": channel, "text": text, "blocks": [dict(block) for block in blocks]}
    more = {"unfurl_links": False, "unfurl_media": False}
    try:
        return time_stamp(client(settings, timeout_s=_ALERT_S).call("chat.postMessage", {**arguments, **more}))
    except RefusedCallError as error:
        raise _refusal(f"Slack refused a message for {channel}", error) from error
    except (UnsentCallError, UnknownCallError) as error:
        raise SlackError(f"Slack did not take a message for {channel}: {error}") from error


__all__ = ["EVENT_TYPE", "Outbox", "Posted", "SlackError", "SlackRefusedError", "client", "printable", "send"]
