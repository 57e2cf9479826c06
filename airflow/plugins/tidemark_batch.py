"""What every DAG shares: its defaults, the form of its parameters, the window of a run, and how a job is run.

Contains: batch helpers for DAG files, light to import. Does not contain: declarations (``tidemark_registry``), dbt
(``tidemark_transform``), any work (``tidemark.jobs``).

What a person fills in is checked three times: by the form's JSON schema when a run is triggered; by ``check_form``
before a task does anything; by the job, which knows the exchange. The first line of each refusal is the reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow.sdk import (
    CronDataIntervalTimetable,
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
    get_current_context,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tidemark_slack import notify_failure

log = logging.getLogger(__name__)

KST: Final = ZoneInfo("Asia/Seoul")
ALL: Final = "all"
#: Characters that Airflow keeps of what the list of a run's tasks shows; lines of a dry run's summary.
_SHOWN: Final = 250
_LINES: Final = 40
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
#: Fixed, so that two parses make the same DAG. Nothing before it is scheduled (no catch-up).
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: Errors that the next try would meet again, by name, since importing them takes longer than parsing a DAG.
FUTILE: Final = frozenset(
    {
        "alerts.report.command.ReportError",  # the day isn't over, or a setting is missing
        "alerts.slack.SlackRefusedError",  # token, channel or rights
        "builtins.ValueError",  # a window or a code that makes no sense
        "psycopg.ProgrammingError",  # no such table or column, no right to it
        "tidemark.exchanges.base.Unparsable",
        "tidemark.jobs.backfill.BackfillRefusedError",
        "tidemark.jobs.backfill.NothingServedError",
        "tidemark.jobs.fetching.FetchRefusedError",
        "tidemark.jobs.load.LoadError",  # the good objects are in, the bad stay bad
        "tidemark.lake.compacted.CompactionError",
        "tidemark.lake.parquet.CorruptObjectError",
        "tidemark.settings.SettingsError",
        "tidemark.transport.BannedError",  # each further request makes the ban longer
        "tidemark.transport.RefusedError",
        "tidemark.warehouse.migrate.MigrationError",
        "tidemark.warehouse.retention.PolicyError",
    }
)
#: How PostgreSQL says, through a driver's error, that it is there and won't let us in.
_REFUSED: Final = ("does not exist", "authentication failed", "no pg_hba.conf entry")


# --- what a DAG is made with --------------------------------------------------------------------------------


def dag_arguments(
    doc: str | None,
    *,
    tags: Collection[str],
    timeout: timedelta,
    params: Mapping[str, Param] | None = None,
    late_after: timedelta | None = None,
) -> dict[str, Any]:
    """Arguments that every ``DAG(...)`` gets: one run at a time, no catch-up, retries that back off.

    ``doc`` is the Markdown shown in the UI; its first line is the description. ``timeout`` bounds one task. A run that
    isn't over ``late_after`` it was queued goes on, and Slack is told.
    """
    text = (doc or "").strip()
    return {
        "description": text.splitlines()[0] if text else None,
        "doc_md": text,
        "tags": sorted(tags),
        "params": dict(params or {}),
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "deadline": _deadline(late_after) if late_after else None,
        "default_args": {
            "owner": "tidemark",
            "retries": 3,
            "retry_delay": timedelta(seconds=20),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": timeout,
            "on_failure_callback": [notify_failure],
            # The list of a run's tasks shows this text: what came of the task (see ``show``).
            "map_index_template": "{{ tidemark_result | default('') }}",
        },
    }


def _deadline(late_after: timedelta) -> DeadlineAlert:
    minutes = int(late_after.total_seconds() // 60)
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=late_after,
        callback=SyncCallback("tidemark_slack.notify_late", kwargs={"minutes": minutes}),
    )


def every(cron: str, zone: str = "UTC") -> CronDataIntervalTimetable:
    """A schedule whose runs cover the time since the run before (a bare cron string would cover none)."""
    return CronDataIntervalTimetable(cron, timezone=zone)


# --- the form of a manual run -------------------------------------------------------------------------------


#: An instant in ISO 8601. The form's ``date-time`` alone is checked by no one: it needs a package of its own.
_TIME: Final = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_CODE: Final = "^[^\\s,;]{3,60}$"


def dry_run_param() -> Param:
    """Report what would be done, and change nothing."""
    return Param(
        False, type="boolean", title="Dry run",
        description="Check everything and report what would be done; change nothing. The list of the run's tasks shows "
        "the result.",
    )  # fmt: skip


def window_params(empty: str) -> dict[str, Param]:
    """``window_start`` and ``window_end``: both, or neither. ``empty`` tells what neither means."""
    form = {"type": ["null", "string"], "format": "date-time", "pattern": _TIME}
    return _window_form(f"Empty (both): {empty}.", form)


def required_window_params() -> dict[str, Param]:
    """``window_start`` and ``window_end`` that must be filled in: without them a run is refused when triggered."""
    form = {"type": "string", "format": "date-time", "pattern": _TIME, "examples": ["2026-01-01T00:00:00Z"]}
    return _window_form("Must be filled in.", form)


def _window_form(more: str, form: Mapping[str, Any]) -> dict[str, Param]:
    first = f"First instant of the window, such as 2026-01-01T00:00:00Z; in UTC where it has no offset. {more}"
    last = f"First instant behind the window, in UTC where it has no offset. {more}"
    return {
        "window_start": Param(None, title="From (UTC)", description=first, **form),
        "window_end": Param(None, title="To (UTC)", description=last, **form),
    }


def codes_param() -> Param:
    """Markets of the chosen exchange, in either spelling; empty: all that are taken."""
    return Param(
        [], type=["null", "array"], items={"type": "string", "pattern": _CODE}, title="Markets",
        description="Markets of the chosen exchange, one a line: its own codes (KRW-BTC) or ours (BTC-KRW); a text "
        "that is both means its own. Empty: every market that is taken.",
    )  # fmt: skip


def chosen_codes(context: Mapping[str, Any]) -> tuple[str, ...]:
    """What the form's *Markets* holds."""
    return tuple(context["params"].get("codes") or ())


