"""What happens when a task has failed for good, or a run is late: a word in Slack, or in the log where it isn't set.

Lives here: the failure callback that every task carries, and that of the deadlines. Doesn't: the messages and Slack
(``alerts.failure``), who gets them (settings ``TIDEMARK_SLACK__*``), what is late (``tidemark_batch``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


def notify_failure(context: Mapping[str, Any]) -> None:
    """Tell Slack which task of which run failed, and why.

    Never raises: a callback that fails would hide the failure that it reports.
    """
    try:
        _tell(context)
    except Exception:
        log.exception("the failure of this task could not be told to anybody")


def notify_late(minutes: int, context: Mapping[str, Any]) -> None:
    """Tell Slack that a run is not over in time; nothing where it has ended since. An executor runs this.

    Airflow calls this for a run that has failed as well: its failure was reported when it failed.
    """
    from alerts.failure import LateRun, late_blocks, late_text, post_alert
    from tidemark import settings

    run = context["dag_run"]
    late = LateRun(run["dag_id"], run["dag_run_id"], minutes, str(run.get("state") or ""))
    if late.is_over:
        log.info("%s (run %s) has ended (%s): nothing to report", late.dag_id, late.run_id, late.state)
        return
    if post_alert(settings.load().slack, late_text(late), late_blocks(late)) is None:
        log.warning("%s; Slack isn't set, so nobody is told", late_text(late))


def _tell(context: Mapping[str, Any]) -> None:
    from alerts.failure import Failure, failure_blocks, failure_text, post_alert
    from tidemark import settings

    task = context["ti"]
    failure = Failure(
        dag_id=task.dag_id,
        task_id=task.task_id,
        run_id=context["run_id"],
        try_number=task.try_number,
        log_url=str(getattr(task, "log_url", None) or ""),
        error=str(context.get("exception") or ""),
    )
    if post_alert(settings.load().slack, failure_text(failure), failure_blocks(failure)) is None:
        log.warning("%s; Slack isn't set, so nobody is told", failure_text(failure))
