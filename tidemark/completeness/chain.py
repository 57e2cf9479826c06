"""Identity 1: the objects of each partition tile it from offset 0 to the broker's watermark: no gap, no overlap.

Lives here: laying what is in the lake (its listing, not the ledger) beside the watermarks. Doesn't: the walk itself
(``lake.chain``), asking the broker (``watermarks``).

A loaded object that has gone from the lake is red at once, whichever it was and however old. An hour that is behind its
watermark is open until an hour after it is over (``LOADING_GRACE``), then red: until then the sink is merely late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidemark import naming
from tidemark.completeness.loads import Landing, Load
from tidemark.completeness.verdicts import LOADING_GRACE, NAMED, Scope, Status, Verdict, hour_of, span
from tidemark.completeness.watermarks import Watermark
from tidemark.lake.chain import Chain, Span, walk

IDENTITY = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """A stretch of one chain that is not as it must be."""

    chain: Chain
    first: int
    last: int
    what: str
    path: str = ""
    hour_at: datetime | None = None

    def named(self) -> dict[str, Any]:
        """As it stands in the verdict's detail."""
        said = {"what": self.what, "partition": self.chain.partition, "offsets": span(self.first, self.last)}
        said |= {"cluster": f"{self.chain.cluster}-{self.chain.epoch}"}
        return said | ({"path": self.path} if self.path else {})


@dataclass
class _Hour:
    expected: int = 0
    actual: int = 0
    landed: int = 0
    problems: list[Problem] = field(default_factory=list)
    behind: list[Problem] = field(default_factory=list)
    watermark: bool = False


def check(
    frame: Scope, dataset: str, landing: Landing, watermarks: Sequence[Watermark], *, timeless: bool = False
) -> list[Verdict]:
    """Verdicts of one dataset for the window's hours, and for any other hour in which something is wrong.

    ``timeless``: the broker keeps no times (the in-memory one), so hours without a watermark are judged by the tiling.
    """
    spans = chains_in_lake(landing)
    hours: dict[datetime, _Hour] = defaultdict(_Hour)
    for problem in _problems(landing, spans):
        for hour_at in _hours_of(problem, watermarks, landing, frame):
            hours[hour_at].problems.append(problem)
    wanted = {*frame.hours(), *hours, *(h for d, h in frame.unsettled(IDENTITY) if d == dataset)}
    for mark in watermarks:
        if mark.hour_at in wanted and mark.high > mark.low:
            _cover(hours[mark.hour_at], mark, spans.get(mark.chain, []))
    for load in landing.loads:
        if load.hour_at in wanted and load.chained:
            hours[load.hour_at].landed += load.offsets
    for hour in hours.values() if timeless else ():
        if not hour.watermark:
            hour.expected, hour.actual, hour.watermark = hour.landed, hour.landed, True
    return [_verdict(frame, dataset, hour_at, hour) for hour_at, hour in sorted(hours.items())]


def chains_in_lake(landing: Landing) -> dict[Chain, list[Span]]:
    """First and last offset of every object of each chain that lies in the lake, or that retention has taken out."""
    spans: dict[Chain, list[Span]] = defaultdict(list)
    rewritten = {load.path for load, _ in landing.rewritten}
    for load in landing.loads:
        there = load.path in landing.listed and load.path not in rewritten
        if load.chained and (there or load.retired_at is not None):
            spans[Chain(landing.topic, load.cluster, load.epoch, load.partition)].append((load.start, load.end))
    for landed in (*landing.unknown, *(new for _, new in landing.rewritten)):
        footer, name = landed.footer, naming.parse_chain_object(landed.listed.path)
        if footer is not None and name is not None and footer.start == name.start <= footer.end:
            spans[Chain(landing.topic, name.cluster, name.epoch, name.partition)].append((footer.start, footer.end))
    return spans


def caught_up(landings: Iterable[Landing], watermarks: Iterable[Watermark], hour: datetime | None) -> bool:
    """Whether the ledger holds every offset up to the watermark of ``hour`` (None: up to the latest one kept)."""
    latest: dict[Chain, int] = {}
    for mark in watermarks:
        if hour is None or mark.hour_at <= hour:
            latest[mark.chain] = max(mark.high, latest.get(mark.chain, 0))
    return holds(loaded_spans(landings), latest)


def loaded_spans(landings: Iterable[Landing]) -> dict[Chain, list[Span]]:
    """First and last offset of every loaded object of each chain."""
    return {chain: [(load.start, load.end) for load in loads] for chain, loads in _loads(landings).items()}


def _loads(landings: Iterable[Landing]) -> dict[Chain, list[Load]]:
    loads: dict[Chain, list[Load]] = defaultdict(list)
    for landing in landings:
        for load in landing.loads:
            if load.chained:
                loads[Chain(landing.topic, load.cluster, load.epoch, load.partition)].append(load)
    return loads


def unloaded(landing: Landing) -> set[Chain]:
    """The partitions of which the lake holds sound objects that are not loaded."""
    names = [naming.parse_chain_object(landed.listed.path) for landed in landing.unknown if landed.footer is not None]
    return {Chain(landing.topic, name.cluster, name.epoch, name.partition) for name in names if name is not None}


