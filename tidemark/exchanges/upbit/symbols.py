"""Upbit's names for markets and candle intervals, and ours.

Lives here: ``KRW-BTC`` to ``BTC-KRW`` and back; ``60m``, ``minutes/60`` and ``1h``. Doesn't: messages.
"""

from __future__ import annotations

import re
from typing import Final

from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.values import shown

NAME: Final = "upbit"

#: Our name of an interval, and the last part of Upbit's WebSocket type (`candle.60m`).
STREAM_INTERVALS: Final = {
    "1s": "1s",
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "10m": "10m",
    "15m": "15m",
    "30m": "30m",
    "1h": "60m",
    "4h": "240m",
}
#: Our name of an interval, and the last part of Upbit's REST path (`/v1/candles/minutes/60`).
REST_INTERVALS: Final = {
    "1s": "seconds",
    "1m": "minutes/1",
    "3m": "minutes/3",
    "5m": "minutes/5",
    "10m": "minutes/10",
    "15m": "minutes/15",
    "30m": "minutes/30",
    "1h": "minutes/60",
    "4h": "minutes/240",
    "1d": "days",
    "1w": "weeks",
    "1mo": "months",
}

_CODE: Final = re.compile(r"(?P<quote>[A-Z0-9]{1,20})-(?P<base>[A-Z0-9]{1,20})")


def market(code: object) -> str:
    """The canonical market ``BASE-QUOTE`` of Upbit's ``QUOTE-BASE``.

    Raises:
        Unparsable: ``missing_code``, or ``bad_code`` when it is not of that form.
    """
    if code is None:
        raise Unparsable("missing_code", "the message names no market")
    match = _CODE.fullmatch(code) if isinstance(code, str) else None
    if match is None:
        raise Unparsable("bad_code", f"market code {shown(code)} is not of the form KRW-BTC")
    return f"{match['base']}-{match['quote']}"
