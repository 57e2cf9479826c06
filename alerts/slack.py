"""Posting to Slack exactly once.

Lives here: the outbox and the client. Doesn't: what is posted (``report.blocks``, ``failure``).

Slack has no idempotency key, so each message carries its key as metadata, and ``ops.slack_outbox`` keeps what is known
of it: ``pending`` (not posted) → ``sending`` → ``sent``, or ``unknown`` where no answer came. A message found in
``sending`` or ``unknown`` is first looked for in the channel; only one that isn't there is posted again. A lock on the
key, held over the whole attempt, makes two at once post once. So the bot needs ``channels:history`` (or
``groups:history``) beside ``chat:write``, and the channel is best given by its id.

What remains: a request that Slack accepted, did not answer, and shows only after the look a few seconds later.
"""

from __future__ import annotations

import http.client
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.error import URLError

from psycopg.types.json import Jsonb
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from tidemark.settings import SlackSettings
from tidemark.warehouse.connection import Connection

log = logging.getLogger(__name__)

EVENT_TYPE: Final = "tidemark_message"
_ATTEMPTS: Final = 3
_LOOK_BACK_S: Final = 300
_PAGES: Final = 20
#: Errors after which Slack may have posted all the same, as its documentation says.
_UNSURE: Final = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})


class SlackError(Exception):
    """Slack refused a message, or nobody can say whether it was posted; the message says what to do."""


class SlackRefusedError(SlackError):
    """Slack refuses every message of these settings (token, channel, rights); trying again is futile."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that is in the channel. ``fresh``: posted by this call."""

    key: str
    ts: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class _Row:
    channel: str
    payload: Mapping[str, Any]
    state: str
    ts: str | None
    created_at: datetime


class _UnknownOutcomeError(Exception):
    """The request may or may not have been carried out."""


def client(settings: SlackSettings, *, timeout_s: int = 30) -> WebClient:
    """A client that waits out rate limits and retries nothing else.

    The SDK's own retry of broken connections could post twice.
    """
    return WebClient(
        token=settings.token.get_secret_value(),
        base_url=settings.base_url.rstrip("/") + "/",
        timeout=timeout_s,
        retry_handlers=[RateLimitErrorRetryHandler(max_retry_count=3)],
    )


