"""OKX's REST interface: what to ask, how to read the answer, what to ask next.

Lives here: one query a path that the platform uses. Doesn't: sending (``transport``), when to ask (``jobs``).

Every answer is ``{"code":"0","msg":"","data":[…]}``. Another code is an error, with HTTP 200 or not: too many requests
and an exchange that is down come as 429 and 5xx, which ``transport`` waits for. Lists come newest first, and ``after``
asks for what is *older* than it. The events are the socket's (``rows``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import msgspec

from tidemark.exchanges import answers, messages
from tidemark.exchanges.base import NotServedError, Refusal, Request, Row, Rows, Unparsable
from tidemark.exchanges.layout import Layout
from tidemark.exchanges.okx import refusals, symbols
from tidemark.exchanges.okx import rows as events
from tidemark.exchanges.okx.symbols import Instrument
from tidemark.exchanges.snapshots import SnapshotQuery
from tidemark.exchanges.values import decimal, integer, shown, text, unix_time

_A_PAGE: Final = 100
_LEVELS: Final = 400
#: How many bars back from now the faster of the two paths reaches.
_RECENT_BARS: Final = 1_440
#: Bars that the faster path refuses.
_DEEP_ONLY: Final = ("1s",)
#: Trades, and bars of a second, are served for three months.
_THREE_MONTHS: Final = timedelta(days=90)
#: Types of instruments whose list comes whole; options are listed by family only.
_LISTED: Final = ("SWAP", "SPOT", "FUTURES")
_TYPES: Final = {"spot": "SPOT", "swap": "SWAP", "future": "FUTURES", "option": "OPTION"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What ``instCategory`` says of the underlying; it is empty for some.
_UNDERLYINGS: Final = {"1": "coin", "3": "equity", "4": "commodity", "5": "fx", "6": "bond"}
_MARKET: Final = Layout(
    "market",
    (
        ("state", "state", text),
        ("tick_size", "tickSz", decimal),
        ("base", "baseCcy", text),
        ("quote", "quoteCcy", text),
        ("settle", "settleCcy", text),
        ("underlying", "uly", text),
        ("contract_currency", "ctValCcy", text),
        ("begins_at", "listTime", unix_time),
        ("expires_at", "expTime", unix_time),
    ),
    frozenset(("instId", "instType", "instCategory", "ctType")),
)


class _Answer(msgspec.Struct):
    code: Any = None
    msg: Any = None
    data: msgspec.Raw = msgspec.Raw()


_ANSWER: Final = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class MarketsQuery:
    """Every swap, spot market and dated future, then the options of some families, one list a page.

    The answer carries no time: ``event_at`` is when it was asked.
    """

    kinds: tuple[str, ...] = _LISTED
    option_families: tuple[str, ...] = ()
    dataset: ClassVar[str] = "market"

    @property
    def request(self) -> Request:
        """The request of this page."""
        params: tuple[tuple[str, str], ...]
        if self.kinds:
            params = (("instType", self.kinds[0]),)
        else:
            params = (("instType", "OPTION"), ("instFamily", self.option_families[0]))
        return Request("/api/v5/public/instruments", params, "instruments")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row an instrument that has a code; placeholders of listings to come are set aside."""

        def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
            return _market(element, message, asked_at)

        return answers.read(_data(body), "instId", read, unique=True)

    def following(self, rows: Sequence[Row]) -> MarketsQuery | None:
        """The next list."""
        kinds, families = self.kinds[1:], self.option_families if self.kinds else self.option_families[1:]
        return MarketsQuery(kinds, families) if kinds or families else None


