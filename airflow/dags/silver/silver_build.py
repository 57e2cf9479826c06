"""The DAG ``silver__build``: what was loaded becomes silver, each row once.

Lives here: wiring. Doesn't: the models (``dbt/models/silver``), how dbt is run (``tidemark_transform``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from tidemark_batch import dag_arguments, dry_run_param, every
from tidemark_registry import SILVER_ASSET, SILVER_INPUTS
from tidemark_transform import build, newest_build

DOC = """
Build silver: normalised, de-duplicated by natural key, bad rows in `silver.quarantine` with their reason.

Runs when every stream's load has finished, and each half hour in any case. Each model takes the loads that it hasn't
marked in `ops.load_mark` yet, and marks them in the transaction that writes their rows: there is no window to choose,
the order of loads doesn't matter, and a second run finds nothing to do. One dbt command builds and tests all models in
dbt's own order; `announce` then wakes `gold__build`, and is skipped when nothing has changed.

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
        params={"dry_run": dry_run_param()},
    ),
):

    @task(inlets=[SILVER_ASSET], outlets=[SILVER_ASSET])
    def announce() -> None:
        """Say that silver has changed, unless the last announcement was of the same state."""
        context = get_current_context()
        newest = newest_build()
        for event in context["inlet_events"][SILVER_ASSET].ascending(False).limit(1):
            if event.extra.get("build_id") == newest:
                raise AirflowSkipException(f"silver is as it was (build {newest})")
        context["outlet_events"][SILVER_ASSET].extra = {"build_id": newest}

    build("silver__build", "path:models/silver") >> announce()
