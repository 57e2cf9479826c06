"""Fields of Upbit's frames that are known and have no column: they stay in ``extra`` and are not reported as unknown.

Contains: their names. Does not contain: fields with a column (``fields``).
"""

from __future__ import annotations

from typing import Final

#: By dataset, long and short names. Tickers of 2021 had both; recordings of that time do still.
KEPT: Final = {"ticker": frozenset(("trade_status", "ts", "market_state_for_ios", "msfi"))}
