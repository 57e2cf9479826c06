"""The interface of an exchange: pure functions, bytes in and events out.

Lives here: the types that every exchange gives and takes (rows, requests, connections, the reasons why
something cannot be parsed) and the protocols :class:`Exchange`, :class:`Rest` and :class:`Query`. Doesn't:
any exchange's own knowledge (``exchanges/<name>``), sockets (``streaming``), HTTP (``transport``).

A row is a dict with exactly the contract's own columns as keys, the envelope not included. Decimals are
``decimal.Decimal`` that fit the lake's type, times are ``datetime`` in UTC, JSON columns are text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from tidemark.settings import ExchangeSettings

if TYPE_CHECKING:
    from tidemark.exchanges.contract_size import ContractSize

Row = dict[str, object]


class Unparsable(Exception):  # noqa: N818 - an outcome, like Parsed and Ignored
    """A message that cannot become rows: it goes to the dead letters.

    ``reason`` is a short stable slug (``not_json``, ``unknown_type``, ``bad_number``, …) that is counted and
    stored; ``message`` says what was wrong with which field.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class Parsed:
    """The events of one frame, in its order; the place in the list is the row's ``item``."""

    rows: list[Row]


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row of a REST answer that cannot be read: it is left out, and every other row of the answer is taken.

    ``item`` is its position in the answer, ``code`` the market code that it names (None: it names none as text),
    ``reason`` and ``message`` are those of :class:`Unparsable`, and ``value`` is the row as decoded JSON (None where
    it is not even that).
    """

    item: int
    code: str | None
    reason: str
    message: str
    value: object = None

    def __str__(self) -> str:
        """One line for a log or a summary."""
        named = f"{self.code}: " if self.code else ""
        return f"row {self.item}: {named}{self.reason}: {self.message}"


class Rows(list[Row]):
    """The rows of one answer in its order, with those that were ``set_aside`` because they cannot be read."""

    def __init__(self, rows: Iterable[Row] = (), set_aside: Iterable[SetAside] = ()) -> None:
        super().__init__(rows)
        self.set_aside: tuple[SetAside, ...] = tuple(set_aside)

    @property
    def answered(self) -> int:
        """How many rows the answer held, readable or not."""
        return len(self) + len(self.set_aside)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that carries nothing to keep by design (an acknowledgement, a sign of life)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One socket to open: where (path on the exchange's host), and what to ask for there."""

    path: str
    datasets: tuple[str, ...]
    codes: tuple[str, ...]


class Word(StrEnum):
    """What an exchange can say to the program on the other end of its socket, beside data."""

    ALIVE = "alive"
    #: One part of the subscription stands.
    ACKNOWLEDGED = "acknowledged"
    #: One part of the subscription, or the whole, is refused for what it is: asking again won't help.
    REFUSED = "refused"
    #: It is about to close the connection: open another one first.
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Reply:
    """One thing an exchange said; ``about`` is the stream or request, ``message`` is for people."""

    word: Word
    about: str = ""
    message: str = ""


class TradeIds(StrEnum):
    """What the ids of one market's trades prove about what lies between two of them."""

    #: Nothing: they are unique, and that is all.
    UNORDERED = "unordered"
    #: Each row's ``trade_id`` is one more than that of the row before.
    STEPS = "steps"
    #: Each row's ``first_trade_id`` is one more than the ``last_trade_id`` of the row before.
    SPANS = "spans"


class DepthNumbers(StrEnum):
    """How changes of a book are numbered, and where the book comes from that they build on."""

    #: There are no changes: books come whole.
    NONE = "none"
    #: Each covers a span of numbers and names the last of the one before; the book is asked for over REST.
    SPANS = "spans"
    #: Each names the number of the one before; the book comes first on every connection.
    LINKS = "links"


@dataclass(frozen=True, slots=True)
class SizeOverride:
    """The size of one contract of ``code`` from ``valid_from`` (UTC) on, whatever the exchange's list says.

    ``size`` is coins, or an amount of the quote currency where the contract ``is_inverse``.
    """

    exchange: str
    code: str
    valid_from: datetime
    size: Decimal
    is_inverse: bool = False


class NotServedError(Exception):
    """The exchange doesn't serve that (any more); the message says plainly what it does serve."""


class UnknownMarketError(NotServedError):
    """The exchange has answered that it knows no such market: a definite answer, asking again would not change it."""


class Refusal(StrEnum):
    """What an exchange's error means for the caller."""

    #: It knows no such market (any more). Only for the exchange's definite answer about the market that was named.
    UNKNOWN_MARKET = "unknown_market"
    #: It passes by itself.
    TRY_LATER = "try_later"
    #: This address is banned.
    BANNED = "banned"
    #: Anything else: a wrong parameter, a missing right, a page of a proxy.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP GET: path and parameters on the exchange's REST host, and the rate limit it counts against."""

    path: str
    params: tuple[tuple[str, str], ...]
    group: str

    def key(self) -> str:
        """The request as text, the same for the same request: part of a REST object's name in the lake."""
        return f"GET {self.path}?{urlencode(sorted(self.params))}"


class Query(Protocol):
    """A question to the REST interface, page by page: what to send, how to read it, what to ask next."""

    @property
    def dataset(self) -> str:
        """The dataset that the rows belong to."""

    @property
    def request(self) -> Request:
        """The request of this page."""

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """The rows of an answer, in its order; ``asked_at`` (UTC) is for answers that carry no time.

        A row that cannot be read is set aside and costs no other row.

        Raises:
            Unparsable: the answer as a whole is not what this question is answered with.
        """

    def following(self, rows: Sequence[Row]) -> Query | None:
        """The question for the next page after ``rows``, or None when there is nothing more to ask.

        Raises:
            Unparsable: the answer did not move on, so asking again would never end.
        """


class DepthQuery(Query, Protocol):
    """A question for a book."""

    @property
    def levels(self) -> int | None:
        """At how many levels a side the answer is cut off; None: it holds all."""


class StatesQuery(Query, Protocol):
    """A question for the state of several markets, whose pages do not depend on each other's answers."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes that this page is about."""

    def following(self, rows: Sequence[Row]) -> StatesQuery | None:
        """The question for the next page, whatever this one was answered with."""


class Rest(Protocol):
    """What an exchange serves over HTTP."""

    @property
    def limits(self) -> Mapping[str, float]:
        """Requests a second for each rate group."""

    @property
    def intervals(self) -> Sequence[str]:
        """Widths of candles that are served, as the contract names them."""

    @property
    def page_rows(self) -> Mapping[str, int]:
        """Rows that one page of ``history`` holds at most, for each dataset whose past is served."""

    def remaining(self, headers: Mapping[str, str]) -> int | None:
        """How many requests the exchange still allows in this second, where it says so."""

    def refusal(self, status: int, body: bytes) -> Refusal:
        """What an error means: an answer with this HTTP status, or one of 200 that holds an error. Never an error."""

    def banned_until(self, body: bytes, at: datetime) -> datetime | None:
        """The end of the ban that an answer written at ``at`` (UTC) names in its text; None: it names none."""

    def markets(self, codes: Sequence[str] = ()) -> Query:
        """Every market the exchange lists; ``codes`` are those asked for, where a list is served by its parts only."""

    def is_traded(self, market: Row) -> bool:
        """Whether a row of ``markets`` is one that trades: an exchange may list what has ended or not begun."""

    def candles(
        self,
        code: str,
        interval: str,
        to: datetime | None = None,
        since: datetime | None = None,
        count: int = 0,
    ) -> Query:
        """Bars of one market that start before ``to`` (UTC), newest first, paging back to ``since``.

        ``count`` is the page's size; 0 means the largest the exchange allows. The last page may reach behind
        ``since``. Bars without trades do not exist.
        """

    def tickers(self, codes: Sequence[str]) -> StatesQuery:
        """The state of these markets now, as many a page as a request can hold."""

    def snapshots(self, codes: Sequence[str]) -> StatesQuery:
        """All that is said of the state of these markets now, as rows of the dataset ``snapshot``."""

    def depth(self, code: str) -> DepthQuery:
        """The book now, as a row of the dataset ``depth`` that its changes build on.

        Raises:
            NotServedError: the exchange sends whole books, or no numbered ones.
        """

    def history(
        self, dataset: str, code: str, since: datetime, until: datetime, now: datetime, interval: str = ""
    ) -> Sequence[Query]:
        """The questions that together bring every row of one market in [since, until), UTC; ``now`` is the time.

        Answers may hold rows outside of the window. ``interval`` is for candles.

        Raises:
            NotServedError: nothing of the window is served; a window served in part is asked for in that part.
        """


