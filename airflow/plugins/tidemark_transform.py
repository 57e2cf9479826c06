"""dbt inside Airflow: where the project is, how Cosmos runs it, and which variables dbt's profile reads.

Lives here: what ``silver__build`` and ``gold__build`` share. Doesn't: models (``dbt/``), schedules (the DAG
files). Importing it imports Cosmos, so only DAG files that run dbt do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.log import mask_secret
from cosmos import ExecutionConfig, LoadMode, ProfileConfig, ProjectConfig, RenderConfig
from cosmos import settings as cosmos_settings
from cosmos.constants import ExecutionMode, InvocationMode, TestBehavior
from tidemark_registry import DBT_POOL

PROJECT: Final = Path(__file__).resolve().parents[2] / "dbt"
MANIFEST: Final = PROJECT / "target" / "manifest.json"


class ManifestMissingError(Exception):
    """dbt's manifest isn't there, so the models can't be listed; shown as the DAG's import error."""


def profile() -> ProfileConfig:
    """The profile of ``dbt/profiles.yml``; it reads its values from the variables of :func:`prepare`."""
    return ProfileConfig(
        profile_name="tidemark", target_name="warehouse", profiles_yml_filepath=PROJECT / "profiles.yml"
    )


def project() -> ProjectConfig:
    """The dbt project with its manifest.

    Raises:
        ManifestMissingError: ``dbt parse`` hasn't run.
    """
    if not MANIFEST.is_file():
        raise ManifestMissingError(
            f"{MANIFEST} is missing: run `dbt parse --project-dir dbt --profiles-dir dbt` in the project's"
            " folder (`make up` and the image's build do)"
        )
    return ProjectConfig(dbt_project_path=PROJECT, manifest_path=MANIFEST, install_dbt_deps=False)


def execution() -> ExecutionConfig:
    """Dbt in the task's own process: a dbt task takes 5 s this way, and 13 s as a subprocess."""
    return ExecutionConfig(execution_mode=ExecutionMode.LOCAL, invocation_mode=InvocationMode.DBT_RUNNER)


def rendering(*select: str) -> RenderConfig:
    """One task a model, its tests inside it (a task of their own would cost a process start each)."""
    return RenderConfig(
        load_method=LoadMode.DBT_MANIFEST,
        select=list(select),
        test_behavior=TestBehavior.BUILD,
        emit_datasets=False,
        enable_owner_inheritance=False,
    )


def operator_arguments() -> dict[str, Any]:
    """What every dbt operator gets. Unit tests run where models are changed, not where they are run."""
    return {
        "install_deps": False,
        "pool": DBT_POOL,
        "interceptors": [prepare],
        "post_execute": skip_after_dry_run,
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


def skip_after_dry_run(context: Mapping[str, Any], result: Any = None) -> None:
    """End a dry run as skipped, so that it announces no new data."""
    if context["params"].get("dry_run"):
        raise AirflowSkipException("dry run: the models were compiled, none was run")
