"""The daily report, start to end: collect, render, write the page, deliver.

Lives here: the order of the steps and what a second run may change. Doesn't: the steps, scheduling (``airflow``).

A second run: once the message is posted (or may be), the stored report stands, whatever the facts say now. Before
that, the stored text is used again when the facts are the same and it is the model's, or no model is set; else the
report is rendered anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from alerts.report import blocks, deterministic, narrative, store
from alerts.report.blocks import Section
from alerts.report.collect import collect, coverage_complete, window
from alerts.report.facts import KST, FactSet
from alerts.report.numbers import check
from alerts.report.page import write_page
from alerts.report.wording import Language
from alerts.slack import Outbox, SlackError, client
from tidemark.settings import Settings
from tidemark.warehouse.connection import Connection, connect

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 15.0


class ReportError(Exception):
    """The report can't be made as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What became of one report.

    ``delivery``: ``posted``, ``already posted``, ``no token`` or ``dry run``; ``origins`` by language: ``llm`` or
    ``deterministic: <reason>``; ``coverage``: percent of hours.
    """

    report_date: date
    delivery: str
    origins: dict[str, str]
    coverage: Decimal
    facts: int
    text: str
    ts: str = ""
    page: Path | None = None

    def __str__(self) -> str:
        origins = ", ".join(f"{language} {origin}" for language, origin in self.origins.items())
        page = f"; page {self.page}" if self.page else ""
        return (
            f"report of {self.report_date}: {self.delivery}; {origins}; {self.facts} facts, "
            f"coverage {self.coverage:.1f} %{page}"
        )


def yesterday(now: datetime | None = None) -> date:
    """The last KST date that is over."""
    return (now or datetime.now(UTC)).astimezone(KST).date() - timedelta(days=1)


def run(settings: Settings, report_date: date, *, dry_run: bool = False, now: datetime | None = None) -> ReportResult:
    """Make the report of one KST date, and post it once. ``dry_run`` writes, posts and asks the model nothing.

    Without a Slack token nothing is posted; the page is written all the same.

    Raises:
        ReportError: the day isn't over, or a setting is missing.
        SlackError: Slack refused the message, or its fate is unknown. The report is stored; run again.
        WarehouseError: the warehouse doesn't answer.
    """
    if (now or datetime.now(UTC)) < window(report_date)[1]:
        raise ReportError(
            f"{report_date} is not over in Korea: a posted report can't be changed, so it isn't written yet"
        )
    with connect(settings.warehouse.url, "daily report") as connection:
        if dry_run:
            return _dry(settings, connection, report_date)
        with store.locked(connection, report_date):
            return _run(settings, connection, report_date)


def wait_for_coverage(settings: Settings, report_date: date, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until the date is covered, at most until ``settings.report.wait_minutes`` after its end; whether it is."""
    deadline = window(report_date)[1] + timedelta(minutes=settings.report.wait_minutes)
    with connect(settings.warehouse.url, "daily report: wait") as connection:
        while not (complete := coverage_complete(connection, report_date)) and datetime.now(UTC) < deadline:
            sleep(_LOOK_EVERY_S)
    return complete


def message_key(settings: Settings, report_date: date, part: int = 1) -> str:
    """The identity of one message of one date's report in one channel."""
    return f"daily_report:{report_date}:{settings.slack.channel}:{part}"


def _run(settings: Settings, connection: Connection, report_date: date) -> ReportResult:
    outbox = _outbox(settings, connection)
    frozen = outbox is not None and outbox.is_touched(message_key(settings, report_date))
    facts, sections = render(settings, connection, report_date, frozen=frozen)
    page = write_page(Path(settings.report.page_dir), facts, sections) if settings.report.page_dir else None
    delivery, ts = ("no token", "") if outbox is None else _deliver(settings, outbox, facts, sections)
    return _result(facts, sections, delivery, ts=ts, page=page)


def _dry(settings: Settings, connection: Connection, report_date: date) -> ReportResult:
    facts = collect(connection, report_date)
    sections = [_deterministic(facts, language, "dry_run") for language in settings.report.languages]
    return _result(facts, sections, "dry run")