def holds(loaded: Mapping[Chain, list[Span]], ends: Mapping[Chain, int]) -> bool:
    """Whether every offset below ``ends`` is loaded. Without a partition there is no evidence, so the answer is no."""
    return bool(ends) and all(not _missing(loaded.get(chain, []), (0, end - 1)) for chain, end in ends.items())


def received_until(landings: Iterable[Landing], ends: Mapping[Chain, int], now: datetime) -> datetime | None:
    """Up to when everything that was received is loaded, by the receive times of the loaded objects.

    A partition that is loaded up to its end counts until ``now``, any other until the last receipt before its first
    missing offset. None: nothing of some partition is loaded, or there is no partition.
    """
    loads = _loads(landings)
    moments = [_received_until(loads.get(chain, []), end, now) for chain, end in ends.items()]
    known = [at for at in moments if at is not None]
    return min(known) if known and len(known) == len(moments) else None


def _received_until(loads: Sequence[Load], end: int, now: datetime) -> datetime | None:
    following, received = 0, None
    for load in sorted(loads, key=lambda one: one.start):
        if load.start > following:
            break
        if load.end >= following:
            following, received = load.end + 1, load.received_max or received
    return now if following >= end else received


def _cover(hour: _Hour, mark: Watermark, spans: list[Span]) -> None:
    """Count the offsets of one partition and hour that objects hold, and note those that none holds."""
    wanted = (mark.low, mark.high - 1)
    missing = _missing(spans, wanted)
    hour.watermark = True
    hour.expected += mark.high - mark.low
    hour.actual += mark.high - mark.low - sum(last - first + 1 for first, last in missing)
    hour.behind += [Problem(mark.chain, first, last, "not landed") for first, last in missing]


def _missing(spans: list[Span], wanted: Span) -> list[Span]:
    """The parts of ``wanted`` that no span covers."""
    first, last = wanted
    if first > last:
        return []
    inside = [(max(a, first), min(b, last)) for a, b in spans if a <= last and b >= first]
    return list(walk([*inside, (last + 1, last + 1)], start=first).holes)


def _problems(landing: Landing, spans: dict[Chain, list[Span]]) -> list[Problem]:
    found = []
    for load in landing.missing:
        if not load.chained:
            continue  # of no chain; identity 2 misses its rows
        chain = Chain(landing.topic, load.cluster, load.epoch, load.partition)
        found.append(Problem(chain, load.start, load.end, "object missing", load.path, load.hour_at))
    for load, _ in landing.rewritten:
        if load.chained:
            chain = Chain(landing.topic, load.cluster, load.epoch, load.partition)
            found.append(Problem(chain, load.start, load.end, "object rewritten", load.path, load.hour_at))
    explained: dict[Chain, list[Span]] = defaultdict(list)
    for problem in found:
        explained[problem.chain].append((problem.first, problem.last))
    for chain, objects in spans.items():
        report = walk([*objects, *explained[chain]])
        found += [Problem(chain, first, last, "hole") for first, last in report.holes]
        found += [Problem(chain, first, last, "overlap") for first, last in walk(objects).overlaps]
    return found + _strangers(landing)


def _strangers(landing: Landing) -> list[Problem]:
    """Objects that are no object of a chain, or whose footer contradicts their name."""
    found = []
    for landed in landing.unknown:
        name = naming.parse_chain_object(landed.listed.path)
        if name is None:
            continue
        footer = landed.footer
        if footer is None or footer.start != name.start:
            chain = Chain(landing.topic, name.cluster, name.epoch, name.partition)
            found.append(Problem(chain, name.start, name.start, "object unreadable", landed.listed.path))
    return found


def _hours_of(problem: Problem, watermarks: Sequence[Watermark], landing: Landing, frame: Scope) -> set[datetime]:
    """The receive hours a problem belongs to: its object's, else those of its offsets, else its neighbour's."""
    if problem.hour_at is not None:
        return {problem.hour_at}
    hours = {
        mark.hour_at
        for mark in watermarks
        if mark.chain == problem.chain and mark.low <= problem.last and problem.first < mark.high
    }
    if hours:
        return hours
    behind = [
        load
        for load in landing.loads
        if Chain(landing.topic, load.cluster, load.epoch, load.partition) == problem.chain and load.start > problem.last
    ]
    return {min(behind, key=lambda load: load.start).hour_at if behind else hour_of(frame.now)}


def _verdict(frame: Scope, dataset: str, hour_at: datetime, hour: _Hour) -> Verdict:
    late = frame.over(hour_at, LOADING_GRACE)
    problems = [*hour.problems, *(hour.behind if late and not hour.problems else [])]
    status: Status = "red" if problems else "open" if hour.behind or not hour.watermark else "green"
    detail: dict[str, Any] = {}
    if problems:
        detail["problems"] = [p.named() for p in problems[:NAMED]]
        detail["problem_count"] = len(problems)
    elif hour.behind:
        detail["behind"] = [p.named() for p in hour.behind[:NAMED]]
    elif not hour.watermark:
        detail["waits_for"] = "a watermark of the broker"
    return Verdict(dataset, hour_at, IDENTITY, status, hour.expected, hour.actual, detail)
