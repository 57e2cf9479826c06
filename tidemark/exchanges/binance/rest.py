"""Binance's REST interface: what to ask, how to read the answer, what to ask next.

Lives here: one query a path that the platform uses, and the budget of weights. Doesn't: sending (``transport``), when
to ask (``jobs``, ``streaming``).

Every request has a weight, and an address has 2,400 a minute for all of them. Rows come oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import msgspec

from tidemark.exchanges import answers, layout, messages
from tidemark.exchanges.base import NotServedError, Refusal, Request, Row, Rows, Unparsable
from tidemark.exchanges.binance import fields, frames, refusals, symbols
from tidemark.exchanges.snapshots import SnapshotQuery
from tidemark.exchanges.values import decimal, integer, shown, text, unix_time

WEIGHT_A_MINUTE: Final = 2_400
#: What a request of each group weighs. Bars come 1,000 a page: 1,500 would weigh twice as much.
WEIGHTS: Final = {"depth": 20, "trades": 20, "candles": 5, "ticker": 1, "tickers": 40, "market": 1}
#: From here on the address is asked no faster than once a second and group, whoever used the rest.
_RESERVE: Final = 400
#: The heaviest of what is asked page after page; all tickers, once in ten minutes, weigh as much as two of them.
_HEAVY: Final = 20
_PAGE: Final = 1_000
_DEPTH: Final = 1_000
_MILLISECOND: Final = timedelta(milliseconds=1)
#: Trades are asked for by time in windows shorter than this.
_HOUR: Final = timedelta(hours=1)
#: From this year on a date of delivery says that a contract is perpetual.
_NEVER: Final = 2100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Contracts(msgspec.Struct):
    symbols: msgspec.Raw


_CONTRACTS: Final = msgspec.json.Decoder(_Contracts)


@dataclass(frozen=True, slots=True)
class MarketsQuery:
    """Every listed contract. The answer's clock may be hours off (seen in 2021): ``event_at`` is when it was asked."""

    dataset: ClassVar[str] = "market"

    @property
    def request(self) -> Request:
        """The request."""
        return Request("/fapi/v1/exchangeInfo", (), "market")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a contract that has a code."""
        try:
            found = _CONTRACTS.decode(body)
        except msgspec.ValidationError:
            raise Unparsable("not_an_object", f"the answer has no list of symbols: {shown(body[:60])}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unparsable("not_json", f"{str(error)[:120]} in {shown(body[:60])}") from None

        def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
            return _market(element, message, asked_at)

        return answers.read(answers.split(bytes(found.symbols), "symbols"), "symbol", read, unique=True)

    def following(self, rows: Sequence[Row]) -> None:
        """Nothing: the list comes whole."""


@dataclass(frozen=True, slots=True)
class CandlesQuery:
    """Bars of one market that start before ``to``; pages back until ``since`` or the first bar."""

    code: str
    interval: str
    to: datetime | None
    since: datetime | None
    count: int
    dataset: ClassVar[str] = "candle"

    @property
    def request(self) -> Request:
        """The request of this page: with the end only, the latest bars before it come."""
        params = [("symbol", self.code), ("interval", symbols.INTERVALS[self.interval]), ("limit", str(self.count))]
        if self.to is not None:
            params.append(("endTime", str(_milliseconds(self.to) - 1)))
        return Request("/fapi/v1/klines", tuple(params), "candles")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a bar, oldest first; a bar that has not ended is as of ``asked_at``."""

        def read(item: int, element: bytes, values: list[Any]) -> Row:
            return _bar(self.code, self.interval, values, asked_at)

        return answers.read_lists(answers.split(body), read)

    def following(self, rows: Sequence[Row]) -> CandlesQuery | None:
        """The bars before the oldest of this page."""
        if not answers.held(rows):
            return None
        oldest = min(answers.moments(rows, lambda values: unix_time(values[0], "t")))
        if self.to is not None and oldest >= self.to:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with bars from {oldest} on")
        return None if self.since is not None and oldest <= self.since else replace(self, to=oldest)