def _result(
    facts: FactSet, sections: list[Section], delivery: str, *, ts: str = "", page: Path | None = None
) -> ReportResult:
    origins: dict[str, str] = {
        s.language: s.origin if s.origin == "llm" else f"{s.origin}: {s.reason}" for s in sections
    }
    text = blocks.plain_text(facts, sections)
    coverage = facts.value("coverage.share")
    return ReportResult(facts.report_date, delivery, origins, coverage, len(facts.facts), text, ts, page)


# --- rendering ----------------------------------------------------------------------------------------------


def render(
    settings: Settings, connection: Connection, report_date: date, *, frozen: bool = False
) -> tuple[FactSet, list[Section]]:
    """The facts and the text in every language, stored; from the store where the module's docstring says so."""
    languages = settings.report.languages
    stored = {language: store.load(connection, report_date, language) for language in languages}
    kept = next((found[0] for found in stored.values() if found), None)
    facts = kept if frozen and kept else collect(connection, report_date)
    sections = []
    for index, language in enumerate(languages):
        found = stored[language]
        if found and (frozen or _still_good(settings, found, facts)):
            sections.append(found[1])
            continue
        section = _write(settings, connection, facts, language)
        store.save(connection, facts, section, blocks.section_blocks(facts, section, first=index == 0))
        sections.append(section)
    return facts, sections


def _still_good(settings: Settings, found: tuple[FactSet, Section], facts: FactSet) -> bool:
    modelled = found[1].origin == "llm" or found[1].reason == "no_data"
    no_model = found[1].reason == "no_key" and not settings.llm.api_key.get_secret_value()
    return found[0].digest == facts.digest and (modelled or no_model)


def _write(settings: Settings, connection: Connection, facts: FactSet, language: Language) -> Section:
    """The model's text when it may be used, else ours with the reason."""
    if not facts.value("day.markets"):
        return _deterministic(facts, language, "no_data")

    def record(call: narrative.Call) -> None:
        store.record(connection, facts.report_date, call)

    try:
        text = narrative.narrate(settings.llm, facts, language, record)
    except narrative.NarrativeError as error:
        log.warning("report of %s in %s without the model: %s", facts.report_date, language, error)
        return _deterministic(facts, language, error.reason)
    return Section(language, text, "llm", model=settings.llm.model)


def _deterministic(facts: FactSet, language: Language, reason: str) -> Section:
    text = deterministic.narrate(facts, language)
    verdict = check(text, facts)
    if not verdict.passed:  # a fault of ours: say so loudly, and still report
        log.error("the number gate refuses our own text of %s in %s: %s", facts.report_date, language, verdict)
    return Section(language, text, "deterministic", reason)


# --- delivery -----------------------------------------------------------------------------------------------


def _outbox(settings: Settings, connection: Connection) -> Outbox | None:
    if not settings.slack.token.get_secret_value():
        return None
    if not settings.slack.channel:
        raise ReportError(
            "TIDEMARK_SLACK__TOKEN is set and TIDEMARK_SLACK__CHANNEL is not: name the channel, by its id"
        )
    return Outbox(connection, client(settings.slack))


def _deliver(settings: Settings, outbox: Outbox, facts: FactSet, sections: list[Section]) -> tuple[str, str]:
    """Post the report; its first message's time stamp. What doesn't fit goes into its thread."""
    first = ""
    fresh = False
    for part, message in enumerate(blocks.messages(facts, sections), 1):
        payload: dict[str, object] = {"text": message.text, "blocks": list(message.blocks)}
        if first:
            payload["thread_ts"] = first
        posted = outbox.post(message_key(settings, facts.report_date, part), settings.slack.channel, payload)
        first, fresh = first or posted.ts, fresh or posted.fresh
    return ("posted" if fresh else "already posted"), first


__all__ = [
    "ReportError",
    "ReportResult",
    "SlackError",
    "coverage_complete",
    "message_key",
    "render",
    "run",
    "wait_for_coverage",
    "yesterday",
]
