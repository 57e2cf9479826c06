"""Definitions that change under readers, and contracts that change under tables: applied or refused, never ignored.

Readers are real sessions that leave a transaction open; a changed contract is a copy of the project with other files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.transform.conftest import ALIASES, VIEWS, Warehouse
from tests.transform.project_copy import ProjectCopy
from tests.transform.rows import at, trade

Reader = Callable[[str], psycopg.Connection[Any]]


@pytest.fixture
def reader(warehouse: Warehouse) -> Iterator[Reader]:
    """Opens a session that has read a relation in a transaction and leaves it open."""
    opened = []

    def begin(relation: str) -> psycopg.Connection[Any]:
        connection = psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro", application_name="client")
        connection.execute(f"select count(*) from {relation}".encode())
        opened.append(connection)
        return connection

    yield begin
    for connection in opened:
        connection.close()


@pytest.fixture
def copy(warehouse: Warehouse, tmp_path: Path) -> ProjectCopy:
    """The dbt project, to be changed."""
    return ProjectCopy(tmp_path)


def _definitions(warehouse: Warehouse) -> dict[str, str]:
    """By view, the transaction that last wrote its definition."""
    rows = warehouse.rows(
        """select c.oid::regclass::text as view, r.xmin::text as written
        from pg_class as c join pg_rewrite as r on r.ev_class = c.oid
        where c.relkind = 'v' and c.relnamespace = 'gold'::regnamespace"""
    )
    return {row["view"]: row["written"] for row in rows}


def test_an_unchanged_view_is_left_alone_whoever_reads_it(warehouse: Warehouse, reader: Reader) -> None:
    before = _definitions(warehouse)
    assert set(before) == set(VIEWS)
    for view in VIEWS:
        reader(view)
    models = {relation: model for model, relation in ALIASES.items()}
    names = [models.get(name, name) for name in (view.removeprefix("gold.") for view in VIEWS)]
    begun = time.monotonic()
    warehouse.run(*names)
    assert time.monotonic() - begun < 30
    assert _definitions(warehouse) == before
    with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro") as other:
        other.execute("set lock_timeout to '1s'")
        for view in VIEWS:
            other.execute(f"select count(*) from {view}".encode())


def test_a_changed_view_waits_for_its_reader_and_lets_others_pass(
    warehouse: Warehouse, reader: Reader, copy: ProjectCopy
) -> None:
    open_reader = reader("gold.trade_hourly")
    copy.edit("gold/trade_hourly.sql", "from placed", "from placed where trade_count > 0")
    waited: list[float] = []
    over = threading.Event()

    def others() -> None:
        with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro", autocommit=True) as connection:
            while not over.wait(0.05):
                begun = time.monotonic()
                connection.execute("select count(*) from gold.trade_hourly")
                waited.append(time.monotonic() - begun)

    passing = threading.Thread(target=others)
    passing.start()
    ending = threading.Timer(6, open_reader.close)
    ending.start()
    try:
        copy.run("trade_hourly")
    finally:
        over.set()
        passing.join()
        ending.join()
    assert (
        "trade_count > 0" in warehouse.rows("select pg_get_viewdef('gold.trade_hourly'::regclass) as text")[0]["text"]
    )
    assert len(waited) > 5
    assert max(waited) < 2


def test_a_view_that_cannot_be_replaced_says_who_reads_it(
    warehouse: Warehouse, reader: Reader, copy: ProjectCopy
) -> None:
    open_reader = reader("gold.trade_hourly")
    copy.edit("gold/trade_hourly.sql", "from placed", "from placed where trade_count > 0")
    said = copy.fails("trade_hourly", "--vars", "definition_attempts: 2")
    assert "the definition of gold.trade_hourly has changed, and an open transaction still reads it" in said
    assert f"pid {open_reader.info.backend_pid} (tidemark_gold_ro, client)" in said
    open_reader.close()
    copy.run("trade_hourly")


def test_a_view_gains_and_loses_columns_wherever_they_are(warehouse: Warehouse, copy: ProjectCopy) -> None:
    copy.edit("gold/trade_hourly.sql", "    kst_date,\n    kst_hour", "    kst_date,\n    1 as one,\n    kst_hour")
    copy.edit(
        "gold/trade_hourly.yml",
        "      - name: kst_hour",
        '      - name: one\n        data_type: integer\n        description: "One."\n      - name: kst_hour',
    )
    copy.run("trade_hourly")
    warehouse.run("trade_hourly")
    columns = "select attname from pg_attribute where attrelid = 'gold.trade_hourly'::regclass and attname = 'one'"
    assert warehouse.rows(columns) == []
    with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro") as connection:
        connection.execute("select * from gold.trade_hourly")


def test_a_view_under_other_views_changes_its_columns(warehouse: Warehouse, copy: ProjectCopy) -> None:
    """Views of gold on it come back in the same run; a view of somebody else's is never dropped."""
    copy.edit("gold/asset.sql", "    instrument,\n    base", "    instrument,\n    1 as one,\n    base")
    copy.edit(
        "gold/asset.yml",
        "      - name: base",
        '      - name: one\n        data_type: integer\n        description: "One."\n      - name: base',
    )
    copy.run("asset gold_market")
    warehouse.run("asset", "gold_market")
    with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro") as connection:
        connection.execute("select * from gold.market")
    warehouse.connection.execute("create view public.mine as select market from gold.market")
    assert "view mine depends on" in copy.fails("asset")
    assert warehouse.count("public.mine") == 0