@dataclass(frozen=True, slots=True)
class TradesQuery:
    """Aggregate trades of one market in [since, until): first by time, then by id, which leaves nothing out."""

    code: str
    since: datetime
    until: datetime
    from_id: int | None = None
    dataset: ClassVar[str] = "trade"

    @property
    def request(self) -> Request:
        """The request of this page."""
        params = [("symbol", self.code), ("limit", str(_PAGE))]
        if self.from_id is not None:
            params.append(("fromId", str(self.from_id)))
        else:
            params += [
                ("startTime", str(_milliseconds(self.since))),
                ("endTime", str(_milliseconds(self.until) - 1)),
            ]
        return Request("/fapi/v1/aggTrades", tuple(params), "trades")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row an aggregate trade, lowest id first."""

        def read(message: dict[str, Any]) -> tuple[Row, list[str]]:
            return layout.fill(fields.TRADE, message)

        return _rows(body, read, lambda _: self.code)

    def following(self, rows: Sequence[Row]) -> TradesQuery | None:
        """The trades after the last of this page, if it was full and the window has not ended."""
        if answers.held(rows) < _PAGE:
            return None
        last = max(answers.numbers(rows, lambda message: integer(message["a"], "a")))
        if self.from_id is not None and last < self.from_id:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with ids up to {last}")
        times = answers.moments(rows, lambda message: unix_time(message["T"], "T"))
        behind = sum(time >= self.until for time in times)  # one alone may be an odd row: the next page tells
        return None if behind >= min(2, len(times)) else replace(self, from_id=last + 1)


@dataclass(frozen=True, slots=True)
class DepthQuery:
    """The book of one market: its best 1,000 levels a side."""

    code: str
    dataset: ClassVar[str] = "depth"
    levels: ClassVar[int | None] = _DEPTH

    @property
    def request(self) -> Request:
        """The request."""
        return Request("/fapi/v1/depth", (("symbol", self.code), ("limit", str(_DEPTH))), "depth")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row: the snapshot."""
        message = _object(body)
        if "lastUpdateId" not in message or "asks" not in message or "bids" not in message:
            raise Unparsable("not_an_object", f"the answer is no book: {shown(body[:60])}")
        row, left = layout.fill(fields.REST_DEPTH, message)
        frames.place(row, self.code)
        row["kind"] = "snapshot"
        left += frames.levels(row, message, "asks", "bids")
        if left:
            row["extra"] = messages.unknown_fields(body, 0, message, left)
        return Rows([row])

    def following(self, rows: Sequence[Row]) -> None:
        """Nothing: deeper levels aren't served."""


