"""Upbit's REST interface: what to ask, how to read the answer, what to ask next.

Lives here: one query a path that the platform uses. Doesn't: sending (``transport``), when to ask (``jobs``).

Lists come newest first. Candles without trades do not exist, so a page may span any length of time, and only
an empty page is the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Final, NoReturn

from tidemark.exchanges import answers, layout, messages
from tidemark.exchanges.base import NotServedError, Refusal, Request, Row, Rows, Unparsable
from tidemark.exchanges.snapshots import SnapshotQuery
from tidemark.exchanges.upbit import fields, frames, refusals, symbols
from tidemark.exchanges.values import boolean, integer, iso_time, shown, unix_time

_CANDLES_A_PAGE: Final = 200
_TICKS_A_PAGE: Final = 500
_MARKETS_A_REQUEST: Final = 100
_DAYS_BACK: Final = 7
_TIMES: Final = re.compile(r"([01][0-9]|2[0-3]):?[0-5][0-9]:?[0-5][0-9]")
_SECOND: Final = re.compile(r"\bsec=([0-9]+)")
#: Completes a row from its message; the names of fields that belong into ``extra`` beside the unknown ones.
_Finish = Callable[[Row, dict[str, Any]], list[str]]


@dataclass(frozen=True, slots=True)
class MarketsQuery:
    """Every listed market. The answer carries no time, so ``event_at`` is when it was asked for."""

    dataset: ClassVar[str] = "market"

    @property
    def request(self) -> Request:
        """The request."""
        return Request("/v1/market/all", (("is_details", "true"),), "market")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a market."""
        return _rows("market", body, lambda row, message: _market(row, message, asked_at), unique=True)

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
        """The request of this page."""
        params = [("market", self.code), ("count", str(self.count))]
        if self.to is not None:
            params.append(("to", f"{self.to.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"))
        return Request(f"/v1/candles/{symbols.REST_INTERVALS[self.interval]}", tuple(params), "candles")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a bar, newest first."""

        def finish(row: Row, _: Mapping[str, Any]) -> list[str]:
            row["interval"] = self.interval
            return []

        return _rows("candle", body, finish)

    def following(self, rows: Sequence[Row]) -> CandlesQuery | None:
        """The bars before the oldest of this page."""
        if not answers.held(rows):
            return None
        oldest = min(answers.moments(rows, lambda bar: iso_time(bar["candle_date_time_utc"], "candle_date_time_utc")))
        if self.to is not None and oldest >= self.to:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with bars from {oldest} on")
        return None if self.since is not None and oldest <= self.since else replace(self, to=oldest)


@dataclass(frozen=True, slots=True)
class TicksQuery:
    """Trades of one market and one UTC day; pages back until ``since`` or the day's first trade."""

    code: str
    days_ago: int
    to: str
    cursor: int | None
    since: datetime | None
    count: int
    today: date | None = None
    dataset: ClassVar[str] = "trade"

    @property
    def request(self) -> Request:
        """The request of this page."""
        given = {"days_ago": self.days_ago or "", "to": self.to, "cursor": self.cursor or ""}
        params = [("market", self.code), ("count", str(self.count))]
        params += [(name, str(value)) for name, value in given.items() if value != ""]
        return Request("/v1/trades/ticks", tuple(params), "trades")

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a trade, newest first."""
        if self.today is not None and asked_at.astimezone(UTC).date() != self.today:
            raise Unparsable(
                "day_changed", f"{self.request.key()} was asked after midnight UTC and means another day now; ask anew"
            )
        return _rows("trade", body, _trade)

    def following(self, rows: Sequence[Row]) -> TicksQuery | None:
        """The trades with lower ids than all of this page."""
        if not answers.held(rows):
            return None
        lowest = min(answers.numbers(rows, lambda tick: integer(tick["sequential_id"], "sequential_id")))
        if self.cursor is not None and lowest >= self.cursor:
            raise Unparsable("no_progress", f"{self.request.key()} was answered with ids from {lowest} on")
        if self.since is not None and min(answers.moments(rows, _tick_time)) < self.since:
            return None
        return replace(self, cursor=lowest)


@dataclass(frozen=True, slots=True)
class TickersQuery:
    """The state of some markets, 100 a request; one unknown code fails the whole request."""

    codes: tuple[str, ...]
    later: tuple[str, ...] = ()
    dataset: ClassVar[str] = "ticker"

    @property
    def request(self) -> Request:
        """The request of this page."""
        return Request("/v1/ticker", (("markets", ",".join(self.codes)),), "ticker")

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes of this page."""
        return self.codes

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a market."""
        return _rows("ticker", body, lambda row, message: [], unique=True)

    def following(self, rows: Sequence[Row]) -> TickersQuery | None:
        """The next markets of the list."""
        return _tickers(self.later) if self.later else None


class Rest:
    """Upbit's REST interface (see ``base.Rest``)."""

    #: The exchange counts each group by itself: 10 requests a second and address.
    limits: ClassVar[Mapping[str, float]] = {"market": 10.0, "candles": 10.0, "trades": 10.0, "ticker": 10.0}
    intervals: ClassVar[Sequence[str]] = tuple(symbols.REST_INTERVALS)
    page_rows: ClassVar[Mapping[str, int]] = {"candle": _CANDLES_A_PAGE, "trade": _TICKS_A_PAGE}

    def remaining(self, headers: Mapping[str, str]) -> int | None:
        """What ``Remaining-Req: group=candles; min=600; sec=9`` says of this second."""
        header = next((value for name, value in headers.items() if name.lower() == "remaining-req"), "")
        match = _SECOND.search(header)
        return int(match[1]) if match else None

    def refusal(self, status: int, body: bytes) -> Refusal:
        """What an error means (see ``base.Rest``)."""
        return refusals.refusal(status, body)

    def banned_until(self, body: bytes, at: datetime) -> datetime | None:
        """The end of a ban (see ``base.Rest``)."""
        return refusals.banned_until(body, at)

    def markets(self, codes: Sequence[str] = ()) -> MarketsQuery:
        """Every listed market."""
        return MarketsQuery()

    def is_traded(self, market: Row) -> bool:
        """Yes: what doesn't trade is not listed."""
        return True

    def candles(
        self,
        code: str,
        interval: str,
        to: datetime | None = None,
        since: datetime | None = None,
        count: int = 0,
    ) -> CandlesQuery:
        """Bars (see ``base.Rest``); at most 200 a page.

        Raises:
            ValueError: an interval that isn't served, or a page too large.
        """
        if interval not in symbols.REST_INTERVALS:
            raise ValueError(f"no candles of {interval!r}; there are {', '.join(symbols.REST_INTERVALS)}")
        return CandlesQuery(code, interval, to, since, _page(count, _CANDLES_A_PAGE))

    def ticks(
        self,
        code: str,
        days_ago: int = 0,
        to: str = "",
        cursor: int | None = None,
        since: datetime | None = None,
        count: int = 0,
        today: date | None = None,
    ) -> TicksQuery:
        """Trades of one market and one UTC day, newest first; at most 500 a page and 7 days back.

        ``days_ago`` counts UTC days back from ``today``: an answer of another day is then refused. ``to`` is a time of
        that day (``HH:MM:SS`` UTC), ``cursor`` a trade id: what comes after it is older. Pages back to ``since``.

        Raises:
            ValueError: a day too far back, a malformed time, or a page too large.
        """
        if not 0 <= days_ago <= _DAYS_BACK:
            raise ValueError(f"days_ago is {days_ago}: trades are served for {_DAYS_BACK} days back only")
        if to and not _TIMES.fullmatch(to):
            raise ValueError(f"to is {to!r}: it must be a time of the day, HH:MM:SS")
        return TicksQuery(code, days_ago, to, cursor, since, _page(count, _TICKS_A_PAGE), today)

    def depth(self, code: str) -> NoReturn:
        """Nothing: books come whole, and without numbers."""
        raise NotServedError(f"{symbols.NAME} sends whole books of {code}: there is nothing to build them on")

    def history(
        self, dataset: str, code: str, since: datetime, until: datetime, now: datetime, interval: str = ""
    ) -> Sequence[CandlesQuery | TicksQuery]:
        """Candles of any age, trades of this and the seven UTC days before it (see ``base.Rest``).

        Raises:
            NotServedError: another dataset, or trades of an earlier day.
        """
        if dataset == "candle":
            return [self.candles(code, interval, to=until, since=since)]
        today = now.astimezone(UTC).date()
        if dataset != "trade" or until <= _midnight(today - timedelta(days=_DAYS_BACK)):
            served = f"candles, and trades since {today - timedelta(days=_DAYS_BACK)} 00:00 UTC"
            raise NotServedError(f"{symbols.NAME} serves {served}: no {dataset} of {code} from {since} to {until}")
        ages = [n for n in range(_DAYS_BACK, -1, -1) if _day_lies_in(today - timedelta(days=n), since, until)]
        return [
            self.ticks(code, days_ago=n, to=_until(today - timedelta(days=n), until), since=since, today=today)
            for n in ages
        ]

    def tickers(self, codes: Sequence[str]) -> TickersQuery:
        """States of these markets, 100 a request.

        Raises:
            ValueError: no codes.
        """
        if not codes:
            raise ValueError("no market codes to ask tickers for")
        return _tickers(tuple(codes))

    def snapshots(self, codes: Sequence[str]) -> SnapshotQuery:
        """States of these markets as documents, 100 a request.

        Raises:
            ValueError: no codes.
        """
        asked = self.tickers(codes)
        return SnapshotQuery(symbols.NAME, asked, frozenset(codes), "market", answers.split, symbols.market)