@dataclass(frozen=True, slots=True)
class CandlesQuery:
    """Bars of one instrument that start before ``to``; pages back until ``since`` or the first bar.

    ``/market/candles`` is faster and reaches back about 1,440 bars; where it has no more, ``/market/history-candles``
    goes on (bars of a second are served there only). The bar that is forming is the newest of an answer, and marked as
    not closed.
    """

    instrument: Instrument
    interval: str
    to: datetime | None
    since: datetime | None
    count: int
    recent: bool = True
    dataset: ClassVar[str] = "candle"

    @property
    def request(self) -> Request:
        """The request of this page."""
        name = "candles" if self.recent else "history-candles"
        params = [("instId", self.instrument.code), ("bar", symbols.INTERVALS[self.interval])]
        if self.to is not None:
            params.append(("after", _milliseconds(self.to)))
        return Request(f"/api/v5/market/{name}", (*params, ("limit", str(self.count))), name)

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a bar, newest first."""

        def read(item: int, element: bytes, values: list[Any]) -> Row:
            return events.candle(self.instrument, self.interval, values)

        return answers.read_lists(_data(body), read)

    def following(self, rows: Sequence[Row]) -> CandlesQuery | None:
        """The bars before the oldest of this page."""
        if not answers.held(rows):
            return replace(self, recent=False) if self.recent else None
        oldest = min(answers.moments(rows, lambda values: unix_time(values[0], "ts")))
        if self.to is not None and oldest >= self.to:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with bars from {oldest} on")
        return None if self.since is not None and oldest <= self.since else replace(self, to=oldest)


@dataclass(frozen=True, slots=True)
class TradesQuery:
    """Trades of one instrument before ``until`` or, from the second page on, before an id; back until ``since``.

    Documented: pages by id (``type=1``) or by time (``type=2``), at most 100 a page and three months back, each trade
    by itself, while the socket sums up what one taker got at one price. Paging by id loses nothing where many trades
    share a millisecond, so only the first page asks by time. Uncertain: whether a trade of exactly ``until`` comes
    along (it may be in the answer, and belongs to whoever asks for the next window).
    """

    instrument: Instrument
    until: datetime
    since: datetime
    before_id: int | None = None
    dataset: ClassVar[str] = "trade"

    @property
    def request(self) -> Request:
        """The request of this page."""
        kind, after = ("2", _milliseconds(self.until)) if self.before_id is None else ("1", str(self.before_id))
        params = (("instId", self.instrument.code), ("type", kind), ("after", after), ("limit", str(_A_PAGE)))
        return Request("/api/v5/market/history-trades", params, "history-trades")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a trade, newest first."""

        def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
            return _event(element, events.trade(self.instrument, message), message)

        return answers.read(_data(body), "instId", read)

    def following(self, rows: Sequence[Row]) -> TradesQuery | None:
        """The trades with lower ids than all of this page."""
        if not answers.held(rows):
            return None
        if min(answers.moments(rows, lambda message: unix_time(message["ts"], "ts"))) < self.since:
            return None
        lowest = min(answers.numbers(rows, lambda message: integer(message["tradeId"], "tradeId")))
        if self.before_id is not None and lowest >= self.before_id:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with ids from {lowest} on")
        return replace(self, before_id=lowest)


@dataclass(frozen=True, slots=True)
class TickersQuery:
    """The state of some instruments: the exchange answers with all of a type, those not asked for are left out."""

    kinds: tuple[str, ...]
    codes: frozenset[str]
    dataset: ClassVar[str] = "ticker"

    @property
    def request(self) -> Request:
        """The request of this page."""
        return Request("/api/v5/market/tickers", (("instType", self.kinds[0]),), "tickers")

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes of this page's type."""
        return tuple(sorted(code for code in self.codes if _TYPES[symbols.instrument(code).kind] == self.kinds[0]))

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row an instrument."""

        def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
            return _event(element, events.ticker(symbols.read(message["instId"]), message), message)

        return answers.read(_data(body), "instId", read, codes=self.codes, unique=True)

    def following(self, rows: Sequence[Row]) -> TickersQuery | None:
        """The next type."""
        return replace(self, kinds=self.kinds[1:]) if self.kinds[1:] else None


@dataclass(frozen=True, slots=True)
class DepthQuery:
    """The book now, 400 levels a side.

    The socket sends a snapshot of its own with every subscription, and that one is numbered. Documented answers of this
    path are not; where one carries a ``seqId`` it is kept, else ``last_update_id`` is null and nothing can build on it.
    """

    instrument: Instrument
    dataset: ClassVar[str] = "depth"
    levels: ClassVar[int | None] = _LEVELS

    @property
    def request(self) -> Request:
        """The request."""
        return Request("/api/v5/market/books", (("instId", self.instrument.code), ("sz", str(_LEVELS))), "books")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row: the snapshot."""

        def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
            return _event(element, events.depth(self.instrument, "snapshot", message), message)

        return answers.sole(answers.read(_data(body), "", read))

    def following(self, rows: Sequence[Row]) -> None:
        """Nothing: the book comes whole."""