@dataclass(frozen=True, slots=True)
class TickersQuery:
    """The state of some markets, one a request; no code: of all at once, which weighs as much as forty."""

    code: str
    later: tuple[str, ...] = ()
    dataset: ClassVar[str] = "ticker"

    @property
    def request(self) -> Request:
        """The request of this page."""
        if not self.code:
            return Request("/fapi/v1/ticker/24hr", (), "tickers")
        return Request("/fapi/v1/ticker/24hr", (("symbol", self.code),), "ticker")

    @property
    def asked(self) -> tuple[str, ...]:
        """The code of this page; none: all that are listed."""
        return (self.code,) if self.code else ()

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a market."""

        def read(message: dict[str, Any]) -> tuple[Row, list[str]]:
            return layout.fill(fields.REST_TICKER, message)

        return _rows(body, read, lambda message: message.get("symbol"))

    def following(self, rows: Sequence[Row]) -> TickersQuery | None:
        """The next market of the list."""
        return TickersQuery(self.later[0], self.later[1:]) if self.later else None


class Rest:
    """Binance's REST interface (see ``base.Rest``)."""

    #: Requests a second; all groups at full speed stay within the weight of a minute, whichever process asks.
    limits: ClassVar[Mapping[str, float]] = {
        "depth": 0.9,
        "trades": 0.6,
        "candles": 1.0,
        "ticker": 1.0,
        "tickers": 0.05,
        "market": 0.2,
    }
    intervals: ClassVar[Sequence[str]] = tuple(symbols.INTERVALS)
    page_rows: ClassVar[Mapping[str, int]] = {"candle": _PAGE, "trade": _PAGE}

    def remaining(self, headers: Mapping[str, str]) -> int | None:
        """How many heavy requests this minute's weight still holds, less a reserve for other programs."""
        used = next((value for name, value in headers.items() if name.lower() == "x-mbx-used-weight-1m"), "")
        if not used.isdigit():
            return None
        return max(0, WEIGHT_A_MINUTE - _RESERVE - int(used)) // _HEAVY

    def refusal(self, status: int, body: bytes) -> Refusal:
        """What an error means (see ``base.Rest``)."""
        return refusals.refusal(status, body)

    def banned_until(self, body: bytes, at: datetime) -> datetime | None:
        """The end of a ban (see ``base.Rest``)."""
        return refusals.banned_until(body, at)

    def markets(self, codes: Sequence[str] = ()) -> MarketsQuery:
        """Every listed contract."""
        return MarketsQuery()

    def is_traded(self, market: Row) -> bool:
        """Whether it is in trading: contracts are listed before they begin and after they end."""
        return market["state"] == "TRADING"

    def candles(
        self,
        code: str,
        interval: str,
        to: datetime | None = None,
        since: datetime | None = None,
        count: int = 0,
    ) -> CandlesQuery:
        """Bars (see ``base.Rest``), pages from the latest to the earliest; at most 1,000 a page.

        Raises:
            ValueError: an interval that isn't served, or a page too large.
        """
        if interval not in symbols.INTERVALS:
            raise ValueError(f"no candles of {interval!r}; there are {', '.join(symbols.INTERVALS)}")
        if not 0 <= count <= _PAGE:
            raise ValueError(f"count is {count}: a page holds 1 to {_PAGE}")
        return CandlesQuery(code, interval, to, since, count or _PAGE)

    def tickers(self, codes: Sequence[str]) -> TickersQuery:
        """States of these markets, one a request.

        Raises:
            ValueError: no codes.
        """
        if not codes:
            raise ValueError("no market codes to ask tickers for")
        return TickersQuery(codes[0], tuple(codes[1:]))

    def snapshots(self, codes: Sequence[str]) -> SnapshotQuery:
        """States of these markets as documents, all in one request.

        Raises:
            ValueError: no codes.
        """
        if not codes:
            raise ValueError("no market codes to ask snapshots for")
        return SnapshotQuery(symbols.NAME, TickersQuery(""), frozenset(codes), "symbol", _elements, symbols.market)

    def depth(self, code: str) -> DepthQuery:
        """The snapshot that changes build on."""
        return DepthQuery(code)

    def history(
        self, dataset: str, code: str, since: datetime, until: datetime, now: datetime, interval: str = ""
    ) -> Sequence[CandlesQuery | TradesQuery]:
        """Candles in one question, trades in one for each hour (see ``base.Rest``).

        Raises:
            NotServedError: another dataset.
        """
        if dataset == "candle":
            return [self.candles(code, interval, to=until, since=since)]
        if dataset != "trade":
            raise NotServedError(
                f"{symbols.NAME} serves candles and trades of the past: no {dataset} of {code} from {since} to {until}"
            )
        starts = [since + n * _HOUR for n in range(-(-(until - since) // _HOUR))]
        return [TradesQuery(code, start, min(start + _HOUR, until)) for start in starts]


def _milliseconds(moment: datetime) -> int:
    return -(-(moment - _EPOCH) // _MILLISECOND)


def _object(body: bytes) -> dict[str, Any]:
    decoded = messages.decode(body)
    if not isinstance(decoded, dict):
        raise Unparsable("not_an_object", f"the answer is not an object: {shown(body[:60])}")
    return decoded


def _elements(body: bytes) -> list[bytes]:
    """The objects of an answer that is a list of them, or one alone.

    Raises:
        Unparsable: ``exchange_error``, or it is neither.
    """
    if body.lstrip()[:1] == b"[":
        return answers.split(body)
    answer = _object(body)
    if "code" in answer and "msg" in answer:
        raise Unparsable("exchange_error", f"the answer is an error: {shown(body[:60])}")
    return [body]


def _rows(
    body: bytes, read: Callable[[dict[str, Any]], tuple[Row, list[str]]], code: Callable[[dict[str, Any]], object]
) -> Rows:
    def read_one(item: int, element: bytes, message: dict[str, Any]) -> Row:
        row, left = read(message)
        frames.place(row, code(message))
        if left:
            row["extra"] = messages.unknown_fields(element, 0, message, left)
        return row

    return answers.read(_elements(body), "symbol", read_one)


def _bar(code: str, interval: str, values: list[Any], asked_at: datetime) -> Row:
    if len(values) < len(fields.REST_CANDLE) - 1:
        raise Unparsable("bad_type", f"a bar of {len(values)} values")
    message = dict(zip(fields.REST_CANDLE, values, strict=False))
    row, _ = frames.candle(message)
    frames.place(row, code)
    row["interval"] = interval
    end = unix_time(message["T"], "T") + _MILLISECOND
    row["is_closed"] = end <= asked_at
    row["updated_at"] = min(end, asked_at)
    return row


def _market(element: bytes, message: dict[str, Any], asked_at: datetime) -> Row:
    """One listed contract; one whose code doesn't say which market it is has none."""
    row, left = layout.fill(fields.REST_MARKET, message)
    row["exchange"], row["event_at"] = symbols.NAME, asked_at
    if message.get("symbol") in (None, ""):
        raise Unparsable("missing_code", "the row names no contract")
    row["code"] = code = text(message["symbol"], "symbol")
    row["market"] = symbols.listed_market(code, message.get("baseAsset"), message.get("quoteAsset"))
    row["instrument"] = symbols.instrument(code)
    row["tick_size"] = _tick_size(message.get("filters"))
    kind = message.get("underlyingType")
    if kind not in (None, ""):
        row["underlying_kind"] = fields.underlying_kind(kind)
        if row["underlying_kind"] == "other":
            left.append("underlyingType")
    row["is_inverse"] = False
    if isinstance(row["expires_at"], datetime) and row["expires_at"].year >= _NEVER:
        row["expires_at"] = None
    row["extra"] = messages.unknown_fields(element, 0, message, left)
    return row


def _tick_size(filters: object) -> object:
    """The price's step; one of another form stays with the filters in ``extra``."""
    for one in filters if isinstance(filters, list) else []:
        if isinstance(one, dict) and one.get("filterType") == "PRICE_FILTER" and one.get("tickSize") is not None:
            try:
                return decimal(one["tickSize"], "tickSize")
            except Unparsable:
                return None
    return None
