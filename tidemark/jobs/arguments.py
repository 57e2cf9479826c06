"""Checks of what a person asks of a job: windows and markets. DAG forms, the command line and the jobs share them.

Contains: the checks, each a ``ValueError`` that says what is wrong and what to do. Does not contain: asking an exchange
(``jobs.fetching``), the forms themselves (``airflow/plugins``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

_SIMILAR: Final = 3
#: No exchange has anything from before the first block of Bitcoin.
_FIRST: Final = datetime(2009, 1, 1, tzinfo=UTC)


def instant(name: str, text: str) -> datetime:
    """The instant that ``text`` writes in ISO 8601, in UTC; without an offset it is meant in UTC.

    Raises:
        ValueError: it is no such time; ``name`` is the argument's.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}={text!r} is no ISO 8601 time, such as 2026-04-13T00:00:00Z (UTC)") from None


def check_window(start: datetime, end: datetime, now: datetime | None = None) -> None:
    """Raise ValueError unless both ends have a zone and are in order, and the window has begun, not before 2009.

    The end may lie in the future: a job takes what there is by then. ``now`` is the clock by default.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"the window {start} to {end} must be two instants with a zone, in order")
    if start >= end:
        what = "is empty" if start == end else "ends before it starts"
        raise ValueError(
            f"the window {shown(start)} to {shown(end)} {what}: give two instants in order, the end is not included"
        )
    if start < _FIRST:
        raise ValueError(f"the window starts at {shown(start)}: nobody traded before {_FIRST.year}, start it later")
    moment = now or datetime.now(UTC)
    if start >= moment:
        raise ValueError(
            f"the window {shown(start)} to {shown(end)} lies in the future (now: {shown(moment)}): "
            "give one that has begun"
        )


def check_codes(codes: Sequence[str], exchange: str | None, carried: Sequence[str]) -> None:
    """Raise ValueError where markets are named and not whose: each exchange has its own."""
    if codes and exchange is None and len(carried) > 1:
        raise ValueError(
            f"the markets {', '.join(codes)} belong to one exchange: choose it ({', '.join(carried)}), or leave the "
            "markets out"
        )


def own_codes(asked: Iterable[str], listed: Mapping[str, str]) -> tuple[str, ...]:
    """The exchange's own codes of markets that are given in either spelling, each once.

    ``listed`` is what the exchange lists: its code to our market. A text that is a listed code means that code, also
    where it is the name of another market; a text that is neither stays as it is.
    """
    by_market: dict[str, str] = {}
    for code, market in listed.items():
        by_market.setdefault(market, code)
    return tuple(dict.fromkeys(text if text in listed else by_market.get(text, text) for text in asked))


def similar(text: str, listed: Mapping[str, str]) -> str:
    """A hint at listed codes that look like ``text``; empty where none does."""
    pool = {name.upper(): code for code, market in listed.items() for name in (market, code)}
    found = difflib.get_close_matches(text.upper(), pool, _SIMILAR)
    codes = dict.fromkeys(pool[name] for name in found)
    return f" Similar: {', '.join(codes)}." if codes else ""


def unknown_markets(exchange: str, reasons: Mapping[str, str], listed: Mapping[str, str]) -> ValueError:
    """The error for markets that ``exchange`` does not have: ``reasons`` by what was asked for."""
    named = "; ".join(f"{text!r}: {why}.{similar(text, listed)}" for text, why in reasons.items())
    count = f"{len(reasons)} of the markets" if len(reasons) > 1 else "the market"
    return ValueError(f"{exchange} does not have {count} asked for, so nothing was started: {named}")


def shown(moment: datetime) -> str:
    """An instant for a message, in UTC to the minute, or to the second where it has seconds."""
    text = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
    return f"{text} UTC"


def duration(seconds: float) -> str:
    """A length of time for a message, such as ``12 minutes`` or ``2.6 hours``."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}".replace(".0 ", " ")
    return f"{max(1, math.ceil(seconds))} seconds"


def first_lines(lines: Sequence[str], count: int) -> list[str]:
    """The first ``count`` lines, and how many more there are."""
    rest = len(lines) - count
    return [*lines[:count], *([f"and {rest:,} more"] if rest > 0 else [])]
