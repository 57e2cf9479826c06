"""One call of the language model.

Lives here: the SDK, and its errors as ours. Doesn't: prompts, retries (``narrative``). The SDK takes seconds to load,
so this module is imported only where a model is asked.
"""

from __future__ import annotations

import re
from typing import Any

import anthropic

from alerts.report.narrative import Answer, NarrativeError, RetryableError
from tidemark.settings import LlmSettings


def ask(settings: LlmSettings, system: str, user: str, timeout_s: float) -> Answer:
    """Ask once; the SDK's own retries are off, since the caller keeps the budget.

    Raises:
        NarrativeError: rejected, or the answer is no message; RetryableError where another try may do better.
    """
    client = anthropic.Anthropic(api_key=settings.api_key.get_secret_value(), base_url=settings.base_url, max_retries=0)
    try:
        message = client.messages.create(
            model=settings.model,
            max_tokens=settings.max_tokens,
            system=system,
            messages=[{"role": "user", "content": user}],
            timeout=max(timeout_s, 0.1),
        )
    except anthropic.APIStatusError as error:
        raise _status_error(error) from error
    except anthropic.APIResponseValidationError as error:
        raise NarrativeError("malformed", str(error)[:500]) from error
    except anthropic.APIConnectionError as error:  # time-outs too
        raise RetryableError("unreachable", type(error).__name__) from error
    except (anthropic.AnthropicError, ValueError) as error:
        raise NarrativeError("malformed", f"{type(error).__name__}: {error}"[:500]) from error
    return _answer(message)


def _answer(message: Any) -> Answer:
    """The message as an answer. Servers are not trusted to keep the types that the SDK declares."""
    content = message.content if isinstance(message, anthropic.types.Message) else None
    if not isinstance(content, list):
        raise NarrativeError("malformed", "the answer is not a message")
    texts = [text for block in content if isinstance(text := getattr(block, "text", None), str)]
    if not texts and message.stop_reason == "end_turn":
        raise NarrativeError("malformed", "the answer holds no text")
    usage = message.usage
    tokens = (getattr(usage, "input_tokens", 0) or 0, getattr(usage, "output_tokens", 0) or 0)
    return Answer("\n\n".join(texts), str(message.stop_reason), *tokens)


def _status_error(error: anthropic.APIStatusError) -> NarrativeError:
    detail = f"HTTP {error.status_code}"
    if error.status_code in (408, 409, 429) or error.status_code >= 500:
        reason = "limited" if error.status_code in (429, 529) else "unreachable"
        return RetryableError(reason, detail, _seconds(error.response.headers.get("retry-after")))
    return NarrativeError("rejected", detail)


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text) else None
