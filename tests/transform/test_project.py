"""The dbt project as such: its unit tests, its documentation, who may read what."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.transform.conftest import ALIASES, GOLD, PROJECT, Dbt, Warehouse
from tests.transform.rows import at, trade
from tidemark.contracts import CONTRACTS
from tidemark.contracts.render import meaning


def _columns(model: str) -> dict[str, str]:
    (file,) = PROJECT.glob(f"models/*/{model}.yml")
    (declared,) = yaml.safe_load(file.read_text("utf-8"))["models"]
    return {column["name"]: column["description"] for column in declared["columns"]}


def test_dbt_unit_tests(warehouse: Warehouse) -> None:
    result = warehouse.dbt("test", "--select", "test_type:unit")
    assert result.success, [r.message for r in result.result.results if r.status != "pass"]
    assert len(result.result.results) >= 12


def _relation(path: Path) -> str:
    """The relation that a model makes."""
    return f"{path.parent.name}.{ALIASES.get(path.stem, path.stem)}"


def test_every_mart_is_looked_at_by_the_tests() -> None:
    assert set(GOLD) == {_relation(path) for path in PROJECT.glob("models/gold/*.sql")}


def test_every_mart_is_open_to_people_with_sql() -> None:
    declared = yaml.safe_load((PROJECT / "models" / "exposures.yml").read_text("utf-8"))["exposures"]
    (people,) = (exposure for exposure in declared if exposure["name"] == "sql_users")
    assert set(people["depends_on"]) == {f"ref('{path.stem}')" for path in PROJECT.glob("models/gold/*.sql")}


def test_silver_describes_every_column_in_the_words_of_its_contract() -> None:
    for dataset in ("trade", "ticker", "candle", "market"):
        columns = _columns(dataset)
        contract = CONTRACTS[dataset]
        assert {f.name: meaning(f) for f in contract.raw_columns}.items() <= columns.items(), dataset


def test_every_table_and_column_carries_its_comment(warehouse: Warehouse) -> None:
    found = warehouse.rows(
        """
        select n.nspname || '.' || c.relname as name, a.attname as column, col_description(c.oid, a.attnum) as text,
            obj_description(c.oid, 'pg_class') as about
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
        where n.nspname in ('silver', 'gold') and c.relkind in ('r', 'v') and a.attnum > 0
        """
    )
    models = {_relation(path): path.stem for path in PROJECT.glob("models/*/*.sql")}
    tables = [row for row in found if row["name"] in models]
    assert {row["name"] for row in tables} == set(models)
    assert [row for row in tables if not row["text"] or not row["about"]] == []
    for relation, model in models.items():
        assert {r["column"]: r["text"] for r in tables if r["name"] == relation} == _columns(model)


_ROUNDED = re.compile(r"\bround\((?!\(?\{\{).*(?:/|avg\()")


def test_divisions_and_means_of_decimals_are_exact() -> None:
    """By the macros ratio and mean. PostgreSQL's own have 16 digits: a large value has fewer decimals than promised."""
    allowed = {"ratio.sql", "rounded_score.sql", "data_coverage.sql"}  # floats, and shares of an hour
    found = [
        f"{path.name}: {line.strip()}"
        for path in (*PROJECT.glob("models/*/*.sql"), *PROJECT.glob("macros/*.sql"))
        if path.name not in allowed
        for line in path.read_text("utf-8").splitlines()
        if _ROUNDED.search(line)
    ]
    assert found == []


def test_a_contract_that_gains_a_column_extends_the_table(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.run("trade")
    warehouse.connection.execute("alter table silver.trade drop column best_ask_size")
    warehouse.load("trade", [trade(2, at("14:41"), best_ask_size="2.50")])
    warehouse.run("trade")
    rows = warehouse.rows("select best_ask_size::text as size from silver.trade order by trade_id")
    assert rows == [{"size": None}, {"size": "2.5"}]


def test_readers_of_gold_see_gold_and_change_nothing(warehouse: Warehouse) -> None:
    warehouse.load("trade", [trade(1, at("14:40"))])
    warehouse.run()
    warehouse.run()
    with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_loader", autocommit=True) as loader:
        assert loader.execute("select count(*) from gold.ohlcv_1h, silver.trade").fetchone() == (1,)
    with psycopg.connect(warehouse.connection.info.dsn, user="tidemark_gold_ro", autocommit=True) as reader:
        for mart in GOLD:
            reader.execute(f"select * from {mart}".encode())
        assert reader.execute("select count(*) from gold.ohlcv_1h").fetchone() == (1,)
        for refused in ("delete from gold.ohlcv_1h", "select * from silver.trade", "create table gold.mine (a int)"):
            with pytest.raises(psycopg.Error):
                reader.execute(refused.encode())


def test_the_documentation_is_one_page_that_needs_no_network(warehouse: Warehouse, tmp_path: Path) -> None:
    dbt: Dbt = warehouse.dbt
    place = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(tmp_path)]
    result = dbt._runner.invoke(["docs", "generate", "--static", *place, "--log-path", str(tmp_path), "--quiet"])
    assert result.success, result.exception
    page = (tmp_path / "static_index.html").read_text("utf-8")
    assert "silver.duplicate + silver.superseded" in page
    assert "Price of the first trade, by (event_at, trade_id)." in page
