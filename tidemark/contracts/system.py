"""Contract of the system dataset: what our own producers say of their connections and streams."""

from __future__ import annotations

from typing import Final

from tidemark.contracts import fields as f
from tidemark.contracts.fields import Contract, Field, Kind

SYSTEM: Final = Contract(
    dataset="system",
    version=1,
    grain="One connection opened, alive or closed, or one break in the numbers of a stream.",
    natural_key=("exchange", "connection", "kind", "event_at"),
    fields=(
        f.EXCHANGE,
        Field("kind", Kind.TEXT, "What happened.", required=True, choices=("open", "alive", "close", "break")),
        Field("connection", Kind.TEXT, "The connection it happened to.", required=True),
        Field("worker", Kind.TEXT, "Name of the producer that owns the connection.", required=True),
        f.EVENT_AT.but(description="When it happened, by our clock."),
        Field("frames", Kind.INTEGER, "Frames received over the connection; null at opening.", check=">= 0"),
        Field("reason", Kind.TEXT, "Why it was closed, or what broke; null at opening."),
        Field("subscription", Kind.JSON, "Datasets and codes asked for; null otherwise."),
        f.EXTRA,
    ),
)