BODY = "        is_ours,\n        trim_scale(close - open) as body\n    from scored"
DECLARED = '\n      - name: body\n        data_type: numeric\n        description: "close less open."\n'
NOT_NULL = "        constraints:\n          - type: not_null\n"
STATE = """
select count(*) as rows, count(body) as filled, bool_or(attnotnull) as promised
from gold.daily_volatility as mart
inner join pg_attribute as held on held.attrelid = mart.tableoid and held.attname = 'body'
"""
DAYS = ("trade", "ohlcv_1m", "ohlcv_5m", "ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1d", "daily_volatility")


@pytest.fixture
def gained(warehouse: Warehouse, copy: ProjectCopy) -> ProjectCopy:
    """gold.daily_volatility has a row, and its contract gains a column."""
    warehouse.load("trade", [trade(1, at("14:40"), "100"), trade(2, at("14:41"), "103")])
    warehouse.run(*DAYS)
    copy.edit("gold/daily_volatility.sql", "        is_ours\n    from scored", BODY)
    copy.append("gold/daily_volatility.yml", DECLARED)
    return copy


def test_a_column_that_a_mart_gains_is_filled(warehouse: Warehouse, gained: ProjectCopy) -> None:
    """Though nothing is new; and a later promise of not null is kept."""
    gained.run("daily_volatility")
    assert warehouse.rows(STATE) == [{"rows": 1, "filled": 1, "promised": False}]
    gained.append("gold/daily_volatility.yml", NOT_NULL)
    gained.run("daily_volatility")
    assert warehouse.rows(STATE) == [{"rows": 1, "filled": 1, "promised": True}]
    warehouse.connection.execute("update gold.daily_volatility set close = 1, body = 1")
    gained.run("daily_volatility")
    assert warehouse.rows("select body::int from gold.daily_volatility") == [{"body": 1}]
    gained.run("daily_volatility", "--full-refresh")
    assert warehouse.rows("select body::int from gold.daily_volatility") == [{"body": 3}]


def test_a_gained_column_that_may_not_be_null_is_filled_first(warehouse: Warehouse, gained: ProjectCopy) -> None:
    gained.append("gold/daily_volatility.yml", NOT_NULL)
    gained.run("daily_volatility")
    assert warehouse.rows(STATE) == [{"rows": 1, "filled": 1, "promised": True}]
    warehouse.run("trade", "ohlcv_1m")  # other models don't care


