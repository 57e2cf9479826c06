"""What OKX's errors mean.

Contains: the meaning of a status and an error code. Does not contain: what follows (``jobs``, ``transport``).

Errors are ``{"code":"51001","msg":"…","data":[]}``, with HTTP 200 or not.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tidemark.exchanges import refusals
from tidemark.exchanges.base import Refusal

#: Unavailable, time-out, too many requests, busy, system error, too frequent.
PASSING: Final = ("50001", "50004", "50011", "50013", "50026", "50040")
#: Instrument ID does not exist; contract expired; listing cancelled. A wrong parameter (51000) may be our own fault.
_NO_INSTRUMENT: Final = ("51001", "51027", "51087")


def refusal(status: int, body: bytes) -> Refusal:
    """The meaning of an answer with this status and body."""
    if status == 418:
        return Refusal.BANNED
    code = str(refusals.fields(body).get("code", ""))
    if code in _NO_INSTRUMENT and status < 500:
        return Refusal.UNKNOWN_MARKET
    return Refusal.TRY_LATER if status == 429 or status >= 500 or code in PASSING else Refusal.OTHER


def banned_until(body: bytes, at: datetime) -> datetime | None:
    """The end that an answer names as ``until <Unix time>``; no other form is known."""
    return refusals.moment_in(body[:2_000].decode("utf-8", errors="replace"))
