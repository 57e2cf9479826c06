"""The DAGs that load what the streams have landed: ``raw__<dataset>__load``, one an entry of the registry.

Lives here: the factory and its loop. Doesn't: the list (``tidemark_registry``), the load
(``tidemark.jobs.load``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from tidemark_batch import dag_arguments, dry_run_param, every, exchange_param, only_if_chosen, run_job
from tidemark_registry import RAW_ASSETS, STREAM_LOADS, StreamLoad, carriers

DOC = """
Load landed `{dataset}` objects into `raw.{dataset}_v1`.

Every ten minutes: list the lake's landing chain, take each object that is not in `ops.load_ledger` yet, and
copy its rows and its ledger row in one transaction. The ledger decides what is new, so there is no window to
choose, and a second run (or one at the same time) loads nothing twice.

**By hand:** *Dry run* logs which objects would be loaded. **When it fails:** an object that can't be read
stays where it is and is named in the log; the others are loaded; run again after mending.
"""


def load_dag(spec: StreamLoad) -> DAG:
    """The DAG of one dataset: one task for each exchange that has it."""
    with DAG(
        spec.dag_id,
        schedule=every(spec.cron),
        **dag_arguments(
            DOC.format(dataset=spec.dataset),
            tags=("raw", "load", "stream", spec.dataset),
            timeout=spec.timeout,
            late_after=timedelta(minutes=20),
            params={"exchange": exchange_param(carriers(spec.dataset)), "dry_run": dry_run_param()},
        ),
    ) as dag:
        for exchange in carriers(spec.dataset):
            _load(spec.dataset, exchange)
    return dag


def _load(dataset: str, exchange: str) -> None:
    @task(task_id=f"load__{exchange}", outlets=[RAW_ASSETS[dataset]])
    def load() -> object:
        from tidemark.jobs import load as job

        context = get_current_context()
        only_if_chosen(context, exchange)
        return run_job(job.run, dataset=dataset, exchange=exchange, dry_run=context["params"]["dry_run"])

    load()


for _spec in STREAM_LOADS:
    load_dag(_spec)
