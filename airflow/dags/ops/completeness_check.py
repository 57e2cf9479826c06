"""The DAG ``ops__completeness__check``: the identities, computed and shown; red ones fail a task.

Lives here: wiring. Doesn't: the identities (``tidemark.jobs.completeness``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from tidemark_batch import (
    DAY,
    HOUR,
    chosen,
    dag_arguments,
    dry_run_param,
    every,
    exchange_param,
    failure,
    run_job,
    window,
    window_params,
)
from tidemark_registry import COMPLETENESS_ASSET, EXCHANGES

DOC = """
Check that what came in is what lies there: identities 0 to 5 for each exchange, dataset and hour.

At :25 and :55, for the hour that has closed and again for the day before it, so that what was still open gets its
verdict. At :25 the loads of :20 are over, which bring the first minutes after the hour: what is not loaded yet is never
taken for lost, it only keeps a verdict open. `check` writes `ops.completeness` and logs the table. `assert_green` fails
when a row is red and names the exact range, so that red shows in this grid and in Slack without stopping anything else.
It isn't retried: the next check, or a run by hand, looks again.

**By hand:** any window of whole hours (UTC). **When `assert_green` fails:** its log names identity, dataset, hour and
range. Identities 0 to 2 point at the socket, the chain or the load; 3 and 4 at silver and gold; a conflict in 3
means that the exchange said two things of one event: the rows are in `silver.quarantine`, for someone to judge. 5 is
what the exchange itself says (its candles, its ids): `raw__history__repair` asks for what is missing.
"""

with DAG(
    "ops__completeness__check",
    schedule=every("25,55 * * * *"),
    **dag_arguments(
        DOC,
        tags=("ops", "check"),
        timeout=timedelta(minutes=20),
        params={
            **window_params("the last hour and the day before it"),
            "exchange": exchange_param(EXCHANGES),
            "dry_run": dry_run_param(),
        },
    ),
):

    @task(outlets=[COMPLETENESS_ASSET])
    def check() -> Any:
        """Compute the identities of the window's hours."""
        from tidemark.jobs import completeness as job

        context = get_current_context()
        hours = window(context, HOUR, look_back=DAY)
        return run_job(
            job.run,
            window_start=hours.start,
            window_end=hours.end,
            exchange=chosen(context, "exchange"),
            dry_run=context["params"]["dry_run"],
        )

    @task(retries=0)
    def assert_green(outcome: dict[str, Any]) -> None:
        """Fail when anything is red, naming each range; a dry run fails nothing."""
        if outcome["red"] and not get_current_context()["params"]["dry_run"]:
            raise failure("\n".join([f"{outcome['red']} red:", *outcome["problems"]]))

    assert_green(check())
