"""The checksum that OKX sent with its books until 2026, to prove recordings of before.

It covers the digits as the exchange spelled them, which numbers don't keep, so it is worked out on messages and not on
rows. Since 2026-06-23 the exchange sends 0, and a book's integrity is its numbers alone (``seqId``, ``prevSeqId``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final
from zlib import crc32

_LEVELS: Final = 25


def checksum(asks: Sequence[Sequence[str]], bids: Sequence[Sequence[str]]) -> int:
    """The signed CRC32 over the best 25 levels of each side, bid and ask in turn, best level first.

    A level is its price and its size, as spelled in the message that set it; more of it is not looked at.
    """
    turns = zip_longest(bids[:_LEVELS], asks[:_LEVELS])
    spelled = ":".join(f"{level[0]}:{level[1]}" for pair in turns for level in pair if level is not None)
    unsigned = crc32(spelled.encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned
