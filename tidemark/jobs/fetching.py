"""Asking an exchange over REST and landing the answer: what the ``fetch_*`` jobs share.

Contains: following a question page by page, what an exchange's error means for the question, writing the rows as one
object of the lake, going on when one market fails. Does not contain: what to ask (``exchanges``), sending
(``transport``), questions about many markets at once (``jobs.states``), when (the jobs), loading (``jobs.load``).

A series (all pages about one market and window, say) is one object, named by what was asked and what was answered: the
same answer to the same question is the same object, so asking again adds nothing. Verbatim answers stand in the column
``frame``, each on the first row that came of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tidemark import bans, naming
from tidemark.bans import Ban
from tidemark.contracts import CONTRACTS, plausible
from tidemark.exchanges import answers, registry
from tidemark.exchanges.base import (
    NotServedError,
    Query,
    Refusal,
    Row,
    Rows,
    SetAside,
    UnknownMarketError,
    Unparsable,
)
from tidemark.jobs import arguments
from tidemark.lake import parquet
from tidemark.lake.parquet import VALUE_ERRORS, Footer
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import Settings
from tidemark.transport import BannedError, RefusedError, Transport, TransportError, UnavailableError

log = logging.getLogger(__name__)

_OK: Final = 200
#: Questions that a dry run names one by one.
_PLANNED: Final = 10
#: Bytes of an answer that a summary quotes.
_SAID: Final = 120
#: How a row of the market list is named that has no code.
_ROW: Final = "row "
#: What can be wrong with one series, so that the others are still fetched. A ban (418) ends all at once.
SERIES_ERRORS: Final = (RefusedError, UnavailableError, Unparsable, NotServedError, *VALUE_ERRORS)
Keep = Callable[[Row], bool]
#: Called after each series: how many are done, of how many, and what the last one was.
Progress = Callable[[int, int, str], None]


class FetchError(Exception):
    """Some series could not be fetched; the others have landed. ``summary`` has all of it."""

    advice = "What has landed stays; run again for the rest"

    def __init__(self, summary: FetchSummary) -> None:
        named = "\n".join(f"  {f.series}: {f.problem}" for f in summary.failures[:10])
        more = f"\n  and {len(summary.failures) - 10} more" if len(summary.failures) > 10 else ""
        super().__init__(f"{summary}. {self.advice}:\n{named}{more}")
        self.summary = summary


class FetchRefusedError(FetchError):
    """Every series that failed was refused for what it asks: the next try would be refused as well."""

    advice = "What has landed stays; the exchange refuses the rest, and would again"


@dataclass(frozen=True, slots=True)
class Series:
    """A question with all its pages: ``key`` says what was asked, ``keep`` which rows belong to the answer."""

    key: str
    query: Query
    keep: Keep = lambda _: True
    #: The market that it is about, the exchange's own code; empty: several.
    code: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The object that a series became: ``rows`` it holds (0: no answer, no object), ``new`` if it wasn't there.

    ``set_aside`` are rows of the answer that cannot be read; the object holds all others. ``said`` is what the exchange
    answered where there is no row.
    """

    path: str
    rows: int
    new: bool
    set_aside: tuple[SetAside, ...] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A series that could not be fetched, and why. ``refused``: asking again would be answered the same."""

    series: str
    problem: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A market that was not fetched because the exchange does not have it, and why. That is no failure."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class FetchSummary:
    """What a fetch did. ``landed`` are objects that are new, ``known`` those that lay there already.

    ``left_out`` are markets that the exchange does not have (any more); the others are complete without them.
    ``set_aside`` counts rows of the answers that cannot be read, and market codes that cannot; ``first_set_aside``
    says which was the first, and why. ``planned_seconds`` is the least that what a dry run plans would take.
    """

    exchange: str
    dataset: str
    series: int
    landed: int
    known: int
    empty: int
    rows: int
    failures: tuple[FetchFailure, ...] = ()
    dry_run: bool = False
    left_out: tuple[LeftOut, ...] = ()
    set_aside: int = 0
    first_set_aside: str = ""
    planned_seconds: float = 0.0

    def __str__(self) -> str:
        """One line for a person; the markets that were left out follow, the first ten with their reasons."""
        if self.dry_run:
            took = (
                f", at least {arguments.duration(self.planned_seconds)} at the exchange's rate limit"
                if self.planned_seconds
                else ""
            )
            head = f"{self.exchange} {self.dataset}: would ask {self.series} series{took}"
            refused = [f"  {one.series}: {one.problem}" for one in self.failures]
            count = [f"{head}, {len(refused)} would FAIL"] if refused else [head]
            return "\n".join([*count, *arguments.first_lines(refused, _PLANNED)])
        failed = f", {len(self.failures)} FAILED" if self.failures else ""
        counts = f"{self.landed} landed with {self.rows} rows, {self.known} known, {self.empty} empty"
        aside = f", {self.set_aside} set aside (first: {self.first_set_aside})" if self.set_aside else ""
        head = f"{self.exchange} {self.dataset}: {self.series} series, {counts}{aside}{failed}"
        if not self.left_out:
            return head
        more = f"\n  and {len(self.left_out) - 10} more" if len(self.left_out) > 10 else ""
        named = "".join(f"\n  {one.code} is left out: {one.reason}" for one in self.left_out[:10])
        return f"{head}, {len(self.left_out)} markets left out{named}{more}"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer as it came, when (UTC, our clock), and the rows in it."""

    body: bytes
    received_at: datetime
    rows: Rows