class Rest:
    """OKX's REST interface (see ``base.Rest``)."""

    #: The exchange counts each path by itself, by address: so many in two seconds, halved.
    limits: ClassVar[Mapping[str, float]] = {
        "instruments": 10.0,
        "candles": 20.0,
        "history-candles": 10.0,
        "history-trades": 10.0,
        "tickers": 10.0,
        "books": 20.0,
    }
    intervals: ClassVar[Sequence[str]] = tuple(symbols.INTERVALS)
    page_rows: ClassVar[Mapping[str, int]] = {"candle": _A_PAGE, "trade": _A_PAGE}

    def remaining(self, headers: Mapping[str, str]) -> int | None:
        """It doesn't say."""
        return None

    def refusal(self, status: int, body: bytes) -> Refusal:
        """What an error means (see ``base.Rest``)."""
        return refusals.refusal(status, body)

    def banned_until(self, body: bytes, at: datetime) -> datetime | None:
        """The end of a ban (see ``base.Rest``)."""
        return refusals.banned_until(body, at)

    def markets(self, codes: Sequence[str] = ()) -> MarketsQuery:
        """Every listed swap, spot market and dated future, and the options of the families that ``codes`` name."""
        return MarketsQuery(option_families=tuple(dict.fromkeys(_option_families(codes))))

    def is_traded(self, market: Row) -> bool:
        """Whether it is live: instruments are listed before they begin, while suspended, and without a state."""
        return market["state"] == "live"

    def candles(
        self,
        code: str,
        interval: str,
        to: datetime | None = None,
        since: datetime | None = None,
        count: int = 0,
    ) -> CandlesQuery:
        """Bars (see ``base.Rest``); at most 100 a page.

        Raises:
            ValueError: an interval that isn't served, or a page too large.
            Unparsable: ``bad_code``.
        """
        if interval not in symbols.INTERVALS:
            raise ValueError(f"no candles of {interval!r}; there are {', '.join(symbols.INTERVALS)}")
        if not 0 <= count <= _A_PAGE:
            raise ValueError(f"count is {count}: a page holds 1 to {_A_PAGE}")
        recent = interval not in _DEEP_ONLY
        return CandlesQuery(symbols.instrument(code), interval, to, since, count or _A_PAGE, recent)

    def tickers(self, codes: Sequence[str]) -> TickersQuery:
        """States of these instruments, one request for each type among them; codes that cannot be read are left out.

        Raises:
            ValueError: no codes.
            Unparsable: ``bad_code``: none can be read.
        """
        kinds = dict.fromkeys(_TYPES[instrument.kind] for instrument in _readable(codes))
        return TickersQuery(tuple(kinds), frozenset(codes))

    def snapshots(self, codes: Sequence[str]) -> SnapshotQuery:
        """States of these instruments as documents, one request for each type among them (see ``tickers``).

        Raises:
            ValueError: no codes.
            Unparsable: ``bad_code``: none can be read.
        """
        return SnapshotQuery(symbols.NAME, self.tickers(codes), frozenset(codes), "instId", _data, _symbol)

    def depth(self, code: str) -> DepthQuery:
        """The book now (see ``DepthQuery`` for what it is good for)."""
        return DepthQuery(symbols.instrument(code))

    def history(
        self, dataset: str, code: str, since: datetime, until: datetime, now: datetime, interval: str = ""
    ) -> Sequence[CandlesQuery | TradesQuery]:
        """Candles of any age (of a second: three months), trades of three months (see ``base.Rest``).

        Raises:
            NotServedError: another dataset, or a window that is older.
            ValueError: an interval that isn't served.
        """
        oldest = now - _THREE_MONTHS
        if dataset == "candle" and (interval != "1s" or until > oldest):
            query = self.candles(code, interval, to=until, since=since)
            reach = _RECENT_BARS * (symbols.end_of(interval, until) - until)
            return [replace(query, recent=query.recent and until > now - reach)]
        if dataset == "trade" and until > oldest:
            return [TradesQuery(symbols.instrument(code), until, since)]
        served = f"candles, and trades and candles of 1s since {oldest:%Y-%m-%d %H:%M} UTC"
        raise NotServedError(f"{symbols.NAME} serves {served}: no {dataset} of {code} from {since} to {until}")


