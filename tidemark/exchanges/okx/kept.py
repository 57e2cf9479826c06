"""Fields of OKX's events that are known and have no column: they stay in ``extra`` and are not reported as unknown.

Contains: their names. Does not contain: fields with a column (``rows``).
"""

from __future__ import annotations

from typing import Final

#: By dataset. ``source``: 0 is a normal order, 1 one of retail price improvement; ``seqId`` of a trade is no identity.
KEPT: Final = {
    "trade": frozenset(("source", "seqId")),
    "ticker": frozenset(("sodUtc8", "vol24h")),
}
