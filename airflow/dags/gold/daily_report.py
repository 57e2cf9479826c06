"""The DAG ``gold__daily_report``: one Korean market day, told in Slack.

Lives here: wiring, and one look at the coverage. Doesn't: facts, text and delivery (``alerts.report``).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, PokeReturnValue, get_current_context, task
from tidemark_batch import check_form, dag_arguments, dry_run_param, every, fail_fast, report_date, run_job, wait_ends
from tidemark_registry import COMPLETENESS_ASSET, GOLD_ASSET, REPORT_ASSET

log = logging.getLogger(__name__)

DOC = """
Write the report of the last Korean market day and post it to Slack, once.

00:10 KST, for the KST date that has just ended. `wait_for_coverage` looks each minute whether every
hour of that day is checked and green, and goes on at 01:00 KST in any case: the report then says what it rests on.
`report` collects the facts from gold, has the narrative written, checks every number in it against the facts (else the
deterministic text is used, marked so) and posts it. The outbox knows what was posted: a second run posts nothing.

**By hand:** *Report date* is a KST date that is over, else the run fails at once; empty means the last one that was
over when the run was triggered. *Dry run* logs the text, and stores and posts nothing. **When it fails:** the log says
whether the message may have been posted; run it again, it looks in the channel first.
"""

REPORT_DATE = Param(
    None, type=["null", "string"], format="date", title="Report date",
    description="A KST date that is over. Empty: the last one that was over when the run was due.",
)  # fmt: skip

with DAG(
    "gold__daily_report",
    schedule=every("10 0 * * *", "Asia/Seoul"),
    **dag_arguments(
        DOC,
        tags=("gold", "report"),
        timeout=timedelta(minutes=20),
        late_after=timedelta(minutes=90),
        params={"report_date": REPORT_DATE, "dry_run": dry_run_param()},
    ),
):

    @task.sensor(mode="reschedule", poke_interval=60, timeout=timedelta(hours=2).total_seconds())
    def wait_for_coverage() -> PokeReturnValue:
        """Whether the day is covered, or has been waited for long enough."""
        from alerts.report.command import coverage_complete
        from tidemark import settings as config
        from tidemark.warehouse.connection import connect

        context = get_current_context()
        with fail_fast():
            check_form(context)
            day = report_date(context)
            settings = config.load()
            with connect(settings.warehouse.url, "daily report: wait") as connection:
                covered = coverage_complete(connection, day)
        over = datetime.now(UTC) >= wait_ends(day, settings.report.wait_minutes)
        log.info("%s: %s", day, "covered" if covered else "not covered, going on" if over else "not covered yet")
        return PokeReturnValue(is_done=covered or over, xcom_value=covered)

    @task(inlets=[GOLD_ASSET, COMPLETENESS_ASSET], outlets=[REPORT_ASSET])
    def report() -> Any:
        """Collect, render, deliver."""
        from alerts.report import command

        def job(*arguments: Any, **named: Any) -> Any:
            result = command.run(*arguments, **named)
            log.info("%s", result.text)
            return result

        context = get_current_context()
        return run_job(job, report_date=report_date(context), dry_run=context["params"]["dry_run"])

    wait_for_coverage() >> report()
