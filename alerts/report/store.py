"""The report's rows in ops: what was rendered, and every call of the model.

Lives here: reading and writing ``ops.report`` and ``ops.llm_run``, and the lock on a date. Doesn't: the outbox
(``alerts.slack``), decisions (``command``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from alerts.report.blocks import Section
from alerts.report.facts import FactSet
from alerts.report.narrative import Call
from alerts.report.wording import Language
from alerts.slack import printable
from tidemark.warehouse.connection import Connection


@contextmanager
def locked(connection: Connection, report_date: date) -> Iterator[None]:
    """Only one session at a time renders and delivers a date; the server lets go when the session dies."""
    key = f"daily_report:{report_date}"
    connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (key,))
    try:
        yield
    finally:
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (key,))


def load(connection: Connection, report_date: date, language: Language) -> tuple[FactSet, Section] | None:
    """The stored report of one date and language with the facts it rests on, or None."""
    row = connection.execute(
        """select facts, text, origin, reason, coalesce((select model from ops.llm_run run
               where (run.report_date, run.language, run.outcome) = (report.report_date, report.language, 'ok')
               order by run_id desc limit 1), '')
           from ops.report report where (report_date, language) = (%s, %s)""",
        (report_date, language),
    ).fetchone()
    if row is None:
        return None
    facts, text, origin, reason, model = row
    return FactSet.from_json(facts), Section(language, text, origin, reason, model)


def save(connection: Connection, facts: FactSet, section: Section, blocks: Sequence[dict[str, Any]]) -> None:
    """Store a rendering; one of the same date and language is replaced."""
    connection.execute(
        """insert into ops.report (report_date, language, origin, reason, facts, text, blocks)
           values (%s, %s, %s, %s, %s, %s, %s)
           on conflict (report_date, language) do update set origin = excluded.origin, reason = excluded.reason,
               facts = excluded.facts, text = excluded.text, blocks = excluded.blocks, rendered_at = now()""",
        (
            facts.report_date, section.language, section.origin, section.reason, Jsonb(facts.to_json()), section.text,
            Jsonb(list(blocks)),
        ),
    )  # fmt: skip


def record(connection: Connection, report_date: date, call: Call) -> None:
    """Keep one call of the model; what the model sent is stored in characters that PostgreSQL takes."""
    detail = {name: printable(value) if isinstance(value, str) else value for name, value in call.detail.items()}
    connection.execute(
        """insert into ops.llm_run (report_date, language, model, prompt_hash, input_tokens, output_tokens, outcome,
               detail, started_at, seconds)
           values (%s, %s, %s, %s, %s, %s, %s, %s, now() - make_interval(secs => %s), %s)""",
        (
            report_date, call.language, call.model, call.prompt_hash, call.input_tokens, call.output_tokens,
            call.outcome, Jsonb(detail), call.seconds, Decimal(f"{call.seconds:.3f}"),
        ),
    )  # fmt: skip
