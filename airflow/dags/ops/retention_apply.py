"""The DAG ``ops__retention__apply``: what the policy no longer keeps is dropped, after saying so.

Lives here: wiring. Doesn't: the policy (the table ``ops.retention``), the work (``tidemark.jobs.retain``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from tidemark_batch import dag_arguments, dry_run_param, every, plain, run_job

DOC = """
Drop what `ops.retention` no longer keeps: days of raw, old rows of silver and gold. Parquet in the lake stays for ever.

Daily. `plan` logs what would go and what stays with its reason; `apply` does it, one day at a time. A day of raw goes
only when its objects lie in the lake as they were loaded, silver has taken all of it, and its verdicts are sealed. What
late data would have to be made from dropped rows is refused and stands in `ops.refusal`.

**By hand:** *Dry run* ends after the plan. To keep something longer or shorter:
`update ops.retention set keep = '14 days' where relation = 'raw.trade_v1'`. **When it fails:** nothing is half dropped;
the next run goes on.
"""

with DAG(
    "ops__retention__apply",
    schedule=every("30 3 * * *"),
    **dag_arguments(DOC, tags=("ops", "retention"), timeout=timedelta(hours=2), params={"dry_run": dry_run_param()}),
):

    @task
    def plan() -> Any:
        """Say what would be dropped, and what stays."""
        from tidemark import settings
        from tidemark.jobs import retain as job

        return plain(str(job.run(settings.load(), dry_run=True)))

    @task
    def apply() -> Any:
        """Drop it."""
        from tidemark.jobs import retain as job

        return run_job(job.run, dry_run=get_current_context()["params"]["dry_run"])

    plan() >> apply()
