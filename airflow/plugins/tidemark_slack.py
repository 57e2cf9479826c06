"""What happens when a task has failed for good: a word in Slack, or in the log where Slack isn't set.

Lives here: the failure callback that every task carries. Doesn't: the message and Slack (``alerts.failure``), who
gets it (settings ``TIDEMARK_SLACK__*``).
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


def _tell(context: Mapping[str, Any]) -> None:
    from alerts.failure import Failure, failure_text, post_failure
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
    if post_failure(settings.load().slack, failure) is None:
        log.warning("%s; Slack isn't set, so nobody is told", failure_text(failure))
