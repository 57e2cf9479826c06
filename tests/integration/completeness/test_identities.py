"""Identities 0 to 4 over a real warehouse and a real lake: green when nothing is wrong, else red with a name."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.warehouse.landed import T0, chain, envelope, land, land_rest, trade, trades
from tests.integration.warehouse.place import Place
from tidemark.completeness import accounting, arithmetic, counts, gaps, lost, silence, socket, summary
from tidemark.completeness import chain as chains
from tidemark.completeness.loads import landing
from tidemark.completeness.verdicts import HOUR, Scope, Verdict, scope, settled, write
from tidemark.completeness.watermarks import Watermark
from tidemark.jobs import load as job
from tidemark.lake.chain import Chain

NOW = T0 + 5 * HOUR


def frame(place: Place, start: datetime = T0, hours: int = 1, now: datetime = NOW) -> Scope:
    return scope(place.opened[0], "upbit", start, start + hours * HOUR, now)


def load(place: Place, *datasets: str) -> None:
    """One object after the other, so that a test can name a load by its number."""
    own = place.settings.warehouse.model_copy(update={"load_connections": 1})
    for dataset in datasets or ("trade",):
        job.run(place.settings.model_copy(update={"warehouse": own}), dataset, "upbit")


def run(place: Place, query: str, *values: Any) -> None:
    place.opened[0].execute(query.encode(), values)


# --- 0: the socket ------------------------------------------------------------------------------------------


def sockets(place: Place, *, caught_up: bool = True, hours: int = 1) -> list[Verdict]:
    return socket.check(place.opened[0], frame(place, hours=hours), lambda _: caught_up)


def test_frames_of_one_connection_over_two_topics_and_two_hours(place: Place) -> None:
    ticker = chain("ticker")
    for where, dataset in ((chain(), "trade"), (ticker, "ticker")):
        odd = 1 if dataset == "trade" else 2
        for part in range(2):
            rows = trades(where, part * 10, 10, T0 + part * HOUR)
            for n, row in enumerate(rows):
                row["frame_no"] = part * 20 + odd + 2 * n
            if dataset == "ticker":
                rows = [{k: v for k, v in r.items() if k not in ("trade_id", "price", "size")} for r in rows]
            land(place.store, where, rows)
        load(place, dataset)
    found = sockets(place, hours=2)
    assert [(v.status, v.expected, v.actual) for v in found] == [("green", 20, 20), ("green", 20, 20)]


def test_a_missing_frame_is_named_once_the_ledger_has_caught_up(place: Place) -> None:
    where = chain()
    rows = trades(where, 0, 10)
    rows = [row | {"kafka_offset": n} for n, row in enumerate(r for r in rows if r["frame_no"] not in (4, 7))]
    land(place.store, where, rows)
    load(place)
    [verdict] = sockets(place, caught_up=False)
    assert (verdict.status, verdict.expected, verdict.actual) == ("open", 10, 8)
    [verdict] = sockets(place)
    assert verdict.status == "red"
    [problem] = verdict.detail["problems"]
    assert problem["what"] == "missing frames"
    assert problem["numbers"] == ["4", "7"]
    assert problem["connection"] == "c1"


def test_the_close_record_counts_the_frames_that_came(place: Place) -> None:
    where, system = chain(), chain("system")
    land(place.store, where, trades(where, 0, 10))
    closed = {"exchange": "upbit", "kind": "close", "connection": "c1", "worker": "w", "event_at": T0, "frames": 12}
    land(place.store, system, [closed | envelope(system, 0, T0) | {"frame_no": None}])
    load(place, "trade", "system")
    [verdict] = sockets(place)
    assert (verdict.status, verdict.expected, verdict.actual) == ("red", 12, 10)
    assert verdict.detail["problems"][0]["numbers"] == ["11-12"]


def close_record(place: Place, name: str, at: datetime, frames: int) -> None:
    """The producer's record of a connection's end."""
    system = chain("system")
    start = place.value("SELECT count(*) FROM raw.system_v1")
    record = {"exchange": "upbit", "kind": "close", "connection": name, "worker": "w", "event_at": at, "frames": frames}
    land(place.store, system, [record | envelope(system, start, at) | {"frame_no": None}])
    load(place, "system")


@pytest.mark.parametrize("other_alive", [True, False])
def test_a_lost_tail_stays_red_when_its_frames_are_outside_the_window(place: Place, other_alive: bool) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    close_record(place, "c1", T0 + HOUR, 15)
    if other_alive:
        where = chain(partition=1)
        land(place.store, where, [r | {"connection_id": "c2"} for r in trades(where, 0, 10, T0 + HOUR)])
    load(place)
    alive = 10 if other_alive else 0
    connection = place.opened[0]
    for start in (T0, T0 + HOUR):
        later = frame(place, start, 2)
        found = socket.check(connection, later, lambda _: True)
        write(connection, later, settled(later, found, {("system", 0)}), NOW)
        row = "SELECT format('%%s %%s=%%s', status, expected, actual) FROM ops.completeness WHERE hour_at = %s"
        assert place.value(row, T0 + HOUR) == f"red {alive + 5}={alive}"
        [red] = [v for v in found if v.status == "red"]
        assert red.detail["problems"][0]["numbers"] == ["11-15"]


def test_a_connection_of_which_no_frame_landed_is_red(place: Place) -> None:
    close_record(place, "c1", T0, 500)
    close_record(place, "c2", T0, 0)
    [verdict] = sockets(place)
    assert (verdict.status, verdict.expected, verdict.actual) == ("red", 500, 0)
    [problem] = verdict.detail["problems"]
    assert (problem["connection"], problem["numbers"]) == ("c1", ["1-500"])


def test_dead_letters_are_no_missing_frames(place: Place) -> None:
    where = chain()
    rows = [r for r in trades(where, 0, 10) if r["frame_no"] != 5]
    everything = trades(where, 0, 10)
    from tests.integration.warehouse.landed import frame_sums

    land(place.store, where, rows, start=0, end=9, dead=1, frames=frame_sums(everything))
    load(place)
    assert [v.status for v in sockets(place)] == ["green"]


# --- 1: the chain -------------------------------------------------------------------------------------------


def chained(place: Place, now: datetime = NOW) -> Verdict:
    seen = landing(place.opened[0], place.store, chain().topic)
    [verdict] = chains.check(frame(place, now=now), "trade", seen, [Watermark(chain(), T0, 0, 30)])
    return verdict


@pytest.mark.parametrize("victim", [0, 1, 2], ids=["first", "middle", "newest"])
def test_a_deleted_object_turns_the_chain_red_whatever_the_ledger_says(place: Place, victim: int) -> None:
    paths = [land(place.store, chain(), trades(chain(), start, 10)) for start in (0, 10, 20)]
    load(place)
    assert chained(place).status == "green"
    place.store.delete(paths[victim])
    verdict = chained(place, now=T0 + timedelta(minutes=1))
    assert (verdict.status, verdict.expected, verdict.actual) == ("red", 30, 20)
    [problem] = verdict.detail["problems"]
    assert (problem["path"], problem["offsets"]) == (paths[victim], f"{victim * 10}-{victim * 10 + 9}")


def test_an_object_written_anew_with_other_content_is_red_and_with_the_same_is_not(place: Place) -> None:
    path = land(place.store, chain(), trades(chain(), 0, 30))
    load(place)
    data = place.store.get(path)
    place.store.delete(path)
    place.store.put_new(path, data)
    assert chained(place).status == "green"
    place.store.delete(path)
    land(place.store, chain(), trades(chain(), 0, 20))
    verdict = chained(place)
    assert verdict.status == "red"
    assert verdict.detail["problems"][0]["what"] == "object rewritten"


# --- 2: counts ----------------------------------------------------------------------------------------------


def counted(place: Place, dataset: str = "trade", now: datetime = NOW) -> Verdict:
    topic = Chain(chain(dataset).topic, "", 0, 0).topic
    [verdict] = counts.check(
        place.opened[0], frame(place, now=now), dataset, landing(place.opened[0], place.store, topic)
    )
    return verdict


def test_rows_of_lake_ledger_and_raw_agree(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10), end=13, dead=3, ignored=1, dead_reasons={"not_json": 3})
    land(place.store, chain(partition=1), trades(chain(partition=1), 0, 5))
    load(place)
    verdict = counted(place)
    assert (verdict.status, verdict.expected, verdict.actual) == ("green", 15, 15)
    assert verdict.detail == {"objects": 2, "parsed": 15, "dead": 3, "ignored": 1, "dead_reasons": {"not_json": 3}}


def test_a_deleted_raw_row_is_red_and_names_the_load(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    path = land(place.store, chain(), trades(chain(), 10, 10))
    load(place)
    run(place, "DELETE FROM raw.trade_v1 WHERE kafka_offset = 14")
    verdict = counted(place)
    assert (verdict.status, verdict.expected, verdict.actual) == ("red", 20, 19)
    [problem] = verdict.detail["problems"]
    assert problem == {
        "what": "10 rows loaded, 9 in raw", "load_id": 2, "path": path, "partition": 0, "offsets": "10-19",
    }  # fmt: skip


def test_a_doubled_raw_row_is_red(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    load(place)
    run(place, "INSERT INTO raw.trade_v1 SELECT * FROM raw.trade_v1 WHERE kafka_offset = 3")
    assert (counted(place).status, counted(place).actual) == ("red", 11)


def test_what_has_landed_and_is_not_loaded_is_open_then_red(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    load(place)
    path = land(place.store, chain(), trades(chain(), 10, 10))
    verdict = counted(place, now=T0 + timedelta(minutes=70))
    assert (verdict.status, verdict.expected, verdict.actual) == ("open", 20, 10)
    verdict = counted(place)
    assert verdict.status == "red"
    assert verdict.detail["problems"] == [{"what": "not loaded", "path": path}]


def test_a_deleted_rest_object_is_red(place: Place) -> None:
    row = {"exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "event_at": T0, "received_at": T0}
    path = land_rest(place.store, "market", [row], "ab" * 16)
    load(place, "market")
    assert counted(place, "market").status == "green"
    place.store.delete(path)
    verdict = counted(place, "market")
    assert (verdict.status, verdict.detail["problems"][0]["path"]) == ("red", path)


def test_offsets_that_the_log_dropped_are_red_and_a_gap(place: Place) -> None:
    where = chain()
    land(place.store, where, trades(where, 0, 10))
    land(place.store, where, [], start=10, end=49, parsed=0, kind="gap", frames=())
    land(place.store, where, trades(where, 50, 10, T0 + timedelta(minutes=20)))
    load(place)
    verdict = counted(place)
    assert verdict.status == "red"
    assert verdict.detail["problems"][0]["what"] == "40 offsets were dropped by the log before they were read"
    seen = landing(place.opened[0], place.store, where.topic)
    [loss] = lost.find(place.opened[0], "upbit", [verdict], {"trade": seen})
    gap = loss.gap
    assert (gap.cause, gap.detail["offsets"]) == ("log trimmed", [10, 49])
    assert (gap.from_at, gap.to_at) == (T0 + timedelta(seconds=9), T0 + timedelta(minutes=20))


def test_a_sealed_hour_outlives_the_day_that_retention_dropped(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    load(place)
    write(place.opened[0], frame(place), [counted(place)], NOW)
    run(place, "DROP TABLE raw.trade_v1_20260413")
    assert counted(place).kept
    write(place.opened[0], frame(place), settled(frame(place), [counted(place)], {("trade", 2)}), NOW + HOUR)
    assert place.value("SELECT status || actual FROM ops.completeness WHERE identity = 2") == "green10"


def test_an_hour_that_was_not_sealed_does_not(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 10))
    load(place)
    run(place, "DROP TABLE raw.trade_v1_20260413")
    assert (counted(place).status, counted(place).kept) == ("red", False)


# --- 3: accounting ------------------------------------------------------------------------------------------


@pytest.fixture
def silver(place: Place) -> Place:
    """Ten raw trades in two event hours and two loads: seven in silver, one in each account."""
    where = chain()
    rows = trades(where, 0, 10)
    for row in rows[5:]:
        row["event_at"] -= HOUR
    land(place.store, where, rows[:8])
    land(place.store, where, rows[8:])
    load(place)
    dbt = place.connect("tidemark_dbt")
    dbt.execute("CREATE TABLE silver.trade AS SELECT * FROM raw.trade_v1 WHERE kafka_offset NOT IN (1, 6, 9)")
    key = "kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item"
    for table, offset in (("duplicate", 1), ("superseded", 6)):
        dbt.execute(
            f"""INSERT INTO silver.{table} SELECT exchange, 'trade', market, event_at, 'k', 'h', source, load_id,
            received_at, {key} FROM raw.trade_v1 WHERE kafka_offset = {offset}""".encode()
        )
    dbt.execute(
        f"""INSERT INTO silver.quarantine (dataset, hour_at, reason, payload, source, load_id, received_at, {key})
        SELECT 'trade', date_trunc('hour', event_at), 'bad', '{{}}', source, load_id, received_at, {key}
        FROM raw.trade_v1 WHERE kafka_offset = 9""".encode()
    )
    dbt.execute("INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, 'silver.trade' FROM ops.load_ledger")
    return place


def accounted(place: Place) -> dict[int, Verdict]:
    found = accounting.check(place.opened[0], frame(place, T0 - HOUR, 3), "trade")
    return {int((v.hour_at - T0) / HOUR): v for v in found}


def test_every_raw_row_is_in_silver_or_in_one_account(silver: Place) -> None:
    found = accounted(silver)
    assert {h: (v.status, v.expected, v.actual) for h, v in found.items()} == {0: ("green", 5, 5), -1: ("green", 5, 5)}
    assert found[0].detail == {"silver": 4, "duplicate": 1, "superseded": 0, "quarantine": 0}
    assert found[-1].detail == {"silver": 3, "duplicate": 0, "superseded": 1, "quarantine": 1}


@pytest.mark.parametrize(
    ("damage", "row"),
    [
        ("DELETE FROM silver.trade WHERE kafka_offset = 2", 2),
        ("DELETE FROM silver.duplicate", 1),
        ("INSERT INTO silver.trade SELECT * FROM silver.trade WHERE kafka_offset = 3", 3),
        ("DELETE FROM raw.trade_v1 WHERE kafka_offset = 4", 4),
    ],
)
def test_a_row_too_few_or_too_many_is_red_and_named(silver: Place, damage: str, row: int) -> None:
    run(silver, damage)
    found = accounted(silver)
    assert (found[0].status, found[-1].status) == ("red", "green")
    [problem] = found[0].detail["problems"]
    assert problem["load_id"] == 1
    assert problem["rows"] == [f"test/0/raw.upbit.trade.v1/0/{row}/0"]


def test_a_loss_in_one_load_and_a_double_in_another_do_not_cancel_out(silver: Place) -> None:
    run(silver, "DELETE FROM silver.trade WHERE kafka_offset = 7")
    run(silver, "INSERT INTO silver.trade SELECT * FROM silver.trade WHERE kafka_offset = 8")
    verdict = accounted(silver)[-1]
    assert (verdict.status, verdict.expected, verdict.actual) == ("red", 5, 5)


def test_loads_that_silver_has_not_taken_keep_the_hour_open(silver: Place) -> None:
    where = chain(partition=1)
    land(silver.store, where, trades(where, 0, 3))
    load(silver)
    verdict = accounted(silver)[0]
    assert (verdict.status, verdict.expected, verdict.detail["waiting_loads"]) == ("open", 5, 1)


def test_before_silver_was_ever_built_hours_wait(place: Place) -> None:
    land(place.store, chain(), trades(chain(), 0, 3))
    load(place)
    [verdict] = accounted(place).values()
    assert (verdict.status, verdict.detail["waiting_loads"]) == ("open", 1)


def test_where_silver_had_taken_loads_and_its_table_is_gone_the_hour_is_red(silver: Place) -> None:
    run(silver, "DROP TABLE silver.trade")
    found = accounted(silver)
    assert {h: (v.status, v.expected, v.actual) for h, v in found.items()} == {0: ("red", 5, 0), -1: ("red", 5, 0)}
    [problem] = found[0].detail["problems"]
    assert (problem["what"], problem["loads"]) == ("silver.trade is gone, and it had taken 1 loads", [1])


def contradict(place: Place) -> None:
    """Two rows that silver holds become conflicts: the sums stay exact."""
    dbt = place.connect("tidemark_dbt")
    dbt.execute(
        """INSERT INTO silver.quarantine (exchange, dataset, hour_at, reason, natural_key, payload, source, load_id,
            received_at, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item)
        SELECT exchange, 'trade', date_trunc('hour', event_at), 'conflict', 'BTC-KRW/' || kafka_offset, '{}', source,
            load_id, received_at, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item
        FROM silver.trade WHERE kafka_offset IN (2, 3)"""
    )
    dbt.execute("DELETE FROM silver.trade WHERE kafka_offset IN (2, 3)")


def test_a_conflict_is_red_though_the_sums_agree_and_the_line_says_why(silver: Place) -> None:
    contradict(silver)
    found = accounted(silver)
    assert {h: (v.status, v.expected, v.actual) for h, v in found.items()} == {0: ("red", 5, 5), -1: ("green", 5, 5)}
    [problem] = found[0].detail["problems"]
    assert (problem["conflicts"], problem["natural_keys"]) == (2, ["BTC-KRW/2", "BTC-KRW/3"])
    line = summary.problem(found[0])
    assert line.startswith("RED   3 accounting  trade")
    assert "the exchange contradicted itself" in line
    assert "conflicts=2 natural_keys=['BTC-KRW/2', 'BTC-KRW/3']" in line


def test_a_conflict_and_a_loss_are_both_named(silver: Place) -> None:
    contradict(silver)
    run(silver, "DELETE FROM silver.trade WHERE kafka_offset = 4")
    verdict = accounted(silver)[0]
    assert verdict.detail["problem_count"] == len(verdict.detail["problems"]) == 2
    assert verdict.detail["problems"][1]["rows"] == ["test/0/raw.upbit.trade.v1/0/4/0"]


def test_a_conflict_turns_an_old_and_sealed_hour_red(silver: Place) -> None:
    now = frame(silver)
    write(silver.opened[0], now, accounting.check(silver.opened[0], now, "trade"), NOW)
    contradict(silver)
    later = frame(silver, T0 + HOUR)
    assert [(v.hour_at, v.status) for v in accounting.check(silver.opened[0], later, "trade")] == [(T0, "red")]
    run(silver, "DROP TABLE raw.trade_v1_20260413")
    [verdict] = accounting.check(silver.opened[0], frame(silver), "trade")
    assert (verdict.status, verdict.kept, verdict.detail["problem_count"]) == ("red", False, 1)


def test_accounts_are_kept_when_retention_dropped_raw(silver: Place) -> None:
    first = accounting.check(silver.opened[0], frame(silver), "trade")
    write(silver.opened[0], frame(silver), first, NOW)
    run(silver, "DROP TABLE raw.trade_v1_20260413")
    [verdict] = accounting.check(silver.opened[0], frame(silver), "trade")
    assert verdict.kept


# --- 4: arithmetic ------------------------------------------------------------------------------------------

WIDTHS = {"1m": "1 minute", "5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "4h": "4 hours", "1d": "1 day"}


@pytest.fixture
def gold(place: Place) -> Place:
    """Two markets over nine hours in silver, and every layer of bars made from them."""
    dbt = place.connect("tidemark_dbt")
    dbt.execute(
        "CREATE TABLE silver.trade (exchange text, market text, event_at timestamptz, price numeric, size numeric)"
    )
    rows = [trade(n, T0 + timedelta(minutes=13 * n), market=m) for n in range(40) for m in ("BTC-KRW", "ETH-KRW")]
    with dbt.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO silver.trade VALUES ('upbit', %s, %s, %s, %s)",
            [(r["market"], r["event_at"], r["price"], r["size"]) for r in rows],
        )
    for layer, width in WIDTHS.items():
        dbt.execute(
            f"""CREATE TABLE gold.ohlcv_{layer} AS SELECT exchange, market,
            date_bin('{width}', event_at, timestamptz '2000-01-01 00:00+00') AS bucket_at,
            count(*) AS trade_count, sum(size) AS volume_base, trim_scale(sum(price * size)) AS volume_quote
            FROM silver.trade GROUP BY 1, 2, 3""".encode()
        )
    return place


def summed(place: Place, hours: int = 9) -> dict[int, Verdict]:
    found = arithmetic.check(place.opened[0], frame(place, hours=hours, now=T0 + 20 * HOUR))
    return {int((v.hour_at - T0) / HOUR): v for v in found}


def test_bars_hold_exactly_the_trades(gold: Place) -> None:
    found = summed(gold, hours=12)
    assert {v.status for v in found.values()} == {"green"}
    assert len(found) == 9, "hours without trades and bars have no verdict"
    assert sum(v.expected for v in found.values()) == sum(v.actual for v in found.values()) == 80


@pytest.mark.parametrize("layer", WIDTHS)
def test_each_layer_is_compared_to_the_last_digit(gold: Place, layer: str) -> None:
    run(
        gold,
        f"""UPDATE gold.ohlcv_{layer} SET volume_quote = volume_quote + 0.000000000000000001
        WHERE market = 'ETH-KRW' AND bucket_at = (SELECT min(bucket_at) FROM gold.ohlcv_{layer})""",
    )
    found = summed(gold)
    red = [hour for hour, v in found.items() if v.status == "red"]
    assert red == {"4h": [0, 1], "1d": list(range(9))}.get(layer, [0])
    [problem] = found[0].detail["problems"]
    assert (problem["layer"], problem["market"], set(problem) & {"volume_quote", "volume_base"}) == (
        layer, "ETH-KRW", {"volume_quote"},
    )  # fmt: skip


def test_a_bar_without_trades_and_a_trade_without_a_bar(gold: Place) -> None:
    run(gold, "DELETE FROM silver.trade WHERE event_at < %s", T0 + HOUR)
    assert (summed(gold)[0].status, summed(gold)[0].expected) == ("red", 0)
    run(gold, "DELETE FROM gold.ohlcv_1m")
    found = summed(gold)
    assert found[3].status == "red"
    assert found[3].actual == 0


def test_two_markets_that_swap_volume_do_not_cancel_out(gold: Place) -> None:
    run(
        gold,
        """UPDATE gold.ohlcv_1h SET volume_base = volume_base + CASE market WHEN 'ETH-KRW' THEN 1 ELSE -1 END
        WHERE bucket_at = %s""",
        T0 + HOUR,
    )
    assert {h: v.status for h, v in summed(gold).items() if v.status != "green"} == {1: "red"}


def test_while_gold_has_builds_to_take_a_difference_is_open(gold: Place) -> None:
    run(gold, "INSERT INTO silver.trade VALUES ('upbit', 'BTC-KRW', %s, 1, 1)", T0)
    assert summed(gold)[0].status == "red"
    run(gold, "INSERT INTO ops.build (dataset) VALUES ('trade')")
    touched = "INSERT INTO ops.touched_bucket SELECT build_id, 'upbit', 'BTC-KRW', %s, %s FROM ops.build"
    run(gold, touched, T0, T0 + timedelta(minutes=1))
    found = summed(gold)
    assert found[0].status == "open"
    assert found[0].detail["waiting_layers"] == sorted(WIDTHS)
    assert {hour for hour, verdict in found.items() if verdict.status != "green"} == {0}, "the day's other hours hold"
    for layer in WIDTHS:
        run(
            gold,
            f"INSERT INTO ops.build_mark (build_id, consumer) SELECT build_id, 'gold.ohlcv_{layer}' FROM ops.build",
        )
    assert summed(gold)[0].status == "red"


def test_before_gold_was_ever_built_hours_wait(gold: Place) -> None:
    run(gold, "DROP TABLE gold.ohlcv_4h")
    found = summed(gold)
    assert {v.status for v in found.values()} == {"open"}
    assert found[0].detail == {"waiting_layers": ["4h"]}


def test_without_silver_what_stood_is_open_and_what_was_red_stays_red(gold: Place) -> None:
    run(gold, "UPDATE gold.ohlcv_1m SET trade_count = 0 WHERE bucket_at = %s", T0)
    write(gold.opened[0], frame(gold), list(summed(gold).values()), NOW)
    run(gold, "DROP TABLE silver.trade")
    found = summed(gold)
    assert {h: v.status for h, v in found.items()} == {0: "red", **dict.fromkeys(range(1, 9), "open")}
    assert "no such table" in found[1].detail["waits_for"]


# --- keeping ------------------------------------------------------------------------------------------------


def test_an_older_check_does_not_undo_a_newer_one_and_seals_come_and_go(place: Place) -> None:
    at = "SELECT status || (sealed_at IS NOT NULL) FROM ops.completeness"
    connection = place.opened[0]

    def keep(status: Any, moment: datetime, now: datetime = NOW) -> str:
        write(connection, frame(place, now=now), [Verdict("trade", T0, 1, status, 1, Decimal(1))], moment)
        return str(place.value(at))

    assert keep("open", NOW, T0) == "openfalse"
    assert keep("green", NOW + HOUR, T0 + HOUR) == "greenfalse", "the hour has only just ended"
    assert keep("green", NOW + 2 * HOUR) == "greentrue"
    assert keep("red", NOW + 3 * HOUR) == "redfalse"
    assert keep("green", NOW) == "redfalse"


def test_a_red_hour_of_which_nothing_is_left_becomes_green_with_nothing(gold: Place) -> None:
    write(gold.opened[0], frame(gold), [Verdict("trade", T0 - HOUR, 4, "red", 0, 5)], NOW)
    later = frame(gold)
    found = arithmetic.check(gold.opened[0], later)
    assert [v.hour_at for v in found] == [T0], "nothing is left of the hour before"
    write(gold.opened[0], later, settled(later, found, {("trade", 4)}), NOW + HOUR)
    row = "SELECT status || expected || actual FROM ops.completeness WHERE hour_at = %s"
    assert gold.value(row, T0 - HOUR) == "green00"


def test_what_could_not_be_looked_at_becomes_nothing(place: Place) -> None:
    write(place.opened[0], frame(place), [Verdict("trade", T0, 4, "red", 0, 5)], NOW)
    later = frame(place, T0 + HOUR)
    assert settled(later, [], {("trade", 3), ("ticker", 4)}) == []


# --- gaps ---------------------------------------------------------------------------------------------------


def connections(place: Place, *records: tuple[str, str, datetime]) -> None:
    system = chain("system")
    start = place.value("SELECT count(*) FROM raw.system_v1")
    rows = []
    for n, (name, kind, at) in enumerate(records):
        asked = '{"datasets": ["trade"], "codes": ["KRW-BTC"]}' if kind == "open" else None
        row = {
            "exchange": "upbit",
            "kind": kind,
            "connection": name,
            "worker": "w",
            "event_at": at,
            "subscription": asked,
        }
        rows.append(row | envelope(system, start + n, at) | {"frame_no": None, "connection_id": name})
    land(place.store, system, rows)
    load(place, "system")


def test_a_killed_connection_ends_with_its_last_frame(place: Place) -> None:
    minute = timedelta(minutes=1)
    connections(place, ("c1", "open", T0), ("c2", "open", T0 + 20 * minute), ("c2", "close", T0 + 30 * minute))
    connections(place, ("c3", "open", T0 + 31 * minute))
    land(place.store, chain(), trades(chain(), 0, 61, T0))
    load(place)
    found = silence.find(place.opened[0], frame(place))
    assert [(g.stream, g.from_at - T0, g.to_at - T0, g.cause) for g in found] == [
        ("trade", minute, 20 * minute, "killed"),
        ("trade", 30 * minute, 31 * minute, "disconnected"),
    ]
    for _ in range(2):
        gaps.write(place.opened[0], "upbit", found)
    assert place.value("SELECT count(*) FROM ops.gap") == 2


def test_a_stream_that_nobody_hears_any_more_has_a_gap_without_an_end(place: Place) -> None:
    minute, now = timedelta(minutes=1), frame(place)
    connections(place, ("c1", "open", T0))
    land(place.store, chain(), trades(chain(), 0, 61, T0))
    load(place)
    connection = place.opened[0]
    assert silence.find(connection, now) == [], "as long as the ledger has not caught up, it may have spoken"
    assert silence.find(connection, now, T0 + 2 * minute) == []
    [gap] = silence.find(connection, now, T0 + 30 * minute)
    assert (gap.stream, gap.from_at, gap.to_at, gap.cause) == ("trade", T0 + minute, None, "killed")
    gaps.write(connection, "upbit", [gap])
    # It was only quiet: its next frame ends the gap.
    land(place.store, chain(), trades(chain(), 61, 5, T0 + 40 * minute))
    load(place)
    [gap] = silence.find(connection, now, T0 + 41 * minute)
    assert (gap.from_at, gap.to_at) == (T0 + minute, T0 + 40 * minute)
    gaps.write(connection, "upbit", [gap])
    assert silence.find(connection, now, T0 + 41 * minute) == []
    assert place.value("SELECT count(*) FROM ops.gap") == 1


def test_a_quiet_connection_that_says_it_is_alive_is_no_gap(place: Place) -> None:
    minute, now = timedelta(minutes=1), frame(place)
    connections(place, ("c1", "open", T0), ("c1", "alive", T0 + 20 * minute), ("c1", "alive", T0 + 40 * minute))
    land(place.store, chain(), trades(chain(), 0, 61, T0))
    load(place)
    assert silence.find(place.opened[0], now, T0 + 44 * minute) == []
    [gap] = silence.find(place.opened[0], now, T0 + 46 * minute)
    assert (gap.from_at, gap.to_at, gap.cause) == (T0 + 40 * minute, None, "killed")


def test_a_gap_of_a_connection_that_proves_alive_is_taken_back(place: Place) -> None:
    """Booked by a check that did not know better, and asked for: it stays no loss for good."""
    minute, connection = timedelta(minutes=1), place.opened[0]
    connections(place, ("c1", "open", T0))
    land(place.store, chain(), trades(chain(), 0, 61, T0))
    load(place)
    gaps.write(connection, "upbit", silence.find(connection, frame(place), T0 + 30 * minute))
    connection.execute("UPDATE ops.gap SET state = 'not_served', said = 'no such data'")
    assert silence.refuted(connection, "upbit", NOW) == {}
    land(place.store, chain(), trades(chain(), 61, 5, T0 + 40 * minute))
    load(place)
    alive = silence.refuted(connection, "upbit", NOW)
    assert [at >= T0 + 40 * minute for at in alive.values()] == [True]
    gaps.refute(connection, alive)
    assert place.value("SELECT state FROM ops.gap") == "nothing_missing"
    assert silence.refuted(connection, "upbit", NOW) == {}


def test_a_connection_that_said_nothing_counts_until_its_last_frame(place: Place) -> None:
    minute = timedelta(minutes=1)
    connections(place, ("c1", "open", T0), ("c2", "open", T0 + 11 * minute))
    system = chain("system")
    last = (T0 + 8 * minute).isoformat()
    record = {"exchange": "upbit", "kind": "close", "connection": "c1", "worker": "w", "event_at": T0 + 10 * minute}
    record |= {"reason": "nothing came for 120 s", "frames": 0, "extra": f'{{"heard_until": "{last}"}}'}
    land(place.store, system, [record | envelope(system, 2, T0 + 10 * minute) | {"frame_no": None}])
    load(place, "system")
    [gap] = silence.find(place.opened[0], frame(place))
    assert (gap.from_at, gap.to_at, gap.cause) == (T0 + 8 * minute, T0 + 11 * minute, "silent")


def test_a_stream_that_was_closed_in_order_and_never_opened_again(place: Place) -> None:
    minute = timedelta(minutes=1)
    connections(place, ("c1", "open", T0), ("c1", "close", T0 + 10 * minute))
    [gap] = silence.find(place.opened[0], frame(place), T0 + 20 * minute)
    assert (gap.from_at, gap.to_at, gap.cause) == (T0 + 10 * minute, None, "disconnected")
    gaps.write(place.opened[0], "upbit", [gap])
    connections(place, ("c2", "open", T0 + 30 * minute))
    [gap] = silence.find(place.opened[0], frame(place), T0 + 31 * minute)
    assert (gap.from_at, gap.to_at) == (T0 + 10 * minute, T0 + 30 * minute)
    gaps.write(place.opened[0], "upbit", [gap])
    assert place.value("SELECT count(*) FROM ops.gap WHERE to_at IS NOT NULL") == 1
