"""How exchanges of swaps spell numbers: as text, exactly.

Lives here: decimal texts from integers of 1e-8 and 1e-16; no float anywhere. Doesn't: whole frames.
"""

from __future__ import annotations

E8 = 10**8
E16 = 10**16


def plain(value: int, scale: int = E8) -> str:
    """Without needless zeros: ``0.1``, ``71400``."""
    whole, part = divmod(abs(value), scale)
    digits = f"{part:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def fixed(value: int, decimals: int) -> str:
    """A value of 1e-8 with so many decimals, which hold it exactly: ``0.100``."""
    if not decimals:
        return str(value // E8)
    whole, part = divmod(abs(value), E8)
    return f"{'-' if value < 0 else ''}{whole}.{f'{part:08d}'[:decimals]}"


def decimals_of(step: int) -> int:
    """How many decimals a step (1e-8) needs: 1 for 0.1."""
    return len(plain(step).partition(".")[2])
