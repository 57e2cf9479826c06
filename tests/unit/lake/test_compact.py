"""Compaction: every row of landing once, under its receive hour, whatever happens in between."""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tests.unit.lake import layout_one
from tests.unit.lake.memory_store import MemoryStore
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.jobs import compact as job
from tidemark.jobs.compact import CompactSummary, compact
from tidemark.lake import compacted, parquet
from tidemark.lake.chain import Chain
from tidemark.lake.compacted import CompactionError, Hour, Source
from tidemark.lake.local import LocalStore
from tidemark.lake.parquet import Footer
from tidemark.lake.store import ObjectStore
from tidemark.settings import LakeSettings, Settings

H0 = datetime(2026, 4, 13, 5, tzinfo=UTC)
TOPIC = "raw.upbit.trade.v1"
CHAINS = [Chain(TOPIC, "cluster", 0, partition) for partition in range(3)]


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def row(chain: Chain, offset: int, at: datetime, item: int = 0) -> dict[str, Any]:
    return {
        "exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "trade_id": offset, "event_at": at,
        "price": Decimal("1.5"), "size": Decimal(offset), "side": "buy", "source": "ws", "received_at": at,
        "kafka_cluster": chain.cluster, "kafka_epoch": chain.epoch, "kafka_topic": chain.topic,
        "kafka_partition": chain.partition, "kafka_offset": offset, "item": item, "frame": b"{%d}" % offset,
    }  # fmt: skip


def land(store: ObjectStore, chain: Chain, start: int, ats: list[datetime]) -> str:
    """A landing object with one row an offset from ``start``, received at ``ats``."""
    ns = [int(at.timestamp()) * 10**9 for at in ats]
    end = start + len(ats) - 1
    footer = Footer(
        chain.topic, chain.partition, chain.cluster, chain.epoch, start, end, rows=len(ats), parsed=len(ats),
        received_min=min(ns), received_max=max(ns),
    )  # fmt: skip
    rows = [row(chain, start + n, at) for n, at in enumerate(ats)]
    assert store.put_new(chain.path(start), parquet.write(CONTRACTS["trade"], rows, footer))
    return chain.path(start)


def run(store: ObjectStore, start: datetime, end: datetime, *, dry_run: bool = False) -> CompactSummary:
    summary = CompactSummary(dry_run=dry_run)
    compact(store, "upbit", "trade", start, end, summary)
    return summary


def parts(store: ObjectStore) -> list[str]:
    return [o.path for o in store.list(naming.COMPACTED) if o.path.endswith(".parquet")]


def everything(store: ObjectStore) -> Counter[tuple[str, int, int]]:
    """(folder, partition, offset) of every compacted row."""
    return Counter(
        (path.rpartition("/")[0], r["kafka_partition"], r["kafka_offset"])
        for path in parts(store)
        for r in parquet.read(store.get(path)).to_pylist()
    )


def folder(at: datetime) -> str:
    return f"raw/trade/v1/exchange=upbit/dt={at:%Y-%m-%d}/hour={at:%H}"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_rows_go_to_the_hour_in_which_they_were_received(store: MemoryStore) -> None:
    for chain in CHAINS:
        land(store, chain, 0, [H0 + hours(0.1 * n) for n in range(10)])
        land(store, chain, 10, [H0 + hours(0.95), H0 + hours(1), H0 + hours(0.99), H0 + hours(1.5)])  # late ones too
    summary = run(store, H0, H0 + hours(2))
    assert (summary.hours, summary.parts, summary.rows, summary.unchanged) == (2, 2, 42, 0)
    expected = Counter({(folder(H0), p, n): 1 for p in range(3) for n in [*range(10), 10, 12]})
    expected.update({(folder(H0 + hours(1)), p, n): 1 for p in range(3) for n in [11, 13]})
    assert everything(store) == expected
    table = parquet.read(store.get(parts(store)[0]))
    assert table.schema.names == [f.name for f in CONTRACTS["trade"].columns]
    assert table["frame"].to_pylist()[:4] == [b"{0}"] * 3 + [b"{1}"]
    assert table["size"].to_pylist()[3] == Decimal(1)