class Exchange(Protocol):
    """One exchange."""

    @property
    def name(self) -> str:
        """Lower case, as it stands in topics and in the column ``exchange``."""

    @property
    def rest(self) -> Rest:
        """Its REST interface."""

    @property
    def keep_alive(self) -> bytes | None:
        """Text message that keeps a connection open; None: a protocol ping does."""

    @property
    def connects_per_second(self) -> float:
        """How often connections may be opened from one address."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """What its topics carry, ``system`` included."""

    @property
    def lifetime_s(self) -> float | None:
        """How long it leaves a connection open; None: for as long as one likes."""

    @property
    def quiet_s(self) -> Mapping[str, float]:
        """How long one stream (dataset and code) may be silent before that is a fault; not named: any time."""

    @property
    def trade_ids(self) -> TradeIds:
        """Whether a hole between the ids of two trades is a trade that is missing."""

    @property
    def depth_numbers(self) -> DepthNumbers:
        """How whole books (``orderbook``) are built from their changes (``depth``)."""

    @property
    def counts_contracts(self) -> bool:
        """Whether sizes of some of its instruments are contracts, not coins."""

    @property
    def size_overrides(self) -> tuple[SizeOverride, ...]:
        """Sizes of contracts that win over the exchange's list."""

    def contract_size(self, code: str, at: datetime | None = None) -> ContractSize | None:
        """One contract of ``code`` at ``at`` (UTC; None: now) by what is shipped; None: coins are counted, or unknown.

        Raises:
            Unparsable: ``code`` is not a market code of this exchange (``bad_code``).
        """

    def acknowledgements(self, settings: ExchangeSettings, connection: Connection) -> int:
        """How many parts of the subscription it acknowledges; 0: it answers with data only."""

    def reply(self, frame: bytes) -> Reply | None:
        """What a frame that ``classify`` calls ``system`` says; None where it says nothing we know. Never an error."""

    def parse(self, dataset: str, frame: bytes) -> Parsed | Ignored:
        """The events of a frame from the topic of ``dataset``.

        Raises:
            Unparsable: the frame cannot be placed: no JSON, no known type, no market, a value of the wrong
            type, or
                it belongs to another dataset.
        """

    def classify(self, frame: bytes) -> tuple[str, str]:
        """The dataset whose topic a frame belongs to, and its market code (empty where it has none).

        A cheap look, never an error: what isn't recognisable market data belongs to ``system``.
        """

    def connections(
        self, settings: ExchangeSettings, codes: Sequence[str], codes_per_connection: int
    ) -> tuple[Connection, ...]:
        """The sockets to open so that everything asked for is covered, each thing once."""

    def subscribe(self, settings: ExchangeSettings, connection: Connection, ticket: str) -> list[bytes]:
        """The text messages to send when ``connection`` has been opened; ``ticket`` names it uniquely."""

    def market(self, code: str) -> str:
        """The canonical symbol ``BASE-QUOTE`` of one of the exchange's market codes.

        Raises:
            Unparsable: it is not a market code of this exchange (``bad_code``).
        """
