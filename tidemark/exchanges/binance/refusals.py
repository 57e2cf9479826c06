"""What Binance's errors mean.

Contains: the meaning of a status and an error code, and the end of a ban. Does not contain: what follows (``jobs``,
``transport``).

Errors are ``{"code":-1121,"msg":"Invalid symbol."}``. A ban is a 418 with code -1003, whose text names its end in Unix
milliseconds; ``Retry-After`` is not documented for futures, and was seen.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tidemark.exchanges import refusals
from tidemark.exchanges.base import Refusal

#: Invalid symbol; symbol is closed. An invalid *status* of a symbol (-1122) may pass.
_NO_SYMBOL: Final = (-1121, -4141)
#: Disconnected, no answer from the backend, time-out, shutting down, unexpected answer, too many requests, -orders.
_PASSING: Final = (-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1016)


def refusal(status: int, body: bytes) -> Refusal:
    """The meaning of an answer with this status and body."""
    code = refusals.fields(body).get("code")
    if status == 418 or (code == -1003 and b"banned" in body):
        return Refusal.BANNED
    if status == 429 or status >= 500 or code in _PASSING:
        return Refusal.TRY_LATER
    return Refusal.UNKNOWN_MARKET if code in _NO_SYMBOL else Refusal.OTHER


def banned_until(body: bytes, at: datetime) -> datetime | None:
    """The end of ``IP banned until 1790000000000``."""
    return refusals.moment_in(body[:2_000].decode("utf-8", errors="replace"))