def test_a_manifest_names_the_sources_and_counts(store: MemoryStore) -> None:
    path = land(store, CHAINS[0], 0, [H0, H0 + hours(0.5), H0 + hours(1.2)])
    run(store, H0, H0 + hours(1))
    hour = Hour("upbit", "trade", H0)
    said = json.loads(store.get(hour.manifest(1)))
    assert (said["exchange"], said["dataset"], said["hour_at"]) == ("upbit", "trade", "2026-04-13T05:00:00+00:00")
    assert said["parts"][0]["sources"] == [{"path": path, "start": 0, "end": 2, "rows": 2}]
    assert said["parts"][0]["rows"] == 2
    assert parts(store) == [said["parts"][0]["path"]]
    compacted.check_part(store, compacted.manifests(store, hour)[0].parts[0], content=True)


def test_again_changes_nothing_and_a_dry_run_writes_nothing(store: MemoryStore) -> None:
    land(store, CHAINS[0], 0, [H0 + hours(0.1 * n) for n in range(20)])
    dry = run(store, H0, H0 + hours(2), dry_run=True)
    assert (dry.parts, dry.rows, dry.sources, parts(store)) == (2, 20, 2, [])
    assert str(dry) == "would write 2 parts with 20 rows of 2 landing objects in 2 hours; 0 hours were complete"
    run(store, H0, H0 + hours(2))
    before = dict(store.objects)
    again = run(store, H0, H0 + hours(2))
    assert (again.parts, again.rows, again.unchanged) == (0, 0, 2)
    assert store.objects == before


def test_what_lands_late_becomes_one_more_part(store: MemoryStore) -> None:
    land(store, CHAINS[0], 0, [H0, H0 + hours(0.5)])
    run(store, H0, H0 + hours(1))
    first = parts(store)
    land(store, CHAINS[0], 2, [H0 + hours(0.9), H0 + hours(1.1)])
    land(store, CHAINS[1], 0, [H0 + hours(0.2)])
    run(store, H0 + hours(1), H0 + hours(2))  # the window of the hour after it
    assert set(first) < set(parts(store))
    late = {
        (folder(H0), 0, 0),
        (folder(H0), 0, 1),
        (folder(H0), 0, 2),
        (folder(H0), 1, 0),
        (folder(H0 + hours(1)), 0, 3),
    }
    assert everything(store) == Counter(late)


def test_hours_whose_run_never_came_are_taken_along(store: MemoryStore) -> None:
    ats = [H0 + hours(n) for n in range(6)]
    land(store, CHAINS[0], 0, ats)
    run(store, H0, H0 + hours(1))
    summary = run(store, H0 + hours(5), H0 + hours(6))
    assert summary.rows == 5
    assert everything(store) == Counter((folder(at), 0, n) for n, at in enumerate(ats))


def test_an_hour_that_is_not_over_is_left_alone(store: MemoryStore) -> None:
    land(store, CHAINS[0], 0, [H0, H0 + hours(1), H0 + hours(2)])
    run(store, H0, H0 + hours(2))
    assert everything(store) == Counter([(folder(H0), 0, 0), (folder(H0 + hours(1)), 0, 1)])


class DiesError(Exception):
    pass


