"""Retention over a real warehouse and lake: what is due goes, and what would be lost by that stays, with its reason."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest

from tests.integration.completeness import silver
from tests.integration.warehouse.landed import T0, chain, land, trades
from tests.integration.warehouse.place import Place
from tidemark.completeness import counts
from tidemark.completeness.loads import landing
from tidemark.completeness.verdicts import HOUR, scope
from tidemark.jobs import load, retain
from tidemark.warehouse import definition_change

DAY = T0.replace(hour=0)
PARTITION = "raw.trade_v1_20260413"


@pytest.fixture
def loaded(place: Place) -> Place:
    """Two hours of one day long ago, loaded and in silver; nothing is proven yet."""
    for hour in range(2):
        land(place.store, chain(), trades(chain(), hour * 10, 10, T0 + hour * HOUR))
    load.run(place.settings, "trade", "upbit")
    silver.build(place, "trade")
    return place


def seal(place: Place, *, hours: int = 2, identities: tuple[int, ...] = (2, 3)) -> None:
    for hour in range(hours):
        for identity in identities:
            place.opened[0].execute(
                """insert into ops.completeness (exchange, dataset, hour_at, identity, status, sealed_at)
                values ('upbit', 'trade', %s, %s, 'green', now())""",
                [T0 + hour * HOUR, identity],
            )


def outcome(place: Place, relation: str, *, dry_run: bool = False) -> retain.Outcome:
    summary = retain.run(place.settings, dry_run=dry_run)
    (found,) = [one for one in summary.outcomes if one.relation == relation]
    return found


def is_there(place: Place, relation: str) -> bool:
    return bool(place.value("select to_regclass(%s) is not null", relation))


def test_a_proven_day_goes_after_a_dry_run_that_says_so(loaded: Place) -> None:
    seal(loaded)
    would = outcome(loaded, "raw.trade_v1", dry_run=True)
    assert (would.days, would.stays, is_there(loaded, PARTITION)) == (1, (), True)
    assert outcome(loaded, "raw.trade_v1").days == 1
    assert not is_there(loaded, PARTITION)
    assert loaded.value("select floor_at from ops.retention where relation = 'raw.trade_v1'") == DAY + timedelta(days=1)
    assert outcome(loaded, "raw.trade_v1").days == 0, "a second run finds nothing"
    # The hours keep their verdicts: what they rest on is gone by policy.
    frame = scope(loaded.opened[0], "upbit", T0, T0 + 2 * HOUR, T0 + 5 * HOUR)
    found = counts.check(loaded.opened[0], frame, "trade", landing(loaded.opened[0], loaded.store, chain().topic))
    assert [v.status for v in found] == ["green", "green"]


def test_a_day_that_is_read_stays_and_readers_pass(loaded: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the reader's transaction ends; nobody else waits for it."""
    monkeypatch.setattr(definition_change, "PAUSE_S", 0.2)
    monkeypatch.setattr(definition_change, "LOCK_TIMEOUT_S", 0.3)
    seal(loaded)
    reader, other = loaded.connect("tidemark_ops_ro"), loaded.connect("tidemark_ops_ro")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM trade_v1")
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(outcome, loaded, "raw.trade_v1")
        while not found.done():
            begun = time.monotonic()
            other.execute("SELECT count(*) FROM trade_v1")
            assert time.monotonic() - begun < 1
            time.sleep(0.05)
    assert found.result().days == 0
    assert f"{reader.info.backend_pid} (tidemark_ops_ro, tidemark test)" in found.result().stays[0]
    reader.execute("ROLLBACK")
    assert outcome(loaded, "raw.trade_v1").days == 1


@pytest.mark.parametrize(
    ("sealed", "reason"),
    [((), "4 verdicts are not sealed"), ((2,), "2 verdicts are not sealed, first identity 3"), ((3,), "identity 2")],
)
def test_a_day_that_is_not_proven_stays(loaded: Place, sealed: tuple[int, ...], reason: str) -> None:
    seal(loaded, identities=sealed)
    found = outcome(loaded, "raw.trade_v1")
    assert found.days == 0
    assert reason in found.stays[0]
    assert is_there(loaded, PARTITION)


def test_a_day_that_the_lake_cannot_give_back_stays(loaded: Place) -> None:
    seal(loaded)
    path = loaded.value("select path from ops.load_ledger order by start_offset limit 1")
    kept = loaded.store.get(path)
    loaded.store.delete(path)
    assert path in outcome(loaded, "raw.trade_v1").stays[0]
    assert is_there(loaded, PARTITION)
    loaded.store.put_new(path, kept[:-8] + b"somewhat")
    assert path in outcome(loaded, "raw.trade_v1").stays[0], "another object of the same name"


