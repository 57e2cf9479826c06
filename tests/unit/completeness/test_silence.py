"""Time without a connection, market by market."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tidemark.completeness.silence import Stretch, uncovered

T = datetime(2026, 4, 13, 10, tzinfo=UTC)


def listening(name: str, first: int, last: int | None, *codes: str, dataset: str = "trade") -> Stretch:
    ended = None if last is None else T + timedelta(minutes=last)
    streams = frozenset((dataset, code) for code in codes or ("A", "B"))
    return Stretch(name, "w", T + timedelta(minutes=first), ended, streams, "disconnected", "because")


def spans(*stretches: Stretch) -> list[tuple[str, int, int]]:
    found = uncovered(stretches)
    return sorted((g.stream, (g.from_at - T).seconds // 60, (g.to_at - T).seconds // 60) for g in found)


def test_time_between_two_connections_is_a_gap() -> None:
    [gap] = uncovered([listening("a", 0, 10), listening("b", 12, None)])
    assert (gap.stream, gap.from_at, gap.to_at) == ("trade", T + timedelta(minutes=10), T + timedelta(minutes=12))
    assert gap.detail == {"before": "a", "after": "b", "reason": "because", "codes": ["A", "B"]}


def test_a_gap_lasts_until_the_next_connection_was_sure_to_hear() -> None:
    sure = T + timedelta(minutes=14)
    [gap] = uncovered([listening("a", 0, 10), replace(listening("b", 12, None), listening_by=sure)])
    assert (gap.from_at, gap.to_at) == (T + timedelta(minutes=10), sure)
    died = replace(listening("b", 12, 13), listening_by=sure)
    assert spans(listening("a", 0, 10), died, listening("c", 16, None)) == [("trade", 10, 14), ("trade", 13, 16)]


def test_a_connection_that_another_one_covers_leaves_none() -> None:
    assert spans(listening("a", 0, 10), listening("b", 5, None), listening("c", 12, 13)) == []
    assert spans(listening("a", 0, 30), listening("b", 5, 10), listening("c", 20, None)) == []


def test_the_longest_of_several_decides() -> None:
    assert spans(listening("a", 0, 30), listening("b", 5, 10), listening("c", 40, None)) == [("trade", 30, 40)]


def test_a_part_of_the_markets_is_a_stream_of_its_own() -> None:
    found = spans(
        listening("a1", 0, None, "A"), listening("b1", 0, 10, "B"), listening("b2", 15, None, "B"),
    )  # fmt: skip
    assert [(stream.partition("/")[0], first, last) for stream, first, last in found] == [("trade", 10, 15)]
    assert found[0][0] != "trade"


def test_a_connection_that_still_listens_ends_nothing() -> None:
    assert spans(listening("a", 0, None), listening("b", 20, 30)) == []
