"""Holes between numbers, over a real warehouse: found exactly, whichever are lost; bars and books likewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.warehouse.landed import T0
from tests.integration.warehouse.place import Place, close, make_place
from tidemark.completeness import sequences
from tidemark.completeness.gaps import Gap
from tidemark.completeness.verdicts import HOUR, Scope
from tidemark.completeness.witness import Carried, check

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def place(fresh_database: Callable[..., str], tmp_path: Path) -> Iterator[Place]:
    made = make_place(fresh_database(), tmp_path)
    dbt = made.connect("tidemark_dbt")
    for dataset in ("trade", "candle"):
        dbt.execute(f"CREATE TABLE silver.{dataset} AS SELECT * FROM raw.{dataset}_v1".encode())
    yield made
    close(made)


def fill(place: Place, rows: list[tuple[Any, ...]]) -> psycopg.Connection[Any]:
    """Silver's trades anew: id, first, last, second within the hour."""
    dbt = place.connect("tidemark_dbt")
    dbt.execute("TRUNCATE silver.trade")
    with dbt.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO silver.trade (exchange, market, code, trade_id, first_trade_id, last_trade_id, event_at,
                price, size) VALUES ('x', 'BTC-USDT', 'BTCUSDT', %s, %s, %s, %s, 1, 1)""",
            [(i, a, b, T0 + s * SECOND) for i, a, b, s in rows],
        )
    return dbt


def missing(found: list[Gap]) -> set[int]:
    ids: set[int] = set()
    for gap in found:
        for part in gap.detail["ids"].split(", "):
            first, _, last = part.partition("-")
            ids |= set(range(int(first), int(last or first) + 1))
    return ids


@QUICK
@given(st.integers(3, 60), st.data())
def test_steps_whichever_are_lost_are_named_exactly(place: Place, count: int, data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(2, count - 1)))
    dbt = fill(place, [(1000 + n, None, None, n) for n in range(1, count + 1) if n not in lost])
    found = sequences.trades(dbt, "x", "steps", T0, T0 + HOUR)
    assert missing(found) == {1000 + n for n in lost} if lost else found == []
    assert sum(gap.detail["missing"] for gap in found) == len(lost)
    for gap in found:
        for number in missing([gap]):
            assert gap.from_at < T0 + (number - 1000) * SECOND < gap.to_at
    dbt.close()


@QUICK
@given(st.lists(st.integers(1, 5), min_size=2, max_size=25), st.data())
def test_spans_of_any_length_whichever_are_lost(place: Place, lengths: list[int], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.integers(1, len(lengths) - 2) if len(lengths) > 2 else st.nothing()))
    rows, gone, last = [], set(), 0
    for n, length in enumerate(lengths):
        first, last = last + 1, last + length
        if n in lost:
            gone |= set(range(first, last + 1))
        else:
            rows.append((last, first if length > 1 else None, last if length > 1 else None, n))
    dbt = fill(place, rows)
    found = sequences.trades(dbt, "x", "spans", T0, T0 + HOUR)
    assert missing(found) == gone if gone else found == []
    dbt.close()


def test_the_id_before_the_window_counts_and_a_day_of_silence_does_not(place: Place) -> None:
    dbt = fill(place, [(1, None, None, -3600), (5, None, None, 10)])
    [gap] = sequences.trades(dbt, "x", "steps", T0, T0 + HOUR)
    assert (gap.detail["ids"], gap.from_at) == ("2-4", T0 - HOUR)
    dbt = fill(place, [(1, None, None, -90_000), (5, None, None, 10)])
    assert sequences.trades(dbt, "x", "steps", T0, T0 + HOUR) == []


def bars(place: Place, *found: tuple[int, bool | None]) -> psycopg.Connection[Any]:
    """Silver's one-minute bars anew: minute and whether closed."""
    dbt = place.connect("tidemark_dbt")
    dbt.execute("TRUNCATE silver.candle")
    with dbt.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO silver.candle (exchange, market, code, interval, event_at, is_closed, volume_base, source)
            VALUES ('x', 'BTC-USDT', 'BTCUSDT', '1m', %s, %s, 1, 'ws')""",
            [(T0 + minute * MINUTE, closed) for minute, closed in found],
        )
    return dbt


def spans(found: list[Gap]) -> list[tuple[str, int, int]]:
    return [(g.detail["what"], (g.from_at - T0) // MINUTE, (g.to_at - T0) // MINUTE) for g in found if g.to_at]


def test_bars_that_were_left_out_or_never_closed(place: Place) -> None:
    dbt = bars(place, (0, True), (1, True), (5, True), (6, False), (7, True), (8, False))
    found = list(sequences.missing_bars(sequences.bars(dbt, "x", T0, T0 + HOUR), T0 + 18 * MINUTE))
    assert spans(found) == [("bars are missing", 2, 5), ("the bar was never closed", 6, 7)]
    assert {(g.stream, g.detail["interval"]) for g in found} == {("candle/BTC-USDT/1m", "1m")}


def test_bars_of_an_exchange_that_never_says_closed_may_be_left_out(place: Place) -> None:
    dbt = bars(place, (0, None), (9, None))
    assert sequences.bars(dbt, "x", T0, T0 + HOUR) == []


def depth(place: Place, changes: list[tuple[int, int | None, int]]) -> None:
    """Raw changes of a book: last number, number before, second."""
    connection = place.opened[0]
    connection.execute("SELECT ops.ensure_raw_partition('depth_v1', 'depth_v1_20260413', '2026-04-13')")
    row = connection.execute(
        """INSERT INTO ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset,
            end_offset, rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
        VALUES ('p', 'data', 'x', 'depth', 't', 'c', 0, 0, 0, 0, 1, 1, 0, 0, %s, 1, '', '') RETURNING load_id""",
        [T0],
    ).fetchone()
    assert row is not None
    connection.execute("INSERT INTO ops.load_hour VALUES (%s, %s, 1)", [row[0], T0])
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO raw.depth_v1 (load_id, exchange, market, code, event_at, received_at, kind, last_update_id,
                prev_update_id, source, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item)
            VALUES (%s, 'x', 'BTC-USDT', 'BTCUSDT', %s, %s, %s, %s, %s, 'ws', 'c', 0, 't', 0, %s, 0)""",
            [
                (row[0], T0 + s * SECOND, T0 + s * SECOND, "snapshot" if before is None else "update", last, before, n)
                for n, (last, before, s) in enumerate(changes)
            ],
        )


