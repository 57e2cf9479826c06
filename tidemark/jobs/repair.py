"""``tidemark repair``: what is missing is asked for at the exchange, and lands like everything else.

Contains: which gaps are due, what to ask for one, and what came of it. Does not contain: finding gaps
(``completeness``), what an exchange serves (``exchanges``), landing (``jobs.fetching``), loading (``warehouse.load``).

A gap is asked for market by market. One whose market the exchange does not know is answered by that: the market is
never asked for again, and the rest is repaired. Only the markets that failed are asked for in the next pass. A gap's
answer is landed as REST objects, loaded, and tied to the gap (``ops.gap_repair``). Rows that were there already
become duplicates in silver, where the socket's row stays. Run it twice, or two at once: each gap is asked for by one
run at a time, and the same answer is the same object.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import sql

from tidemark import naming
from tidemark.completeness import gaps
from tidemark.completeness.gaps import ALL, ATTEMPTS, JUDGED, CodeState, Gap, KnownGap, State
from tidemark.completeness.sequences import BARS
from tidemark.completeness.verdicts import HOUR, hour_of
from tidemark.exchanges import registry
from tidemark.exchanges.base import NotServedError, UnknownMarketError, Unparsable
from tidemark.jobs import arguments, completeness
from tidemark.jobs.fetch_trades import days
from tidemark.jobs.fetching import SERIES_ERRORS, Fetcher, Progress, Series, fetcher, instant
from tidemark.lake.store import ObjectStore, StoreError, open_store
from tidemark.settings import Settings
from tidemark.transport import BannedError, TransportError, UnavailableError
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.load import load_path

log = logging.getLogger(__name__)
#: Our clock and the exchange's may differ, and a silence is measured by ours.
_MARGIN: Final = timedelta(minutes=1)
#: Between two times of asking for the same gap: doubled with each, up to the longest (the past is served for days).
_PAUSE: Final = timedelta(minutes=10)
_LONGEST_PAUSE: Final = timedelta(hours=6)
#: Questions in a row that got no answer in spite of all retries: the exchange is away, and the run ends.
_AWAY: Final = 3
_SHOWN: Final = 600
#: Lines of a dry run.
_PLANNED: Final = 20
_ANSWERED: Final[tuple[CodeState, str]] = ("answered", "")
_RECHECKED: Final = timedelta(days=2)
#: What the exchanges serve the past of; everything else is known to be gone, but they are asked all the same.
_ASKED_BY_HAND: Final = ("trade", "candle")
_ASKED: Final = "asked"

_STATE: Final = "SELECT state FROM ops.gap WHERE gap_id = %s"
_BOOK: Final = """
UPDATE ops.gap SET
    state = %(state)s, said = %(said)s, asked_at = %(now)s,
    attempts = attempts + %(asked)s, answers = answers + %(answered)s,
    repaired_rows = greatest(coalesce(repaired_rows, 0), %(rows)s),
    repaired_at = CASE WHEN %(state)s IN ('repaired', 'nothing_missing') THEN %(now)s END
WHERE gap_id = %(gap_id)s
"""
_CODES_OF_GAPS: Final = """
SELECT jsonb_array_elements_text(detail -> 'codes') FROM ops.gap
WHERE exchange = %(exchange)s AND jsonb_typeof(detail -> 'codes') = 'array' AND cause <> 'asked'
UNION
SELECT code FROM ops.gap_code JOIN ops.gap USING (gap_id) WHERE exchange = %(exchange)s
"""
_TIE: Final = "INSERT INTO ops.gap_repair (gap_id, path, rows) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_MINE: Final = """
SELECT l.load_id FROM ops.gap_repair AS r JOIN ops.load_ledger AS l USING (path) WHERE r.gap_id = %s
"""
_OTHERS: Final = """
SELECT DISTINCT load_id FROM ops.load_hour AS b JOIN ops.load_ledger AS l USING (load_id)
WHERE l.exchange = %(exchange)s AND l.dataset = %(dataset)s AND NOT load_id = ANY(%(mine)s)
    AND b.hour_at IN (SELECT hour_at FROM ops.load_hour WHERE load_id = ANY(%(mine)s))