def exchange_param(names: Collection[str]) -> Param:
    """One exchange, or ``all`` of ``names``."""
    return Param(
        ALL, type="string", enum=[ALL, *sorted(names)], title="Exchange",
        description="Only this exchange; the others are left out.",
    )  # fmt: skip


def dataset_param(names: Collection[str]) -> Param:
    """One dataset, or ``all`` of ``names``."""
    return Param(
        ALL, type="string", enum=[ALL, *names], title="Dataset", description="Only this dataset.",
    )  # fmt: skip


# --- the window of a run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """A stretch of time: from ``start`` up to, not including, ``end``. Aware, in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """For logs."""
        return f"[{self.start:%Y-%m-%d %H:%M:%S}, {self.end:%Y-%m-%d %H:%M:%S}) UTC"


def window(
    context: Mapping[str, Any], period: timedelta, zone: tzinfo = UTC, look_back: timedelta = timedelta(0)
) -> Window:
    """The window that a run covers; it never depends on the clock, so a retry covers the same one.

    1. The Params ``window_start`` and ``window_end``, to the second, if given.
    2. Else, where the schedule made the run, its data interval, both ends floored to whole periods (hours or days of
       ``zone``).
    3. Else (by hand, or by an asset) the last whole period before the run was due. Airflow gives a run by hand the
       interval of the scheduled run before it, which may be one period older.

    ``look_back`` widens 2 and 3 backwards, for jobs that look again at what was open.

    Raises:
        AirflowFailException: see ``given_window``.
    """
    given = given_window(context.get("params") or {})
    if given is not None:
        return given
    run = context["dag_run"]
    end = floor(due(run), period, zone)
    start = floor(run.data_interval_start, period, zone) if _by_schedule(run) else end
    return Window(min(start, floor(end - period / 2, period, zone)) - look_back, end)


