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

from tidemark.exchanges import layout, messages
from tidemark.exchanges.base import NotServedError, Refusal, Request, Row, Unparsable
from tidemark.exchanges.binance import fields, frames, refusals, symbols
from tidemark.exchanges.snapshots import SnapshotQuery
from tidemark.exchanges.values import decimal, shown, unix_time

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
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MarketsQuery:
    """Every listed contract. The answer's clock may be hours off (seen in 2021): ``event_at`` is when it was asked."""

    dataset: ClassVar[str] = "market"

    @property
    def request(self) -> Request:
        """The request."""
        return Request("/fapi/v1/exchangeInfo", (), "market")

    def rows(self, body: bytes, asked_at: datetime) -> list[Row]:
        """One row a contract. One whose code has no known quote has no market: it is refused later, and seen."""
        answer = _object(body)
        symbol_list = answer.get("symbols")
        if not isinstance(symbol_list, list) or not all(isinstance(one, dict) for one in symbol_list):
            raise Unparsable("not_an_object", f"the answer has no list of symbols: {shown(body[:60])}")
        return [_market(message, asked_at) for message in symbol_list]

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

    def rows(self, body: bytes, asked_at: datetime) -> list[Row]:
        """One row a bar, oldest first; a bar that has not ended is as of ``asked_at``."""
        return [_bar(self.code, self.interval, one, asked_at) for one in _list(body, list)]

    def following(self, rows: Sequence[Row]) -> CandlesQuery | None:
        """The bars before the oldest of this page."""
        if not rows:
            return None
        oldest = min(_time(row) for row in rows)
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

    def rows(self, body: bytes, asked_at: datetime) -> list[Row]:
        """One row an aggregate trade, lowest id first."""

        def read(message: dict[str, Any]) -> tuple[Row, list[str]]:
            return layout.fill(fields.TRADE, message)

        return _rows(body, read, lambda _: self.code)

    def following(self, rows: Sequence[Row]) -> TradesQuery | None:
        """The trades after the last of this page, if it was full and the window has not ended."""
        if len(rows) < _PAGE:
            return None
        last = max(_trade_id(row) for row in rows)
        if self.from_id is not None and last < self.from_id:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with ids up to {last}")
        return None if max(_time(row) for row in rows) >= self.until else replace(self, from_id=last + 1)


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

    def rows(self, body: bytes, asked_at: datetime) -> list[Row]:
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
        return [row]

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

    def rows(self, body: bytes, asked_at: datetime) -> list[Row]:
        """One row."""

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

    def markets(self) -> MarketsQuery:
        """Every listed contract."""
        return MarketsQuery()

    def is_traded(self, market: Row) -> bool:
        """Contracts stay listed when they have ended, and are before they begin."""
        return market["state"] in ("TRADING", None)

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
        return SnapshotQuery(symbols.NAME, TickersQuery(""), frozenset(codes), "symbol", _objects, symbols.market)

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


def _list(body: bytes, kind: type) -> list[Any]:
    decoded = messages.decode(body)
    if not isinstance(decoded, list) or not all(isinstance(one, kind) for one in decoded):
        raise Unparsable("not_an_object", f"the answer is not a list of {kind.__name__}s: {shown(body[:60])}")
    return decoded


def _objects(body: bytes) -> list[dict[str, Any]]:
    decoded = messages.decode(body)
    found = decoded if isinstance(decoded, list) else [decoded]
    if not all(isinstance(one, dict) for one in found):
        raise Unparsable("not_an_object", f"the answer holds something else than objects: {shown(body[:60])}")
    if any("code" in one and "msg" in one for one in found):
        raise Unparsable("exchange_error", f"the answer is an error: {shown(body[:60])}")
    return found


def _rows(
    body: bytes, read: Callable[[dict[str, Any]], tuple[Row, list[str]]], code: Callable[[dict[str, Any]], object]
) -> list[Row]:
    rows = []
    for item, message in enumerate(_objects(body)):
        row, left = read(message)
        frames.place(row, code(message))
        if left:
            row["extra"] = messages.unknown_fields(body, item, message, left)
        rows.append(row)
    return rows


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


def _market(message: dict[str, Any], asked_at: datetime) -> Row:
    row, left = layout.fill(fields.REST_MARKET, message)
    row["exchange"], row["event_at"] = symbols.NAME, asked_at
    row["code"] = code = message.get("symbol")
    try:
        row["market"] = symbols.market(code)
    except Unparsable:
        row["market"] = None
    if isinstance(code, str):
        row["instrument"] = symbols.instrument(code)
    row["tick_size"] = _tick_size(message.get("filters"))
    if left:
        row["extra"] = messages.text({name: message[name] for name in left})
    return row


def _tick_size(filters: object) -> object:
    for one in filters if isinstance(filters, list) else []:
        if isinstance(one, dict) and one.get("filterType") == "PRICE_FILTER" and one.get("tickSize") is not None:
            return decimal(one["tickSize"], "tickSize")
    return None


def _time(row: Row) -> datetime:
    if not isinstance(row["event_at"], datetime):
        raise Unparsable("bad_time", f"a row without a time in a page of {row['code']}: cannot go on from it")
    return row["event_at"]


def _trade_id(row: Row) -> int:
    if not isinstance(row["trade_id"], int):
        raise Unparsable("missing_id", f"a trade without an id in a page of {row['code']}: cannot go on from it")
    return row["trade_id"]
