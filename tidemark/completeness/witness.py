"""Identity 5: what the exchange itself says of an event hour agrees with what is here.

Lives here: putting the witnesses together: the exchange's own bars beside the trades (``volumes``), ids, bars and
changes of books that it numbers (``sequences``), and gaps that it doesn't serve any more. Doesn't: asking for what is
missing (``jobs.repair``).

Expected and actual count what was looked at and what held: market bins, and numbers in a row. An hour is judged once it
is over. It is open while silver has loads to take, while a gap in it waits for its repair, or while the exchange's bars
are not here; a difference is red once everything that came in by the hour after it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from tidemark.completeness import sequences, volumes
from tidemark.completeness.gaps import JUDGED, Gap, Judged, Key, KnownGap
from tidemark.completeness.loads import table_exists
from tidemark.completeness.verdicts import HOUR, NAMED, Scope, Status, Verdict, hour_of, stretches
from tidemark.warehouse.connection import Connection

IDENTITY: Final = 5
_MOMENT: Final = timedelta(microseconds=1)
#: Whose gaps, and of what cause, the verdict of a dataset finds.
_JUDGES: Final = {
    "trade": (("trade", "witness"), ("trade", "sequence"), ("candle", "witness")),
    "candle": (("candle", "sequence"),),
    "depth": (("depth", "sequence"),),
}

_WAITING: Final = """
SELECT DISTINCT b.hour_at FROM ops.load_hour AS b JOIN ops.load_ledger AS l USING (load_id)
WHERE l.exchange = %s AND l.dataset = ANY(%s) AND b.hour_at = ANY(%s)
    AND NOT EXISTS (SELECT FROM ops.load_mark AS m WHERE m.load_id = l.load_id AND m.consumer = 'silver.' || l.dataset)
"""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a check must know of an exchange: its datasets, what its trade ids prove, and the bars that are taken."""

    datasets: tuple[str, ...]
    trade_ids: str = "unordered"
    intervals: tuple[str, ...] = ("1m",)

    @property
    def finest(self) -> str:
        """The shortest bars that can witness within an hour."""
        return next((name for name in volumes.WIDTHS if name in self.intervals), "1m")


@dataclass
class Witnessed:
    """Verdicts, the gaps behind them, and where silence means that nothing is missing."""

    verdicts: list[Verdict] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    judged: set[Judged] = field(default_factory=set)


@dataclass
class _Hour:
    expected: int = 0
    actual: int = 0
    problems: list[Gap] = field(default_factory=list)
    lost: list[KnownGap] = field(default_factory=list)
    unwitnessed: list[Gap] = field(default_factory=list)
    waits: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Look:
    """One check of one exchange. ``settled``: whether all that came in of an event hour is loaded by now."""

    connection: Connection
    frame: Scope
    carried: Carried
    settled: Callable[[datetime], bool]
    known: Sequence[KnownGap]

    @property
    def by_key(self) -> Mapping[Key, KnownGap]:
        return {one.gap.key: one for one in self.known}

    def hours(self, dataset: str) -> set[datetime]:
        """The hours that are over, of the window or not green before."""
        unsettled = {h for d, h in self.frame.unsettled(IDENTITY) if d == dataset}
        return {h for h in {*self.frame.hours(), *unsettled} if self.frame.over(h)}

    def waiting(self, hours: set[datetime], *datasets: str) -> set[datetime]:
        """Hours of which silver has not taken every load."""
        rows = self.connection.execute(_WAITING, [self.frame.exchange, list(datasets), sorted(hours)])
        return {row[0] for row in rows}

    def proven(self, gap: Gap) -> bool:
        """Whether what is missing can't be merely late."""
        return self.settled(hour_of((gap.to_at or self.frame.now) - _MOMENT))


