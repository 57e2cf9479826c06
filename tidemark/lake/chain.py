"""The chain that landing objects form: what is there, what is missing, where to go on.

Lives here: the pure logic of the lake protocol (walking spans, resuming, fingerprints, whether a log is still the
one the chain was written from) and listing a chain from the store. Doesn't: Kafka (``streaming.consumer``),
Parquet (``parquet``), verdicts over time (``completeness``).

The rules: a chain begins at offset 0; an object's name holds its first offset only, so racing writers compute the
same name; a writer begins where :func:`resume` says, and never writes across the start of an object that exists.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from tidemark import naming
from tidemark.lake.parquet import CorruptObjectError, Footer, read_footer
from tidemark.lake.store import Listed, ObjectStore

#: First and last offset of an object, both included.
Span = tuple[int, int]
_READERS: Final = 8


class LogChangedError(Exception):
    """The topic is not the one that the chain was written from; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a walk along a chain found.

    ``first`` and ``end`` are the first and last offset that any object holds (None: no object). ``holes`` are
    ranges before ``end`` that no object holds, ``overlaps`` ranges that more than one holds, in order.
    """

    first: int | None
    end: int | None
    holes: tuple[Span, ...] = ()
    overlaps: tuple[Span, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the objects tile the chain up to ``end``: no hole, no overlap."""
        return not self.holes and not self.overlaps


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a writer goes on: at ``offset``, and not beyond ``until`` (None: no object lies behind)."""

    offset: int
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """One object of a chain."""

    path: str
    footer: Footer

    @property
    def start(self) -> int:
        """Its first offset."""
        return self.footer.start

    @property
    def end(self) -> int:
        """Its last offset."""
        return self.footer.end


@dataclass(frozen=True, slots=True)
class Chain:
    """The name of one chain: one partition of one topic in one epoch of one cluster."""

    topic: str
    cluster: str
    epoch: int
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} ({self.cluster}-{self.epoch})"

    @property
    def prefix(self) -> str:
        """Folder of its objects."""
        return naming.chain_prefix(self.topic, self.cluster, self.epoch, self.partition)

    def path(self, start: int) -> str:
        """The only name that an object beginning at ``start`` can have."""
        return naming.chain_object(self.topic, self.cluster, self.epoch, self.partition, start)

    def gap(self, start: int, end: int) -> Footer:
        """Footer of the object that stands for offsets which the log no longer holds."""
        return Footer(self.topic, self.partition, self.cluster, self.epoch, start, end, rows=0, kind="gap")


class FooterCache:
    """Footers already read. Keyed by the object's version too: one written anew after a deletion is read again."""

    def __init__(self) -> None:
        self._footers: dict[tuple[str, str], Footer] = {}

    def read(self, store: ObjectStore, objects: Sequence[Listed]) -> list[Footer]:
        """The footers of ``objects`` in their order; those not known are read, eight at a time."""
        missing = [o for o in objects if (o.path, o.version) not in self._footers]
        if len(missing) > 1:
            with ThreadPoolExecutor(_READERS) as pool:
                found = list(pool.map(lambda o: read_footer(store, o.path), missing))
        else:
            found = [read_footer(store, o.path) for o in missing]
        for listed, footer in zip(missing, found, strict=True):
            self._footers[listed.path, listed.version] = footer
        return [self._footers[o.path, o.version] for o in objects]


def walk(objects: Iterable[Span], *, start: int = 0) -> ChainReport:
    """Walk along the objects of a chain, given as (first offset, last offset) in any order.

    ``start`` is the offset at which the chain should begin; what is missing before the first object is a hole too.
    """
    spans = sorted(objects)
    if not spans:
        return ChainReport(None, None)
    holes: list[Span] = []
    overlaps: list[Span] = []
    reached = start - 1
    for first, end in spans:
        if first > reached + 1:
            holes.append((reached + 1, first - 1))
        elif first <= reached:
            overlaps.append((first, min(end, reached)))
        reached = max(reached, end)
    return ChainReport(spans[0][0], reached, tuple(holes), tuple(overlaps))


def resume(objects: Iterable[Span], *, start: int = 0) -> Resume:
    """Where to go on: in the first hole, up to the object behind it; else behind the last object."""
    report = walk(objects, start=start)
    if report.holes:
        first, end = report.holes[0]
        return Resume(first, end)
    return Resume(start if report.end is None else report.end + 1)


def list_chain(store: ObjectStore, chain: Chain, *, start: int = 0, cache: FooterCache | None = None) -> list[Link]:
    """The objects of ``chain`` that begin at offset ``start`` or later, in order, each with its footer.

    Raises:
        CorruptObjectError: an object has no footer, or one that contradicts its name.
        StoreUnavailableError: the store does not answer.
    """
    after = chain.path(start - 1) if start > 0 else ""
    listed = list(store.list(chain.prefix, start_after=after))
    footers = (cache or FooterCache()).read(store, listed)
    return [_link(chain, o.path, f) for o, f in zip(listed, footers, strict=True)]


def fingerprint(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> str:
    """Recognises one record of a log: 32 hex digits over its offset, time, key and value."""
    digest = hashlib.sha256(f"{offset}:{timestamp_ms}:{-1 if key is None else len(key)}:".encode())
    digest.update(key or b"")
    digest.update(b"-" if value is None else b"+")
    digest.update(value or b"")
    return digest.hexdigest()[:32]


def check_same_log(chain: Chain, last: Footer, *, low: int, high: int, found: str | None) -> None:
    """Make sure that the log is the one that the chain was written from.

    ``low`` is the log's first offset, ``high`` the offset its next record gets, ``found`` the fingerprint of the
    record at ``last.end``, or None where the log no longer holds it.

    Raises:
        LogChangedError: the log is shorter than the chain, or holds another record at the chain's end.
    """
    if high <= last.end:
        problem = f"the log ends before offset {high}, the chain in the lake goes to {last.end}"
    elif found is not None and last.fingerprint and found != last.fingerprint:
        problem = f"the log's record at offset {last.end} is not the one that the chain in the lake ends with"
    else:
        return
    raise LogChangedError(
        f"{chain}: {problem} (the log holds {low} to {high - 1}). The topic was made anew or lost its tail: "
        f"set TIDEMARK_KAFKA__EPOCH to {chain.epoch + 1} for every worker, so that a new chain begins"
    )


def cluster_name(configured: str, reported: str | None) -> str:
    """The cluster's name in paths: the configured one, else the id that the broker reports.

    Raises:
        ValueError: neither is there, or the name would be mistaken for REST rows.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", configured or reported or "").lstrip(".")
    if not name or name == naming.REST_CLUSTER:
        raise ValueError("the broker reports no usable cluster id: set TIDEMARK_KAFKA__CLUSTER")
    return name


def _link(chain: Chain, path: str, footer: Footer) -> Link:
    named = naming.parse_chain_object(path)
    if named is None or named.start != footer.start or footer.end < footer.start or footer.topic != chain.topic:
        raise CorruptObjectError(f"{path}: its footer speaks of {footer.topic} {footer.start} to {footer.end}")
    return Link(path, footer)