def _readable(codes: Sequence[str]) -> list[Instrument]:
    """The instruments of those codes that can be read.

    Raises:
        ValueError: no codes.
        Unparsable: none can be read.
    """
    found = []
    problem: Exception = ValueError("no market codes to ask tickers for")
    for code in codes:
        try:
            found.append(symbols.instrument(code))
        except Unparsable as error:
            problem = error
    if not found:
        raise problem
    return found


def _milliseconds(moment: datetime) -> str:
    """A moment as Unix milliseconds; a part of one counts as the next, so that nothing before ``moment`` is missed."""
    return str(-((_EPOCH - moment) // timedelta(milliseconds=1)))


def _data(body: bytes) -> list[bytes]:
    """The elements of what an answer holds, each as it was spelled.

    Raises:
        Unparsable: ``try_later`` or ``exchange_error`` with the exchange's words, or not an answer of this form.
    """
    try:
        answer = _ANSWER.decode(body)
    except msgspec.ValidationError:
        raise Unparsable("not_an_object", f"the answer is not an object with a code: {shown(body[:60])}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unparsable("not_json", f"{str(error)[:120]} in {shown(body[:60])}") from None
    if answer.code is None:
        raise Unparsable("not_an_object", f"the answer is not an object with a code: {shown(body[:60])}")
    if answer.code != "0":
        reason = "try_later" if answer.code in refusals.PASSING else "exchange_error"
        raise Unparsable(reason, f"{shown(answer.code)}: {str(answer.msg)[:200]}")
    if not bytes(answer.data):
        raise Unparsable("not_an_object", f"the answer holds no list of data: {shown(body[:60])}")
    return answers.split(bytes(answer.data), "the answer's data")


def _symbol(code: str) -> str:
    return symbols.instrument(code).market


def _event(element: bytes, read: events.Read, message: dict[str, Any]) -> Row:
    row, left = read
    if left:
        row["extra"] = messages.unknown_fields(element, 0, message, left)
    return row


def _market(element: bytes, message: dict[str, Any], asked_at: datetime) -> Row:
    """One listed instrument. ``ctVal`` and ``ctMult`` stay in ``extra`` as they were sent."""
    instrument = symbols.read(message.get("instId"))
    row, left = events.filled(_MARKET, instrument, message)
    row["event_at"], row["instrument"] = asked_at, instrument.kind
    row["base"], row["quote"] = row["base"] or instrument.base, row["quote"] or instrument.quote
    category = message.get("instCategory")
    if category not in (None, ""):
        row["underlying_kind"] = _UNDERLYINGS.get(str(category), "other")
        if row["underlying_kind"] == "other":
            left.append("instCategory")
    if instrument.kind != "spot":
        _contract(row, instrument, message)
    return _event(element, (row, left), message)


def _contract(row: Row, instrument: Instrument, message: Mapping[str, Any]) -> None:
    """What one contract is: ``ctVal`` times ``ctMult`` of ``ctValCcy``; inverse by ``ctType``, by the code without."""
    kind = message.get("ctType")
    row["is_inverse"] = inverse = kind == "inverse" if kind else instrument.is_inverse
    if not message.get("ctVal"):
        return
    value, times = decimal(message["ctVal"], "ctVal"), decimal(message.get("ctMult") or "1", "ctMult")
    row["contract_value"] = amount = decimal(value.normalize() * times.normalize(), "ctVal times ctMult")
    if not inverse:
        row["contract_size"] = amount


def _option_families(codes: Sequence[str]) -> Iterator[str]:
    """The families of the options among ``codes``; one that cannot be read names none."""
    for code in codes:
        try:
            instrument = symbols.instrument(code)
        except Unparsable:
            continue
        if instrument.kind == "option":
            yield instrument.family
