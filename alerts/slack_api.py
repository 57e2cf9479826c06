"""Slack's Web API, as far as messages need it: one call, and what its answer proves.

Contains: the call, the checks of its answer, and what each of Slack's error codes means. Does not contain: the outbox
and its retries (``slack``), HTTP (``tidemark.post``).

Slack answers HTTP 200 with ``ok`` true or false. Only that proves anything: ``ok`` with the message's time stamp that
it was posted, an error code of ``REFUSALS`` or ``LATER`` that it was not. Every other answer (another status, a
redirect, a proxy's page, an unlisted code, no answer) leaves the outcome unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from tidemark.post import NoReplyError, NotSentError, Reply, post
from tidemark.settings import SlackSettings
from tidemark.transport import retry_after_s

_TS: Final = re.compile(r"\d{1,12}\.\d{1,9}")
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,60}")
_OK: Final = 200
_TOO_MANY: Final = 429

_BOT: Final = "set a bot token (xoxb-…) of an installed app in TIDEMARK_SLACK__TOKEN"
_REINSTALL: Final = "install the app in the workspace again and set its new bot token in TIDEMARK_SLACK__TOKEN"
_CHANNEL: Final = "set another channel's id in TIDEMARK_SLACK__CHANNEL and invite the bot to it"
_ADMINS: Final = "ask the workspace's administrators to let the app post there, or set another TIDEMARK_SLACK__CHANNEL"
_MIGRATION: Final = "the workspace is being migrated; run again when Slack has finished"
_MESSAGE: Final = (
    "Slack does not take the message itself; report it as a fault of Tidemark. The report is stored in ops.report "
    "and on the digest page"
)
_CALL: Final = "Slack does not understand the call; look at TIDEMARK_SLACK__BASE_URL and for a newer Tidemark"

#: Slack refuses until a person changes something: code → what to change. From the errors that Slack documents for
#: chat.postMessage, conversations.history and conversations.replies.
REFUSALS: Final[Mapping[str, str]] = {
    # the token
    "invalid_auth": _BOT,
    "not_authed": _BOT,
    "not_allowed_token_type": _BOT,
    "token_expired": "set a new bot token in TIDEMARK_SLACK__TOKEN",
    "token_revoked": "set a new bot token in TIDEMARK_SLACK__TOKEN",
    "account_inactive": _REINSTALL,
    "team_access_not_granted": "install the app in that workspace and set that workspace's TIDEMARK_SLACK__TOKEN",
    "team_not_found": _REINSTALL,
    "missing_scope": "give the bot chat:write and channels:history (groups:history for a private channel)",
    "no_permission": "invite the bot to the channel and give it chat:write",
    "metadata_must_be_sent_from_app": _BOT,
    # the channel
    "channel_not_found": "set the channel's id in TIDEMARK_SLACK__CHANNEL and invite the bot",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": f"the channel is archived; {_CHANNEL}",
    "messages_tab_disabled": f"the app takes no direct messages; {_CHANNEL}",
    "channel_type_not_supported": _CHANNEL,
    "restricted_action": _ADMINS,
    "restricted_action_read_only_channel": _ADMINS,
    "restricted_action_thread_only_channel": _ADMINS,
    "restricted_action_non_threadable_channel": _ADMINS,
    "restricted_action_thread_locked": _ADMINS,
    "cannot_reply_to_message": "the report's first message takes no replies; look at it in the channel",
    "thread_not_found": "the report's first message was deleted from the channel",
    # the workspace
    "access_denied": _ADMINS,
    "accesslimited": "Slack does not serve this network; ask the workspace's administrators to allow its address",
    "app_access_restricted": _ADMINS,
    "ekm_access_denied": _ADMINS,
    "enterprise_is_restricted": "set the token of a workspace, not of the organisation, in TIDEMARK_SLACK__TOKEN",
    "two_factor_setup_required": "set up two-factor authentication for the token's account",
    "org_login_required": _MIGRATION,
    "team_added_to_org": _MIGRATION,
    # the message
    "no_text": _MESSAGE,
    "msg_too_long": _MESSAGE,
    "msg_blocks_too_long": _MESSAGE,
    "invalid_blocks": _MESSAGE,
    "invalid_blocks_format": _MESSAGE,
    "too_many_attachments": _MESSAGE,
    "attachment_payload_limit_exceeded": _MESSAGE,
    "markdown_text_conflict": _MESSAGE,
    "invalid_metadata_format": _MESSAGE,
    "invalid_metadata_schema": _MESSAGE,
    "metadata_too_large": _MESSAGE,
    "missing_file_data": _MESSAGE,
    "duplicate_channel_not_found": _MESSAGE,
    "duplicate_message_not_found": _MESSAGE,
    "slack_connect_canvas_sharing_blocked": _MESSAGE,
    "slack_connect_file_link_sharing_blocked": _MESSAGE,
    "slack_connect_lists_sharing_blocked": _MESSAGE,
    # the call
    "as_user_not_supported": _CALL,
    "deprecated_endpoint": _CALL,
    "method_deprecated": _CALL,
    "unknown_method": _CALL,
    "upgrade_required": _CALL,
    "invalid_arg_name": _CALL,
    "invalid_arguments": _CALL,
    "invalid_array_arg": _CALL,
    "invalid_charset": _CALL,
    "invalid_cursor": _CALL,
    "invalid_form_data": _CALL,
    "invalid_json": _CALL,
    "invalid_limit": _CALL,
    "invalid_post_type": _CALL,
    "invalid_ts_latest": _CALL,
    "invalid_ts_oldest": _CALL,
    "json_not_object": _CALL,
    "missing_post_type": _CALL,
}
#: Slack did not post it and may do so later, unchanged: code → what to do.
LATER: Final[Mapping[str, str]] = {
    "ratelimited": "Slack limits the rate; run again later",
    "rate_limited": "Slack limits the rate; run again later",
    "message_limit_exceeded": "the workspace has reached its limit of messages; run again later",
}


class RefusedCallError(Exception):
    """Slack refused the call in its own words, so nothing was done. ``code`` is in ``REFUSALS`` or ``LATER``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
        self.for_good = code in REFUSALS
        self.advice = REFUSALS.get(code) or LATER.get(code, "")


