"""Reading what an exchange's error states in words: a JSON object, a length of time, a moment.

Contains: readers that several exchanges need. Does not contain: what an error of one exchange means
(``exchanges/<name>/refusals``), what follows from it (``jobs``, ``transport``).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemark.exchanges import messages
from tidemark.exchanges.base import Unparsable

_MOMENT: Final = re.compile(r"\buntil\s+(?:timestamp\s+)?([0-9]{10}(?:[0-9]{3})?)\b", re.IGNORECASE)
_SPAN: Final = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*"
    r"(?:((?:milliseconds?|millis|ms|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|[smhd])(?![A-Za-z]))|(초|분|시간|일))",
    re.IGNORECASE,
)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_KOREAN: Final = {"초": "s", "분": "m", "시간": "h", "일": "d"}


def fields(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer is; empty where it is anything else."""
    try:
        decoded = messages.decode(body)
    except Unparsable:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def moment_in(text: str) -> datetime | None:
    """The moment (UTC) of ``until <Unix time>``, in seconds or milliseconds; None: there is none."""
    found = _MOMENT.search(text)
    if found is None:
        return None
    number = int(found[1])
    return datetime.fromtimestamp(number / 1000 if len(found[1]) == 13 else number, UTC)


def span_in(text: str) -> timedelta | None:
    """All lengths of time in a text together (``1 hour 30 minutes``, ``10분``); None: there is none.

    A length too many makes it longer, never shorter.
    """
    lengths = [float(number) * _SECONDS[_unit(english, korean)] for number, english, korean in _SPAN.findall(text)]
    return timedelta(seconds=min(sum(lengths), 30 * 86_400.0)) if sum(lengths) > 0 else None


def _unit(english: str, korean: str) -> str:
    if korean:
        return _KOREAN[korean]
    return "ms" if english.lower().startswith(("ms", "milli")) else english[0].lower()
