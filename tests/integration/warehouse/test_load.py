"""Landing objects into raw: once, exactly, whoever else is loading."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.warehouse.landed import CLUSTER, T0, chain, envelope, land, land_rest, trade, trades
from tests.integration.warehouse.place import Place
from tidemark.jobs import load as job
from tidemark.lake.local import LocalStore
from tidemark.lake.parquet import FrameSum
from tidemark.lake.store import Listed
from tidemark.settings import Settings
from tidemark.warehouse import load as warehouse
from tidemark.warehouse.connection import connect


def run(place: Place, dataset: str = "trade", **options: object) -> warehouse.LoadSummary:
    return job.run(place.settings, dataset, "upbit", **options)  # type: ignore[arg-type]


def test_a_row_of_an_implausible_time_counts_to_the_hour_of_its_receipt(place: Place) -> None:
    rows = trades(chain(), 0, 4, T0 + timedelta(minutes=10))
    rows[0]["event_at"] = datetime(2100, 1, 1, tzinfo=UTC)
    rows[1]["event_at"] = datetime(1970, 1, 1, tzinfo=UTC)
    rows[2]["event_at"] = T0 - timedelta(days=800)
    land(place.store, chain(), rows)
    run(place)
    hours = dict(place.loader().execute("SELECT hour_at, rows FROM ops.load_hour").fetchall())
    assert hours == {T0: 3, T0 - timedelta(days=800): 1}


def test_rows_ledger_and_books_of_one_object(place: Place) -> None:
    where = chain()
    late = T0 - timedelta(hours=5)
    rows = trades(where, 0, 3)
    rows[1]["event_at"], rows[2]["event_at"] = late, None
    path = land(
        place.store,
        where,
        rows,
        end=5,
        dead=2,
        ignored=1,
        dead_reasons={"not_json": 2},
        frames=(FrameSum("c1", 1, 6, 1, 6, 21),),
    )
    summary = run(place)
    assert (summary.listed, summary.objects, summary.rows, summary.left) == (1, 1, 3, 0)
    loader = place.loader()
    ledger = loader.execute(
        "SELECT path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,"
        " rows, parsed, dead, ignored, dead_reasons FROM ops.load_ledger"
    ).fetchall()
    assert ledger == [
        (path, "data", "upbit", "trade", where.topic, CLUSTER, 0, 0, 0, 5, 3, 3, 2, 1, {"not_json": 2}),
    ]
    times = loader.execute("SELECT received_min, received_max, hour_at, fingerprint FROM ops.load_ledger").fetchone()
    assert times == (T0, T0 + timedelta(seconds=2), T0, f"{5:032x}")
    frames = loader.execute(
        "SELECT connection_id, hour_at, frame_count, frame_min, frame_max, frame_sum FROM ops.frame_ledger"
    )
    assert frames.fetchall() == [("c1", datetime(1970, 1, 1, tzinfo=UTC), 6, 1, 6, 21)]
    hours = dict(loader.execute("SELECT hour_at, rows FROM ops.load_hour").fetchall())
    assert hours == {late: 1, T0: 2}, "a row without a time of event counts to its receipt"
    got = loader.execute(
        "SELECT trade_id, event_at, price, size, frame_no FROM raw.trade_v1 ORDER BY kafka_offset"
    ).fetchall()
    assert got == [tuple(row[k] for k in ("trade_id", "event_at", "price", "size", "frame_no")) for row in rows]
    assert place.value("SELECT count(DISTINCT load_id) FROM raw.trade_v1 JOIN ops.load_ledger USING (load_id)") == 1


def test_a_second_load_changes_nothing(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 5))
    run(place)
    assert run(place).objects == 0
    assert place.value("SELECT count(*) FROM raw.trade_v1") == 5
    assert place.value("SELECT count(*) FROM ops.load_ledger") == 1


def test_every_dataset_loads(place: Place) -> None:
    book = {"exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "event_at": T0, "extra": '{"new_field": 0E-8}'}
    sides = {
        "ask_prices": [Decimal("1.5"), Decimal(2)],
        "ask_sizes": [Decimal("0.1"), Decimal(10)],
        "bid_prices": [],
        "bid_sizes": None,
    }
    where = chain("orderbook")
    land(place.store, where, [book | sides | envelope(where, 0, T0)])
    assert run(place, "orderbook").rows == 1
    row = (
        place.connect()
        .execute("SELECT ask_prices, ask_sizes, bid_prices, bid_sizes, extra::text FROM raw.orderbook_v1")
        .fetchone()
    )
    assert row == ([Decimal("1.5"), 2], [Decimal("0.1"), 10], [], None, '{"new_field": 0.00000000}')
    where = chain("system")
    opened = {
        "exchange": "upbit",
        "kind": "open",
        "connection": "c1",
        "worker": "w",
        "event_at": T0,
        "subscription": '{"codes":["A"]}',
    }
    land(place.store, where, [opened | envelope(where, 0, T0) | {"frame_no": None}])
    assert run(place, "system").rows == 1
    assert place.value("SELECT subscription->'codes'->>0 FROM raw.system_v1") == "A"
    listed = {
        "exchange": "upbit",
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "event_at": T0,
        "received_at": T0,
        "korean_name": "비트코인",
    }
    land_rest(place.store, "market", [listed], "ab" * 16)
    assert run(place, "market").rows == 1
    assert place.value("SELECT korean_name FROM raw.market_v1") == "비트코인"
    candle = {
        "exchange": "upbit",
        "market": "BTC-KRW",
        "code": "KRW-BTC",
        "interval": "1h",
        "event_at": T0,
        "received_at": T0,
    }
    land_rest(place.store, "candle", [candle | {"open": Decimal(1), "is_closed": True}], "cd" * 16)
    assert run(place, "candle").rows == 1
    assert place.value('SELECT "open" FROM raw.candle_v1 WHERE is_closed AND "interval" = \'1h\'') == 1
    assert place.value("SELECT kind FROM ops.load_ledger WHERE dataset = 'candle'") == "rest"


def test_objects_without_rows_are_in_the_ledger(place: Place) -> None:
    where = chain()
    land(place.store, where, trades(where, 0, 2))
    frames = (FrameSum("c1", int(T0.timestamp()) + 3600, 2, 3, 4, 7),)
    land(place.store, where, [], start=2, end=3, parsed=0, dead=2, frames=frames)
    land(place.store, where, [], start=4, end=99, parsed=0, kind="gap", frames=())
    assert run(place).objects == 3
    rows = (
        place.connect()
        .execute("SELECT kind, start_offset, rows, hour_at FROM ops.load_ledger ORDER BY start_offset")
        .fetchall()
    )
    assert rows == [
        ("data", 0, 2, T0),
        ("data", 2, 0, T0 + timedelta(hours=1)),
        ("gap", 4, 0, T0 + timedelta(hours=1)),
    ]


def test_days_get_their_partitions_and_a_load_over_midnight_both(place: Place) -> None:
    where = chain()
    rows = [*trades(where, 0, 1, T0), *trades(where, 1, 1, T0 + timedelta(days=1))]
    land(place.store, where, rows)
    run(place)
    tables = place.connect().execute("SELECT DISTINCT tableoid::regclass::text FROM raw.trade_v1 ORDER BY 1").fetchall()
    assert tables == [("raw.trade_v1_20260413",), ("raw.trade_v1_20260414",)]


def test_limit_and_dry_run(place: Place) -> None:
    where = chain()
    for n in range(4):
        land(place.store, where, trades(where, n * 2, 2))
    dry = run(place, dry_run=True)
    assert (dry.objects, dry.rows, dry.dry_run) == (4, 8, True)
    assert place.value("SELECT count(*) FROM ops.load_ledger") == 0
    limited = run(place, limit=3)
    assert (limited.objects, limited.left) == (3, 1)
    assert run(place).objects == 1


# --- several at once ----------------------------------------------------------------------------------------


def _load_in_process(settings: dict[str, object]) -> int:
    return job.run(Settings.model_validate(settings), "trade", "upbit").rows


def test_four_processes_at_once_load_each_object_once(place: Place) -> None:
    for partition in range(4):
        where = chain(partition=partition)
        for n in range(10):
            land(place.store, where, trades(where, n * 50, 50, T0 + timedelta(days=n % 3)))
    plain = {
        "lake": {"url": place.settings.lake.url},
        "warehouse": {"url": place.settings.warehouse.url.get_secret_value()},
    }
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        rows = pool.map(_load_in_process, [plain] * 4)
    assert sum(rows) == 2000
    assert place.value("SELECT count(*) FROM raw.trade_v1") == 2000
    assert place.value("SELECT count(DISTINCT (kafka_partition, kafka_offset)) FROM raw.trade_v1") == 2000
    assert place.value("SELECT sum(rows) FROM ops.load_ledger") == 2000


def test_a_load_that_finds_an_object_taken_waits_for_it_in_the_end(place: Place) -> None:
    path = land(place.store, chain(), trades(chain(), 0, 5))
    holder = place.loader()
    summaries: list[warehouse.LoadSummary] = []
    with holder.transaction():
        assert warehouse._mine(holder, path, wait=False)
        waiting = threading.Thread(target=lambda: summaries.append(run(place)))
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive(), "whoever holds it may still fail: the object isn't in"
    waiting.join(20)  # the holder gave it back without loading it
    assert [s.rows for s in summaries] == [5]


def test_two_loads_that_commit_in_the_other_order_lose_nothing(place: Place) -> None:
    """The first load gets the lower id and commits last; a consumer in between takes only what is there."""
    where = chain()
    land(place.store, where, trades(where, 0, 5))
    second = chain(partition=1)
    admin = place.connect()
    # Hold the transaction of load 1 after it got its id: its entry in load_hour waits for our lock.
    admin.execute(
        """CREATE FUNCTION ops.wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END';
        CREATE TRIGGER wait BEFORE INSERT ON ops.load_hour
        FOR EACH ROW WHEN (NEW.load_id = 1) EXECUTE FUNCTION ops.wait()"""
    )
    admin.execute("SELECT pg_advisory_lock(42)")
    slow = threading.Thread(target=lambda: run(place))
    slow.start()
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while place.connect().execute(waits).fetchone() != (1,):
        time.sleep(0.02)
    listed = Listed(land(place.store, second, trades(second, 0, 7)), 0, "")
    assert warehouse.load_object(place.loader(), place.store, listed) == 7
    dbt = place.connect("tidemark_dbt")
    take = """INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, 'silver.trade' FROM ops.load_ledger AS l
        WHERE NOT EXISTS (SELECT FROM ops.load_mark AS m WHERE m.load_id = l.load_id) RETURNING load_id"""
    assert dbt.execute(take).fetchall() == [(2,)]
    admin.execute("SELECT pg_advisory_unlock(42)")
    slow.join(20)
    assert dbt.execute(take).fetchall() == [(1,)], "the ledger decides what is new, not the order of ids or times"
    assert place.value("SELECT count(*) FROM raw.trade_v1") == 12


# --- what can be wrong with an object -----------------------------------------------------------------------


class _Forgetful(LocalStore):
    """Lists one object that is no more: somebody deleted it since."""

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        yield Listed(chain().path(777), 100, "gone")
        yield from super().list(prefix, start_after=start_after)


def test_an_object_that_vanished_is_named_and_the_rest_loads(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 5))
    summary = warehouse.load([place.loader()], _Forgetful(place.store.root), "trade", "upbit")
    assert (summary.rows, [f.path for f in summary.failures]) == (5, [chain().path(777)])


def test_broken_objects_are_named_and_the_rest_loads(place: Place) -> None:
    where = chain()
    good = land(place.store, where, trades(where, 0, 5))
    data = place.store.get(good)
    broken = {
        where.path(100): b"no parquet at all",
        where.path(200): data[: len(data) // 2],
        where.path(300): data,  # says offset 0
        chain(partition=1).path(0): data,  # says partition 0
        f"landing/{where.topic}/rest/{'ef' * 16}.parquet": data,
    }
    torn = bytearray(data)
    torn[100:400] = bytes(300)
    flipped = bytes(torn).replace(b'"start":0,', b'"start":9,').replace(b'"end":4,', b'"end":13,')
    for path, content in (broken | {chain(epoch=3).path(9): flipped}).items():
        place.store.put_new(path, content)
    with pytest.raises(job.LoadError) as caught:
        run(place)
    assert {f.path for f in caught.value.summary.failures} == {*broken, chain(epoch=3).path(9)}
    for path in broken:
        assert path in str(caught.value)
    assert place.value("SELECT array_agg(path) FROM ops.load_ledger") == [good]
    assert place.value("SELECT count(*) FROM raw.trade_v1") == 5
    assert place.value("SELECT count(*) FROM ops.load_hour") == 1


def test_a_footer_that_leaves_offsets_unexplained_is_refused(place: Place) -> None:
    where = chain()
    path = land(place.store, where, trades(where, 0, 3), end=9)
    with pytest.raises(job.LoadError, match="unexplained"):
        run(place)
    assert place.value("SELECT count(*) FROM raw.trade_v1") == 0
    assert path in place.store.root.as_posix() or place.store.exists(path), "it stays in the lake"


def test_a_value_that_the_warehouse_refuses_leaves_nothing_behind(place: Place) -> None:
    where = chain()
    land(place.store, where, trades(where, 0, 3, extra="{not json"))
    land(place.store, where, trades(where, 3, 3))
    with pytest.raises(job.LoadError, match="InvalidTextRepresentation"):
        run(place)
    assert place.value("SELECT array_agg(DISTINCT kafka_offset) FROM raw.trade_v1") == [3, 4, 5]
    assert place.value("SELECT count(*) FROM ops.load_ledger") == 1


# --- exact --------------------------------------------------------------------------------------------------


def _exact(units: int) -> Decimal:
    """``units`` of 10^-18; by way of text, since arithmetic would round to 28 digits."""
    return Decimal(f"{units}E-18")


_SMALL = (st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-99, 99)).map(_exact)
_VALUES = (
    st.none()
    | _SMALL
    | st.sampled_from([Decimal("0"), Decimal("1E+19"), Decimal("663504.02962134"), Decimal("-1E-18")])
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.tuples(_VALUES, st.none() | st.lists(st.none() | _SMALL, max_size=5)), min_size=1, max_size=40)
)
def test_every_decimal_arrives_as_it_is(
    place: Place, values: list[tuple[Decimal | None, list[Decimal | None] | None]]
) -> None:
    where = chain("orderbook", partition=place.value("SELECT count(*) FROM ops.load_ledger"))
    rows = [
        {"total_ask_size": single, "ask_prices": many, "market": f"m{n}"} | envelope(where, n, T0)
        for n, (single, many) in enumerate(values)
    ]
    land(place.store, where, rows)
    assert run(place, "orderbook").rows == len(rows)
    query = "SELECT total_ask_size, ask_prices FROM raw.orderbook_v1 WHERE kafka_partition = %s ORDER BY kafka_offset"
    got = place.opened[0].execute(query.encode(), [where.partition]).fetchall()
    assert got == values
    for single, _ in got:  # nothing behind the last digit that says something
        assert single is None or single == 0 or "." not in f"{single:f}" or not f"{single:f}".endswith("0")


def test_trailing_zeros_of_the_lake_are_not_shown(place: Place) -> None:
    where = chain()
    row = trade(0, T0, price=Decimal("100.50"), size=Decimal("1E+3")) | envelope(where, 0, T0)
    land(place.store, where, [row])
    run(place)
    assert place.value("SELECT price || ' ' || size FROM raw.trade_v1") == "100.5 1000"


def test_a_day_that_many_loaders_need_at_once_is_made_once(place: Place) -> None:
    """Each round is a day nobody has asked for yet; all loaders ask in the same instant."""
    rounds, loaders = 12, 6
    start = threading.Barrier(loaders)
    made: list[bool] = []
    problems: list[Exception] = []

    def ask() -> None:
        with connect(place.settings.warehouse.url, "race") as connection:
            for number in range(rounds):
                start.wait(10)
                try:
                    made.append(warehouse.ensure_partition(connection, "trade", date(2031, 1, 1) + timedelta(number)))
                except Exception as problem:
                    problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(loaders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []
    assert sum(made) == rounds


def test_objects_without_an_hour_of_their_own_take_that_of_the_one_before(place: Place) -> None:
    """However many are loaded at once: offsets that the log dropped belong to the hour in which they were lost."""
    for number in range(12):
        start, received = number * 100, T0 + number * timedelta(hours=1)
        land(place.store, chain(), trades(chain(), start, 10, received))
        land(place.store, chain(), [], start=start + 10, end=start + 99, parsed=0, kind="gap", frames=())
    own = place.settings.warehouse.model_copy(update={"load_connections": 4})
    summary = job.run(place.settings.model_copy(update={"warehouse": own}), "trade", "upbit")
    assert (summary.objects, summary.rows, summary.failures) == (24, 120, ())
    rows = place.opened[0].execute(
        "select kind, start_offset / 100, hour_at from ops.load_ledger order by start_offset"
    )
    assert rows.fetchall() == [
        (kind, number, T0 + number * timedelta(hours=1)) for number in range(12) for kind in ("data", "gap")
    ]
