"""How Upbit spells numbers and times.

Lives here: exact texts from integers of 1e-8 and 1e-16; no float anywhere. Doesn't: whole frames
(``frames``).
"""

from __future__ import annotations

import time
from functools import lru_cache

E8 = 10**8
E16 = 10**16
KST_S = 9 * 3600


def calendar(day: int) -> str:
    """A UTC epoch day as Upbit spells a date of delisting: an object."""
    year, month, number = time.gmtime(day * 86_400)[:3]
    return f'{{"year":{year},"month":{month},"day":{number}}}'


def fixed(value: int) -> str:
    """Eight decimals, as in ``127.00000000``; zero is ``0E-8``."""
    if value == 0:
        return "0E-8"
    whole, part = divmod(abs(value), E8)
    return f"{'-' if value < 0 else ''}{whole}.{part:08d}"


def plain(value: int) -> str:
    """Without needless zeros, but always with a decimal, as in ``127.0``."""
    whole, part = divmod(abs(value), E8)
    digits = f"{part:08d}".rstrip("0") or "0"
    return f"{'-' if value < 0 else ''}{whole}.{digits}"


def double(value: int) -> str:
    """As Java prints a double: ``127.0``, ``1.16539E8`` from 1e7 on, ``7.9276E-4`` below 1e-3."""
    if 100_000 <= abs(value) < 10_000_000 * E8 or value == 0:
        return plain(value)
    digits = str(abs(value))
    exponent = len(digits) - 9
    return f"{'-' if value < 0 else ''}{digits[0]}.{digits[1:].rstrip('0') or '0'}E{exponent}"


def amount(value: int) -> str:
    """A quote value (1e-16): at least eight decimals, more when it has them."""
    whole, part = divmod(value, E16)
    digits = f"{part:016d}".rstrip("0")
    return f"{whole}.{digits:0<8}"


def rate(change: int, base: int) -> str:
    """Change / base with ten decimals, rounded half up; zero is ``0``."""
    scaled = (abs(change) * 10**11 // base + 5) // 10
    if scaled == 0:
        return "0"
    return f"{'-' if change < 0 else ''}{scaled // 10**10}.{scaled % 10**10:010d}"


def direction(change: int) -> str:
    """RISE, EVEN or FALL."""
    return "RISE" if change > 0 else "FALL" if change < 0 else "EVEN"


@lru_cache(maxsize=8192)
def date_and_time(second: int) -> tuple[str, str]:
    """``yyyy-MM-dd`` and ``HH:mm:ss`` (UTC) of Unix ``second``."""
    at = time.gmtime(second)
    return time.strftime("%Y-%m-%d", at), time.strftime("%H:%M:%S", at)


def iso(second: int) -> str:
    """``yyyy-MM-ddTHH:mm:ss`` (UTC) of Unix ``second``."""
    return "T".join(date_and_time(second))


def compact(second: int) -> tuple[str, str]:
    """``yyyyMMdd`` and ``HHmmss`` (UTC) of Unix ``second``."""
    day, clock = date_and_time(second)
    return day.replace("-", ""), clock.replace(":", "")
