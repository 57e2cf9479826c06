"""Upbit (spot): the exchange behind the common interface.

Lives here: ``UPBIT`` and the modules behind it by concern: ``symbols``, ``fields``, ``frames``,
``subscribe``, ``rest``. Doesn't: anything that opens a connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from tidemark.exchanges.base import Connection, DepthNumbers, Ignored, Parsed, Reply, SizeOverride, TradeIds
from tidemark.exchanges.upbit import frames, subscribe, symbols
from tidemark.exchanges.upbit.rest import Rest
from tidemark.settings import ExchangeSettings


class Upbit:
    """Upbit (see ``base.Exchange`` for what each method promises)."""

    name: ClassVar[str] = symbols.NAME
    rest: ClassVar[Rest] = Rest()
    #: A protocol ping is answered, and counts as activity.
    keep_alive: ClassVar[bytes | None] = None
    #: Five are allowed; the rest is for other programs at the same address.
    connects_per_second: ClassVar[float] = 4.0
    datasets: ClassVar[tuple[str, ...]] = ("trade", "ticker", "orderbook", "candle", "system")
    lifetime_s: ClassVar[float | None] = None
    #: Any market may be without a trade for hours, and nothing else changes then.
    quiet_s: ClassVar[Mapping[str, float]] = {}
    #: Unique within a market, and in no order: the exchange's candles are the witness.
    trade_ids: ClassVar[TradeIds] = TradeIds.UNORDERED
    depth_numbers: ClassVar[DepthNumbers] = DepthNumbers.NONE

    #: Quantities are coins: nothing has to be corrected.
    counts_contracts: ClassVar[bool] = False
    size_overrides: ClassVar[tuple[SizeOverride, ...]] = ()

    def contract_size(self, code: str, at: datetime | None = None) -> None:
        """None: quantities are coins."""
        symbols.market(code)

    def parse(self, dataset: str, frame: bytes) -> Parsed | Ignored:
        """The events of a frame from the topic of ``dataset``."""
        return frames.parse(dataset, frame)

    #: The dataset and market code of a frame, at a glance. Called for every frame: there is nothing between.
    classify = staticmethod(frames.classify)

    def connections(
        self, settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int
    ) -> tuple[Connection, ...]:
        """The sockets to open."""
        return subscribe.connections(settings, codes, codes_per_connection)

    def subscribe(self, settings: ExchangeSettings, connection: Connection, ticket: str) -> list[bytes]:
        """The messages to send on a new connection."""
        return subscribe.messages(settings, connection, ticket)

    def acknowledgements(self, settings: ExchangeSettings, connection: Connection) -> int:
        """None: it answers with data."""
        return 0

    def reply(self, frame: bytes) -> Reply | None:
        """A sign of life, or an error."""
        return frames.reply(frame)

    def market(self, code: str) -> str:
        """``BTC-KRW`` for ``KRW-BTC``."""
        return symbols.market(code)


UPBIT: Final = Upbit()
