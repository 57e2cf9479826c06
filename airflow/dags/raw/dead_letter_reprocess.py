"""The DAG ``raw__dead_letter__reprocess``: dead letters read again with today's parser.

Lives here: wiring. Doesn't: reading and landing (``tidemark.jobs.reprocess``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from tidemark_batch import (
    chosen,
    dag_arguments,
    dataset_param,
    dry_run_param,
    every,
    exchange_param,
    only_if_chosen,
    run_job,
)
from tidemark_registry import EXCHANGES, RAW_ASSETS

from tidemark.naming import STREAM_DATASETS

DOC = """
Read the dead letters again: what today's parser can read lands like any other row, with the identity of its record.

Daily, so that a parser fix takes effect by itself, and by hand right after one. Letters of the `….dlq` topics are read
from the beginning; rows of those that can be read now land in an object beside the one that counts them as dead, and
are loaded with `ops.revived` in one transaction. The account of the hours is computed again: parsed, dead and ignored
still add up to the offsets. Run twice, or two at once, nothing doubles.

**By hand:** one exchange or dataset; *Dry run* says how many letters can be read by now, and why the others can't.
**When it fails:** what was revived stays; run it again.
"""

with DAG(
    "raw__dead_letter__reprocess",
    schedule=every("30 5 * * *"),
    **dag_arguments(
        DOC,
        tags=("raw", "reprocess", "stream"),
        timeout=timedelta(hours=3),
        params={
            "exchange": exchange_param(EXCHANGES),
            "dataset": dataset_param(STREAM_DATASETS),
            "dry_run": dry_run_param(),
        },
    ),
):

    def _reprocess(exchange: str) -> None:
        @task(task_id=f"reprocess__{exchange}", outlets=[RAW_ASSETS[name] for name in ("trade", "candle")])
        def reprocess() -> Any:
            from tidemark.jobs import reprocess as job

            context = get_current_context()
            only_if_chosen(context, exchange)
            outcome = run_job(
                job.run,
                exchange=exchange,
                dataset=chosen(context, "dataset"),
                dry_run=context["params"]["dry_run"],
            )
            if not outcome["rows"]:
                raise AirflowSkipException("no letter can be read that could not before")
            return outcome

        reprocess()

    for _exchange in EXCHANGES:
        _reprocess(_exchange)