def verdicts(place: Place, now: datetime = T0 + 3 * HOUR) -> dict[str, tuple[str, int, int]]:
    frame = Scope("x", T0, T0 + HOUR, now, {})
    found = check(place.opened[0], frame, Carried(("trade", "depth", "candle"), "steps"), lambda _: True, [])
    return {v.dataset: (v.status, int(v.expected), int(v.actual)) for v in found.verdicts}


def test_each_change_of_a_book_names_the_one_before_it(place: Place) -> None:
    """Twice over two connections, and a snapshot between, are no break; a change that is missing is one."""
    depth(place, [(10, 9, 0), (12, 10, 1), (12, 10, 1), (12, None, 1), (15, 12, 2), (19, 17, 4), (20, 19, 5)])
    [gap] = sequences.depth(place.opened[0], "x", T0, T0 + HOUR)
    assert (gap.from_at, gap.to_at, gap.stream) == (T0 + 2 * SECOND, T0 + 4 * SECOND, "depth/BTC-USDT")
    assert gap.detail["numbers"] == "15 was followed by a change of 17"
    assert verdicts(place)["depth"] == ("red", 6, 5)


def test_ids_bars_and_books_without_a_hole_are_green(place: Place) -> None:
    fill(place, [(n, None, None, n) for n in range(1, 30)])
    bars(place, *((n, True) for n in range(60)))
    depth(place, [(n + 1, n, n) for n in range(20)])
    dbt = place.connect("tidemark_dbt")
    dbt.execute("UPDATE silver.candle SET volume_base = 29 WHERE event_at = %s", [T0])
    dbt.execute("UPDATE silver.candle SET volume_base = 0 WHERE event_at <> %s", [T0])
    assert verdicts(place) == {"trade": ("green", 89, 89), "candle": ("green", 60, 60), "depth": ("green", 20, 20)}


def test_a_hole_is_open_until_everything_that_came_is_loaded(place: Place) -> None:
    fill(place, [(1, None, None, 1), (5, None, None, 10)])
    frame = Scope("x", T0, T0 + HOUR, T0 + 3 * HOUR, {})
    carried = Carried(("trade", "candle"), "steps")
    found = check(place.opened[0], frame, carried, lambda _: False, [])
    assert [(v.dataset, v.status) for v in found.verdicts] == [("trade", "open")]
    assert (found.gaps, found.judged) == ([], set())
    found = check(place.opened[0], frame, carried, lambda _: True, [])
    assert [(v.dataset, v.status) for v in found.verdicts] == [("trade", "red")]
    assert found.verdicts[0].detail["problems"][0]["ids"] == "2-4"
    assert ("trade", "sequence", T0) in found.judged