def floor(instant: datetime, period: timedelta, zone: tzinfo = UTC) -> datetime:
    """The last whole hour or day of ``zone`` at or before ``instant``, in UTC."""
    local = instant.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight + (local - midnight) // period * period).astimezone(UTC)


def due(run: Any) -> datetime:
    """When a run was due: the end of its interval where the schedule made it, else its logical date or its start."""
    if _by_schedule(run):
        return run.data_interval_end  # type: ignore[no-any-return]
    return run.logical_date or run.run_after  # type: ignore[no-any-return]


def _by_schedule(run: Any) -> bool:
    """Whether the data interval of a run is what the run is about."""
    return run.run_type in ("scheduled", "backfill") and run.data_interval_start is not None


def report_date(context: Mapping[str, Any], now: datetime | None = None) -> date:
    """The KST day that a report is about.

    Param ``report_date``, else the KST date on which a scheduled run's interval starts, else the last KST day that was
    over when the run was due.

    Raises:
        AirflowFailException: that day is not over at ``now`` (default: the clock), or is no date.
    """
    given = (context.get("params") or {}).get("report_date")
    day = _given_date(given) if given else _date_of_run(context["dag_run"])
    if day >= (now or datetime.now(UTC)).astimezone(KST).date():
        raise failure(
            f"{day} is not over in Korea: a posted report can't be changed, so it isn't written yet. Choose an earlier "
            "Report date, or leave it empty"
        )
    return day


def _given_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise failure(f"report_date={text!r} is no date, such as 2026-04-13") from None


def _date_of_run(run: Any) -> date:
    if _by_schedule(run):
        return run.data_interval_start.astimezone(KST).date()  # type: ignore[no-any-return]
    return window({"dag_run": run}, DAY, KST).start.astimezone(KST).date()


def wait_ends(report_day: date, minutes: int) -> datetime:
    """Until when the report of a KST day waits for coverage: ``minutes`` after that day's end, in UTC."""
    midnight = datetime(report_day.year, report_day.month, report_day.day, tzinfo=KST) + DAY
    return (midnight + timedelta(minutes=minutes)).astimezone(UTC)


def given_window(params: Mapping[str, Any]) -> Window | None:
    """The Params ``window_start`` and ``window_end``; None where neither is given.

    Raises:
        AirflowFailException: only one end is given, an end is no ISO 8601 instant, or the window is empty, reversed or
            in the future.
    """
    from tidemark.jobs.arguments import check_window, instant

    start, end = params.get("window_start"), params.get("window_end")
    if not start and not end:
        return None
    if not start or not end:
        missing = "To (window_end)" if start else "From (window_start)"
        raise failure(f"{missing} is empty: give both window_start and window_end, or neither")
    try:
        span = Window(instant("window_start", start), instant("window_end", end))
        check_window(span.start, span.end)
    except ValueError as error:
        raise failure(str(error)) from None
    return span


def check_form(context: Mapping[str, Any]) -> None:
    """Refuse a run whose form makes no sense, before anything is done; jobs check again what only they can.

    Raises:
        AirflowFailException: a key that the form does not have, markets without their exchange, or a bad window.
    """
    params, dag = context.get("params") or {}, context.get("dag")
    if dag is not None:
        unknown = sorted(set(context["dag_run"].conf or {}) - set(dag.params))
        if unknown:
            known = ", ".join(sorted(dag.params))
            raise failure(f"the form has no {', '.join(map(repr, unknown))}; it has: {known}")
    given_window(params)
    if params.get("codes") and params.get("exchange") == ALL and len(_offered(context)) > 1:
        named = ", ".join(params["codes"])
        raise failure(f"the markets {named} belong to one exchange: choose it, or leave the markets out")


