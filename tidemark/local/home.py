"""The figures of the home page, asked of the warehouse whenever somebody looks.

Contains: the questions, and their answers as figures in English and Korean. Does not contain: the page (``pages``), its
server (``pages_server``).

A figure without evidence says "unknown": a warehouse that does not answer, a day that nobody has checked.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg

from tidemark.completeness import summary
from tidemark.local.pages import Figure
from tidemark.warehouse.connection import Connection

_KST: Final = ZoneInfo("Asia/Seoul")
_DAY: Final = timedelta(days=1)
_TIMEOUT_MS: Final = 5_000
_CHECKED: Final = "SELECT max(checked_at) FROM ops.completeness"
_GAPS: Final = "SELECT count(*) FROM ops.gap WHERE state IN ('open', 'not_served')"
_NEWEST: Final = "SELECT max(received_max) FROM ops.load_ledger WHERE kind = 'data'"
_ROWS: Final = "SELECT coalesce(sum(parsed), 0)::bigint FROM ops.load_ledger"
_REPORT: Final = """
SELECT count(*), count(*) FILTER (WHERE state = 'sent') FROM ops.slack_outbox WHERE key LIKE %s
"""
_WRITTEN: Final = "SELECT count(*) FROM ops.report WHERE report_date = %s"


def figures(url: str, now: datetime) -> list[Figure]:
    """How the platform stands at ``now`` (aware), by the warehouse at ``url``."""
    at = f"{now.astimezone(UTC):%H:%M:%S} UTC"
    as_of = Figure("As of", "기준 시각", at)
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            connection.execute(f"SET statement_timeout = {_TIMEOUT_MS}".encode())
            return [as_of, *(_asked(ask, connection, now) for ask in _QUESTIONS)]
    except psycopg.Error:
        return [as_of, _unknown("Warehouse", "웨어하우스", "does not answer", "응답 없음")]


def _asked(ask: Callable[[Connection, datetime], Figure], connection: Connection, now: datetime) -> Figure:
    """One figure; a question that cannot be answered costs only its own."""
    try:
        return ask(connection, now)
    except psycopg.Error as error:
        if connection.broken:
            raise
        return _unknown("Unknown", "알 수 없음", str(error).splitlines()[0])


def _unknown(english: str, korean: str, value: str = "unknown", value_korean: str = "알 수 없음") -> Figure:
    return Figure(english, korean, value, "", value_korean)


def _last_day(now: datetime) -> datetime:
    """Midnight in Korea at the beginning of the last day that is over."""
    return now.astimezone(_KST).replace(hour=0, minute=0, second=0, microsecond=0) - _DAY


def _yesterday(connection: Connection, now: datetime) -> Figure:
    begin = _last_day(now)
    return _hours(connection, f"Proven, {begin:%m-%d} KST", f"검증, {begin:%m-%d} KST", begin, begin + _DAY)


def _today(connection: Connection, now: datetime) -> Figure:
    begin = _last_day(now) + _DAY
    return _hours(connection, "Proven since", "그 뒤 검증", begin, now.replace(minute=0, second=0, microsecond=0))


def _hours(connection: Connection, english: str, korean: str, begin: datetime, end: datetime) -> Figure:
    of = round((end - begin).total_seconds() / 3600)
    try:
        states = summary.trade_states(connection, begin, end) if of else []
    except psycopg.errors.UndefinedTable:
        states = []  # gold has never been built
    red, proven = states.count("red"), summary.proven_hours(states)
    if red:
        return Figure(english, korean, f"{red} h broken", "bad", f"{red}시간 어긋남")
    if of and not states:
        return _unknown(english, korean, "not checked yet", "아직 점검 전")
    tone = "good" if of and proven == of else ""
    return Figure(english, korean, f"{proven} of {of} h", tone, f"{of}시간 중 {proven}시간")


def _checked(connection: Connection, now: datetime) -> Figure:
    return _age("Last check", "마지막 점검", _one(connection, _CHECKED), now)


def _newest(connection: Connection, now: datetime) -> Figure:
    return _age("Newest row", "최신 행", _one(connection, _NEWEST), now)


def _age(english: str, korean: str, at: object, now: datetime) -> Figure:
    if not isinstance(at, datetime):
        return _unknown(english, korean)
    minutes = max(0, round((now - at).total_seconds() / 60))
    return Figure(english, korean, f"{minutes} min ago", "", f"{minutes}분 전")


def _gaps(connection: Connection, now: datetime) -> Figure:
    count = int(str(_one(connection, _GAPS)))
    return Figure("Unsettled gaps", "미해결 공백", f"{count:,}", "bad" if count else "good", f"{count:,}건")


def _rows(connection: Connection, now: datetime) -> Figure:
    return Figure("Rows in raw", "raw 행", f"{int(str(_one(connection, _ROWS))):,}")


def _report(connection: Connection, now: datetime) -> Figure:
    date = _last_day(now).date()
    english, korean = f"Report of {date:%m-%d}", f"{date:%m-%d} 리포트"
    queued, sent = connection.execute(_REPORT, [f"%{date.isoformat()}%"]).fetchone() or (0, 0)
    if sent:
        return Figure(english, korean, "posted", "good", "게시됨")
    if queued:
        return Figure(english, korean, "waiting for Slack", "bad", "Slack 대기 중")
    written = connection.execute(_WRITTEN, [date]).fetchone()
    if written and written[0]:
        return Figure(english, korean, "written, not posted", "", "작성됨, 게시 안 됨")
    return Figure(english, korean, "none yet", "", "아직 없음")


def _one(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


_QUESTIONS: Final = (_yesterday, _today, _gaps, _checked, _newest, _rows, _report)