class Fetcher:
    """One exchange's REST interface and the lake that its answers go to."""

    def __init__(
        self, settings: Settings, exchange: str, transport: Transport, store: ObjectStore, now: datetime | None = None
    ) -> None:
        self.exchange = registry.get(exchange)
        self.now = now or datetime.now(UTC)
        self._asked_at = now
        self._settings = settings.exchanges[exchange]
        self._transport = transport
        self._store = store
        #: What the exchange lists now: its codes, and what of the list cannot be read; None: it was not asked yet.
        self._list: tuple[tuple[str, ...], tuple[FetchFailure, ...]] | None = None
        #: Codes of the settings, or rows of the market list, that cannot be read; chosen codes that cannot.
        self._unreadable: list[str] = []
        self._failures: list[FetchFailure] = []

    @property
    def requests(self) -> int:
        """How many requests were sent so far."""
        return self._transport.sent

    def codes(self, chosen: Sequence[str] | None) -> tuple[str, ...]:
        """The exchange's own market codes: those chosen, else those of the settings, else all it lists; each once.

        Chosen markets may be given in either spelling (``KRW-BTC``, ``BTC-KRW``). A code that cannot be read is left
        out: one that was chosen is a failure of the fetch, another is named as set aside. The list is asked for once.

        Raises:
            Unparsable: no code can be read.
        """
        named = self._own(chosen, self._markets()) if chosen else self._settings.codes
        problems: list[FetchFailure] = []
        codes = dict.fromkeys(named or self.listed())
        if not named and self._list is not None:
            problems += self._list[1]
        readable = tuple(code for code in codes if self._can_read(code, problems))
        for one in problems:
            log.warning("code_set_aside exchange=%s code=%r because=%s", self.exchange.name, one.series, one.problem)
        if not readable:
            why = f"{problems[0].series}: {problems[0].problem}" if problems else "there are none"
            raise Unparsable("no_markets", f"no market code of {self.exchange.name} can be read: {why}")
        if chosen:
            self._failures = problems
        else:
            self._unreadable = [f"{one.series}: {one.problem}" for one in problems]
        return readable

    def known_codes(self, chosen: Sequence[str], also: Iterable[str] = ()) -> tuple[str, ...]:
        """The exchange's own codes of chosen markets, in either spelling, each of which it knows.

        One that it does not list is asked for one bar: a market may have history and no place in the list. ``also``
        are codes that need no proof.

        Raises:
            ValueError: it does not have one of them; nothing else was asked.
            UnavailableError: it does not answer.
        """
        listed = self._markets()
        codes = self._own(chosen, listed)
        reasons: dict[str, str] = {}
        for code in codes:
            if code not in listed and code not in also and (why := self._why_unknown(code)):
                reasons[code] = why
        if reasons:
            raise arguments.unknown_markets(self.exchange.name, reasons, listed)
        return codes

    def _own(self, chosen: Sequence[str], listed: Mapping[str, str]) -> tuple[str, ...]:
        codes = arguments.own_codes(chosen, listed)
        for text in set(chosen) - set(codes):
            log.info("%s is %s of %s", text, next(code for code in codes if listed.get(code) == text), self._name)
        return codes

    def _markets(self) -> dict[str, str]:
        """What the exchange lists, code to market; empty where it cannot be had."""
        try:
            return {code: self.exchange.market(code) for code in self.listed()}
        except BannedError:
            raise
        except (TransportError, Unparsable) as error:
            log.warning("the list of markets of %s can't be had: %s", self._name, error)
            return {}

    def _why_unknown(self, code: str) -> str:
        """Why the exchange does not have a market of that code; empty: it has, or nothing definite is known."""
        try:
            self.exchange.market(code)
            self.page(self.exchange.rest.candles(code, "1d", count=1))
        except UnknownMarketError as error:
            return str(error)
        except Unparsable as error:
            return str(error) if error.reason == "bad_code" else ""
        except RefusedError as error:
            log.warning("%s of %s: %s", code, self._name, error)
        return ""

    @property
    def _name(self) -> str:
        return self.exchange.name

    def listed(self) -> tuple[str, ...]:
        """The codes that the exchange lists now, those that can be read. The list is asked for once."""
        if self._list is None:
            problems: list[FetchFailure] = []
            self._list = tuple(self._ask_list(problems)), tuple(problems)
        return self._list[0]

    def listed_again(self) -> frozenset[str] | None:
        """What the exchange lists at this moment, codes whose rows cannot be read included.

        None: a row without a readable code is among them, so it is unknown what is not listed.
        """
        problems: list[FetchFailure] = []
        found = self._ask_list(problems)
        if any(one.series.startswith(_ROW) for one in problems):
            return None
        return frozenset([*found, *(one.series for one in problems)])

    @property
    def unreadable(self) -> tuple[FetchFailure, ...]:
        """The chosen codes that cannot be read: failures of the fetch."""
        return tuple(self._failures)

    def _ask_list(self, problems: list[FetchFailure]) -> dict[str, None]:
        found: dict[str, None] = {}
        for page in self._pages(self.exchange.rest.markets()):
            problems += [FetchFailure(one.code or f"{_ROW}{one.item}", f"{one.reason}: {one.message}")
                         for one in page.rows.set_aside]  # fmt: skip
            for row in page.rows:
                if why := answers.misread(self.exchange, row):
                    problems.append(FetchFailure(str(row["code"]), why))
                elif row["code"]:
                    found[str(row["code"])] = None
        return found

    def _can_read(self, code: str, problems: list[FetchFailure]) -> bool:
        try:
            self.exchange.market(code)
        except Unparsable as error:
            problems.append(FetchFailure(code, str(error), refused=True))
            return False
        return True

    def history(self, dataset: str, code: str, start: datetime, end: datetime, interval: str = "") -> list[Series]:
        """The series that together bring what happened on one market from ``start`` up to ``end`` (aware).

        Raises:
            NotServedError: the exchange serves nothing of that (any more).
            ValueError: it knows no such interval.
        """
        queries = self.exchange.rest.history(dataset, code, start, end, self.now, interval)
        words = (self.exchange.name, dataset, code, interval, f"{instant(start)}/{instant(end)}")
        key = " ".join(word for word in words if word)
        keep = within(start, end)
        if len(queries) == 1:
            return [Series(key, queries[0], keep, code)]
        return [Series(f"{key} {n}/{len(queries)}", query, keep, code) for n, query in enumerate(queries, 1)]

    def fetch(
        self,
        dataset: str,
        series: Sequence[Series],
        progress: Progress | None = None,
        failures: Iterable[FetchFailure] = (),
        *,
        chosen: bool = True,
    ) -> FetchSummary:
        """Ask every series and land the answers; a series that fails is named in the summary, with ``failures``.

        A market that the exchange does not know is asked for once. Where a person chose it, that is a failure; where it
        comes from the settings or the list (``chosen=False``), it is left out.
        """
        answered: list[Answered] = []
        failed = [*self._failures, *failures]
        unknown: dict[str, str] = {}
        for number, one in enumerate(series, 1):
            try:
                if one.code not in unknown:
                    answered.append(self.land(dataset, one))
            except UnknownMarketError as error:
                unknown[one.code] = str(error)
                if chosen:
                    failed.append(FetchFailure(one.key, f"{type(error).__name__}: {error}", refused=True))
            except SERIES_ERRORS as error:
                log.warning("%s can't be fetched: %s", one.key, error)
                failed.append(FetchFailure(one.key, f"{type(error).__name__}: {error}", is_refusal(error)))
            if progress is not None:
                progress(number, len(series), one.key)
        left_out = () if chosen else tuple(LeftOut(code, reason) for code, reason in unknown.items())
        if left_out and not answered:
            failed.append(FetchFailure(f"{self.exchange.name} {dataset}", "the exchange knows none of the markets"))
        return self.summary(dataset, len(series), answered, failed, left_out)

    def summary(
        self,
        dataset: str,
        series: int,
        answered: Sequence[Answered],
        failures: Iterable[FetchFailure],
        left_out: Iterable[LeftOut],
    ) -> FetchSummary:
        """What came of so many series."""
        landed = [answer.rows for answer in answered if answer.new]
        empty = sum(not answer.rows for answer in answered)
        known = len(answered) - len(landed) - empty
        aside = [*self._unreadable, *(str(one) for answer in answered for one in answer.set_aside)]
        return FetchSummary(
            self.exchange.name, dataset, series, len(landed), known, empty, sum(landed), tuple(failures),
            left_out=tuple(left_out),
            set_aside=len(aside), first_set_aside=aside[0] if aside else "",
        )  # fmt: skip

    def plan(
        self, dataset: str, keys: Sequence[str], series: Sequence[Series] = (), failures: Iterable[FetchFailure] = ()
    ) -> FetchSummary:
        """What would be asked (``series``, where its questions are known), and how long that takes at least.

        ``failures`` are what is known to fail without asking.
        """
        for line in arguments.first_lines(keys, _PLANNED):
            log.info("would ask for %s", line)
        limits = self.exchange.rest.limits
        seconds = sum(1 / limits[one.query.request.group] for one in series)
        summary = FetchSummary(
            self.exchange.name, dataset, len(keys), 0, 0, 0, 0, (*self._failures, *failures), dry_run=True,
            planned_seconds=seconds,
        )  # fmt: skip
        log.info("%s", summary)
        return summary

    def land(self, dataset: str, series: Series) -> Answered:
        """Ask all pages of a series and write their rows as one object, unless the same answer lies there.

        Rows that cannot be read are counted in the object's footer; the answer they stood in is kept with the others.

        Raises:
            One of SERIES_ERRORS, or BannedError. Unparsable also where the answer holds rows and none can be read.
        """
        return self.store(dataset, series.key, list(self._pages(series.query)), series.keep)

    def store(self, dataset: str, key: str, pages: Sequence[Page], keep: Keep = lambda _: True) -> Answered:
        """Write the rows of these pages as one object, unless the same answer to the same question lies there."""
        aside = _set_aside(key, pages)
        topic = naming.raw_topic(self.exchange.name, dataset)
        digest = answer_digest(key, [page.body for page in pages])
        path = naming.rest_object(topic, digest)
        rows = list(_numbered(topic, row_offset(digest), _enveloped(pages, keep)))
        if not rows:
            return Answered(path, 0, new=False, set_aside=aside, said=_without_rows(pages))
        received = [nanoseconds(row["received_at"]) for row in rows]
        footer = Footer(
            topic, 0, naming.REST_CLUSTER, 0, row_offset(digest), row_offset(digest), rows=len(rows), parsed=1,
            kind="rest", received_min=min(received), received_max=max(received),
            dead=len(aside), dead_reasons=dict(sorted(Counter(one.reason for one in aside).items())),
        )  # fmt: skip
        data = parquet.write(CONTRACTS[dataset], rows, footer)
        return Answered(path, len(rows), self._store.put_new(path, data), aside)

    def page(self, query: Query) -> Page:
        """Ask one page.

        Raises:
            UnknownMarketError: the exchange knows no such market.
            RefusedError, UnavailableError, Unparsable: see there.
            BannedError: this address is banned.
        """
        request = query.request
        try:
            answer = self._transport.get(request.path, request.params, request.group)
        except RefusedError as error:
            raise self._meaning(query, error.status, error.body, error) from error
        try:
            rows = query.rows(answer.body, self._asked_at or answer.asked_at)
        except Unparsable as error:
            raise self._meaning(query, _OK, answer.body, error) from error
        return Page(answer.body, datetime.now(UTC), rows)

    def _meaning(self, query: Query, status: int, body: bytes, error: Exception) -> Exception:
        """The error that a caller can act on: the same one, or what the exchange says that it means."""
        name = self.exchange.name
        meaning = self.exchange.rest.refusal(status, body)
        if meaning is Refusal.UNKNOWN_MARKET and query.dataset != "market":
            return UnknownMarketError(f"{name} knows no such market (any more): {type(error).__name__}: {error}")
        if meaning in (Refusal.TRY_LATER, Refusal.BANNED):
            return UnavailableError(f"{name} answered {query.request.key()} with an error that passes: {error}")
        return error

    def _pages(self, query: Query | None) -> Iterator[Page]:
        while query is not None:
            page = self.page(query)
            yield page
            query = query.following(page.rows)