def _tick_time(tick: dict[str, Any]) -> datetime:
    return unix_time(tick["timestamp"], "timestamp")


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _until(day: date, until: datetime) -> str:
    """The first whole second of the day that lies behind ``until``; none where that is another day."""
    behind = until.astimezone(UTC) + timedelta(seconds=1)
    return f"{behind:%H:%M:%S}" if behind.date() == day else ""


def _day_lies_in(day: date, since: datetime, until: datetime) -> bool:
    return _midnight(day) < until and _midnight(day) + timedelta(days=1) > since


def _tickers(codes: tuple[str, ...]) -> TickersQuery:
    return TickersQuery(codes[:_MARKETS_A_REQUEST], codes[_MARKETS_A_REQUEST:])


def _page(count: int, largest: int) -> int:
    if not 0 <= count <= largest:
        raise ValueError(f"count is {count}: a page holds 1 to {largest}")
    return count or largest


def _rows(dataset: str, body: bytes, finish: _Finish, *, unique: bool = False) -> Rows:
    def read(item: int, element: bytes, message: dict[str, Any]) -> Row:
        row, left = layout.fill(fields.REST[dataset], message)
        frames.place(row, message.get("market"))
        left += finish(row, message)
        if left:
            row["extra"] = messages.unknown_fields(element, 0, message, left)
        return row

    return answers.read(answers.split(body), "market", read, unique=unique)


def _trade(row: Row, message: Mapping[str, Any]) -> list[str]:
    """REST gives the change with its sign, and no word for the direction."""
    if row["change_price"] is not None:
        change = Decimal(message["change_price"])
        row["change"] = "RISE" if change > 0 else "FALL" if change < 0 else "EVEN"
    return []


def _market(row: Row, message: Mapping[str, Any], asked_at: datetime) -> list[str]:
    """Warnings describe a market: those of another form stay as they are in ``extra``, and the market is taken."""
    row["event_at"] = asked_at
    row["base"], _, row["quote"] = str(row["market"]).partition("-")
    try:
        row["warning"], row["cautions"] = _event(message.get("market_event"))
    except Unparsable:
        return ["market_event"]
    return []


def _event(event: object) -> tuple[bool | None, str | None]:
    if event is None:
        return None, None
    caution = event.get("caution", {}) if isinstance(event, dict) else None
    if not isinstance(event, dict) or not isinstance(caution, dict):
        raise Unparsable("bad_type", f"market_event is {shown(event)}")
    warning = event.get("warning")
    known = None if warning is None else boolean(warning, "market_event.warning")
    return known, messages.text(sorted(name for name, on in caution.items() if boolean(on, name)))
