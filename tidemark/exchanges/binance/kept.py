"""Fields of Binance's events that are known and have no column: they stay in ``extra``, not reported as unknown.

Contains: their names. Does not contain: fields with a column (``fields``).
"""

from __future__ import annotations

from typing import Final

#: By dataset. A ticker's changes, weighted price, times and ids follow from other columns or from trades.
KEPT: Final = {
    "ticker": frozenset(("p", "P", "w", "O", "C", "F", "L", "n")),
}
