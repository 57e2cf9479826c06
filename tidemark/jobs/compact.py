"""Compact closed receive hours of landing into the lake that readers query.

Contains: which hours to look at, which landing objects have rows for them that no manifest names yet, how they are
grouped into parts. Does not contain: writing and proving parts (``lake.compacted``). Landing is only read: no name of
a chain is freed here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemark import naming
from tidemark.lake import compacted
from tidemark.lake.chain import FooterCache, walk
from tidemark.lake.compacted import CompactionError, Hour, Manifest, Part, Source
from tidemark.lake.parquet import CorruptObjectError, Footer
from tidemark.lake.store import Listed, ObjectStore, open_store
from tidemark.settings import Settings

log = logging.getLogger(__name__)
#: How far the clocks of workers and of the store may be apart.
_CLOCKS_S: Final = 600
_HOUR_NS: Final = 3_600 * 10**9
#: Upper bounds of a part: bytes of the landing objects that it is made of, and rows. The compressed part is held in
#: memory, and 40 bytes for each row.
PART_BYTES: Final = 128 * 1024 * 1024
PART_ROWS: Final = 2_000_000
_HOURS_AT_ONCE: Final = 24 * 366


@dataclass
class CompactSummary:
    """What a run did, or of a dry run what it would do; ``hours`` were looked at."""

    dry_run: bool = False
    hours: int = 0
    parts: int = 0
    rows: int = 0
    sources: int = 0
    unchanged: int = 0
    touched: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        did = "would write" if self.dry_run else "wrote"
        what = f"{self.parts} parts with {self.rows} rows of {self.sources} landing objects"
        return f"{did} {what} in {len(self.touched)} hours; {self.unchanged} hours were complete"


@dataclass(frozen=True)
class _Landed:
    listed: Listed
    footer: Footer

    def may_hold(self, at: datetime) -> bool:
        first = int(at.timestamp()) * 10**9
        low = -math.inf if self.footer.received_min is None else self.footer.received_min
        high = math.inf if self.footer.received_max is None else self.footer.received_max
        return low < first + _HOUR_NS and high >= first

    def lies_in(self, at: datetime) -> bool:
        low, high = self.footer.received_min, self.footer.received_max
        first = int(at.timestamp()) * 10**9
        return low is not None and high is not None and first <= low and high < first + _HOUR_NS


def run(
    settings: Settings, window_start: datetime, window_end: datetime, dataset: str | None = None, dry_run: bool = False
) -> CompactSummary:
    """Compact every exchange's hours from ``window_start`` to ``window_end`` (UTC, exclusive).

    Whatever landed for hours before the window and is in no manifest yet is taken along, so that a run that never
    came, or rows that landed late, leave nothing behind. Run it twice, or two at once: the same files.

    Raises:
        ValueError: the window is not made of whole hours.
        CompactionError: parts can't be made or are not what they should be; the message names the first of each
            dataset. Every other dataset is compacted.
        StoreUnavailableError: the lake does not answer.
    """
    store = open_store(settings.lake)
    summary = CompactSummary(dry_run=dry_run)
    failures: list[CompactionError | CorruptObjectError] = []
    for exchange in settings.exchanges:
        for name in naming.DATASETS if dataset is None else (dataset,):
            try:
                compact(store, exchange, name, window_start, window_end, summary)
            except (CompactionError, CorruptObjectError) as error:  # the others must not wait for a person
                log.error("%s %s: %s", exchange, name, error)
                failures.append(error)
    log.info("%s", summary)
    if failures:
        raise CompactionError("; ".join(str(error) for error in failures)) from failures[0]
    return summary


def compact(
    store: ObjectStore,
    exchange: str,
    dataset: str,
    window_start: datetime,
    window_end: datetime,
    summary: CompactSummary,
) -> None:
    """Compact one dataset of one exchange (see :func:`run`); counts into ``summary``.

    Earlier hours come first, and none after one that fails: the next run looks back to the last hour that has a
    manifest, so an hour that was passed over would be forgotten.
    """
    start, end = _whole_hour(window_start), _whole_hour(window_end)
    if not timedelta(0) < end - start <= timedelta(hours=_HOURS_AT_ONCE):
        raise ValueError(f"the window {window_start} to {window_end} is empty or longer than a year")
    # What an earlier run left out (it never ran, say) landed since the last hour that any run has written.
    since = compacted.latest(store, exchange, dataset, start)
    landed = _landed_since(store, naming.raw_topic(exchange, dataset), since)
    for at in _hours(landed, start, end):
        hour = Hour(exchange, dataset, at)
        mine = [one for one in landed if one.may_hold(at)]
        summary.hours += 1
        _compact_hour(store, hour, mine, summary)


def _compact_hour(store: ObjectStore, hour: Hour, landed: list[_Landed], summary: CompactSummary) -> None:
    known = compacted.manifests(store, hour)
    if not summary.dry_run:
        _write_parts(store, hour, known, summary)
    new = _plan(store, hour, known, landed)
    while new.parts and not summary.dry_run:
        if store.put_new(hour.manifest(new.number), new.to_json(hour)):
            _write_parts(store, hour, [new], summary)
            break
        known = compacted.manifests(store, hour)  # another run was faster; what it left out is still to do
        new = _plan(store, hour, known, landed)
    if not new.parts:
        summary.unchanged += 1
        return
    summary.touched.append(str(hour))
    if summary.dry_run:
        for part in new.parts:
            _count(summary, part)


def _write_parts(store: ObjectStore, hour: Hour, manifests: Iterable[Manifest], summary: CompactSummary) -> None:
    for manifest in manifests:
        for part in manifest.parts:
            if compacted.write_part(store, hour, part):
                _count(summary, part)
                log.info("%s: %s rows in %s", hour, part.rows, part.path)


def _count(summary: CompactSummary, part: Part) -> None:
    summary.parts += 1
    summary.rows += part.rows
    summary.sources += len(part.sources)


def _plan(store: ObjectStore, hour: Hour, known: list[Manifest], landed: list[_Landed]) -> Manifest:
    """The manifest that would take what no manifest has taken."""
    taken = [source for manifest in known for part in manifest.parts for source in part.sources]
    sources = [(one, source) for one in landed for source in _untaken(one, taken)]
    counted = [(one, replace(source, rows=_rows(store, hour, one, source))) for one, source in sources]
    groups = _grouped((one.listed.size, source) for one, source in counted if source.rows)
    return Manifest(len(known) + 1, tuple(compacted.part_of(hour, group) for group in groups))


def _untaken(one: _Landed, taken: list[Source]) -> Iterator[Source]:
    """The offsets of a landing object that no manifest has taken.

    Mostly all or none. Part of them where an object was deleted and its range written anew in other portions.
    """
    path, footer = one.listed.path, one.footer
    chain = path.rpartition("/")[0]
    if footer.kind in ("rest", "revived"):
        if not any(source.path == path for source in taken):
            yield Source(path, footer.start, footer.end, footer.rows)
        return
    spans = [(s.start, s.end) for s in taken if s.path.rpartition("/")[0] == chain]
    spans = [(max(start, footer.start), min(end, footer.end)) for start, end in spans]
    spans = [span for span in spans if span[0] <= span[1]]
    beyond = (footer.end + 1, footer.end + 1)  # so that what lies behind the last span is a hole too
    for start, end in walk([*spans, beyond], start=footer.start).holes:
        yield Source(path, start, end, footer.rows)


def _rows(store: ObjectStore, hour: Hour, one: _Landed, source: Source) -> int:
    if one.footer.rows == 0:
        return 0
    if one.lies_in(hour.at) and (source.start, source.end) == (one.footer.start, one.footer.end):
        return one.footer.rows
    return int(compacted.rows_of(store, hour, source.path, source.start, source.end).num_rows)


def _grouped(weighed: Iterable[tuple[int, Source]]) -> Iterator[list[Source]]:
    """Sources in their order, in as few groups as the bounds of a part allow, all of about the same size."""
    sources = list(weighed)
    share = max(sum(w for w, _ in sources) / PART_BYTES, sum(s.rows for _, s in sources) / PART_ROWS)
    full = share / math.ceil(share) if share else 1.0
    group: list[Source] = []
    filled = 0.0
    for weight, source in sources:
        part = max(weight / PART_BYTES, source.rows / PART_ROWS)
        if group and (filled >= full or filled + part > 1):
            yield group
            group, filled = [], 0.0
        group.append(source)
        filled += part
    if group:
        yield group


def _landed_since(store: ObjectStore, topic: str, at: datetime | None) -> list[_Landed]:
    """Landing objects written since ``at`` (all, when None): no older one can hold a row that was received since."""
    since = -math.inf if at is None else at.timestamp() - _CLOCKS_S
    listed = [one for one in store.list(naming.landing_prefix(topic)) if one.written_at >= since]
    footers = FooterCache().read(store, listed)
    return [_Landed(one, footer) for one, footer in zip(listed, footers, strict=True) if footer.rows]


def _hours(landed: list[_Landed], start: datetime, end: datetime) -> list[datetime]:
    """The hours of the window, and those before it that something which landed has rows of."""
    hours = {start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))}
    for one in landed:
        if one.footer.received_min is not None and one.footer.received_max is not None:
            first, last = (_at(one.footer.received_min), _at(one.footer.received_max))
            hours |= {first + timedelta(hours=n) for n in range(int((last - first) / timedelta(hours=1)) + 1)}
    return sorted(at for at in hours if at < end)


def _at(received_ns: int) -> datetime:
    return datetime.fromtimestamp(received_ns // _HOUR_NS * 3_600, UTC)


def _whole_hour(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"{at} has no time zone: hours are UTC")
    at = at.astimezone(UTC)
    if at != at.replace(minute=0, second=0, microsecond=0):
        raise ValueError(f"{at} is not a whole hour")
    return at
