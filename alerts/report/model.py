"""One call of the language model.

Contains: the SDK over our own transport, and its errors as ours. Does not contain: prompts, retries (``narrative``),
deadlines and limits (``tidemark.post``). The SDK takes seconds to load, so this module is imported only where a model
is asked.

The SDK's own transport has a time-out per read, follows redirects and reads answers of any size; this one has a
deadline for the whole call. Servers are not trusted to keep the types that the SDK declares: the answer is read here.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import anthropic
import httpx2  # the HTTP library of the SDK, whose transport is replaced here

from alerts.report.narrative import Answer, NarrativeError, RetryableError
from tidemark.post import NoReplyError, NotSentError, UnreadableReplyError, post
from tidemark.settings import LlmSettings

#: An answer of ``max_tokens`` tokens is some ten kilobytes.
_MAX_BYTES: Final = 1024 * 1024
_MAX_TOKENS: Final = 2**31
#: No text holds these, and PostgreSQL, logs and Slack refuse them.
_UNTEXT: Final = re.compile("[\0\ud800-\udfff]")


class _Transport(httpx2.BaseTransport):
    """Sends the SDK's one request with ``post``."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        drop = {"host", "content-length", "accept-encoding", "connection"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in drop}
        reply = post(str(request.url), request.read(), headers, timeout_s=self.timeout_s, max_bytes=_MAX_BYTES)
        ours = {"content-encoding", "content-length", "transfer-encoding"}  # the body is decoded and whole
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in ours}
        return httpx2.Response(reply.status, headers=kept, content=reply.body)


def ask(settings: LlmSettings, system: str, user: str, timeout_s: float) -> Answer:
    """Ask once, within ``timeout_s`` seconds; the SDK's own retries are off, since the caller keeps the budget.

    Raises:
        NarrativeError: rejected, or the answer is no message; RetryableError where another try may do better.
    """
    transport = _Transport(max(timeout_s, 0.1))
    try:
        with anthropic.Anthropic(
            api_key=settings.api_key.get_secret_value(),
            base_url=settings.base_url,
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(transport=transport, follow_redirects=False),
        ) as client:
            raw = client.messages.with_raw_response.create(
                model=settings.model,
                max_tokens=settings.max_tokens,
                system=system,
                messages=[{"role": "user", "content": user}],
                timeout=transport.timeout_s,
            )
            return _answer(raw.http_response.content)
    except anthropic.APIStatusError as error:
        raise _status_error(error) from error
    except anthropic.APIConnectionError as error:
        raise _connection_error(error) from error
    except (anthropic.AnthropicError, ValueError, RecursionError) as error:
        raise NarrativeError("malformed", f"{type(error).__name__}: {error}"[:500]) from error


def _answer(body: bytes) -> Answer:
    """The message as an answer.

    Raises:
        NarrativeError: it is none.
        ValueError, RecursionError: it is no JSON.
    """
    message: Any = json.loads(body)
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        raise NarrativeError("malformed", "the answer is not a message")
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [text for block in blocks if isinstance(text := block.get("text"), str)]
    stop_reason = ascii(message.get("stop_reason"))[:100].strip("'")
    if any(_UNTEXT.search(text) for text in texts):
        raise NarrativeError("malformed", "the answer holds NUL or lone surrogates")
    if not texts and stop_reason == "end_turn":
        raise NarrativeError("malformed", "the answer holds no text")
    usage = message.get("usage")
    return Answer("\n\n".join(texts), stop_reason, _tokens(usage, "input_tokens"), _tokens(usage, "output_tokens"))


def _tokens(usage: Any, name: str) -> int | None:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MAX_TOKENS else None


def _connection_error(error: anthropic.APIConnectionError) -> NarrativeError:
    cause = error.__cause__
    if isinstance(cause, UnreadableReplyError):
        return NarrativeError("malformed", str(cause)[:500])
    detail = str(cause)[:500] if isinstance(cause, NoReplyError | NotSentError) else type(error).__name__
    return RetryableError("unreachable", detail)


def _status_error(error: anthropic.APIStatusError) -> NarrativeError:
    detail = f"HTTP {error.status_code}"
    if error.status_code in (408, 409, 429) or error.status_code >= 500:
        reason = "limited" if error.status_code in (429, 529) else "unreachable"
        return RetryableError(reason, detail, _seconds(error.response.headers.get("retry-after")))
    return NarrativeError("rejected", detail)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else None
