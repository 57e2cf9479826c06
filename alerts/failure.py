"""A failed task or a late run, told in Slack.

Lives here: the blocks of such a message (those of a failed unit are made of the same), and posting it to whom alerts
go. Doesn't: when it is called (``airflow/plugins``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from alerts.report.blocks import escape
from alerts.slack import send
from tidemark.settings import SlackSettings

_LONGEST: Final = 600


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of a failed task. ``log_url`` may be empty; ``error`` is the exception's text."""

    dag_id: str
    task_id: str
    run_id: str
    try_number: int
    log_url: str = ""
    error: str = ""


def failure_text(failure: Failure) -> str:
    """One line: for notifications, and for a log where Slack isn't set."""
    return f"{failure.dag_id}.{failure.task_id} failed on try {failure.try_number} (run {failure.run_id})"


def failure_blocks(failure: Failure) -> list[dict[str, Any]]:
    """Block Kit for a failed task: what, which run and try, the error's beginning, a link to the log."""
    lines = [
        f":red_circle: *{escape(failure.dag_id)}* · `{code(failure.task_id)}` failed",
        f"Run `{code(failure.run_id)}`, try {failure.try_number}",
    ]
    if _is_web(failure.log_url):
        lines.append(f"<{failure.log_url.replace('|', '%7C').replace('>', '%3E')}|Log>")
    blocks = [section("\n".join(lines))]
    if failure.error.strip():
        blocks.append(fenced(failure.error.strip()[:_LONGEST]))
    return blocks


@dataclass(frozen=True, slots=True)
class LateRun:
    """A run, ``minutes`` after it was queued; ``state`` is Airflow's, empty where it is unknown."""

    dag_id: str
    run_id: str
    minutes: int
    state: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended: then it is not late."""
        return self.state in ("success", "failed")


def late_text(late: LateRun) -> str:
    """One line: for notifications, and for a log where Slack isn't set."""
    state = f", {late.state}" if late.state else ""
    return f"{late.dag_id} is late: not over {late.minutes} minutes after it was queued (run {late.run_id}{state})"


def late_blocks(late: LateRun) -> list[dict[str, Any]]:
    """Block Kit for a late run: which, since when, where to look."""
    lines = [
        f":large_yellow_circle: *{escape(late.dag_id)}* is late",
        f"Run `{code(late.run_id)}` is not over {late.minutes} minutes after it was queued. {_goes_on(late.state)}",
        "Runbook: `docs/runbooks/dag-late.md`",
    ]
    return [section("\n".join(lines))]


def _goes_on(state: str) -> str:
    """What the run does now, by its state."""
    if state == "queued":
        return "It has not started."
    return "It goes on." if state == "running" else f"Its state is {state or 'unknown'}."


def post_alert(settings: SlackSettings, text: str, blocks: list[dict[str, Any]]) -> str | None:
    """Post to the alert channel (else the report's); the message's time stamp, or None where Slack isn't set.

    Raises:
        SlackError: Slack did not take it.
    """
    channel = settings.alert_channel or settings.channel
    if not settings.token.get_secret_value() or not channel:
        return None
    return send(settings, channel, escape(text), blocks)


def section(text: str) -> dict[str, Any]:
    """A paragraph; ``text`` is Slack's markup, its data escaped."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def fenced(text: str) -> dict[str, Any]:
    """A paragraph of text as it is."""
    return section(f"```{escape(text.replace('```', chr(39) * 3))}```")


def code(text: str) -> str:
    """Text that stands between backticks."""
    return escape(text.replace("`", "'"))


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in ("http", "https") and "<" not in url and "\n" not in url