class Outbox:
    """Posts messages exactly once. Wants a connection in autocommit mode, not through a pool that shares sessions."""

    def __init__(
        self,
        connection: Connection,
        slack: WebClient,
        *,
        settle_s: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not connection.autocommit:
            raise ValueError(
                "the outbox needs a connection in autocommit mode: each state must be kept before the next"
            )
        self.connection = connection
        self.slack = slack
        self.settle_s = settle_s
        self.sleep = sleep

    def post(self, key: str, channel: str, payload: Mapping[str, Any]) -> Posted:
        """Post ``payload`` (text, blocks, perhaps thread_ts) unless a message of that key is in the channel already.

        Raises:
            SlackError: Slack refused it (it can be tried again), or its fate can't be found out.
        """
        with self._locked(key):
            self._enter(key, channel, payload)
            row = self._row(key)
            if row.state == "sent":
                return Posted(key, row.ts or "", fresh=False)
            if row.state in ("sending", "unknown") and (ts := self._find(key, row)):
                self._sent(key, ts)
                return Posted(key, ts, fresh=False)
            return Posted(key, self._deliver(key, row), fresh=True)

    def is_touched(self, key: str) -> bool:
        """Whether a message of that key is posted or may be: from then on it isn't changed."""
        query = "select state <> 'pending' from ops.slack_outbox where key = %s"
        row = self.connection.execute(query, (key,)).fetchone()
        return bool(row and row[0])

    # --- delivery -------------------------------------------------------------------------------------------

    def _deliver(self, key: str, row: _Row) -> str:
        for attempt in range(_ATTEMPTS):
            self._mark(key, "sending", count=True)
            try:
                ts = self._send(key, row)
            except _UnknownOutcomeError as error:
                self._mark(key, "unknown", str(error))
                log.warning("no word from Slack about %s (%s); looking whether it is there", key, error)
                self.sleep(self.settle_s * (attempt + 1))
                found = self._find(key, row)
                if not found:
                    continue
                ts = found
            self._sent(key, ts)
            return ts
        raise SlackError(f"Slack did not take {key} in {_ATTEMPTS} attempts; it isn't in the channel. Run again later")

    def _send(self, key: str, row: _Row) -> str:
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"key": key}}
        try:
            response = self.slack.chat_postMessage(
                channel=row.channel, metadata=metadata, unfurl_links=False, unfurl_media=False, **row.payload
            )
        except SlackApiError as error:
            raise self._refusal(key, row, error) from error
        except (OSError, http.client.HTTPException, SlackClientError, ValueError) as error:
            if _never_left(error):
                self._mark(key, "pending", str(error))
                raise SlackError(
                    f"no connection to Slack at {self.slack.base_url} ({error}); nothing was posted"
                ) from error
            raise _UnknownOutcomeError(f"{type(error).__name__}: {error}") from error
        return str(response["ts"])

    def _refusal(self, key: str, row: _Row, error: SlackApiError) -> Exception:
        status = int(getattr(error.response, "status_code", 0) or 0)
        code = str(error.response.get("error", "")) if hasattr(error.response, "get") else ""
        if (status >= 500 or code in _UNSURE or status == 200) and not _definite(status, code):
            return _UnknownOutcomeError(f"HTTP {status} {code[:100]}")
        self._mark(key, "pending", f"HTTP {status} {code}")
        advice = _ADVICE.get(code, "nothing was posted; mend it and run again")
        kind = SlackRefusedError if code in _ADVICE.keys() - {"ratelimited"} else SlackError
        return kind(f"Slack refused {key} for channel {row.channel}: {code or f'HTTP {status}'}; {advice}")

    # --- looking --------------------------------------------------------------------------------------------

    def _find(self, key: str, row: _Row) -> str | None:
        """The time stamp of the message that carries ``key``, or None when the channel (or thread) hasn't got it.

        Raises:
            SlackError: the channel can't be read, so nobody knows.
        """
        try:
            for message in self._history(row):
                payload = (message.get("metadata") or {}).get("event_payload") or {}
                if payload.get("key") == key:
                    return str(message["ts"])
        except (SlackClientError, OSError, http.client.HTTPException, ValueError) as error:
            code = error.response.get("error", "") if isinstance(error, SlackApiError) else str(error)
            raise SlackError(
                f"{key} may or may not be posted, and the channel {row.channel} can't be read ({code}); it isn't sent "
                "blindly: give the bot channels:history, the channel's id in TIDEMARK_SLACK__CHANNEL, and run again"
            ) from error
        return None

    def _history(self, row: _Row) -> Iterator[Mapping[str, Any]]:
        oldest = f"{row.created_at.timestamp() - _LOOK_BACK_S:.6f}"
        arguments: dict[str, Any] = {
            "channel": row.channel,
            "oldest": oldest,
            "limit": 200,
            "include_all_metadata": True,
        }
        method: Callable[..., Any] = self.slack.conversations_history
        if thread := row.payload.get("thread_ts"):
            arguments["ts"] = thread
            method = self.slack.conversations_replies
        for _ in range(_PAGES):
            response = method(**arguments)
            yield from response.get("messages") or []
            cursor = (response.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
            arguments["cursor"] = cursor
        raise SlackError(
            f"the channel {row.channel} has more than {_PAGES * 200} messages since; can't look through it"
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
        query = "select channel, payload, state, ts, created_at from ops.slack_outbox where key = %s"
        row = self.connection.execute(query, (key,)).fetchone()
        if row is None:
            raise SlackError(f"ops.slack_outbox lost the row {key}")
        return _Row(*row)

    def _mark(self, key: str, state: str, error: str = "", *, count: bool = False) -> None:
        self.connection.execute(
            "update ops.slack_outbox set state = %s, error = %s, attempts = attempts + %s, updated_at = now() "
            "where key = %s",
            (state, error[:1000], int(count), key),
        )

    def _sent(self, key: str, ts: str) -> None:
        self.connection.execute(
            "update ops.slack_outbox set state = 'sent', ts = %s, error = '', updated_at = now() where key = %s",
            (ts, key),
        )


_ADVICE: Final[Mapping[str, str]] = {
    "invalid_auth": "set a bot token (xoxb-…) in TIDEMARK_SLACK__TOKEN",
    "not_authed": "set a bot token (xoxb-…) in TIDEMARK_SLACK__TOKEN",
    "token_revoked": "set a new bot token in TIDEMARK_SLACK__TOKEN",
    "channel_not_found": "set the channel's id in TIDEMARK_SLACK__CHANNEL and invite the bot",
    "not_in_channel": "invite the bot to the channel",
    "missing_scope": "give the bot chat:write and channels:history",
    "ratelimited": "Slack limits the rate; run again later",
}


def _definite(status: int, code: str) -> bool:
    """Whether Slack said no in its own words: a short error code that isn't one of the doubtful ones."""
    return status == 200 and code not in _UNSURE and code.replace("_", "").isalnum() and len(code) < 60


def _never_left(error: BaseException) -> bool:
    """Whether the request can't have reached anybody: refused or unresolved before a byte was sent."""
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, ConnectionRefusedError) or type(reason).__name__ == "gaierror"


def send(settings: SlackSettings, channel: str, text: str, blocks: Sequence[Mapping[str, Any]]) -> str:
    """Post one message without an outbox, at most once, and return its time stamp.

    For failures, where a lost word is better than a second one and the warehouse may be what failed.

    Raises:
        SlackError: it was not posted, or nobody knows.
    """
    try:
        response = client(settings, timeout_s=10).chat_postMessage(
            channel=channel, text=text, blocks=[dict(block) for block in blocks], unfurl_links=False, unfurl_media=False
        )
    except (SlackClientError, OSError, http.client.HTTPException, ValueError) as error:
        raise SlackError(f"Slack did not take a message for {channel}: {error}") from error
    return str(response["ts"])