@contextmanager
def fetcher(settings: Settings, exchange: str, now: datetime | None = None) -> Iterator[Fetcher]:
    """The means to ask ``exchange``; closed afterwards. ``now`` is its time (default: the clock).

    Raises:
        KeyError: no such exchange.
    """
    rest = registry.get(exchange).rest
    url = settings.exchanges[exchange].rest_url
    ban = Ban(exchange, url, bans.directory(settings.transport.state_dir))
    with Transport(url, rest.limits, rest.remaining, ban=ban, banned_until=rest.banned_until) as transport:
        yield Fetcher(settings, exchange, transport, open_store(settings.lake), now)


def finish(summary: FetchSummary) -> FetchSummary:
    """Log what a fetch did.

    Raises:
        FetchError: a series failed; FetchRefusedError where trying again is futile.
    """
    log.info("%s", summary)
    if summary.failures and all(one.refused for one in summary.failures):
        raise FetchRefusedError(summary)
    if summary.failures:
        raise FetchError(summary)
    return summary


def is_refusal(error: Exception) -> bool:
    """Whether the exchange has refused a question for what it asks, so that asking again is futile."""
    return isinstance(error, RefusedError | NotServedError)


def within(start: datetime, end: datetime) -> Keep:
    """Rows whose event lies from ``start`` up to, not including, ``end``.

    A row without a time stays, and so does one whose time is implausible: silver judges them.
    """

    def keep(row: Row) -> bool:
        moment = row.get("event_at")
        if not isinstance(moment, datetime) or start <= moment < end:
            return True
        return not plausible.holds(moment, datetime.now(UTC))

    return keep


