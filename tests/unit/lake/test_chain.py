"""The chain's pure rules: walking, resuming, recognising a log, naming a cluster."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lake.memory_store import MemoryStore
from tidemark.lake import chain as chains
from tidemark.lake import parquet
from tidemark.lake.chain import Chain, ChainReport, FooterCache, LogChangedError, Resume, resume, walk
from tidemark.lake.parquet import CorruptObjectError, Footer

CHAIN = Chain("raw.upbit.trade.v1", "cluster", 0, 3)


@pytest.mark.parametrize(
    ("spans", "report", "point"),
    [
        ([], ChainReport(None, None), Resume(0)),
        ([(0, 9)], ChainReport(0, 9), Resume(10)),
        ([(10, 19), (0, 9)], ChainReport(0, 19), Resume(20)),
        ([(5, 9)], ChainReport(5, 9, holes=((0, 4),)), Resume(0, 4)),
        ([(0, 9), (20, 29), (35, 39)], ChainReport(0, 39, holes=((10, 19), (30, 34))), Resume(10, 19)),
        ([(0, 9), (5, 14)], ChainReport(0, 14, overlaps=((5, 9),)), Resume(15)),
        ([(0, 20), (5, 9), (21, 21)], ChainReport(0, 21, overlaps=((5, 9),)), Resume(22)),
        ([(0, 0), (0, 0)], ChainReport(0, 0, overlaps=((0, 0),)), Resume(1)),
    ],
)
def test_a_walk_and_where_to_go_on(spans: list[tuple[int, int]], report: ChainReport, point: Resume) -> None:
    assert walk(spans) == report
    assert resume(spans) == point


def test_a_walk_may_begin_anywhere() -> None:
    assert walk([(20, 29)], start=20) == ChainReport(20, 29)
    assert walk([(25, 29)], start=20) == ChainReport(25, 29, holes=((20, 24),))
    assert resume([], start=20) == Resume(20)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda t: (t[0], t[0] + t[1])), max_size=12))
def test_a_walk_says_what_counting_every_offset_says(spans: list[tuple[int, int]]) -> None:
    held = [offset for start, end in spans for offset in range(start, end + 1)]
    report = walk(spans)
    assert report.end == max(held, default=None)
    assert report.first == min(held, default=None)
    missing = set(range(max(held, default=-1) + 1)) - set(held)
    assert {o for start, end in report.holes for o in range(start, end + 1)} == missing
    twice = {offset for offset in held if held.count(offset) > 1}
    assert {o for start, end in report.overlaps for o in range(start, end + 1)} == twice
    point = resume(spans)
    assert point.offset == min(missing, default=max(held, default=-1) + 1)
    assert point.until is None or not set(range(point.offset, point.until + 1)) & set(held)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_filling_the_holes_one_after_the_other_makes_the_chain_whole(lengths: list[int], data: st.DataObject) -> None:
    spans, start = [], 0
    for length in lengths:
        spans.append((start, start + length - 1))
        start += length
    left = data.draw(st.lists(st.sampled_from(spans), unique=True))
    for _ in range(200):
        point = resume(left)
        if point.offset == start:
            break
        end = point.offset + data.draw(st.integers(0, 4))
        left.append((point.offset, min(end, start - 1 if point.until is None else point.until)))
    assert walk(left) == ChainReport(0, start - 1)


def test_a_chain_is_listed_with_footers_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store, cache = MemoryStore(), FooterCache()
    for start, end in ((0, 9), (10, 14), (15, 40)):
        store.put_new(CHAIN.path(start), parquet.write_gap(CHAIN.gap(start, end)))
    store.put_new(Chain(CHAIN.topic, "cluster", 0, 4).path(0), b"another partition")
    reads: list[str] = []
    real = store.get_tail
    monkeypatch.setattr(store, "get_tail", lambda path, n: (reads.append(path), real(path, n))[1])
    links = chains.list_chain(store, CHAIN, cache=cache)
    assert [(link.start, link.end) for link in links] == [(0, 9), (10, 14), (15, 40)]
    assert len(reads) == 3
    assert [link.start for link in chains.list_chain(store, CHAIN, start=10, cache=cache)] == [10, 15]
    assert len(reads) == 3
    store.delete(CHAIN.path(10))
    store.put_new(CHAIN.path(10), parquet.write_gap(CHAIN.gap(10, 12)))
    assert [link.end for link in chains.list_chain(store, CHAIN, cache=cache)] == [9, 12, 40]
    assert len(reads) == 4


@pytest.mark.parametrize(
    "footer", [CHAIN.gap(6, 9), CHAIN.gap(5, 4), Chain("raw.upbit.ticker.v1", "cluster", 0, 3).gap(5, 9)]
)
def test_an_object_that_contradicts_its_name_is_not_believed(footer: Footer) -> None:
    store = MemoryStore()
    store.put_new(CHAIN.path(5), parquet.write_gap(footer))
    with pytest.raises(CorruptObjectError, match=r"00000000000000000005\.parquet"):
        chains.list_chain(store, CHAIN)


def test_a_fingerprint_tells_records_apart() -> None:
    records = [
        (1, 2, b"k", b"v"),
        (2, 2, b"k", b"v"),
        (1, 3, b"k", b"v"),
        (1, 2, b"kv", b""),
        (1, 2, b"k", None),
        (1, 2, None, b"kv"),
    ]
    assert len({chains.fingerprint(*record) for record in records}) == len(records)
    assert chains.fingerprint(*records[0]) == chains.fingerprint(*records[0])


@pytest.mark.parametrize(
    ("low", "high", "found", "problem"),
    [
        (0, 100, "same", None),
        (0, 101, "same", None),
        (100, 100, None, None),
        (100, 400, None, None),
        (0, 99, None, "ends before offset 99"),
        (0, 0, None, "ends before offset 0"),
        (0, 100, "other", "record at offset 99 is not the one"),
    ],
)
def test_a_log_is_recognised(low: int, high: int, found: str | None, problem: str | None) -> None:
    last = Footer(CHAIN.topic, 3, "cluster", 0, 50, 99, rows=0, fingerprint="same")
    if problem is None:
        chains.check_same_log(CHAIN, last, low=low, high=high, found=found)
        return
    with pytest.raises(LogChangedError, match=rf"{problem}.*TIDEMARK_KAFKA__EPOCH to 1"):
        chains.check_same_log(CHAIN, last, low=low, high=high, found=found)


def test_a_cluster_has_a_name_that_fits_a_path() -> None:
    assert chains.cluster_name("", "T4Whcza4TES3rRsDPisbFA") == "T4Whcza4TES3rRsDPisbFA"
    assert chains.cluster_name("prod", "x") == "prod"
    assert chains.cluster_name("", "redpanda.1/2 3") == "redpanda.1-2-3"
    for configured, reported in (("", None), ("", ""), ("rest", "x"), ("..", None)):
        with pytest.raises(ValueError, match="TIDEMARK_KAFKA__CLUSTER"):
            chains.cluster_name(configured, reported)
