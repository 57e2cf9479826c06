"""What to open and what to ask for on OKX's sockets.

Lives here: the plan of connections, and the subscription messages. Doesn't: opening anything (``streaming``).

Trades, tickers and books are served on one path, bars on another. Each argument of a message is acknowledged or refused
by itself, so acknowledgements are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tidemark.exchanges.base import Connection
from tidemark.exchanges.okx.symbols import INTERVALS
from tidemark.settings import ExchangeSettings

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
#: The exchange takes 64 KB in one message; what a KB is, it doesn't say.
LARGEST_MESSAGE: Final = 64_000

_CHANNELS: Final = {"trade": "trades", "ticker": "tickers", "depth": "books"}
_DATASETS: Final = (*_CHANNELS, "candle")
#: What shares a connection, where it is served, and how many codes the exchange advises to stay below.
_ROOMS: Final = ((PUBLIC, ("trade", "ticker"), None), (PUBLIC, ("depth",), 29), (BUSINESS, ("candle",), None))
_HEAD: Final = b'{"op":"subscribe","args":['
_TAIL: Final = b"]}"


def connections(settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int) -> tuple[Connection, ...]:
    """Markets in chunks, in the given order, each once: for trades and tickers, for books, for candles.

    Raises:
        ValueError: no codes or datasets, a dataset or interval that the sockets don't carry, or an empty chunk.
    """
    unknown = sorted(set(settings.datasets) - set(_DATASETS))
    if unknown or not settings.datasets:
        raise ValueError(f"datasets {unknown or 'none'}: these sockets carry {', '.join(_DATASETS)}")
    unknown = sorted(set(settings.candle_intervals) - set(INTERVALS))
    if unknown:
        raise ValueError(f"candle intervals {unknown}: these sockets carry {', '.join(INTERVALS)}")
    if "candle" in settings.datasets and not settings.candle_intervals:
        raise ValueError("candles without an interval: name one in candle_intervals")
    unique = list(dict.fromkeys(codes))
    if not unique or codes_per_connection < 1:
        raise ValueError(f"{len(unique)} market codes over connections of {codes_per_connection}: nothing to ask for")
    plan = []
    for path, datasets, most in _ROOMS:
        wanted = tuple(name for name in settings.datasets if name in datasets)
        step = min(codes_per_connection, most or codes_per_connection)
        if wanted:
            plan += [Connection(path, wanted, tuple(unique[i : i + step])) for i in range(0, len(unique), step)]
    return tuple(plan)


def acknowledgements(settings: ExchangeSettings, connection: Connection) -> int:
    """How many arguments the messages of a connection hold."""
    return len(connection.codes) * sum(len(_channels(name, settings)) for name in connection.datasets)


def messages(settings: ExchangeSettings, connection: Connection) -> list[bytes]:
    """The subscription, in as few messages as the size of one allows."""
    found: list[bytes] = []
    part: list[bytes] = []
    room = LARGEST_MESSAGE - len(_HEAD) - len(_TAIL)
    for argument in _arguments(settings, connection):
        if part and sum(map(len, part)) + len(part) + len(argument) > room:
            found.append(_HEAD + b",".join(part) + _TAIL)
            part = []
        part.append(argument)
    return [*found, _HEAD + b",".join(part) + _TAIL]


def _arguments(settings: ExchangeSettings, connection: Connection) -> Iterator[bytes]:
    for dataset in connection.datasets:
        for channel in _channels(dataset, settings):
            for code in connection.codes:
                yield msgspec.json.encode({"channel": channel, "instId": code})


def _channels(dataset: str, settings: ExchangeSettings) -> list[str]:
    if dataset != "candle":
        return [_CHANNELS[dataset]]
    return [f"candle{INTERVALS[interval]}" for interval in settings.candle_intervals]
