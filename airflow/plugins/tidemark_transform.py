"""dbt inside Airflow: where the project is, how Cosmos runs it, and which variables dbt's profile reads.

Lives here: what ``silver__build`` and ``gold__build`` share. Doesn't: models (``dbt/``), schedules (the DAG
files). Importing it imports Cosmos, so only DAG files that run dbt do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from airflow.sdk.log import mask_secret
from cosmos import ProfileConfig
from cosmos import settings as cosmos_settings
from cosmos.constants import InvocationMode
from cosmos.operators.local import DbtBuildLocalOperator
from tidemark_batch import show
from tidemark_registry import DBT_POOL

PROJECT: Final = Path(__file__).resolve().parents[2] / "dbt"


def profile() -> ProfileConfig:
    """The profile of ``dbt/profiles.yml``; it reads its values from the variables of :func:`prepare`."""
    return ProfileConfig(
        profile_name="tidemark", target_name="warehouse", profiles_yml_filepath=PROJECT / "profiles.yml"
    )


def build(dag_id: str, select: str) -> DbtBuildLocalOperator:
    """One dbt command that builds and tests all models of ``select`` in dbt's own order.

    A task a model would cost a process start and dbt's own start each: 5 s, most of the time of a build that has little
    to do. Which model failed, and what each took, is in the task's log, and dbt leaves what depends on it alone.
    """
    return DbtBuildLocalOperator(
        task_id="build",
        project_dir=PROJECT,
        profile_config=profile(),
        cache_dir=parse_cache(dag_id),
        select=select,
        **operator_arguments(),
    )


def operator_arguments() -> dict[str, Any]:
    """How dbt is run: in the task's own process (5 s; 13 s as a subprocess), with no assets of Cosmos's own.

    Unit tests run where models are changed, not where they are run.
    """
    return {
        "invocation_mode": InvocationMode.DBT_RUNNER,
        "emit_datasets": False,
        "install_deps": False,
        "pool": DBT_POOL,
        "interceptors": [prepare],
        "post_execute": report_dry_run,
        "dbt_cmd_flags": ["--exclude-resource-type", "unit_test"],
        "should_store_compiled_sql": False,
    }


def parse_cache(dag_id: str) -> Path:
    """Where dbt's partial parse is kept between runs, beside Cosmos's own: a full parse takes 3 s."""
    return Path(cosmos_settings.cache_dir) / dag_id


def newest_build() -> int:
    """The number of silver's newest change, 0 when there was none."""
    from tidemark import settings
    from tidemark.warehouse.connection import connect

    with connect(settings.load().warehouse.url, "silver: announce") as connection:
        row = connection.execute("select coalesce(max(build_id), 0) from ops.build").fetchone()
    return int(row[0]) if row else 0


def prepare(context: Mapping[str, Any], operator: Any) -> None:
    """Hand the warehouse's settings to dbt, when the task runs and not before; a dry run only compiles."""
    from tidemark import settings
    from tidemark.warehouse.connection import dbt_environment

    warehouse = settings.load().warehouse
    mask_secret(warehouse.dbt_password.get_secret_value())
    operator.env = {**(operator.env or {}), **dbt_environment(warehouse)}
    if context["params"].get("dry_run"):
        operator.base_cmd = ["compile"]
        operator.dbt_cmd_flags = []  # `dbt compile` knows no resource types


def report_dry_run(context: Mapping[str, Any], result: Any = None) -> None:
    """Show what a dry run came to."""
    if context["params"].get("dry_run"):
        show("dry run: the models were compiled, none was run")
