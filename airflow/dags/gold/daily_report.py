"""The DAG ``gold__daily_report``: one Korean market day, told in Slack.

Lives here: wiring and the wait. Doesn't: facts, text and delivery (``alerts.report``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param
from tidemark_batch import dag_arguments, dry_run_param, every

DOC = """
Write the report of the last Korean market day and post it to Slack, once.

00:10 KST, for the KST date on which the run's interval starts. `wait_for_coverage` looks each minute whether
every hour of that day has been checked and is green, and goes on at 00:30 KST in any case: the report then
says what it rests on. `report` collects the facts from gold, has the narrative written, checks every number
in it against the facts (else the deterministic text is used, marked so), and posts it. The outbox knows what
was posted, so a second run posts nothing.

**By hand:** *Report date* is a KST date; *Dry run* logs the text and posts nothing. **When it fails:** run it
again.
"""

with DAG(
    "gold__daily_report",
    schedule=every("10 0 * * *", "Asia/Seoul"),
    **dag_arguments(
        DOC,
        tags=("gold", "report"),
        timeout=timedelta(minutes=20),
        params={
            "report_date": Param(
                None, type=["null", "string"], format="date", title="Report date", section="What",
                description="A KST date. Empty: the day before the run.",
            ),
            "dry_run": dry_run_param(),
        },
    ),
):  # fmt: skip
    pass