"""
# A row that stands for several ids has each of them; a bar is new in each state that nobody else brought.
_NEW: Final = {
    "trade": """
        SELECT count(DISTINCT (mine.market, mine.trade_id)) FROM {table} AS mine WHERE mine.load_id = ANY(%(mine)s)
        AND NOT EXISTS (SELECT FROM {table} AS other WHERE other.load_id = ANY(%(others)s)
            AND other.market = mine.market AND other.trade_id = mine.trade_id)
        AND NOT EXISTS (SELECT FROM {table} AS other WHERE other.load_id = ANY(%(others)s)
            AND other.market = mine.market AND other.first_trade_id < other.last_trade_id
            AND mine.trade_id BETWEEN other.first_trade_id AND other.last_trade_id)
    """,
    "candle": """
        SELECT count(DISTINCT (mine.market, mine.interval, mine.event_at)) FROM {table} AS mine
        WHERE mine.load_id = ANY(%(mine)s)
        AND NOT EXISTS (SELECT FROM {table} AS other WHERE other.load_id = ANY(%(others)s)
            AND (other.market, other.interval, other.event_at) = (mine.market, mine.interval, mine.event_at)
            AND other.volume_base = mine.volume_base AND other.is_closed IS NOT DISTINCT FROM mine.is_closed)
    """,
}


@dataclass(frozen=True, slots=True)
class RepairSummary:
    """What a run did: gaps by outcome, rows that were not there before, a line a gap, and the check that followed."""

    exchange: str
    outcomes: dict[str, int]
    rows: int
    lines: tuple[str, ...]
    recheck: str = ""
    dry_run: bool = False
    estimate: str = ""

    def __str__(self) -> str:
        """A line, and one for each gap; of a dry run the first ones."""
        verb = "would ask for" if self.dry_run else "asked for"
        counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(self.outcomes.items())) or "nothing"
        head = f"{self.exchange}: {verb} {len(self.lines)} gaps ({counts}), {self.rows} new rows"
        if self.dry_run:
            head = f"{self.exchange}: {verb} {sum(self.outcomes.values())} gaps, {self.estimate}"
            return "\n".join([head, *(f"  {line}" for line in arguments.first_lines(self.lines, _PLANNED))])
        return "\n".join([head, *(f"  {line}" for line in self.lines), *([self.recheck] if self.recheck else [])])


@dataclass
class _Asked:
    """What asking for one gap came to, market by market; ``words`` are the exchange's on times it does not serve."""

    markets: int = 0
    requests: int = 0
    paths: list[tuple[str, int]] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    #: Rows of the answers that cannot be read.
    set_aside: list[str] = field(default_factory=list)
    banned: BannedError | None = None

    @property
    def outcomes(self) -> dict[str, tuple[CodeState, str]]:
        """The state of each market, and why."""
        return {
            **dict.fromkeys(self.answered, _ANSWERED),
            **{code: ("refused", said) for code, said in self.refused.items()},
            **{code: ("failed", said) for code, said in self.failed.items()},
        }


@dataclass
class _Repair:
    """One run: what it works with, what a person asks for in spite of earlier answers, and why it ends early."""

    settings: Settings
    connection: Connection
    store: ObjectStore
    fetch: Fetcher
    by_hand: bool = False
    again: frozenset[str] = frozenset()
    unanswered: int = 0
    banned: BannedError | None = None

    @property
    def stopped(self) -> str:
        """Why nothing more is to be asked in this run; empty: go on."""
        if self.banned is not None:
            return str(self.banned)
        return f"{_AWAY} questions in a row got no answer" if self.unanswered >= _AWAY else ""

    @property
    def exchange(self) -> str:
        return self.fetch.exchange.name