def test_a_run_that_breaks_after_the_column_was_added_is_made_up_for(warehouse: Warehouse, gained: ProjectCopy) -> None:
    good = gained.read("gold/daily_volatility.sql")
    gained.edit("gold/daily_volatility.sql", "close - open)", "close / (close - close))")
    assert "division by zero" in gained.fails("daily_volatility")
    gained.write("gold/daily_volatility.sql", good)
    gained.run("daily_volatility")
    assert warehouse.rows(STATE) == [{"rows": 1, "filled": 1, "promised": False}]


def test_a_promise_that_rows_break_is_refused_until_they_keep_it(warehouse: Warehouse, copy: ProjectCopy) -> None:
    """New rows are taken all the same."""
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.run("trade")
    copy.edit(
        "silver/trade.yml", "      - name: best_ask_size\n        data_type: numeric",
        "      - name: best_ask_size\n        constraints: [{type: not_null}]\n        data_type: numeric",
    )  # fmt: skip
    warehouse.load("trade", [trade(2, at("14:41"))])
    assert "promises that best_ask_size is not null, and 2 rows have none" in copy.fails("trade")
    warehouse.connection.execute("update silver.trade set best_ask_size = 1")
    copy.run("trade")
    warehouse.load("trade", [trade(3, at("14:42"))])
    assert "best_ask_size" in copy.fails("trade")
    warehouse.run("trade")  # the contract without the promise takes it back
    assert warehouse.count("silver.trade") == 3


def test_a_type_that_changed_is_refused_even_when_nothing_is_new(warehouse: Warehouse, copy: ProjectCopy) -> None:
    copy.edit("gold/ohlcv_1d.yml", "data_type: bigint", "data_type: integer")
    said = copy.fails("ohlcv_1d")
    assert "table gold.ohlcv_1d differs from its contract: trade_count is bigint, and integer in the contract" in said
    assert "drop table gold.ohlcv_1d cascade" in said


def test_a_column_that_the_contract_lost_is_refused(warehouse: Warehouse, copy: ProjectCopy) -> None:
    warehouse.connection.execute("alter table gold.ohlcv_1d add column more numeric")
    assert "more is not in the contract" in warehouse.fails("ohlcv_1d")


def test_a_type_with_a_precision_is_refused(copy: ProjectCopy) -> None:
    copy.edit("gold/ohlcv_1d.yml", "data_type: bigint", "data_type: numeric(20,0)")
    assert "types of contracts have no length or precision" in copy.fails("ohlcv_1d")


def test_silver_says_why_it_does_not_rebuild(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.run("trade")
    result = warehouse.dbt("run", "--select", "trade", "--full-refresh")
    assert not result.success
    assert "silver.trade is not rebuilt by --full-refresh" in str(result.result.results[0].message)
    assert warehouse.count("silver.trade") == 1


def test_a_full_refresh_makes_gold_again_and_leaves_what_it_cannot_make(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40")), trade(2, at("38:40"))])
    warehouse.run("trade", "ohlcv_1m")
    warehouse.connection.execute("update gold.ohlcv_1m set volume_base = 7")
    warehouse.connection.execute(
        "update ops.retention set floor_at = '2026-03-12 00:00+00' where relation = 'silver.trade'"
    )
    result = warehouse.dbt("run", "--select", "ohlcv_1m", "--full-refresh")
    assert result.success
    rows = warehouse.rows("select volume_base::int as volume from gold.ohlcv_1m order by bucket_at")
    assert rows == [{"volume": 7}, {"volume": 1}]
    assert warehouse.count("ops.refusal") == 1


def test_a_table_gains_a_column_while_it_is_read(warehouse: Warehouse, reader: Reader, gained: ProjectCopy) -> None:
    open_reader = reader("gold.daily_volatility")
    said = gained.fails("daily_volatility", "--vars", "definition_attempts: 1")
    assert f"pid {open_reader.info.backend_pid} (tidemark_gold_ro, client)" in said
    open_reader.close()
    gained.run("daily_volatility")
    assert warehouse.rows(STATE) == [{"rows": 1, "filled": 1, "promised": False}]
