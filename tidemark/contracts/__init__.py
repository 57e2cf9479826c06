"""The only place that declares columns.

Lives here: ``fields`` (the vocabulary: what a column is, and the types it may have), one module a dataset
(``trade``, ``ticker``, ``orderbook``, ``depth``, ``candle``, ``market``, ``snapshot``, ``system``) and ``render``
(Arrow, PostgreSQL, dbt sources, JSON Schema, reference page). Doesn't: parsing (``exchanges``), files (``lake``), SQL
that runs (``warehouse``). ``rendered/`` holds what ``make contracts`` wrote; CI renders again and fails on a
difference.
"""

from __future__ import annotations

from typing import Final

from tidemark.contracts.candle import CANDLE
from tidemark.contracts.depth import DEPTH
from tidemark.contracts.fields import Contract, Field, Kind
from tidemark.contracts.market import MARKET
from tidemark.contracts.orderbook import ORDERBOOK
from tidemark.contracts.snapshot import SNAPSHOT
from tidemark.contracts.system import SYSTEM
from tidemark.contracts.ticker import TICKER
from tidemark.contracts.trade import TRADE

CONTRACTS: Final[dict[str, Contract]] = {
    contract.dataset: contract for contract in (TRADE, TICKER, ORDERBOOK, DEPTH, CANDLE, MARKET, SNAPSHOT, SYSTEM)
}

__all__ = ["CONTRACTS", "Contract", "Field", "Kind"]