def _offered(context: Mapping[str, Any]) -> list[str]:
    """The exchanges that the form offers, without ``all``."""
    dag = context.get("dag")
    form = dag.params.get_param("exchange").schema if dag is not None and "exchange" in dag.params else {}
    return [name for name in form.get("enum", ()) if name != ALL]


# --- running a job ------------------------------------------------------------------------------------------


def only_if_chosen(context: Mapping[str, Any], exchange: str) -> None:
    """Skip this task when the run is about another exchange, or when the form is refused: one task reports that.

    Raises:
        AirflowSkipException: this exchange is not chosen, or the first one's task reports what is wrong.
        AirflowFailException: see ``check_form``.
    """
    only = chosen(context, "exchange")
    if only not in (None, exchange):
        raise AirflowSkipException(f"this run is about {only} only")
    try:
        check_form(context)
    except AirflowFailException as error:
        first = next(iter(_offered(context)), exchange)
        if only is None and exchange != first:
            raise AirflowSkipException(f"the form is refused, see the task of {first}: {error}") from None
        raise


def chosen(context: Mapping[str, Any], param: str) -> str | None:
    """What a Param with an ``all`` is set to; None for all."""
    value = context["params"].get(param, ALL)
    return None if value == ALL else str(value)


def run_job(job: Callable[..., Any], **arguments: Any) -> Any:
    """Run a job with the settings of this process and return its outcome as plain JSON for XCom.

    The job logs what it does, and logs its outcome itself. A dry run succeeds and announces no new data; its outcome
    has the ``summary`` beside the job's own fields.

    Raises:
        AirflowFailException: the form makes no sense, or the job failed in a way that trying again can't fix.
    """
    from tidemark import settings

    context = _context()
    with fail_fast():
        if context is not None:
            check_form(context)
        log.info("%s: %s", job.__module__, ", ".join(f"{k}={v}" for k, v in arguments.items()))
        outcome = job(settings.load(), **arguments)
    summary = str(outcome)
    if not arguments.get("dry_run"):
        show(summary)
        return plain(outcome)
    announce_nothing(f"dry run, nothing was changed: {summary}")
    found = plain(outcome)
    return {**(found if isinstance(found, dict) else {}), "dry_run": True, "summary": summary.splitlines()[:_LINES]}


def failure(reason: str) -> AirflowFailException:
    """The error that fails a task without retries; ``reason`` is its text, and shown in the list of the run's tasks."""
    show(reason)
    return AirflowFailException(reason)


def announce_nothing(result: str) -> None:
    """Let this task succeed without an asset event, so that it wakes nobody; ``result`` is shown beside it."""
    log.info("%s", result)
    show(result)
    context = _context()
    if context is not None:
        context["ti"].task.outlets = []


def show(text: str) -> None:
    """Show the beginning of ``text`` in the list of the run's tasks."""
    context = _context()
    if context is not None:
        line = " · ".join(one.strip() for one in text.splitlines() if one.strip())
        context["tidemark_result"] = line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def _context() -> Any:
    """The context of the task that runs; None outside of one."""
    try:
        return get_current_context()
    except RuntimeError:
        return None


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn errors that no retry can fix (settings, schema, rights) into a failure without retries."""
    try:
        yield
    except Exception as error:
        name = "" if type(error) in (ValueError, AirflowFailException) else f"{type(error).__name__}: "
        if _permanent(error):
            raise failure(f"{name}{error}") from error
        show(f"{name}{error}")
        raise


def plain(value: Any) -> Any:
    """A job's outcome as JSON: dataclasses become objects, times and decimals text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: plain(item) for key, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _permanent(error: Exception) -> bool:
    """Whether trying again is futile."""
    if isinstance(error, AirflowFailException):
        return False  # it says so itself
    if any(words in str(error.__cause__) for words in _REFUSED):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in FUTILE for kind in type(error).__mro__)
