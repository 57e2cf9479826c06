"""What must hold after every fault: each frame lies in the lake once, or a red identity or a gap names it.

Lives here: the one assertion that all cases share. Doesn't: bringing about faults, waiting for the end of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from tests.faults.feed import Sent
from tests.faults.stage import DATASETS, Stage
from tidemark import naming
from tidemark.lake import parquet
from tidemark.lake.chain import ChainReport

#: How far the clock of a sent frame may lie before the receipt of the one before it (both are ours).
_SLACK = timedelta(seconds=1)
Key = tuple[str, int]


@dataclass(frozen=True)
class Gap:
    """A row of ``ops.gap``."""

    stream: str
    from_at: datetime
    to_at: datetime | None
    cause: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class Proof:
    """What was found: frames that lie in the lake, frames that don't and are named, gaps, red verdicts."""

    landed: int
    missing: tuple[Sent, ...]
    gaps: tuple[Gap, ...]
    red: dict[tuple[str, int], list[dict[str, Any]]]

    def causes(self) -> set[str]:
        """Why there are gaps that have ended."""
        return {gap.cause for gap in self.gaps}


def prove(stage: Stage, red: Collection[tuple[str, int]] = (), *, rest: bool = True) -> Proof:
    """Bring the stage to rest, load, check, and hold the outcome against the book of what was sent.

    ``red`` are the (dataset, identity) that must be red, and no others may be.
    """
    if rest:
        stage.rest()
    _chains_are_whole(stage)
    stage.load()
    outcome = stage.check()
    found = _red(stage)
    assert set(found) == set(red), f"red: {found}\n{outcome}"
    assert outcome.notes == (), outcome.notes
    gaps = _gaps(stage)
    lake = _frames(stage)
    sent = [*stage.feed.sent, *stage.published]
    missing = tuple(s for s in sent if (s.connection, s.number) not in lake)
    for one in sent:
        content = lake.get((one.connection, one.number))
        assert content is None or content == one.frame, f"frame {one.number} of {one.connection} is another one"
    extra = set(lake) - {(s.connection, s.number) for s in sent}
    assert extra == set(), f"frames that nobody sent: {sorted(extra)[:5]}"
    numbered = _numbers(found.get(("system", 0), []))
    unnamed = [s for s in missing if not _in_a_gap(s, gaps) and (s.connection, s.number) not in numbered]
    assert unnamed == [], f"{len(unnamed)} frames are missing and nothing says so: {unnamed[:3]}\n{gaps}\n{found}"
    not_missing = numbered & set(lake)
    assert not_missing == set(), f"said to be missing, and in the lake: {sorted(not_missing)[:5]}"
    return Proof(len(lake), missing, tuple(gaps), found)


def _chains_are_whole(stage: Stage) -> None:
    for (topic, partition), (_, high) in stage.marks(stage.places()).items():
        expected = ChainReport(0, high - 1) if high > 0 else ChainReport(None, None)
        assert stage.report(topic, partition) == expected, f"{topic}/{partition}, the broker has {high}"


def _frames(stage: Stage) -> dict[Key, bytes | None]:
    """Every frame of market data that lies in the lake, by connection and number; each may lie there once."""
    found: Counter[Key] = Counter()
    content: dict[Key, bytes | None] = {}
    for topic, partition in stage.places():
        if topic == naming.raw_topic("upbit", "system"):
            continue
        for link in stage.links(topic, partition):
            for row in parquet.read(stage.store.get(link.path)).to_pylist():
                if row["item"] == 0:
                    key = row["connection_id"], row["frame_no"]
                    found[key] += 1
                    content[key] = row["frame"]
    twice = {key: n for key, n in found.items() if n > 1}
    assert twice == {}, f"more than once in the lake: {twice}"
    return content


def _in_a_gap(sent: Sent, gaps: Collection[Gap]) -> bool:
    """Whether a gap of trades says that this frame's time was not heard."""
    at = datetime.fromtimestamp(sent.at_ns / 1e9, UTC)
    return any(
        gap.stream.split("/")[0] == "trade" and gap.from_at - _SLACK <= at and (gap.to_at is None or at <= gap.to_at)
        for gap in gaps
    )


def _numbers(problems: list[dict[str, Any]]) -> set[Key]:
    found: set[Key] = set()
    for problem in problems:
        for span in problem.get("numbers", ()):
            first, _, last = span.partition("-")
            found |= {(problem["connection"], n) for n in range(int(first), int(last or first) + 1)}
    return found


def _red(stage: Stage) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """The problems of every red verdict, by dataset and identity."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    query = "SELECT dataset, identity, detail FROM ops.completeness WHERE status = 'red' ORDER BY dataset, identity"
    for dataset, identity, detail in _query(stage, query):
        found[dataset, identity] += detail.get("problems", [])
    return dict(found)


def _gaps(stage: Stage) -> list[Gap]:
    """All gaps; one that never ends because the case ended is none."""
    query = "SELECT stream, from_at, to_at, cause, detail FROM ops.gap ORDER BY from_at"
    return [Gap(*row) for row in _query(stage, query) if row[2] is not None]


def _query(stage: Stage, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stage.settings.warehouse.admin_url.get_secret_value()) as connection:
        return connection.execute(query.encode()).fetchall()


def value(stage: Stage, query: str) -> Any:
    """The first value that the administrator gets for a query."""
    return _query(stage, query)[0][0]


def rows_loaded(stage: Stage) -> int:
    """Trades that are in the warehouse."""
    return int(value(stage, "SELECT count(*) FROM raw.trade_v1"))


__all__ = ["DATASETS", "Gap", "Proof", "prove", "rows_loaded", "value"]
