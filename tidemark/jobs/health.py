"""Is the platform as a whole well: one question a part, each with an answer for a person.

Contains: the questions to the tables of ``ops``. Does not contain: what writes these tables; workers' metrics
(Prometheus reads them itself).

The answer is ``no`` where a problem is found, ``unknown`` where the evidence for an answer is missing, else ``yes``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tidemark.settings import Settings
from tidemark.warehouse.connection import connect

log = logging.getLogger(__name__)

KST: Final = ZoneInfo("Asia/Seoul")
#: How long after the end of its wait for coverage a report may take.
_REPORT_SLACK: Final = timedelta(hours=1)

#: Each yields a line a problem. ``exchanges`` are those that are carried, ``day`` is the last KST date whose report
#: must be posted by now, ``day_end`` its end, ``posts`` whether Slack is set.
QUESTIONS: Final[Mapping[str, str]] = {
    "streams_flow": """
        SELECT format('%%s: no trade was loaded that came after %%s', carried.exchange,
            coalesce(to_char(max(ledger.received_max) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'the beginning'))
        FROM unnest(%(exchanges)s::text[]) AS carried (exchange)
        LEFT JOIN ops.load_ledger AS ledger
            ON ledger.exchange = carried.exchange AND ledger.dataset = 'trade'
                AND ledger.hour_at > now() - interval '2 days'
        GROUP BY carried.exchange
        HAVING coalesce(max(ledger.received_max), '-infinity') < now() - interval '30 minutes'""",
    "gates_are_open": """
        SELECT format('%%s %%s: gold waits, %%s', exchange, dataset, reason) FROM ops.gate
        WHERE status = 'red' AND exchange = ANY(%(exchanges)s)""",
    "nothing_is_red": """
        SELECT format('%%s: identity %%s of %%s is red in %%s hours, first %%s', exchange, identity, dataset, count(*),
            to_char(min(hour_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:00 "UTC"'))
        FROM ops.completeness
        WHERE status = 'red' AND hour_at > now() - interval '2 days' AND exchange = ANY(%(exchanges)s)
        GROUP BY exchange, identity, dataset""",
    "gaps_are_settled": """
        SELECT format('%%s: %%s gaps of %%s are open for more than an hour', exchange, count(*), dataset) FROM ops.gap
        WHERE state = 'open' AND found_at < now() - interval '1 hour' AND exchange = ANY(%(exchanges)s)
        GROUP BY exchange, dataset""",
    "messages_are_read": """
        SELECT format('%%s: %%s dead letters of %%s in the last hour', exchange, sum(dead), dataset)
        FROM ops.load_ledger
        WHERE dead > 0 AND kind = 'data' AND hour_at >= date_trunc('hour', now()) - interval '1 hour'
            AND exchange = ANY(%(exchanges)s)
        GROUP BY exchange, dataset""",
    "silver_keeps_up": """
        SELECT format('silver.%%s: %%s loads wait for more than two hours', ledger.dataset, count(*))
        FROM ops.load_ledger AS ledger
        JOIN (
            SELECT DISTINCT split_part(consumer, '.', 2) AS dataset FROM ops.load_mark WHERE consumer LIKE 'silver.%%'
        ) AS built ON built.dataset = ledger.dataset
        WHERE ledger.loaded_at BETWEEN now() - interval '7 days' AND now() - interval '2 hours' AND NOT EXISTS (
            SELECT FROM ops.load_mark AS mark
            WHERE mark.load_id = ledger.load_id AND mark.consumer = 'silver.' || ledger.dataset)
        GROUP BY ledger.dataset""",
    "gold_keeps_up": """
        SELECT format('gold.ohlcv_1m: %%s changes of silver wait for more than two hours', count(*))
        FROM ops.build AS build
        WHERE build.dataset = 'trade'
            AND build.built_at BETWEEN now() - interval '7 days' AND now() - interval '2 hours'
            AND NOT EXISTS (
                SELECT FROM ops.gate
                WHERE gate.exchange = build.exchange AND gate.dataset = build.dataset AND gate.status = 'red')
            AND NOT EXISTS (
                SELECT FROM ops.build_mark AS mark
                WHERE mark.build_id = build.build_id AND mark.consumer = 'gold.ohlcv_1m')
        HAVING count(*) > 0""",
    "reports_are_posted": """
        SELECT format('%%s: %%s %%s', key, state, error) FROM ops.slack_outbox
        WHERE state IN ('pending', 'sending', 'unknown') AND updated_at < now() - interval '1 hour'
            AND updated_at > now() - interval '3 days'
        UNION ALL
        SELECT format('daily_report:%%s: not in the outbox, gold__daily_report did not get there', %(day)s::text)
        WHERE %(posts)s
            AND NOT EXISTS (SELECT FROM ops.slack_outbox WHERE starts_with(key, 'daily_report:' || %(day)s || ':'))
            AND EXISTS (SELECT FROM ops.load_ledger WHERE loaded_at < %(day_end)s)""",
    "late_data_was_followed": """
        SELECT format('%%s did not follow %%s late changes: %%s', consumer, count(*), min(reason)) FROM ops.refusal
        WHERE refused_at > now() - interval '1 day' GROUP BY consumer""",
}


#: The check finds gaps too.
_CHECKED: Final = """
    SELECT format('%%s: the identities were not checked in the last three hours', carried.exchange)
    FROM unnest(%(exchanges)s::text[]) AS carried (exchange)
    WHERE NOT EXISTS (
        SELECT FROM ops.completeness AS verdict
        WHERE verdict.exchange = carried.exchange AND verdict.hour_at > now() - interval '2 days'
            AND verdict.checked_at > now() - interval '3 hours')"""
#: No evidence is needed: without a load the answer is no.
_NONE: Final = "SELECT WHERE false"
#: Each yields a line for evidence that is missing: without it, no problem proves nothing.
EVIDENCE: Final[Mapping[str, str]] = {
    "gates_are_open": """
        SELECT format('%%s: no quality check in the last three hours', carried.exchange)
        FROM unnest(%(exchanges)s::text[]) AS carried (exchange)
        WHERE NOT EXISTS (
            SELECT FROM ops.quality_run AS run
            WHERE run.exchange = carried.exchange AND run.checked_at > now() - interval '3 hours')""",
    "nothing_is_red": _CHECKED,
    "gaps_are_settled": _CHECKED,
    "messages_are_read": """
        SELECT format('%%s: nothing was loaded of the last hour', carried.exchange)
        FROM unnest(%(exchanges)s::text[]) AS carried (exchange)
        WHERE NOT EXISTS (
            SELECT FROM ops.load_ledger AS ledger
            WHERE ledger.exchange = carried.exchange AND ledger.kind = 'data'
                AND ledger.hour_at >= date_trunc('hour', now()) - interval '1 hour')""",
    "silver_keeps_up": """
        SELECT 'silver was not built in the last seven days'
        WHERE NOT EXISTS (
            SELECT FROM ops.load_mark
            WHERE consumer LIKE 'silver.%%' AND marked_at > now() - interval '7 days')""",
    "gold_keeps_up": """
        SELECT 'gold.ohlcv_1m was not built in the last seven days'
        WHERE NOT EXISTS (
            SELECT FROM ops.build_mark
            WHERE consumer = 'gold.ohlcv_1m' AND marked_at > now() - interval '7 days')""",
    "late_data_was_followed": """
        SELECT 'gold was not built in the last day'
        WHERE NOT EXISTS (
            SELECT FROM ops.build_mark
            WHERE consumer LIKE 'gold.%%' AND marked_at > now() - interval '1 day')""",
    "reports_are_posted": """
        SELECT CASE
            WHEN NOT %(posts)s THEN 'Slack is not set, so nothing is posted'
            ELSE format('no report of %%s was posted', %(day)s::text)
        END
        WHERE NOT EXISTS (
            SELECT FROM ops.slack_outbox
            WHERE state = 'sent' AND starts_with(key, 'daily_report:' || %(day)s || ':'))""",
}


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """What one question found: problems, and the evidence that is missing for an answer."""

    question: str
    problems: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """``no``, ``unknown`` or ``yes``."""
        return "no" if self.problems else "unknown" if self.unknown else "yes"

    def __str__(self) -> str:
        """For a person."""
        found = "".join(f"\n  {line}" for line in (self.problems or self.unknown))
        return f"{self.question.replace('_', ' ')}: {self.answer}{found}"


def run(settings: Settings, question: str, now: datetime | None = None) -> HealthSummary:
    """Ask one of ``QUESTIONS``. ``now`` (default: the clock) decides which report must be posted.

    Raises:
        KeyError: there is no such question.
        WarehouseError: the warehouse doesn't answer.
    """
    day = report_due(now or datetime.now(UTC), settings.report.wait_minutes)
    values = {
        "exchanges": list(settings.exchanges),
        "day": day.isoformat(),
        "day_end": datetime(day.year, day.month, day.day, tzinfo=KST) + timedelta(days=1),
        "posts": bool(settings.slack.token.get_secret_value() and settings.slack.channel),
    }
    with connect(settings.warehouse.url, f"health {question}") as connection:
        problems, unknown = (
            tuple(sorted(str(row[0]) for row in connection.execute(query.encode(), values).fetchall()))
            for query in (QUESTIONS[question], EVIDENCE.get(question, _NONE))
        )
    summary = HealthSummary(question, problems, unknown)
    log.info("%s", summary)
    return summary


def report_due(now: datetime, wait_minutes: int) -> date:
    """The last KST date whose report must be posted at ``now``."""
    local = (now - timedelta(minutes=wait_minutes) - _REPORT_SLACK).astimezone(KST)
    return local.date() - timedelta(days=1)
