"""The DAG ``ops__platform__health``: the whole platform in one grid, a task a question.

Contains: wiring. Does not contain: the questions (``tidemark.jobs.health``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from tidemark_batch import dag_arguments, dry_run_param, every, failure, run_job

#: In the order of the way data flow. The same names as in ``tidemark.jobs.health``; a test holds the two together.
QUESTIONS = (
    "streams_flow",
    "messages_are_read",
    "gaps_are_settled",
    "gates_are_open",
    "silver_keeps_up",
    "gold_keeps_up",
    "nothing_is_red",
    "late_data_was_followed",
    "reports_are_posted",
)
DOC = """
Is the platform well: one task a part, in the order in which data flow.

Hourly. Each task puts one question to the tables of `ops` and fails with the answer when something is wrong: this grid
shows since when, and Slack reports it once an hour. A task whose evidence is missing is skipped: the answer is unknown,
and its text says what is missing (no check in the last hours, say, or no posted report of the last Korean day). Nothing
is changed. Workers' own metrics (lag, latency, reconnects) are on their metrics ports and in the alert rules.

**By hand:** *Dry run* shows the answers and fails nothing. **When a task fails:** its log names what and where;
`docs/runbooks` has a page for each.
"""


def _ask(question: str) -> None:
    @task(task_id=question)
    def ask() -> Any:
        from tidemark.jobs import health as job

        found = run_job(job.run, question=question)
        if not get_current_context()["params"]["dry_run"]:
            if found["problems"]:
                raise failure("\n".join(found["problems"]))
            if found["unknown"]:
                raise AirflowSkipException("\n".join(["unknown:", *found["unknown"]]))
        return found

    ask()


with DAG(
    "ops__platform__health",
    schedule=every("20 * * * *"),
    **dag_arguments(DOC, tags=("ops", "check"), timeout=timedelta(minutes=5), params={"dry_run": dry_run_param()}),
):
    for _question in QUESTIONS:
        _ask(_question)
