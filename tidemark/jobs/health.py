"""Is the platform as a whole well: one question a part, each with an answer for a person.

Lives here: the questions, put to the books (``ops``). Doesn't: the books' own makers; workers' metrics (Prometheus asks
them itself).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tidemark.settings import Settings
from tidemark.warehouse.connection import connect

log = logging.getLogger(__name__)

#: Each yields a line a problem; nothing: that part is well. ``exchanges`` are those that are carried.
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
        WHERE state IN ('pending', 'unknown') AND updated_at < now() - interval '1 hour'
            AND updated_at > now() - interval '3 days'""",
    "late_data_was_followed": """
        SELECT format('%%s did not follow %%s late changes: %%s', consumer, count(*), min(reason)) FROM ops.refusal
        WHERE refused_at > now() - interval '1 day' GROUP BY consumer""",
}


@dataclass(frozen=True, slots=True)
class HealthSummary:
    """What one question found; no problem: that part is well."""

    question: str
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """For a person."""
        found = "".join(f"\n  {problem}" for problem in self.problems)
        return f"{self.question.replace('_', ' ')}: {'no' + found if found else 'yes'}"


def run(settings: Settings, question: str) -> HealthSummary:
    """Ask one of ``QUESTIONS``.

    Raises:
        KeyError: there is no such question.
        WarehouseError: the warehouse doesn't answer.
    """
    query = QUESTIONS[question]
    with connect(settings.warehouse.url, f"health {question}") as connection:
        rows = connection.execute(query.encode(), {"exchanges": list(settings.exchanges)}).fetchall()
    summary = HealthSummary(question, tuple(sorted(str(row[0]) for row in rows)))
    log.info("%s", summary)
    return summary
