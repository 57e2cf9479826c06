"""``tidemark repair``: what is missing is asked for at the exchange, and lands like everything else.

Lives here: which gaps are due, what to ask for one, and what came of it. Doesn't: finding gaps (``completeness``), what
an exchange serves (``exchanges``), landing (``jobs.fetching``), loading (``warehouse.load``).

A gap's answer is landed as REST objects, loaded, and tied to the gap (``ops.gap_repair``). Rows that were there already
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
from tidemark.completeness.gaps import ALL, ATTEMPTS, JUDGED, Gap, KnownGap, State
from tidemark.completeness.sequences import BARS
from tidemark.completeness.verdicts import HOUR, hour_of
from tidemark.exchanges import registry
from tidemark.exchanges.base import NotServedError
from tidemark.jobs import completeness
from tidemark.jobs.fetch_trades import days
from tidemark.jobs.fetching import SERIES_ERRORS, Fetcher, Progress, Series, check_window, fetcher, instant
from tidemark.lake.store import ObjectStore, StoreError, open_store
from tidemark.settings import Settings
from tidemark.warehouse.connection import Connection, connect
from tidemark.warehouse.load import load_path

log = logging.getLogger(__name__)
#: Our clock and the exchange's may differ, and a silence is measured by ours.
_MARGIN: Final = timedelta(minutes=1)
#: Between two times of asking for the same gap: doubled with each.
_PAUSE: Final = timedelta(minutes=10)
_RECHECKED: Final = timedelta(days=2)
#: What the exchanges serve the past of; everything else is known to be gone, but they are asked all the same.
_ASKED_BY_HAND: Final = ("trade", "candle")
_ASKED: Final = "asked"

_STATE: Final = "SELECT state FROM ops.gap WHERE gap_id = %s"
_BOOK: Final = """
UPDATE ops.gap SET
    state = %(state)s, said = %(said)s, asked_at = %(now)s, attempts = attempts + %(answered)s,
    repaired_rows = greatest(coalesce(repaired_rows, 0), %(rows)s),
    repaired_at = CASE WHEN %(state)s IN ('repaired', 'nothing_missing') THEN %(now)s END
WHERE gap_id = %(gap_id)s
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

    def __str__(self) -> str:
        """A line, and one for each gap."""
        verb = "would ask for" if self.dry_run else "asked for"
        counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(self.outcomes.items())) or "nothing"
        head = f"{self.exchange}: {verb} {len(self.lines)} gaps ({counts}), {self.rows} new rows"
        return "\n".join([head, *(f"  {line}" for line in self.lines), *([self.recheck] if self.recheck else [])])


@dataclass
class _Asked:
    """What asking for one gap came to."""

    series: int = 0
    paths: list[tuple[str, int]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Repair:
    settings: Settings
    connection: Connection
    store: ObjectStore
    fetch: Fetcher

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

    ``dataset`` and ``codes`` (the exchange's own) narrow it down. Afterwards the identities of the hours are computed
    anew. A dry run says what it would ask, and asks nothing.

    Raises:
        BannedError: the exchange has blocked this address.
        ValueError: half a window, or an empty one.
        StoreUnavailableError, WarehouseError: lake or warehouse don't answer.
    """
    moment = now or datetime.now(UTC)
    store = open_store(settings.lake)
    with (
        connect(settings.warehouse.url, f"repair {exchange}") as connection,
        fetcher(settings, exchange, now) as fetch,
    ):
        repair = _Repair(settings, connection, store, fetch)
        window = _window(window_start, window_end)
        by_hand = _by_hand(repair, dataset, codes, window) if window else []
        due = _due(repair, dataset, codes, window, moment)
        if dry_run:
            return _plan(repair, [*by_hand, *(one.gap for one in due)])
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
    return summary


# --- which gaps ---------------------------------------------------------------------------------------------


def _window(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime] | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ValueError("a window needs both its ends")
    check_window(start, end)
    return start, end


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
        and (window is not None or one.asked_at is None or now - one.asked_at >= _PAUSE * 2**one.attempts)
    ]


def _plan(repair: _Repair, wanted: Sequence[Gap]) -> RepairSummary:
    """What would be asked, without asking anything."""
    lines = []
    for gap in wanted:
        series, refused = _questions(repair, gap, ask=False)
        lines += [_line(gap, f"{len(series)} questions")] if series else []
        lines += [_line(gap, said) for said in sorted(set(refused))[:3]]
    return RepairSummary(repair.exchange, {"open": len(wanted)}, 0, tuple(lines), dry_run=True)


# --- one gap ------------------------------------------------------------------------------------------------


def _each(
    repair: _Repair, due: Sequence[KnownGap], now: datetime, progress: Progress | None
) -> Iterator[tuple[KnownGap, State, str] | None]:
    for number, one in enumerate(due, 1):
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
    asked = _ask(repair, one.gap)
    rows = _book_objects(repair, one, asked)
    state, said = _judge(one, asked, rows)
    values = {"state": state, "said": said, "now": now, "rows": rows, "gap_id": one.gap_id}
    repair.connection.execute(_BOOK, {**values, "answered": 0 if asked.failed else 1})
    log.info("%s: %s", _line(one.gap, state), said)
    brought = KnownGap(one.gap_id, one.gap, state, said, one.attempts + 1, now, max(rows - one.rows, 0))
    return brought, state, said


def _ask(repair: _Repair, gap: Gap) -> _Asked:
    """Ask, land and load; whatever fails is named."""
    asked = _Asked()
    series, asked.refused = _questions(repair, gap)
    asked.series = len(series)
    for one in series:
        try:
            answer = repair.fetch.land(gap.dataset, one)
            if answer.rows:
                load_path(repair.connection, repair.store, answer.path)
                asked.paths.append((answer.path, answer.rows))
        except NotServedError as error:
            asked.refused.append(str(error))
        except (*SERIES_ERRORS, StoreError) as error:
            log.warning("%s: %s", one.key, error)
            asked.failed.append(f"{one.key}: {type(error).__name__}: {error}")
    return asked


def _questions(repair: _Repair, gap: Gap, *, ask: bool = True) -> tuple[list[Series], list[str]]:
    """The series that bring a gap's rows, and what the exchange says of those it doesn't serve."""
    if gap.dataset not in naming.STREAM_DATASETS or gap.dataset == "system":
        return [], [f"{gap.dataset}: our own records, which no exchange has"]
    codes = repair.fetch.codes(None, ask=ask) if ALL in gap.codes else gap.codes
    series: list[Series] = []
    refused = []
    for interval in _intervals(repair, gap):
        for first, last in _spans(gap, interval, repair.fetch.now):
            for code in codes:
                try:
                    series += repair.fetch.history(gap.dataset, code, first, last, interval)
                except NotServedError as error:
                    refused.append(str(error))
    return series, refused


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
    if asked.failed:
        return "open", f"{len(asked.failed)} of {asked.series} questions failed, first {asked.failed[0][:300]}"
    if asked.refused:
        more = f" ({len(asked.refused)} questions)" if len(asked.refused) > 1 else ""
        return "not_served", f"{asked.refused[0]}{more}"
    if rows > one.rows:
        return "repaired", ""
    if one.gap.cause not in JUDGED:
        return ("repaired", "") if rows else ("nothing_missing", "asked, and everything was there")
    times = one.attempts + 1
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
