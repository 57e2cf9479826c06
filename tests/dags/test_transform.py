"""dbt inside Airflow: the profile gets what it reads, a dry run runs nothing, and no password reaches the UI."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context
from pydantic import SecretStr
from tidemark_transform import build, operator_arguments, prepare, profile, report_dry_run

from tests.dags.project import ROOT
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.connection import dbt_environment

URL = "postgresql://tidemark_loader:loaderpw@db.example:6543/market"


def operator() -> SimpleNamespace:
    return SimpleNamespace(env=None, base_cmd=["build"], dbt_cmd_flags=operator_arguments()["dbt_cmd_flags"])


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_WAREHOUSE__URL", URL)
    monkeypatch.setenv("TIDEMARK_WAREHOUSE__DBT_PASSWORD", "dbt-secret")


def test_the_profile_reads_exactly_the_variables_it_is_given() -> None:
    read = set(re.findall(r"env_var\('([A-Z_]+)'", (ROOT / "dbt" / "profiles.yml").read_text("utf-8")))
    assert set(dbt_environment(WarehouseSettings())) == read


def test_dbt_goes_where_everybody_goes_as_its_own_role() -> None:
    warehouse = WarehouseSettings(url=SecretStr(URL), dbt_password=SecretStr("dbt-secret"), dbt_threads=3)
    assert dbt_environment(warehouse) == {
        "TIDEMARK_DBT_HOST": "db.example",
        "TIDEMARK_DBT_PORT": "6543",
        "TIDEMARK_DBT_DBNAME": "market",
        "TIDEMARK_DBT_USER": "tidemark_dbt",
        "TIDEMARK_DBT_PASSWORD": "dbt-secret",
        "TIDEMARK_DBT_THREADS": "3",
    }


def test_settings_reach_dbt_when_the_task_runs() -> None:
    task = operator()
    prepare({"params": {"dry_run": False}}, task)
    assert task.env["TIDEMARK_DBT_PASSWORD"] == "dbt-secret"
    assert task.base_cmd == ["build"]


def test_the_password_is_masked_where_rendered_fields_are_shown() -> None:
    from airflow.sdk._shared.secrets_masker import redact

    task = operator()
    prepare({"params": {}}, task)
    assert "dbt-secret" not in str(redact(task.env, "env"))
    assert "loaderpw" not in str(redact(task.env, "env"))


def test_a_dry_run_compiles_and_announces_nothing() -> None:
    task = operator()
    prepare({"params": {"dry_run": True}}, task)
    assert [*task.base_cmd, *task.dbt_cmd_flags] == ["compile"]
    shown: dict[str, Any] = {"params": {"dry_run": True}}
    with set_current_context(shown):  # type: ignore[arg-type]
        report_dry_run(shown)
    assert "none was run" in shown["tidemark_result"]
    real: dict[str, Any] = {"params": {"dry_run": False}}
    with set_current_context(real):  # type: ignore[arg-type]
        report_dry_run(real)
    assert "tidemark_result" not in real


def test_cosmos_is_told_to_be_lean() -> None:
    """A subprocess takes 8 s more a task; Cosmos's own assets only warn; unit tests are for who changes a model."""
    task = build("gold__build", "path:models/gold")
    assert task.invocation_mode is not None
    assert task.invocation_mode.value == "dbt_runner"
    assert task.emit_datasets is False
    assert task.select == "path:models/gold"
    assert profile().target_name == "warehouse"
    assert "unit_test" in operator_arguments()["dbt_cmd_flags"]
