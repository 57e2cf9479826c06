"""Fields of OKX's events that are known and have no column: they stay in ``extra`` and are not reported as unknown.

Contains: their names. Does not contain: fields with a column (``rows``).
"""

from __future__ import annotations

from typing import Final

#: By dataset. ``sodUtc8`` is the opening price at 00:00 UTC+8, ``vol24h`` of a contract counts contracts.
KEPT: Final = {
    "ticker": frozenset(("sodUtc8", "vol24h")),
}