class UnsentCallError(Exception):
    """Nothing reached Slack."""


class UnknownCallError(Exception):
    """Slack may or may not have carried the call out. ``after``: seconds that it asks to wait, 0 for none."""

    def __init__(self, problem: str, after: float = 0.0) -> None:
        super().__init__(problem)
        self.after = after


@dataclass(frozen=True, slots=True)
class SlackClient:
    """Calls Slack; retries nothing. ``timeout_s`` is the longest that one call may take."""

    base_url: str
    token: str
    timeout_s: float

    def call(self, method: str, arguments: Mapping[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """The answer of a call that Slack carried out; ``timeout_s`` may shorten the client's own.

        Methods that write take JSON; those that read take forms.

        Raises:
            RefusedCallError, UnsentCallError, UnknownCallError: it was not, or nobody knows.
        """
        json_ = method.startswith("chat.")
        kind = "application/json; charset=utf-8" if json_ else "application/x-www-form-urlencoded"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        body = (json.dumps(arguments) if json_ else urlencode(arguments)).encode()
        longest = self.timeout_s if timeout_s is None else min(timeout_s, self.timeout_s)
        try:
            reply = post(self.base_url + method, body, headers, timeout_s=longest)
        except NotSentError as error:
            raise UnsentCallError(str(error)) from error
        except NoReplyError as error:
            raise UnknownCallError(f"no answer: {error}") from error
        return _judged(reply)


def client(settings: SlackSettings, *, timeout_s: float = 15.0) -> SlackClient:
    """A client for the settings' token; a call takes ``timeout_s`` seconds at most."""
    return SlackClient(settings.base_url.rstrip("/") + "/", settings.token.get_secret_value(), timeout_s)


def time_stamp(answer: Mapping[str, Any]) -> str:
    """The time stamp of the message that an answer says was posted.

    Raises:
        UnknownCallError: the answer names none.
    """
    ts = answer.get("ts")
    if not isinstance(ts, str) or not _TS.fullmatch(ts):
        raise UnknownCallError("Slack answered ok without the message's time stamp")
    return ts


def _judged(reply: Reply) -> dict[str, Any]:
    answer = _json(reply.body)
    code = answer.get("error") if isinstance(answer, dict) else None
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    if reply.status != _OK or not isinstance(answer, dict):
        after = retry_after_s(reply.headers) if reply.status in (_TOO_MANY, 503) else 0.0
        raise UnknownCallError(f"HTTP {reply.status} {code or _shown(reply.body)}".strip(), after)
    if answer.get("ok") is True:
        return answer
    if answer.get("ok") is False and (code in REFUSALS or code in LATER):
        raise RefusedCallError(code)
    raise UnknownCallError(f"HTTP {reply.status} {code or _shown(reply.body)}")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(body: bytes) -> str:
    """The beginning of an answer that is none of Slack's, in printable characters."""
    return ascii(body[:80].decode("utf-8", errors="replace"))