def check(
    connection: Connection,
    frame: Scope,
    carried: Carried,
    settled: Callable[[datetime], bool],
    known: Sequence[KnownGap],
) -> Witnessed:
    """Verdicts of trades, bars and changes of books for the window's event hours, and for hours that were not green.

    ``known`` are the gaps of the exchange, those of this check included.
    """
    look = _Look(connection, frame, carried, settled, known)
    found = Witnessed()
    built = {dataset: table_exists(connection, f"silver.{dataset}") for dataset in ("trade", "candle")}
    if built["trade"] and built["candle"]:
        _add(look, found, "trade", _trades(look), ("trade", "candle"))
    if built["candle"]:
        _add(look, found, "candle", _bars(look), ("candle",))
    if "depth" in carried.datasets:
        _add(look, found, "depth", _changes(look), ())
    return found


# --- what each dataset's witness says -----------------------------------------------------------------------


def _trades(look: _Look) -> dict[datetime, _Hour]:
    hours = look.hours("trade")
    seen = {hour: _Hour() for hour in hours}
    exchange = look.frame.exchange
    for first, last in stretches(hours, HOUR):
        for one in volumes.compare(look.connection, exchange, look.carried.finest, first, last):
            hour = seen[one.hour_at]
            hour.expected += one.bins
            hour.actual += one.agreed
            hour.problems += one.missing
            hour.unwitnessed += one.unwitnessed
        if look.carried.trade_ids != "unordered":
            holes = sequences.trades(look.connection, exchange, look.carried.trade_ids, first, last)
            _number(seen, sequences.counts(look.connection, "trade", exchange, first, last), holes)
    _not_served(look, seen, "trade")
    return {at: hour for at, hour in seen.items() if hour.expected or hour.problems}


def _bars(look: _Look) -> dict[datetime, _Hour]:
    hours = look.hours("candle")
    seen = {hour: _Hour() for hour in hours}
    for first, last in stretches(hours, HOUR):
        found = sequences.bars(look.connection, look.frame.exchange, first, last)
        for bar in found:
            hour = seen[hour_of(bar.event_at)]
            over = bar.event_at + sequences.BARS.get(bar.interval, HOUR) <= look.frame.now
            hour.expected += over
            hour.actual += over and bar.is_closed
        _attach(seen, sequences.missing_bars(found, look.frame.now))
    return {at: hour for at, hour in seen.items() if hour.expected or hour.problems}


def _changes(look: _Look) -> dict[datetime, _Hour]:
    hours = {at for at in look.hours("depth") if not look.frame.sealed("depth", at, IDENTITY)}
    seen = {hour: _Hour() for hour in hours}
    for first, last in stretches(hours, HOUR):
        breaks = sequences.depth(look.connection, look.frame.exchange, first, last)
        _number(seen, sequences.counts(look.connection, "depth", look.frame.exchange, first, last), breaks)
    return {at: hour for at, hour in seen.items() if hour.expected or hour.problems}


def _number(seen: dict[datetime, _Hour], counts: Mapping[datetime, int], holes: Iterable[Gap]) -> None:
    for hour_at, count in counts.items():
        seen[hour_at].expected += count
        seen[hour_at].actual += count
    _attach(seen, holes)


def _attach(seen: dict[datetime, _Hour], found: Iterable[Gap]) -> None:
    """Put each gap into the hours it touches; what is missing counts in the first of them."""
    for gap in found:
        touched = [at for at in sorted(seen) if gap.touches(at)]
        for at in touched:
            seen[at].problems.append(gap)
        if touched:
            seen[touched[0]].expected += gap.detail.get("missing", 1)


def _not_served(look: _Look, seen: dict[datetime, _Hour], dataset: str) -> None:
    """Gaps of a connection that can't be refilled: nothing tells what was in them."""
    for one in look.known:
        if one.gap.dataset == dataset and one.state == "not_served" and one.gap.cause not in JUDGED:
            for at in (at for at in seen if one.gap.touches(at)):
                seen[at].lost.append(one)
                seen[at].expected += 1


# --- the verdicts -------------------------------------------------------------------------------------------


