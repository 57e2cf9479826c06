"""OKX v5 (swaps, and spot, futures and options beside them): the exchange behind the common interface.

Lives here: ``OKX`` and the modules behind it by concern: ``symbols``, ``sizes``, ``rows``, ``frames``, ``subscribe``,
``rest``. Doesn't: anything that opens a connection, whole books (``exchanges.book`` builds them from ``depth``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from tidemark.exchanges.base import Connection, DepthNumbers, Ignored, Parsed, Reply, SizeOverride, TradeIds
from tidemark.exchanges.contract_size import ContractSize
from tidemark.exchanges.okx import frames, sizes, subscribe, symbols
from tidemark.exchanges.okx.rest import Rest
from tidemark.settings import ExchangeSettings


class Okx:
    """OKX (see ``base.Exchange`` for what each method promises)."""

    name: ClassVar[str] = symbols.NAME
    rest: ClassVar[Rest] = Rest()
    #: It closes a connection over which nothing went for 30 s, and answers this with ``pong``.
    keep_alive: ClassVar[bytes | None] = b"ping"
    #: Three are allowed; the rest is for other programs at the same address.
    connects_per_second: ClassVar[float] = 2.0
    #: Whole books (``orderbook``) are derived from ``depth``.
    datasets: ClassVar[tuple[str, ...]] = ("trade", "ticker", "orderbook", "depth", "candle", "system")
    lifetime_s: ClassVar[float | None] = None
    #: A ticker follows trades and the best prices, which move within seconds wherever somebody makes a market; a book
    #: that doesn't change says so every minute or so. Bars are pushed when something trades, which a small market may
    #: leave for minutes, and trades themselves may be away for any time.
    quiet_s: ClassVar[Mapping[str, float]] = {"ticker": 300.0, "depth": 120.0, "candle": 600.0}
    #: Each trade has the next number; a message may stand for several.
    trade_ids: ClassVar[TradeIds] = TradeIds.SPANS
    depth_numbers: ClassVar[DepthNumbers] = DepthNumbers.LINKS

    counts_contracts: ClassVar[bool] = True
    #: Contracts of which its list is wrong (``contract_sizes.csv``).
    size_overrides: ClassVar[tuple[SizeOverride, ...]] = sizes.OVERRIDES

    def contract_size(self, code: str, at: datetime | None = None) -> ContractSize | None:
        """One contract of ``code`` by the shipped file (see ``sizes``)."""
        return sizes.size_of(symbols.read(code), at)

    def parse(self, dataset: str, frame: bytes) -> Parsed | Ignored:
        """The events of a frame from the topic of ``dataset``."""
        return frames.parse(dataset, frame)

    def classify(self, frame: bytes) -> tuple[str, str]:
        """The dataset and instrument of a frame, at a glance."""
        return frames.classify(frame)

    def connections(
        self, settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int
    ) -> tuple[Connection, ...]:
        """The sockets to open."""
        return subscribe.connections(settings, codes, codes_per_connection)

    def subscribe(self, settings: ExchangeSettings, connection: Connection, ticket: str) -> list[bytes]:
        """The messages to send on a new connection; they need no ticket."""
        return subscribe.messages(settings, connection)

    def acknowledgements(self, settings: ExchangeSettings, connection: Connection) -> int:
        """One for each channel of each instrument."""
        return subscribe.acknowledgements(settings, connection)

    def reply(self, frame: bytes) -> Reply | None:
        """An acknowledgement, an error, a notice before it closes the connection, or a sign of life."""
        return frames.reply(frame)

    def market(self, code: str) -> str:
        """``BTC-USDT`` for ``BTC-USDT-SWAP``."""
        return symbols.read(code).market


OKX: Final = Okx()