def test_a_day_that_silver_has_not_read_stays(loaded: Place) -> None:
    seal(loaded)
    loaded.opened[0].execute("delete from ops.load_mark where load_id = (select max(load_id) from ops.load_mark)")
    assert "silver.trade has 1 of its loads yet to take" in outcome(loaded, "raw.trade_v1").stays[0]


def test_old_rows_of_silver_and_gold_go_once_every_mart_has_followed(loaded: Place) -> None:
    admin = loaded.opened[0]
    admin.execute("create table gold.ohlcv_1m as select exchange, market, event_at as bucket_at from silver.trade")
    admin.execute("insert into gold.ohlcv_1m values ('upbit', 'BTC-KRW', now())")
    admin.execute("grant select on gold.ohlcv_1m to tidemark_loader")
    admin.execute("insert into ops.build (dataset, built_at) values ('trade', '2026-04-13'), ('trade', now())")
    admin.execute(
        "insert into ops.build_mark (build_id, consumer) select min(build_id), 'gold.ohlcv_1m' from ops.build"
    )
    assert "gold.ohlcv_1m has 1 changes of silver yet to follow" in outcome(loaded, "gold.ohlcv_1m").stays[0]
    admin.execute(
        "insert into ops.build_mark (build_id, consumer) select max(build_id), 'gold.ohlcv_1m' from ops.build"
    )
    found = outcome(loaded, "gold.ohlcv_1m")
    assert (found.days, found.rows, found.stays) == (1, 20, ())
    assert loaded.value("select count(*) from gold.ohlcv_1m") == 1
    assert loaded.value("select count(*) from silver.trade") == 0
    assert loaded.value("select floor_at from ops.retention where relation = 'silver.trade'") == DAY + timedelta(days=1)
    assert loaded.value("select count(*) from ops.build") == 1, "what every mart has followed is forgotten"


def test_silver_that_is_red_stays(loaded: Place) -> None:
    loaded.opened[0].execute(
        """insert into ops.completeness (exchange, dataset, hour_at, identity, status)
        values ('upbit', 'trade', %s, 3, 'red')""",
        [T0],
    )
    assert "identity 3 of upbit 2026-04-13 10:00 (red)" in outcome(loaded, "silver.trade").stays[0]
    assert loaded.value("select count(*) from silver.trade") == 20


def test_a_policy_that_contradicts_itself_is_refused(loaded: Place) -> None:
    loaded.opened[0].execute("update ops.retention set keep = '10 days' where relation = 'gold.ohlcv_5m'")
    with pytest.raises(retain.retention.PolicyError, match=r"gold\.ohlcv_5m is kept shorter than silver\.trade"):
        retain.run(loaded.settings)
    loaded.opened[0].execute("update ops.retention set keep = null where relation in ('silver.trade', 'gold.ohlcv_5m')")
    with pytest.raises(retain.retention.PolicyError, match=r"gold\.ohlcv_15m"):
        retain.run(loaded.settings)


def test_the_loader_can_drop_nothing_that_the_policy_keeps(loaded: Place) -> None:
    """Its only means are two functions, and they look at the policy themselves."""
    loader = loaded.loader()
    loaded.opened[0].execute("update ops.retention set keep = '20 years' where relation = 'raw.trade_v1'")
    for query in (
        "select ops.drop_raw_partition('trade_v1', 'trade_v1_20260413', '2026-04-13')",
        "select ops.prune('silver.trade', now() - interval '1 day')",
        "select ops.prune('silver.candle', '2000-01-01')",
        "select ops.prune('ops.load_ledger', '2000-01-01')",
        "select ops.prune_builds(now())",
        "delete from silver.trade",
        "update ops.retention set keep = '0'",
    ):
        with pytest.raises((psycopg.errors.RaiseException, psycopg.errors.InsufficientPrivilege)):
            loader.execute(query.encode())
    loaded.opened[0].execute("update ops.retention set keep = '7 days' where relation = 'raw.trade_v1'")
    (dropped,) = loader.execute(
        "select ops.drop_raw_partition('trade_v1', 'ticker_v1_20260413', '2026-04-13')"
    ).fetchone()
    assert not dropped, "a partition of another table"