def instant(moment: datetime) -> str:
    """An instant as it stands in a series' key: UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def answer_digest(key: str, bodies: Iterable[bytes]) -> str:
    """32 hex digits that name a question together with its answer."""
    digest = hashlib.sha256(key.encode())
    for body in bodies:
        digest.update(b"\0%d\0" % len(body))
        digest.update(body)
    return digest.hexdigest()[:32]


def row_offset(digest: str) -> int:
    """The first 63 bits of a digest: where a log's row has its offset."""
    return int(digest[:16], 16) >> 1


def nanoseconds(moment: datetime) -> int:
    """Unix nanoseconds, exact to the microsecond."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _set_aside(key: str, pages: Sequence[Page]) -> tuple[SetAside, ...]:
    """The rows of a series that cannot be read, named in the log.

    Raises:
        Unparsable: there are rows, and none can be read: then it is the answer that is not understood.
    """
    aside = tuple(one for page in pages for one in page.rows.set_aside)
    if aside and not any(page.rows for page in pages):
        raise Unparsable(aside[0].reason, f"none of {len(aside)} rows can be read, first {aside[0]}")
    if aside:
        log.warning("rows_set_aside series=%r count=%d first=%s", key, len(aside), aside[0])
    return aside


def _without_rows(pages: Sequence[Page]) -> str:
    """What the exchange answered, where nothing of it belongs to the question."""
    outside = sum(len(page.rows) for page in pages)
    if outside:
        return f"the answer holds {outside} rows, none of them of this window"
    body = pages[0].body[:_SAID].decode("utf-8", errors="replace").strip() if pages else ""
    return f"the answer holds no rows: {body or 'it is empty'}"


def _enveloped(pages: Iterable[Page], keep: Keep) -> Iterator[dict[str, Any]]:
    for page in pages:
        kept = [row for row in page.rows if keep(row)]
        for number, row in enumerate(kept):
            frame = page.body if number == 0 else None
            yield {**row, "source": "rest", "received_at": page.received_at, "frame": frame}


def _numbered(topic: str, offset: int, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item, row in enumerate(rows):
        where = {"kafka_cluster": naming.REST_CLUSTER, "kafka_epoch": 0, "kafka_topic": topic, "kafka_partition": 0}
        yield {**row, **where, "kafka_offset": offset, "item": item}
