"""What to open and what to ask for on Binance's sockets.

Lives here: the plan of connections and the subscription messages. Doesn't: opening anything (``streaming``).

Streams are served on two roots. Asked for on the wrong one they are acknowledged and never come, so each dataset has
its root. Unknown codes are acknowledged too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tidemark.exchanges.base import Connection
from tidemark.exchanges.binance.symbols import INTERVALS, stream
from tidemark.settings import ExchangeSettings

PUBLIC: Final = "/public/stream"
MARKET: Final = "/market/stream"
#: The root of each dataset.
ROOTS: Final = {"depth": PUBLIC, "trade": MARKET, "candle": MARKET, "ticker": MARKET}
#: The exchange refuses more on one connection.
STREAMS_A_CONNECTION: Final = 1024
#: At most six messages ask for a whole connection: ten a second, pings counted, are allowed.
STREAMS_A_MESSAGE: Final = 200


def connections(settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int) -> tuple[Connection, ...]:
    """For each root its datasets; markets in chunks, in the given order, each once.

    Raises:
        ValueError: no codes or datasets, a dataset or interval that the sockets don't carry, or an empty chunk.
    """
    _check(settings)
    unique = list(dict.fromkeys(codes))
    if not unique or codes_per_connection < 1:
        raise ValueError(f"{len(unique)} market codes over connections of {codes_per_connection}: nothing to ask for")
    plan = []
    for root in (PUBLIC, MARKET):
        datasets = tuple(d for d in settings.datasets if ROOTS[d] == root)
        if not datasets:
            continue
        streams = sum(len(_streams(d, settings)) for d in datasets)
        size = min(codes_per_connection, STREAMS_A_CONNECTION // streams)
        chunks = [unique[i : i + size] for i in range(0, len(unique), size)]
        plan += [Connection(root, datasets, tuple(chunk)) for chunk in chunks]
    return tuple(plan)


def messages(settings: ExchangeSettings, connection: Connection) -> list[bytes]:
    """The subscriptions of a connection, numbered from 1; each is acknowledged by its number."""
    kinds = [kind for dataset in connection.datasets for kind in _streams(dataset, settings)]
    names = [stream(code, kind) for code in connection.codes for kind in kinds]
    chunks = [names[i : i + STREAMS_A_MESSAGE] for i in range(0, len(names), STREAMS_A_MESSAGE)]
    return [
        msgspec.json.encode({"method": "SUBSCRIBE", "params": chunk, "id": number})
        for number, chunk in enumerate(chunks, 1)
    ]


def _check(settings: ExchangeSettings) -> None:
    if "orderbook" in settings.datasets:
        raise ValueError("dataset orderbook: whole books are built from depth here; ask for depth")
    unknown = sorted(set(settings.datasets) - set(ROOTS))
    if unknown or not settings.datasets:
        raise ValueError(f"datasets {unknown or 'none'}: these sockets carry {', '.join(ROOTS)}")
    unknown = sorted(set(settings.candle_intervals) - set(INTERVALS))
    if "candle" in settings.datasets and (unknown or not settings.candle_intervals):
        raise ValueError(f"candle intervals {unknown or 'none'}: these sockets carry {', '.join(INTERVALS)}")


def _streams(dataset: str, settings: ExchangeSettings) -> list[str]:
    if dataset == "candle":
        return [f"kline_{INTERVALS[interval]}" for interval in settings.candle_intervals]
    return [{"trade": "aggTrade", "depth": "depth@100ms", "ticker": "ticker"}[dataset]]
