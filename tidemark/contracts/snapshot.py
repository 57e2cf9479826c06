"""Contract of the snapshot dataset: what an exchange's REST interface said of each market at one moment, whole."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind

SNAPSHOT: Final = Contract(
    dataset="snapshot",
    version=1,
    grain="What one answer of the exchange says of the state of one market.",
    natural_key=("exchange", "market", "event_at"),
    fields=(
        f.EXCHANGE,
        f.MARKET,
        f.CODE,
        f.EVENT_AT.but(description="When it was asked for, by our clock; the exchange's own time is in the document."),
        Field("document", Kind.JSON, "All that the exchange says of the market, by its own names.", required=True),
    ),
)