@pytest.mark.parametrize("writes", range(4))
def test_killed_at_any_write_the_next_run_completes_it(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.setattr(job, "PART_ROWS", 10)
    for chain in CHAINS:
        land(store, chain, 0, [H0 + hours(0.01 * n) for n in range(10)])
    left = writes
    real = store.put_new

    def dying(path: str, data: bytes) -> bool:
        nonlocal left
        if left == 0:
            raise DiesError
        left -= 1
        return real(path, data)

    monkeypatch.setattr(store, "put_new", dying)
    with pytest.raises(DiesError):
        run(store, H0, H0 + hours(1))
    monkeypatch.setattr(store, "put_new", real)
    land(store, CHAINS[0], 10, [H0 + hours(0.5)])
    run(store, H0, H0 + hours(1))
    expected = [(folder(H0), p, n) for p in range(3) for n in range(10)]
    assert everything(store) == Counter([*expected, (folder(H0), 0, 10)])


def test_racing_runs_write_every_row_once(tmp_path: Path) -> None:
    stores = [LocalStore(tmp_path) for _ in range(4)]
    for chain in CHAINS:
        land(stores[0], chain, 0, [H0 + hours(0.02 * n) for n in range(100)])
    failed: list[BaseException] = []
    line = threading.Barrier(5)

    def race(store: LocalStore) -> None:
        line.wait()
        try:
            run(store, H0, H0 + hours(2))
        except BaseException as error:
            failed.append(error)

    def land_more() -> None:
        line.wait()
        for chain in CHAINS:
            land(stores[0], chain, 100, [H0 + hours(0.7)] * 50)

    threads = [threading.Thread(target=race, args=(store,)) for store in stores] + [threading.Thread(target=land_more)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    run(stores[0], H0, H0 + hours(2))
    found = everything(stores[0])
    assert set(found.values()) == {1}
    assert Counter(p for _, p, _ in found) == {0: 150, 1: 150, 2: 150}


def test_a_range_written_anew_in_other_portions_is_not_taken_twice(store: MemoryStore) -> None:
    path = land(store, CHAINS[0], 0, [H0 + hours(0.01 * n) for n in range(30)])
    run(store, H0, H0 + hours(1))
    store.delete(path)
    land(store, CHAINS[0], 0, [H0 + hours(0.01 * n) for n in range(20)])
    land(store, CHAINS[0], 20, [H0 + hours(0.01 * n) for n in range(20, 35)])  # 20 to 29 are known, 30 to 34 are new
    run(store, H0, H0 + hours(1))
    assert everything(store) == Counter((folder(H0), 0, n) for n in range(35))


def test_parts_are_bounded(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "PART_ROWS", 25)
    for start in range(0, 100, 10):
        land(store, CHAINS[0], start, [H0] * 10)
    assert run(store, H0, H0 + hours(1)).parts == 5
    assert {pq.read_metadata(pa.BufferReader(store.get(p))).num_rows for p in parts(store)} == {20}


def test_rest_rows_are_taken_by_the_hour_of_the_answer(store: MemoryStore) -> None:
    rest = Chain(TOPIC, naming.REST_CLUSTER, 0, 0)
    ns = int(H0.timestamp()) * 10**9
    footer = Footer(TOPIC, 0, "rest", 0, 7, 7, rows=3, parsed=1, kind="rest", received_min=ns, received_max=ns)
    rows = [row(rest, 7, H0, item) for item in range(3)]
    store.put_new(naming.rest_object(TOPIC, "a" * 32), parquet.write(CONTRACTS["trade"], rows, footer))
    for _ in range(2):
        run(store, H0, H0 + hours(1))
    assert everything(store) == Counter({(folder(H0), 0, 7): 3})


def test_gap_objects_and_objects_without_rows_are_passed_over(store: MemoryStore) -> None:
    gap = CHAINS[0].gap(0, 99)
    store.put_new(CHAINS[0].path(0), parquet.write_gap(gap))
    assert run(store, H0, H0 + hours(1)).unchanged == 1
    assert parts(store) == []


def test_a_source_that_is_gone_or_differs_stops_the_part(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = land(store, CHAINS[0], 0, [H0] * 10)
    real = compacted.write_part

    def first_deleted(*arguments: Any) -> bool:
        store.delete(path)
        return real(*arguments)

    monkeypatch.setattr(compacted, "write_part", first_deleted)
    with pytest.raises(CompactionError, match="is gone from landing"):
        run(store, H0, H0 + hours(1))
    monkeypatch.setattr(compacted, "write_part", real)
    land(store, CHAINS[0], 0, [H0] * 9)
    with pytest.raises(CompactionError, match="gives it 9 rows, its manifest says 10"):
        run(store, H0, H0 + hours(1))
    assert parts(store) == []


def test_a_damaged_part_is_found(store: MemoryStore) -> None:
    land(store, CHAINS[0], 0, [H0] * 10)
    run(store, H0, H0 + hours(1))
    (path,) = parts(store)
    good = compacted.manifests(store, Hour("upbit", "trade", H0))[0].parts[0]
    table = parquet.read(store.get(path))
    metadata = pq.read_metadata(pa.BufferReader(store.get(path))).metadata
    other = table.set_column(table.schema.get_field_index("side"), table.field("side"), pa.array(["sell"] * 10))
    store.objects[path] = (parquet.encode_table(other, {b"tidemark": metadata[b"tidemark"]}), "x")
    with pytest.raises(CompactionError, match="its rows are not those"):
        compacted.check_part(store, good, content=True)
    store.objects[path] = (parquet.encode_table(table.slice(1), {b"tidemark": metadata[b"tidemark"]}), "x")
    with pytest.raises(CompactionError, match="has 9 rows"):
        run(store, H0, H0 + hours(1))


def book(chain: Chain, offset: int, at: datetime) -> dict[str, Any]:
    """Sides with a different number of levels, one of them empty, a null list, texts that are null or empty."""
    levels = [Decimal(n + 1) for n in range(offset % 5)]
    return {
        "exchange": "upbit", "market": f"C{offset % 3}-KRW", "code": "", "event_at": at, "ask_prices": levels,
        "ask_sizes": levels, "bid_prices": levels[:1], "bid_sizes": None if offset % 7 == 0 else levels[:1],
        "extra": None if offset % 2 else "{}", "source": "ws", "received_at": at, "kafka_cluster": chain.cluster,
        "kafka_epoch": chain.epoch, "kafka_topic": chain.topic, "kafka_partition": chain.partition,
        "kafka_offset": offset, "item": 0, "frame": b"{%d}" % offset,
    }  # fmt: skip


BOOKS = Chain("raw.upbit.orderbook.v1", "cluster", 0, 0)


def land_books(store: ObjectStore, objects: int, each: int, chain: Chain = BOOKS) -> None:
    for start in range(0, objects * each, each):
        ats = [H0 + timedelta(seconds=(start + n) % 3_600) for n in range(each)]
        ns = [int(at.timestamp()) * 10**9 for at in ats]
        footer = Footer(
            chain.topic, chain.partition, chain.cluster, chain.epoch, start, start + each - 1, rows=each, parsed=each,
            received_min=min(ns), received_max=max(ns),
        )  # fmt: skip
        rows = [book(chain, start + n, at) for n, at in enumerate(ats)]
        assert store.put_new(chain.path(start), parquet.write(CONTRACTS["orderbook"], rows, footer))


def test_order_books_compact(store: MemoryStore) -> None:
    """A list is called `item` before Parquet and `element` after it; what was written was taken for other rows."""
    land_books(store, 12, 40)
    summary = CompactSummary()
    compact(store, "upbit", "orderbook", H0, H0 + hours(1), summary)
    assert (summary.parts, summary.rows, summary.sources) == (1, 480, 12)
    (part,) = compacted.manifests(store, Hour("upbit", "orderbook", H0))[0].parts
    compacted.check_part(store, part, content=True)
    found = sorted(parquet.read(store.get(part.path)).to_pylist(), key=lambda r: r["kafka_offset"])
    wanted = [book(BOOKS, n, H0 + timedelta(seconds=n % 3_600)) for n in range(480)]
    assert [{name: r[name] for name in w} for r, w in zip(found, wanted, strict=True)] == wanted


def test_a_part_is_sorted_for_readers_and_says_so(store: MemoryStore) -> None:
    land_books(store, 12, 40)
    compact(store, "upbit", "orderbook", H0, H0 + hours(1), CompactSummary())
    (path,) = parts(store)
    rows = [(r["market"], r["event_at"]) for r in parquet.read(store.get(path)).to_pylist()]
    assert rows == sorted(rows)
    metadata = pq.read_metadata(pa.BufferReader(store.get(path)))
    names = [pq.SortingColumn.to_ordering(metadata.schema.to_arrow_schema(), metadata.row_group(0).sorting_columns)]
    assert names[0][0] == (("market", "ascending"), ("event_at", "ascending"))
    assert compacted.layout_of(metadata) == compacted.LAYOUT == 2


@pytest.mark.parametrize(
    ("rows", "nbytes", "expected"),
    [
        (0, 0, [0]),
        (720, 10**6, [720]),
        (122_879, 10**8, [122_879]),
        (300_298, 10**8, [150_149, 150_149]),
        (1_000_000, 10**8, [125_000] * 8),
        (123_500, 558 << 20, [61_750, 61_750]),  # books with their frames
        (10, 5 << 40, [1] * 10),
    ],
)
def test_row_groups_have_the_size_that_readers_want(rows: int, nbytes: int, expected: list[int]) -> None:
    assert compacted.row_groups(rows, nbytes) == expected


def test_row_groups_are_never_small_and_always_all_rows() -> None:
    for rows in (*range(1, 400_000, 9_973), 122_880, 245_759, 245_760, 4_999_999):
        for wide in (100, 1_000, 4_800, 100_000):
            groups = compacted.row_groups(rows, rows * wide)
            assert sum(groups) == rows
            big = min(groups) >= 100_000 or min(groups) * wide >= 160 * 2**20
            assert len(groups) == 1 or big, (rows, wide, groups)
            assert max(groups) <= 2 * 122_880


def test_many_small_objects_give_few_row_groups(store: MemoryStore) -> None:
    """One row group for each landing object made a footer of a megabyte of an hour of the demo."""
    for start in range(0, 100, 2):
        land(store, CHAINS[0], start, [H0, H0 + hours(0.5)])
    run(store, H0, H0 + hours(1))
    (path,) = parts(store)
    metadata = pq.read_metadata(pa.BufferReader(store.get(path)))
    assert (metadata.num_rows, metadata.num_row_groups) == (100, 1)
    assert metadata.serialized_size < 30_000


def sources_of(store: ObjectStore, topic: str) -> list[Source]:
    listed = [(one.path, parquet.read_footer(store, one.path)) for one in store.list(naming.landing_prefix(topic))]
    return [Source(path, f.start, f.end, f.rows) for path, f in listed]


def test_a_lake_that_the_released_version_left_becomes_green_by_itself(store: MemoryStore) -> None:
    """A part of hundreds of row groups and a footer of a megabyte; books that were planned and never written."""
    for start in range(0, 500, 25):
        land(store, CHAINS[0], start, [H0, *[H0 + hours(0.5)] * 24])
    land_books(store, 20, 10)
    hour = Hour("upbit", "trade", H0)
    trades = layout_one.plan(store, hour, sources_of(store, TOPIC))
    layout_one.write_part(store, hour, trades, row_group_size=1)
    assert int.from_bytes(store.get(trades.path)[-8:-4], "little") > 1 << 20
    books = layout_one.plan(store, Hour("upbit", "orderbook", H0), sources_of(store, BOOKS.topic))
    before = dict(store.objects)

    for n in range(1, 4):
        land(store, CHAINS[0], 490 + 10 * n, [H0 + hours(n)] * 10)
        for dataset in ("trade", "orderbook"):
            compact(store, "upbit", dataset, H0 + hours(n), H0 + hours(n + 1), CompactSummary())
    assert {path: store.objects[path] for path in before} == before
    compacted.check_part(store, trades, content=True)
    compacted.check_part(store, books, content=True)
    table = parquet.read(store.get(books.path))
    assert sorted(table["kafka_offset"].to_pylist()) == list(range(200))
    found = everything(store)
    assert set(found.values()) == {1}
    assert sum(path.startswith("raw/trade") for path, _, _ in found) == 500 + 30


def test_a_layout_has_names_of_its_own(store: MemoryStore) -> None:
    land(store, CHAINS[0], 0, [H0] * 3)
    hour = Hour("upbit", "trade", H0)
    sources = sources_of(store, TOPIC)
    assert compacted.part_of(hour, sources) == compacted.part_of(hour, sources)
    assert compacted.part_of(hour, sources).path != layout_one.part_of(hour, sources).path


def test_a_part_is_made_to_the_same_bytes_again(store: MemoryStore) -> None:
    land_books(store, 12, 40)
    for chain in CHAINS:
        land(store, chain, 0, [H0 + hours(0.01 * n) for n in range(50)])
    for dataset in ("trade", "orderbook"):
        compact(store, "upbit", dataset, H0, H0 + hours(1), CompactSummary())
    first = {path: store.get(path) for path in parts(store)}
    for path in first:
        store.delete(path)
    for dataset in ("trade", "orderbook"):
        compact(store, "upbit", dataset, H0, H0 + hours(1), CompactSummary())
    assert {path: store.get(path) for path in parts(store)} == first


def test_a_row_that_was_written_wrong_is_noticed(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof reads the file back: a row that the sort or the writer changed, doubled or lost is found."""
    land_books(store, 3, 10)
    real = compacted.SortedRuns.merged

    def spoiled(spoil: Any) -> Any:
        return lambda runs, portions: (spoil(table) for table in real(runs, portions))

    def doubled(table: pa.Table) -> pa.Table:
        return pa.concat_tables([table.slice(0, 1), table.slice(0, table.num_rows - 1)])

    def moved(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("ask_sizes")
        return table.set_column(at, "ask_sizes", pa.concat_arrays([*table["ask_sizes"].chunks][::-1]).take(
            pa.array(range(table.num_rows - 1, -1, -1))
        ))  # fmt: skip

    for spoil in (doubled, moved):
        monkeypatch.setattr(compacted.SortedRuns, "merged", spoiled(spoil))
        with pytest.raises(CompactionError, match="what was written is not what its sources hold"):
            compact(store, "upbit", "orderbook", H0, H0 + hours(1), CompactSummary())
        assert parts(store) == []


def test_one_dataset_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    settings = Settings(lake=LakeSettings(url=f"file://{tmp_path}"))
    store = LocalStore(tmp_path)
    hour = Hour("upbit", "trade", H0)
    land(store, CHAINS[0], 0, [H0] * 3)
    gone = [Source(CHAINS[1].path(0), 0, 9, 10)]
    layout_one.plan(store, hour, gone)
    land_books(store, 3, 10)
    with pytest.raises(CompactionError, match="is gone from landing"):
        job.run(settings, H0, H0 + hours(1))
    assert [path.split("/")[1] for path in parts(store)] == ["orderbook"]


@pytest.mark.parametrize(("start", "end"), [(H0, H0), (H0, H0 + hours(0.5)), (H0.replace(tzinfo=None), H0 + hours(1))])
def test_a_window_is_made_of_whole_hours(store: MemoryStore, start: datetime, end: datetime) -> None:
    with pytest.raises(ValueError, match=r"hour|empty"):
        run(store, start, end)


def test_the_job_takes_every_dataset_and_readers_see_one_table(tmp_path: Path) -> None:
    settings = Settings(lake=LakeSettings(url=f"file://{tmp_path}"))
    store = LocalStore(tmp_path)
    for n in range(3):
        land(store, CHAINS[n], 0, [H0 + hours(0.5 * m) for m in range(4)])
    summary = job.run(settings, H0, H0 + hours(2))
    assert (summary.rows, summary.parts) == (12, 2)
    assert job.run(settings, H0, H0 + hours(2), dataset="trade").parts == 0
    table = ds.dataset(tmp_path / "raw" / "trade" / "v1", partitioning="hive").to_table()
    assert table.num_rows == 12
    assert sorted(set(table["hour"].to_pylist())) == [5, 6]
    assert set(table["exchange"].to_pylist()) == {"upbit"}
