"""Play a part of the lake again: to topics of its own, or to a file.

Lives here: what is chosen, the order and pace of playing, the records as the producer made them, the places they can
go to. Doesn't: reading the lake (``lake.recorded``), parsing.

A record goes out as it came in: the frame byte for byte, its key, its time, its partition, and its headers. Two
things the lake doesn't keep: the header ``received_ns`` comes back exact to the microsecond, and records that gave no
row (dead letters, acknowledgements, signs of life) don't come back; the summary counts them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from tidemark import naming
from tidemark.exchanges import book_records, registry
from tidemark.exchanges.base import Parsed, Unparsable
from tidemark.jobs.replay_targets import LINES, Lines, Played, ReplayError, Target, Topics, written
from tidemark.lake import recorded
from tidemark.lake.recorded import Choice, Left, Recorded, Window
from tidemark.lake.store import ObjectStore, open_store
from tidemark.settings import Settings

_SHOW_EVERY_S: Final = (1.0, 10.0)  # on a terminal, elsewhere
#: A pace is kept to this; sleeping for less costs more than it is worth.
_TICK_S: Final = 0.002


@dataclass(frozen=True)
class Order:
    """What to play.

    A window of one exchange; no datasets or no markets given: all of them. ``speed`` is times the pace that the
    records came in with; None is as fast as possible.
    """

    exchange: str
    window: Window
    datasets: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    lake: Literal["landing", "compacted"] = "landing"
    speed: float | None = None

    def choices(self) -> list[Choice]:
        """One choice a dataset.

        Raises:
            ReplayError: there is no such exchange or dataset, or no such speed.
        """
        try:
            known = registry.get(self.exchange).datasets
        except KeyError as error:
            raise ReplayError(str(error.args[0])) from None
        unknown = sorted(set(self.datasets) - set(known))
        if unknown:
            raise ReplayError(f"{self.exchange} has no dataset {', '.join(unknown)}; there are: {', '.join(known)}")
        if self.speed is not None and not self.speed > 0:
            raise ReplayError(f"a speed of {self.speed} never ends: give a number above 0")
        return [Choice(self.exchange, dataset, self.window, self.markets) for dataset in self.datasets or known]


@dataclass
class ReplaySummary:
    """What was played, and what the lake does not hold of it."""

    where: str
    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    left: Left = field(default_factory=Left)

    def __str__(self) -> str:
        rate = self.records / self.seconds if self.seconds else 0.0
        text = f"{self.records:,} records ({self.bytes:,} bytes) to {self.where} in {self.seconds:.1f} s, {rate:,.0f}/s"
        if self.left.dead or self.left.ignored:
            text += (
                f"; not in the lake and so not played: {self.left.dead:,} dead letters and {self.left.ignored:,} "
                "records without content, counted over the objects that the window touches"
            )
        return text


def order(
    exchange: str,
    day: datetime | None,
    start: datetime | None,
    end: datetime | None,
    datasets: Sequence[str] = (),
    markets: Sequence[str] = (),
    lake: str = "landing",
    speed: float | None = None,
) -> Order:
    """What a person asked for: a whole day, or from ``start`` to ``end``; times without a zone are UTC.

    Raises:
        ReplayError: it can't be done like that; the message says what to change.
    """
    if (day is None) == (start is None) or (start is None) != (end is None):
        raise ReplayError("say which time: --day 2026-04-13, or --from … --to …")
    if lake not in ("landing", "compacted"):
        raise ReplayError(f"there is no lake {lake!r}: landing or compacted")
    first = _utc(day or start)
    try:
        window = Window(first, first + timedelta(days=1) if end is None else _utc(end))
    except ValueError as error:
        raise ReplayError(str(error)) from None
    chosen: Literal["landing", "compacted"] = "landing" if lake == "landing" else "compacted"
    return Order(exchange, window, tuple(datasets), tuple(markets), chosen, speed)


def run(
    settings: Settings,
    name: str,
    order: Order,
    file: Path | None = None,
    form: str = "ndjson",
    show: Callable[[str], None] | None = None,
) -> ReplaySummary:
    """Play ``order`` to the topics of the run ``name``, or to ``file``; see :func:`to_topics`, :func:`to_file`.

    Raises:
        ReplayError: it can't be done like that.
        TopicsError, StoreError: the broker or the lake doesn't do it.
    """
    if file is None:
        try:
            return to_topics(settings, name, order, show)
        except ValueError as error:
            raise ReplayError(str(error)) from None
    if form not in LINES:
        raise ReplayError(f"there is no format {form!r}: {' or '.join(LINES)}")
    return to_file(settings, file, order, form, show)


def to_topics(settings: Settings, run: str, order: Order, show: Callable[[str], None] | None = None) -> ReplaySummary:
    """Play to ``replay.<run>.raw.<exchange>.<dataset>.v1``, made here, one for each dataset.

    Raises:
        ReplayError: the run has been played already, the broker does not take records, or nothing was chosen.
        TopicsError: the topics can't be made.
        ValueError: ``run`` is no name for a run.
        StoreError: the lake can't be read.
    """
    choices = order.choices()
    topics = naming.topics(order.exchange, [choice.dataset for choice in choices])
    played = naming.replay_topics(run, topics)
    target = Topics(settings.kafka, run, played)
    return _play(open_store(settings.lake), order, choices, target, show)


def to_file(
    settings: Settings,
    path: Path,
    order: Order,
    form: str = "ndjson",
    show: Callable[[str], None] | None = None,
) -> ReplaySummary:
    """Play to a file, which must not exist yet (``-``: standard output).

    ``ndjson`` is one object a line: topic, partition, key, timestamp_ms, headers, and ``frame`` (text) or
    ``frame_base64`` (what is no UTF-8). ``capture`` is what ``tidemark simulate --replay`` plays: the frames of sockets
    alone, each with the second of its receipt.

    Raises:
        ReplayError: the file exists or can't be written.
        StoreError: the lake can't be read; no file is left then.
    """
    choices = order.choices()
    with written(path) as file:
        target = Lines(file, str(path), LINES[form])
        return _play(open_store(settings.lake), order, choices, target, show)


# --- playing ------------------------------------------------------------------------------------------------


def _play(
    store: ObjectStore,
    order: Order,
    choices: Sequence[Choice],
    target: Target,
    show: Callable[[str], None] | None,
) -> ReplaySummary:
    summary = ReplaySummary(target.name)
    if order.lake == "landing":
        found = recorded.from_landing(store, choices, summary.left)
    else:
        found = recorded.from_compacted(store, choices)
    pace, progress = _Pace(order.speed), _Progress(order.window, summary, show)
    started = time.monotonic()
    for record in found:
        pace.wait(record.received_ns)
        played = played_again(record)
        target.put(played)
        summary.records += 1
        summary.bytes += len(played.value)
        if not summary.records % 256 or order.speed is not None:
            progress.tell(record.received_ns)
    target.finish()
    summary.seconds = time.monotonic() - started
    return summary


def played_again(record: Recorded) -> Played:
    """The record as the producer wrote it."""
    name = naming.parse_raw_topic(record.topic)
    headers = [("received_ns", b"%d" % record.received_ns)]
    if record.connection is not None:
        headers.append(("connection", record.connection.encode()))
    if record.frame_no is not None:
        headers.append(("frame", b"%d" % record.frame_no))
        key = registry.get(name.exchange).classify(record.frame)[1]
    else:
        key = record.code or ""
        kind = _kind(name.exchange, name.dataset, record)
        headers += [("kind", kind.encode())] if kind else []
    if name.dataset == "system":
        key = record.connection or ""
    millis = record.received_ns // 1_000_000
    return Played(record.topic, record.partition, key.encode() or None, record.frame, millis, headers)


def _kind(exchange: str, dataset: str, record: Recorded) -> str | None:
    """The header ``kind`` of a record that is no frame of a socket: the one under which it can be read."""
    if dataset == "system":
        return record.kind
    for kind in (None, *book_records.KINDS):
        try:
            if isinstance(registry.read(exchange, dataset, kind, record.frame), Parsed):
                return kind
        except Unparsable:
            continue
    return None


def _utc(at: datetime | None) -> datetime:
    if at is None:
        raise ReplayError("say which time")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class _Pace:
    """Waits until it is a record's turn."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._begun: tuple[float, int] | None = None

    def wait(self, received_ns: int) -> None:
        if self._speed is None:
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, received_ns
        ahead = (received_ns - self._begun[1]) / 1e9 / self._speed - (now - self._begun[0])
        if ahead > _TICK_S:
            time.sleep(ahead)


class _Progress:
    """A line now and then for whoever waits: where it stands, how much, how fast."""

    def __init__(self, window: Window, summary: ReplaySummary, show: Callable[[str], None] | None) -> None:
        self._start, self._end = recorded.unix_ns(window.start), recorded.unix_ns(window.end)
        self._summary = summary
        self._show = show
        self._every = _SHOW_EVERY_S[0 if sys.stderr.isatty() else 1]
        self._begun = time.monotonic()
        self._next = self._begun + self._every

    def tell(self, received_ns: int) -> None:
        now = time.monotonic()
        if self._show is None or now < self._next:
            return
        self._next = now + self._every
        records = self._summary.records
        at = datetime.fromtimestamp(received_ns // 10**9, UTC)
        share = 100 * (received_ns - self._start) // (self._end - self._start)
        self._show(
            f"{at:%Y-%m-%d %H:%M:%S} UTC  {share} %  {records:,} records  {records / (now - self._begun):,.0f}/s"
        )
