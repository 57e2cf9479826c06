"""The present states of many markets, asked for together: a market that fails costs itself, never the others.

Contains: following the pages whatever came of one of them, leaving out what the exchange does not list any more, and
finding the market that makes a page fail. Does not contain: what a page is (``exchanges``), asking and landing
(``jobs.fetching``), when (the jobs).

Some exchanges refuse a whole page for one market that they do not know. Then the list of markets is read again, once a
run: what it does not hold is left out, and the page is asked for once more. Where that does not help (the list still
holds the market, or cannot be had), the page is halved until the market stands alone, with at most
:data:`SPLIT_REQUESTS` requests a run, at the exchange's pace. All pages that came land as one object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from tidemark.exchanges.base import StatesQuery, UnknownMarketError, Unparsable
from tidemark.jobs.fetching import SERIES_ERRORS, Fetcher, FetchFailure, FetchSummary, LeftOut, Page, Progress
from tidemark.transport import BannedError, TransportError, UnavailableError

log = logging.getLogger(__name__)

#: Requests that finding unknown markets by halves may take in one run: enough for four of them in a page of 100.
SPLIT_REQUESTS: Final = 64
#: Pages in a row that got no answer in spite of all retries: the exchange is away, and the others are not asked for.
_AWAY: Final = 2
_SHOWN: Final = 200

Ask = Callable[[Sequence[str]], StatesQuery]


def land(
    fetch: Fetcher, dataset: str, key: str, codes: Sequence[str], ask: Ask, progress: Progress | None = None
) -> FetchSummary:
    """Land the states of these markets as one object, named by ``key`` and the answers.

    The summary names the markets that the exchange does not have (``left_out``) and those whose page failed
    (``failures``). Where nothing came at all, that is a failure.

    Raises:
        BannedError: the exchange banned this address before anything came.
    """
    found = _States(fetch, ask)
    found.ask(codes)
    missing = [code for code in codes if code not in found.seen and code not in found.failed]
    left_out = [LeftOut(code, found.left_out.get(code, "the answer does not hold it")) for code in missing]
    failures = [*fetch.unreadable]
    failures += [FetchFailure(_named(named), problem) for problem, named in _by_problem(found.failed).items()]
    answers = []
    try:
        answers = [fetch.store(dataset, key, found.pages)]
    except SERIES_ERRORS as error:
        failures.append(FetchFailure(key[:_SHOWN], f"{type(error).__name__}: {error}"))
    if not failures and not any(answer.rows for answer in answers):
        failures = [FetchFailure(key[:_SHOWN], f"no state of any of the {len(codes)} markets came")]
    for one in left_out:
        log.warning("%s %s: %s is left out: %s", fetch.exchange.name, dataset, one.code, one.reason)
    if progress is not None:
        progress(1, 1, key[:_SHOWN])
    return fetch.summary(dataset, 1, answers, failures, left_out)


@dataclass
class _States:
    """One run: pages that came, markets they hold (readable or not), those left out and those whose page failed."""

    fetch: Fetcher
    make: Ask
    pages: list[Page] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _split: int = SPLIT_REQUESTS
    _away: int = 0
    _stopped: str = ""
    _listed: frozenset[str] | None = None
    _asked_for_list: bool = False

    def ask(self, codes: Sequence[str]) -> None:
        """Ask for all pages."""
        for query in _pages(self.make, self._readable(codes)):
            try:
                self._take(query)
            except UnknownMarketError as error:
                self._without_unknown(query.asked, error)

    def _readable(self, codes: Sequence[str]) -> list[str]:
        """Those codes that can be asked for at all."""
        readable = []
        for code in codes:
            try:
                self.make([code])
            except Unparsable as error:
                self.left_out[code] = str(error)
            else:
                readable.append(code)
        return readable

    def _take(self, query: StatesQuery) -> None:
        """Ask one page; an error other than an unknown market is kept as that of its markets.

        Raises:
            UnknownMarketError: one of its markets is not known.
            BannedError: this address is banned, and nothing has come yet.
        """
        asked = query.asked
        if self._stopped:
            self._fail(asked, f"not asked: {self._stopped}")
            return
        try:
            page = self.fetch.page(query)
        except UnknownMarketError:
            self._away = 0
            raise
        except BannedError as error:
            if not self.pages:
                raise
            self._stopped = str(error)
            self._fail(asked, self._stopped)
            return
        except SERIES_ERRORS as error:
            self._away = self._away + 1 if isinstance(error, UnavailableError) else 0
            self._stopped = f"{_AWAY} pages in a row got no answer" if self._away >= _AWAY else ""
            self._fail(asked, f"{type(error).__name__}: {error}")
            return
        self._away = 0
        self.pages.append(page)
        self.seen.update(str(row["code"]) for row in page.rows)
        self.seen.update(one.code for one in page.rows.set_aside if one.code)

    def _without_unknown(self, codes: Sequence[str], error: UnknownMarketError) -> None:
        """Ask a refused page again without what the exchange does not list; else by halves."""
        if len(codes) == 1:
            self.left_out[codes[0]] = str(error)
            return
        listed = self._list()
        kept = [code for code in codes if listed is None or code in listed]
        self.left_out |= {
            code: "the list of markets does not hold it any more" for code in codes if code not in set(kept)
        }
        if len(kept) < len(codes) and self._answered(kept):
            return
        self._halve(kept, error)

    def _answered(self, codes: Sequence[str]) -> bool:
        """Ask for these once; whether none of them was refused as unknown."""
        refused = False
        for query in _pages(self.make, codes):
            try:
                self._take(query)
            except UnknownMarketError as error:
                if len(query.asked) > 1:
                    refused = True
                else:
                    self.left_out[query.asked[0]] = str(error)
        return not refused

    def _halve(self, codes: Sequence[str], error: UnknownMarketError) -> None:
        """Find the unknown markets among ``codes``, of which one at least is unknown."""
        groups = [codes]
        while groups:
            group = groups.pop()
            if len(group) == 1:
                self.left_out[group[0]] = str(error)
                continue
            middle = len(group) // 2
            for half in (group[:middle], group[middle:]):
                if self._split <= 0:
                    self._fail(half, f"one of them is unknown; {SPLIT_REQUESTS} requests did not find it: {error}")
                    continue
                self._split -= 1
                if not self._answered(half):
                    groups.append(half)

    def _list(self) -> frozenset[str] | None:
        """The codes that are listed now, read once a run; None: the list cannot be had."""
        if not self._asked_for_list:
            self._asked_for_list = True
            try:
                self._listed = self.fetch.listed_again()
            except (TransportError, Unparsable) as error:
                log.warning("%s: the list of markets can't be had: %s", self.fetch.exchange.name, error)
        return self._listed

    def _fail(self, codes: Sequence[str], problem: str) -> None:
        self.failed |= dict.fromkeys(codes, problem)


def _pages(make: Ask, codes: Sequence[str]) -> Iterator[StatesQuery]:
    query: StatesQuery | None = make(codes) if codes else None
    while query is not None:
        yield query
        query = query.following(())


def _by_problem(failed: dict[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for code, problem in failed.items():
        groups.setdefault(problem, []).append(code)
    return groups


def _named(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - 5} more" if len(codes) > 5 else ""
    return f"{', '.join(codes[:5])}{more}"
