"""The DAG ``raw__lake__compact``: closed hours of landing become the lake that readers query.

Lives here: wiring. Doesn't: compaction (``tidemark.jobs.compact``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from tidemark_batch import (
    HOUR,
    chosen,
    dag_arguments,
    dataset_param,
    dry_run_param,
    every,
    run_job,
    window,
    window_params,
)
from tidemark_registry import LAKE_ASSET

from tidemark.naming import DATASETS

DOC = """
Copy closed hours of landing to `raw/<dataset>/v1/exchange=…/dt=…/hour=…/`, the lake that readers query.

Hourly, for the receive hour that has just closed. The copy is verified by row count and checksum against landing, and
nothing in landing is deleted. What landed late for earlier hours is taken along. An hour that is complete is left
alone, so a second run changes nothing.

**By hand:** a window of whole hours (UTC), one dataset, dry run. **When it fails:** the named hour isn't complete in
the compacted lake yet; landing and the warehouse are not affected.
"""

with DAG(
    "raw__lake__compact",
    schedule=every("20 * * * *"),
    **dag_arguments(
        DOC,
        tags=("raw", "compact"),
        timeout=timedelta(minutes=55),
        params={
            **window_params("the last hour that was over when the run was due"),
            "dataset": dataset_param(DATASETS),
            "dry_run": dry_run_param(),
        },
    ),
):

    @task(outlets=[LAKE_ASSET])
    def compact() -> object:
        """Compact each chosen dataset's hours of the window."""
        from tidemark.jobs import compact as job

        context = get_current_context()
        hours = window(context, HOUR)
        return run_job(
            job.run,
            window_start=hours.start,
            window_end=hours.end,
            dataset=chosen(context, "dataset"),
            dry_run=context["params"]["dry_run"],
        )

    compact()
