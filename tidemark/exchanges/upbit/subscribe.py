"""What to open and what to ask for on Upbit's socket.

Lives here: the plan of connections and the subscription message. Doesn't: opening anything (``streaming``).

One message asks for everything of a connection, because a second one would replace the first. The exchange
answers with data only: no acknowledgement, and unknown codes are passed over in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidemark.exchanges.base import Connection
from tidemark.exchanges.upbit.symbols import STREAM_INTERVALS
from tidemark.settings import ExchangeSettings

PATH: Final = "/websocket/v1"
_DATASETS: Final = ("ticker", "trade", "orderbook", "candle")


def connections(settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int) -> tuple[Connection, ...]:
    """All datasets of a market on one connection; markets in chunks, in the given order, each once.

    Raises:
        ValueError: no codes or datasets, a dataset or interval that the socket doesn't carry, or an empty
        chunk.
    """
    unknown = sorted(set(settings.datasets) - set(_DATASETS))
    if unknown or not settings.datasets:
        raise ValueError(f"datasets {unknown or 'none'}: this socket carries {', '.join(_DATASETS)}")
    unknown = sorted(set(settings.candle_intervals) - set(STREAM_INTERVALS))
    if unknown:
        raise ValueError(f"candle intervals {unknown}: this socket carries {', '.join(STREAM_INTERVALS)}")
    unique = list(dict.fromkeys(codes))
    if not unique or codes_per_connection < 1:
        raise ValueError(f"{len(unique)} market codes over connections of {codes_per_connection}: nothing to ask for")
    chunks = [unique[i : i + codes_per_connection] for i in range(0, len(unique), codes_per_connection)]
    return tuple(Connection(PATH, settings.datasets, tuple(chunk)) for chunk in chunks)


def messages(settings: ExchangeSettings, connection: Connection, ticket: str) -> list[bytes]:
    """The subscription: snapshot first, then every change, for all datasets and codes of the connection."""
    types = [kind for dataset in connection.datasets for kind in _types(dataset, settings)]
    request: list[dict[str, Any]] = [{"ticket": ticket}]
    request += [{"type": kind, "codes": connection.codes} for kind in types]
    request.append({"format": settings.frame_format})
    return [msgspec.json.encode(request)]


def _types(dataset: str, settings: ExchangeSettings) -> list[str]:
    if dataset != "candle":
        return [dataset]
    return [f"candle.{STREAM_INTERVALS[interval]}" for interval in settings.candle_intervals]