def run(
    settings: Settings,
    exchange: str,
    *,
    dataset: str | None = None,
    codes: Sequence[str] = (),
    window_start: datetime | None = None,
    window_end: datetime | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> RepairSummary:
    """Ask for every open gap that is due; with a window (aware) for that window, and for all unsettled gaps in it.

    ``dataset`` and ``codes`` (markets in either spelling) narrow it down; a market that the exchange has refused for
    good is asked for again only where a person names it for a window. Afterwards the identities of the hours are
    computed again. A dry run reports what it would ask, and asks for the list of markets only.

    Raises:
        BannedError: the exchange has banned this address; what came before is booked.
        ValueError: half a window, an empty one or one in the future, or a market that neither the exchange nor a gap
            knows.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
    """
    moment = now or datetime.now(UTC)
    store = open_store(settings.lake)
    with (
        connect(settings.warehouse.url, f"repair {exchange}") as connection,
        fetcher(settings, exchange, now) as fetch,
    ):
        window = _window(window_start, window_end, moment)
        codes = fetch.known_codes(codes, _in_gaps(connection, exchange)) if codes else ()
        repair = _Repair(settings, connection, store, fetch, window is not None, frozenset(codes if window else ()))
        by_hand = _by_hand(repair, dataset, codes, window) if window else []
        due = _due(repair, dataset, codes, window, moment)
        if dry_run:
            return _plan(repair, [(gap, {}) for gap in by_hand] + [(one.gap, _settled(repair, one)) for one in due])
        if by_hand:
            gaps.write(connection, exchange, by_hand)
            gaps.reopen(connection, exchange, by_hand)
            due = _due(repair, dataset, codes, window, moment)
        done = [outcome for outcome in _each(repair, due, moment, progress) if outcome is not None]
    recheck = _recheck(settings, exchange, [one.gap for one, _, _ in done], moment, now)
    outcomes: Counter[str] = Counter(state for _, state, _ in done)
    lines = tuple(_line(one.gap, f"{state.replace('_', ' ')}{': ' if said else ''}{said}") for one, state, said in done)
    rows = sum(one.rows for one, _, _ in done)
    summary = RepairSummary(exchange, dict(outcomes), rows, lines, recheck)
    log.info("%s", summary)
    if repair.banned is not None:
        raise repair.banned
    return summary


# --- which gaps ---------------------------------------------------------------------------------------------


def _window(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime] | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ValueError("a window needs both its ends: give From and To, or neither for every open gap that is due")
    arguments.check_window(start, end, now)
    return start, end


def _in_gaps(connection: Connection, exchange: str) -> frozenset[str]:
    """Codes that known gaps name: each was a market once, whatever the exchange lists now."""
    return frozenset(code for (code,) in connection.execute(_CODES_OF_GAPS, {"exchange": exchange}))


def _by_hand(
    repair: _Repair, dataset: str | None, codes: Sequence[str], window: tuple[datetime, datetime]
) -> list[Gap]:
    """A gap for each dataset that somebody asks for, whether or not anything is known to be missing."""
    market = repair.fetch.exchange.market(codes[0]) if len(codes) == 1 else None
    which = market or (gaps.part(codes) if codes else "")
    return [
        Gap(f"{name}/{which}" if which else name, *window, _ASKED, {"codes": list(codes) or [ALL]}, market)
        for name in ([dataset] if dataset else _ASKED_BY_HAND)
    ]


def _due(
    repair: _Repair,
    dataset: str | None,
    codes: Sequence[str],
    window: tuple[datetime, datetime] | None,
    now: datetime,
) -> list[KnownGap]:
    """Gaps that have ended and wait to be asked for; those of a window whatever was said of them before."""
    states: tuple[State, ...] = ("open", "not_served") if window else ("open",)
    start, end = window or (None, None)
    book = gaps.known(repair.connection, repair.exchange, states=states, start=start, end=end)
    return [
        one
        for one in book
        if one.gap.to_at is not None
        and dataset in (None, one.gap.dataset)
        and (not codes or not {*codes, ALL}.isdisjoint(one.gap.codes))
        and (window is not None or one.asked_at is None or now - one.asked_at >= _pause(one.attempts))
    ]


def _pause(attempts: int) -> timedelta:
    """How long a gap is left in peace that was asked for so many times."""
    doublings: int = min(attempts, 16)
    return min(_PAUSE * (1 << doublings), _LONGEST_PAUSE)


def _plan(repair: _Repair, wanted: Sequence[tuple[Gap, dict[str, tuple[CodeState, str]]]]) -> RepairSummary:
    """What would be asked; only the list of markets is asked for."""
    lines: list[str] = []
    questions, seconds, limits = 0, 0.0, repair.fetch.exchange.rest.limits
    for gap, settled in wanted:
        asked = _Asked()
        series = [one for each in _questions(repair, gap, asked, settled).values() for one in each]
        questions += len(series)
        seconds += sum(1 / limits[one.query.request.group] for one in series)
        lines += [_line(gap, f"{len(series)} questions")] if series else []
        lines += [_line(gap, said) for said in sorted({*asked.words, *asked.failed.values()})[:3]]
    took = "nothing to ask"
    if questions:
        took = f"at least {questions:,} requests, {arguments.duration(seconds)} at the exchange's rate limit"
    return RepairSummary(repair.exchange, {"open": len(wanted)}, 0, tuple(lines), dry_run=True, estimate=took)


# --- one gap ------------------------------------------------------------------------------------------------


def _each(
    repair: _Repair, due: Sequence[KnownGap], now: datetime, progress: Progress | None
) -> Iterator[tuple[KnownGap, State, str] | None]:
    for number, one in enumerate(due, 1):
        if repair.stopped:
            log.warning("%s: %s gaps wait for the next run: %s", repair.exchange, len(due) - number + 1, repair.stopped)
            return
        with _mine(repair.connection, one) as mine:
            yield _one(repair, one, now) if mine else None
        if progress is not None:
            progress(number, len(due), _line(one.gap, ""))


@contextmanager
def _mine(connection: Connection, one: KnownGap) -> Iterator[bool]:
    """Whether this run may ask for a gap: nobody else is at it, and nobody has settled it since it was listed."""
    name = f"tidemark.gap:{one.gap_id}"
    row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone()
    if not (row and row[0]):
        yield False
        return
    try:
        state = connection.execute(_STATE, [one.gap_id]).fetchone()
        yield state is not None and state[0] == one.state
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def _one(repair: _Repair, one: KnownGap, now: datetime) -> tuple[KnownGap, State, str]:
    asked = _ask(repair, one)
    if asked.banned is not None and not asked.requests:
        return one, one.state, str(asked.banned)  # nothing was sent, so nothing is known that wasn't before
    rows = _book_objects(repair, one, asked)
    state, said = _judge(one, asked, rows)
    gaps.note_codes(repair.connection, one, _worth_noting(asked), now, keep=bool(asked.failed))
    values = {"state": state, "said": said, "now": now, "rows": rows, "gap_id": one.gap_id}
    counts = {"asked": min(asked.requests, 1), "answered": 0 if asked.failed else 1}
    repair.connection.execute(_BOOK, {**values, **counts})
    log.info("%s: %s", _line(one.gap, state), said)
    brought = KnownGap(one.gap_id, one.gap, state, said, one.attempts + 1, now, max(rows - one.rows, 0))
    return brought, state, said


def _worth_noting(asked: _Asked) -> dict[str, tuple[CodeState, str]]:
    """Refusals always; which markets were answered only while others are still asked for."""
    return asked.outcomes if asked.failed else {code: ("refused", said) for code, said in asked.refused.items()}


def _ask(repair: _Repair, one: KnownGap) -> _Asked:
    """Ask, land and load; whatever fails is named."""
    asked = _Asked()
    before = repair.fetch.requests
    try:
        for code, series in _questions(repair, one.gap, asked, _settled(repair, one)).items():
            _ask_market(repair, one.gap.dataset, code, series, asked)
    except BannedError as error:
        asked.banned = error
        asked.failed[ALL] = str(error)
    repair.banned = repair.banned or asked.banned
    asked.requests = repair.fetch.requests - before
    return asked


def _settled(repair: _Repair, one: KnownGap) -> dict[str, tuple[CodeState, str]]:
    """The markets that were answered or refused before; a person who asks by hand wants the answered ones again."""
    found = gaps.settled_codes(repair.connection, one)
    return {
        code: (state, said)
        for code, (state, said) in found.items()
        if (state == "refused" and code not in repair.again) or (state == "answered" and not repair.by_hand)
    }


def _ask_market(repair: _Repair, dataset: str, code: str, series: Sequence[Series], asked: _Asked) -> None:
    """Ask all questions about one market. Its first definite refusal is the answer to all of them."""
    for one in series:
        if repair.stopped:
            asked.failed[code] = f"not asked: {repair.stopped}"
            return
        try:
            answer = repair.fetch.land(dataset, one)
            repair.unanswered = 0
            asked.set_aside += [str(row) for row in answer.set_aside]
            if answer.rows:
                load_path(repair.connection, repair.store, answer.path)
                asked.paths.append((answer.path, answer.rows))
        except UnknownMarketError as error:
            repair.unanswered = 0
            asked.refused[code] = str(error)
            asked.failed.pop(code, None)
            return
        except BannedError as error:
            repair.banned = asked.banned = error
            asked.failed[code] = f"{one.key}: {type(error).__name__}: {error}"
        except (*SERIES_ERRORS, StoreError) as error:
            log.warning("%s: %s", one.key, error)
            repair.unanswered += isinstance(error, UnavailableError)
            asked.failed.setdefault(code, f"{one.key}: {type(error).__name__}: {error}")
    if code not in asked.failed:
        asked.answered.add(code)


def _questions(
    repair: _Repair, gap: Gap, asked: _Asked, settled: dict[str, tuple[CodeState, str]]
) -> dict[str, list[Series]]:
    """The series that bring a gap's rows, by market; ``asked`` gets what is known without asking.

    Markets that are ``settled`` are left out. Where none is left, an identity has opened the gap again: all but the
    refused ones are asked for once more.

    Raises:
        BannedError: the list of markets is needed, and this address is banned.
    """
    if gap.dataset not in naming.STREAM_DATASETS or gap.dataset == "system":
        asked.words.append(f"{gap.dataset}: our own records, which no exchange has")
        return {}
    try:
        codes = repair.fetch.codes(None) if ALL in gap.codes else gap.codes
    except BannedError:
        raise
    except (TransportError, Unparsable) as error:
        asked.failed[ALL] = f"the list of markets: {type(error).__name__}: {error}"
        return {}
    asked.markets = len(codes)
    asked.refused = {code: settled[code][1] for code in codes if code in settled and settled[code][0] == "refused"}
    wanted = [code for code in codes if code not in asked.refused]
    left = [code for code in wanted if code not in settled] or wanted
    asked.answered = set(wanted) - set(left)
    return {code: _series(repair, gap, code, asked) for code in left}


def _series(repair: _Repair, gap: Gap, code: str, asked: _Asked) -> list[Series]:
    """The questions about one market of a gap; times that are not served are noted in the exchange's words."""
    series: list[Series] = []
    for interval in _intervals(repair, gap):
        for first, last in _spans(gap, interval, repair.fetch.now):
            try:
                series += repair.fetch.history(gap.dataset, code, first, last, interval)
            except NotServedError as error:
                asked.words.append(str(error))
            except Unparsable as error:  # nothing can be asked of it, and no row of it could be read
                asked.refused[code] = f"{code} is no code that can be read: {error}"
    return series


def _intervals(repair: _Repair, gap: Gap) -> Sequence[str]:
    if gap.dataset != "candle":
        return ("",)
    named = gap.detail.get("interval")
    return (named,) if named else repair.settings.exchanges[repair.exchange].candle_intervals


def _spans(gap: Gap, interval: str, now: datetime) -> list[tuple[datetime, datetime]]:
    """What to ask for: a silence with a margin, bars whole, ids with their neighbours; a day at a time."""
    first, last = gap.from_at, gap.to_at or now
    if gap.cause == "sequence" and not interval:
        last += timedelta(milliseconds=1)
    elif gap.cause not in (*JUDGED, _ASKED):
        first, last = first - _MARGIN, last + _MARGIN
    if interval:
        width = BARS.get(interval, timedelta(days=1))
        begin = datetime(2000, 1, 1, tzinfo=UTC)
        first = begin + (first - begin) // width * width
        return [(first, min(last, now))] if first < min(last, now) else []
    return list(days(first, min(last, now))) if first < min(last, now) else []


def _book_objects(repair: _Repair, one: KnownGap, asked: _Asked) -> int:
    """Tie the objects to the gap; how many rows all that was ever brought for it has that nobody else brought."""
    with repair.connection.cursor() as cursor:
        cursor.executemany(_TIE, [(one.gap_id, path, rows) for path, rows in asked.paths])
    mine = [row[0] for row in repair.connection.execute(_MINE, [one.gap_id])]
    if one.gap.dataset not in _NEW or not mine:
        return 0
    values = {"exchange": repair.exchange, "dataset": one.gap.dataset, "mine": mine}
    others = [row[0] for row in repair.connection.execute(_OTHERS, values)]
    table = sql.Identifier(*naming.raw_table(one.gap.dataset).split("."))
    query = sql.SQL(_NEW[one.gap.dataset]).format(table=table)
    row = repair.connection.execute(query, {**values, "others": others}).fetchone()
    return int(row[0]) if row else 0


def _judge(one: KnownGap, asked: _Asked, rows: int) -> tuple[State, str]:
    """What a gap is after it was asked for."""
    refused = [f"{code}: {said}" for code, said in sorted(asked.refused.items())]
    more = f" ({len(refused)} of {asked.markets} markets)" if refused and asked.markets > 1 else ""
    if asked.failed:
        code, problem = next(iter(asked.failed.items()))
        of = max(asked.markets, len(asked.failed))
        said = f"{len(asked.failed)} of {of} markets failed, first {code}: {problem[:300]}"
        return "open", f"{said}; not served is {refused[0][:300]}{more}" if refused else said
    if asked.set_aside:  # one of them may be what is missing
        return "open", f"{len(asked.set_aside)} rows of the answer cannot be read, first {asked.set_aside[0][:300]}"
    if refused:
        return "not_served", f"{refused[0][:_SHOWN]}{more}"
    if asked.words:
        more = f" ({len(asked.words)} questions)" if len(asked.words) > 1 else ""
        return "not_served", f"{asked.words[0]}{more}"
    if rows > one.rows:
        return "repaired", ""
    if one.gap.cause not in JUDGED:
        return ("repaired", "") if rows else ("nothing_missing", "asked, and everything was there")
    times = one.answers + 1
    said = f"asked {times} times: the answer holds nothing that isn't here"
    return ("not_served" if times >= ATTEMPTS else "open"), said


# --- afterwards ---------------------------------------------------------------------------------------------


def _recheck(settings: Settings, exchange: str, asked: Sequence[Gap], moment: datetime, now: datetime | None) -> str:
    """Compute the identities of the hours that were asked for; others that weren't green are looked at too."""
    ends = [hour_of(gap.to_at) + HOUR for gap in asked if gap.to_at is not None]
    if not ends:
        return ""
    end = min(max(ends), hour_of(moment) + HOUR)
    start = max(min(hour_of(gap.from_at) for gap in asked), end - _RECHECKED)
    found = completeness.run(settings, min(start, end - HOUR), end, now, exchange=exchange)
    counts = f"checked again: {found.green} green, {found.red} red, {found.open} open"
    return "\n".join([counts, *(f"  {line}" for line in found.problems)])


def _line(gap: Gap, what: str) -> str:
    until = instant(gap.to_at) if gap.to_at else "now"
    return f"{gap.stream} {instant(gap.from_at)}/{until} ({gap.cause}){' ' if what else ''}{what}"


def exchanges(settings: Settings, chosen: str | None) -> tuple[str, ...]:
    """The exchange that was chosen, or all that are carried.

    Raises:
        ValueError: it is not carried.
    """
    carried = tuple(settings.exchanges)
    if chosen is not None and (chosen not in carried or chosen not in registry.EXCHANGES):
        raise ValueError(f"no exchange {chosen!r}; carried are {', '.join(carried)}")
    return (chosen,) if chosen else carried
