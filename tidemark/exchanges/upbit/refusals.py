"""What Upbit's errors mean.

Contains: the meaning of a status and an error object, and the length of a block. Does not contain: what follows
(``jobs``, ``transport``).

Errors are ``{"error":{"name":…,"message":…}}``. A market that is not listed (any more) is a 404 whose name is the
number 404; a path that does not exist is a 404 as well, with the name ``not_found``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from tidemark.exchanges import refusals
from tidemark.exchanges.base import Refusal

_NO_CODE: Final = re.compile(r"\bcode not found\b", re.IGNORECASE)
#: The words of a block. Documented: its length is in the message, and grows with each.
_BLOCKED: Final = re.compile(r"block|\bban|restrict|retry|try again|차단|제한|후에|이후", re.IGNORECASE)


def refusal(status: int, body: bytes) -> Refusal:
    """The meaning of an answer with this status and body."""
    if status == 418:
        return Refusal.BANNED
    if status == 429 or status >= 500:
        return Refusal.TRY_LATER
    error = refusals.fields(body).get("error")
    if status == 404 and isinstance(error, dict):
        name, message = error.get("name"), error.get("message")
        if name == 404 or (isinstance(message, str) and _NO_CODE.search(message)):
            return Refusal.UNKNOWN_MARKET
    return Refusal.OTHER


def banned_until(body: bytes, at: datetime) -> datetime | None:
    """The end of a block whose message states its length (``You are blocked for 30 seconds``)."""
    error = refusals.fields(body).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    text = message if isinstance(message, str) else body[:2_000].decode("utf-8", errors="replace")
    if text is not message and not _BLOCKED.search(text):
        return None  # some page that happens to hold a number of minutes
    span = refusals.span_in(text)
    return refusals.moment_in(text) or (at + span if span is not None else None)
