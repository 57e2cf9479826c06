"""Binance USDⓈ-M futures: the exchange behind the common interface.

Lives here: ``BINANCE`` and the modules behind it by concern: ``symbols``, ``fields``, ``frames``, ``subscribe``,
``rest``. Doesn't: anything that opens a connection, whole books (``exchanges.book`` builds them from ``depth``).

Its trades are aggregate trades: one row is what one taker did at one price within 100 ms, and stands for the trade ids
from ``first_trade_id`` to ``last_trade_id``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, Final

from tidemark.exchanges.base import Connection, DepthNumbers, Ignored, Parsed, Reply, SizeOverride, TradeIds
from tidemark.exchanges.binance import frames, subscribe, symbols
from tidemark.exchanges.binance.rest import Rest
from tidemark.settings import ExchangeSettings


class Binance:
    """Binance USDⓈ-M futures (see ``base.Exchange`` for what each method promises)."""

    name: ClassVar[str] = symbols.NAME
    rest: ClassVar[Rest] = Rest()
    #: The server pings every three minutes and wants a pong; a ping of ours is answered.
    keep_alive: ClassVar[bytes | None] = None
    #: 300 in five minutes are allowed.
    connects_per_second: ClassVar[float] = 1.0
    #: ``orderbook`` holds books built from ``depth``.
    datasets: ClassVar[tuple[str, ...]] = ("trade", "ticker", "orderbook", "depth", "candle", "system")
    #: Every connection is cut then.
    lifetime_s: ClassVar[float | None] = 24 * 3600.0
    #: Quotes of a listed contract change many times a minute, day and night. Trades of a thin one may be minutes
    #: apart, and a candle is sent only when something traded; after so long the stream was asked for in vain.
    quiet_s: ClassVar[Mapping[str, float]] = {"depth": 60.0, "trade": 900.0, "candle": 900.0, "ticker": 900.0}
    #: Ids of aggregate trades; those of single trades skip what the insurance fund and deleveraging did.
    trade_ids: ClassVar[TradeIds] = TradeIds.STEPS
    depth_numbers: ClassVar[DepthNumbers] = DepthNumbers.SPANS

    #: Quantities are coins: nothing has to be corrected.
    counts_contracts: ClassVar[bool] = False
    size_overrides: ClassVar[tuple[SizeOverride, ...]] = ()

    def contract_size(self, code: str, at: datetime | None = None) -> None:
        """None: quantities are coins."""
        symbols.market(code)

    def parse(self, dataset: str, frame: bytes) -> Parsed | Ignored:
        """The events of a frame from the topic of ``dataset``."""
        return frames.parse(dataset, frame)

    def classify(self, frame: bytes) -> tuple[str, str]:
        """The dataset and market code of a frame, at a glance."""
        return frames.classify(frame)

    def connections(
        self, settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int
    ) -> tuple[Connection, ...]:
        """The sockets to open."""
        return subscribe.connections(settings, codes, codes_per_connection)

    def subscribe(self, settings: ExchangeSettings, connection: Connection, ticket: str) -> list[bytes]:
        """The messages to send on a new connection."""
        return subscribe.messages(settings, connection)

    def acknowledgements(self, settings: ExchangeSettings, connection: Connection) -> int:
        """One for each message of the subscription."""
        return len(subscribe.messages(settings, connection))

    def reply(self, frame: bytes) -> Reply | None:
        """An acknowledgement or refusal by the message's number, or a farewell."""
        return frames.reply(frame)

    def market(self, code: str) -> str:
        """``BTC-USDT`` for ``BTCUSDT``."""
        return symbols.market(code)


BINANCE: Final = Binance()
