"""The DAG ``silver__build``: what was loaded becomes silver, each row once.

Lives here: wiring. Doesn't: the models (``dbt/models/silver``), how dbt is run (``tidemark_transform``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from tidemark_batch import announce_nothing, dag_arguments, dry_run_param, every, failure, run_job
from tidemark_registry import SILVER_ASSET, SILVER_INPUTS
from tidemark_transform import build, newest_build

DOC = """
Build silver: normalised, de-duplicated by natural key, bad rows in `silver.quarantine` with their reason.

Runs when every stream's load has finished, and each half hour in any case. Each model takes the loads that it hasn't
marked in `ops.load_mark` yet, and marks them in the transaction that writes their rows: there is no window to choose,
the order of loads doesn't matter, and a second run finds nothing to do. One dbt command builds and tests all models in
dbt's own order; `announce` then wakes `gold__build`, and is skipped when nothing has changed.

First `check_new_rows` holds the new rows against their contracts in bulk (schema, nulls, ranges, freshness, how
many). Where ten rows and more than one in a hundred break a rule, the quality gate of that exchange and dataset closes
(`ops.gate`): `gates_are_open` fails, silver is built, and the marts that read this dataset take nothing of that
exchange until a later check of it is green; the other marts go on. The results are in `ops.quality` and on the page
*Data quality*.

**By hand:** *Dry run* compiles the models against the warehouse and runs none. **When it fails:** nothing of the failed
model is kept, and the next run takes the same loads again. A failed *test* means rows that should not be there: look at
them before anything else.
"""

with DAG(
    "silver__build",
    schedule=AssetOrTimeSchedule(timetable=every("5-59/30 * * * *"), assets=SILVER_INPUTS),
    **dag_arguments(
        DOC,
        tags=("silver", "build", "dbt"),
        timeout=timedelta(minutes=50),
        late_after=timedelta(minutes=20),
        params={"dry_run": dry_run_param()},
    ),
):

    @task(inlets=[SILVER_ASSET], outlets=[SILVER_ASSET])
    def announce() -> None:
        """Say that silver has changed, unless the last announcement was of the same state."""
        context = get_current_context()
        if context["params"]["dry_run"]:
            announce_nothing("dry run: silver is as it was")
            return
        newest = newest_build()
        for event in context["inlet_events"][SILVER_ASSET].ascending(False).limit(1):
            if event.extra.get("build_id") == newest:
                raise AirflowSkipException(f"silver is as it was (build {newest})")
        context["outlet_events"][SILVER_ASSET].extra = {"build_id": newest}

    @task
    def check_new_rows() -> Any:
        """Hold what was loaded since the last run against what its contract promises, in bulk."""
        from tidemark.jobs import quality as job

        context = get_current_context()
        return run_job(job.run, dry_run=context["params"]["dry_run"])

    @task
    def gates_are_open(checked: Any) -> None:
        """Fail where a quality gate is closed, so that it shows here and in Slack; silver is built anyway."""
        closed = (checked or {}).get("closed") or {}
        if closed and not get_current_context()["params"]["dry_run"]:
            named = "\n".join(f"{name}: {why}" for name, why in closed.items())
            raise failure(f"quality gates closed: {len(closed)}. The marts that read these wait:\n{named}")

    checked = check_new_rows()
    checked >> build("silver__build", "path:models/silver path:snapshots") >> announce()
    gates_are_open(checked)