def _add(look: _Look, found: Witnessed, dataset: str, hours: Mapping[datetime, _Hour], taken: tuple[str, ...]) -> None:
    """A verdict for each hour, and the gaps that a repair has to look at."""
    waiting = look.waiting(set(hours), *taken) if hours and taken else set()
    known = look.by_key
    for at, hour in sorted(hours.items()):
        _wait(look, hour, at, late=at in waiting, datasets=taken or (dataset,))
        verdict = _verdict(look, dataset, at, hour, known, final=at not in waiting)
        found.verdicts.append(verdict)
        if at in waiting:
            continue
        unwitnessed = [gap for gap in hour.unwitnessed if look.proven(gap)]
        proven = [gap for gap in hour.problems if look.proven(gap)]
        found.gaps += [gap for gap in (*_once(proven), *unwitnessed) if gap not in found.gaps]
        if look.settled(at):
            found.judged |= {(of, cause, at) for of, cause in _JUDGES[dataset]}


def _wait(look: _Look, hour: _Hour, at: datetime, *, late: bool, datasets: tuple[str, ...]) -> None:
    if late:
        hour.waits.add("silver to take what is loaded")
    streams = sorted(
        one.gap.stream
        for one in look.known
        if one.state == "open" and one.gap.dataset in datasets and one.gap.cause not in JUDGED and one.gap.touches(at)
    )
    if streams:
        hour.waits.add(f"the repair of {', '.join(streams[:3])}{' …' if len(streams) > 3 else ''}")


def _verdict(
    look: _Look, dataset: str, at: datetime, hour: _Hour, known: Mapping[Key, KnownGap], *, final: bool
) -> Verdict:
    states = {gap.key: known[gap.key].state for gap in hour.unwitnessed if gap.key in known}
    gone = [gap for gap in hour.unwitnessed if states.get(gap.key) == "not_served"]
    red = [gap for gap in hour.problems if final and look.proven(gap)] + gone
    problems = [_named(gap, known) for gap in red] + [_lost(one) for one in hour.lost]
    detail: dict[str, Any] = {}
    if problems:
        detail |= {"problems": problems[:NAMED], "problem_count": len(problems)}
    if len(hour.unwitnessed) > len(gone):
        hour.waits.add(f"the exchange's bars of {len({gap.market for gap in hour.unwitnessed})} markets")
    if len(hour.problems) + len(gone) > len(red):
        hour.waits.add("what was received to be loaded")
    if hour.waits:
        detail["waits_for"] = sorted(hour.waits)
    status: Status = "red" if problems else "open" if hour.waits else "green"
    return Verdict(dataset, at, IDENTITY, status, hour.expected, hour.actual, detail)


def _named(gap: Gap, known: Mapping[Key, KnownGap]) -> dict[str, Any]:
    said = {name: value for name, value in gap.detail.items() if name != "codes"}
    named = {"what": said.pop("what"), "stream": gap.stream, "from": _instant(gap.from_at), "to": _instant(gap.to_at)}
    asked = known.get(gap.key)
    repair = {"repair": asked.outcome} if asked is not None and (asked.said or asked.settled) else {}
    return {**named, **said, **repair}


def _lost(one: KnownGap) -> dict[str, Any]:
    span = {"from": _instant(one.gap.from_at), "to": _instant(one.gap.to_at)}
    return {"what": f"not heard ({one.gap.cause})", "stream": one.gap.stream, **span, "repair": one.outcome}


def _once(found: Sequence[Gap]) -> list[Gap]:
    """Each stretch asked for once: ids say more exactly than volumes what is missing."""
    numbered = [gap for gap in found if gap.cause == "sequence"]
    return [
        gap
        for gap in found
        if gap.cause == "sequence"
        or not any(
            other.stream == gap.stream
            and other.from_at < (gap.to_at or other.from_at)
            and gap.from_at <= (other.to_at or gap.from_at)
            for other in numbered
        )
    ]


def _instant(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
