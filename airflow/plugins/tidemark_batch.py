"""What every DAG shares: its defaults, the form of its parameters, the window of a run, and how a job is run.

Lives here: batch helpers for DAG files, light to import. Doesn't: declarations (``tidemark_registry``), dbt
(``tidemark_transform``), any work (``tidemark.jobs``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow.sdk import CronDataIntervalTimetable, DeadlineAlert, DeadlineReference, Param, SyncCallback
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tidemark_slack import notify_failure

log = logging.getLogger(__name__)

KST: Final = ZoneInfo("Asia/Seoul")
ALL: Final = "all"
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
#: Fixed, so that two parses make the same DAG. Nothing before it is scheduled (no catch-up).
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: Errors that the next try would meet again, by name, since importing them takes longer than parsing a DAG.
FUTILE: Final = frozenset(
    {
        "alerts.report.command.ReportError",  # the day isn't over, or a setting is missing
        "alerts.slack.SlackRefusedError",  # a person has to change something
        "builtins.ValueError",  # a window or a code that makes no sense
        "psycopg.ProgrammingError",  # no such table or column, no right to it
        "tidemark.exchanges.base.Unparsable",
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


def dry_run_param() -> Param:
    """Say what would be done, and change nothing."""
    return Param(
        False, type="boolean", title="Dry run", description="Log what would be done, and change nothing.",
    )  # fmt: skip


def window_params() -> dict[str, Param]:
    """``window_start`` and ``window_end``: both, or neither for the interval of the run."""
    form = {"type": ["null", "string"], "format": "date-time"}
    return {
        "window_start": Param(
            None, title="From", description="First instant of the window. Empty: the interval of the run.", **form,
        ),
        "window_end": Param(
            None, title="To", description="First instant behind the window. Empty: the interval of the run.", **form,
        ),
    }  # fmt: skip


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
    2. Else the run's data interval, both ends floored to whole periods (hours or days of ``zone``).
    3. Else (triggered by an asset, say) the last whole period before the run was due.

    ``look_back`` widens 2 and 3 backwards, for jobs that look again at what was open.

    Raises:
        AirflowFailException: only one end is given, an end is no ISO 8601 instant, or the window is empty.
    """
    given = given_window(context.get("params") or {})
    if given is not None:
        return given
    run = context["dag_run"]
    due = run.data_interval_end or run.run_after
    end = floor(due, period, zone)
    start = floor(run.data_interval_start or end, period, zone)
    return Window(min(start, floor(end - period / 2, period, zone)) - look_back, end)


def floor(instant: datetime, period: timedelta, zone: tzinfo = UTC) -> datetime:
    """The last whole hour or day of ``zone`` at or before ``instant``, in UTC."""
    local = instant.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight + (local - midnight) // period * period).astimezone(UTC)


def report_date(context: Mapping[str, Any]) -> date:
    """The KST day that a report is about.

    Param ``report_date``, else the KST date on which the run's interval starts; without an interval the last KST
    day that was over when the run was due.
    """
    given = (context.get("params") or {}).get("report_date")
    if given:
        return _parsed("report_date", given).date()
    run = context["dag_run"]
    if run.data_interval_start is not None:
        return run.data_interval_start.astimezone(KST).date()
    return window({"dag_run": run}, DAY, KST).start.astimezone(KST).date()


def wait_ends(report_day: date, minutes: int) -> datetime:
    """Until when the report of a KST day waits for coverage: ``minutes`` after that day's end, in UTC."""
    midnight = datetime(report_day.year, report_day.month, report_day.day, tzinfo=KST) + DAY
    return (midnight + timedelta(minutes=minutes)).astimezone(UTC)


def given_window(params: Mapping[str, Any]) -> Window | None:
    """The Params ``window_start`` and ``window_end``; None where neither is given.

    Raises:
        AirflowFailException: only one end is given, an end is no ISO 8601 instant, or the window is empty.
    """
    start, end = params.get("window_start"), params.get("window_end")
    if not start and not end:
        return None
    if not start or not end:
        raise AirflowFailException("give both window_start and window_end, or neither")
    span = Window(_parsed("window_start", start), _parsed("window_end", end))
    if span.start >= span.end:
        raise AirflowFailException(f"the window {span} is empty: window_start must lie before window_end")
    return span


def _parsed(name: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise AirflowFailException(f"{name}={text!r} is no ISO 8601 time, such as 2026-04-13T00:00:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


# --- running a job ------------------------------------------------------------------------------------------


def only_if_chosen(context: Mapping[str, Any], exchange: str) -> None:
    """Skip this task when the run is about another exchange."""
    only = chosen(context, "exchange")
    if only not in (None, exchange):
        raise AirflowSkipException(f"this run is about {only} only")


def chosen(context: Mapping[str, Any], param: str) -> str | None:
    """What a Param with an ``all`` is set to; None for all."""
    value = context["params"].get(param, ALL)
    return None if value == ALL else str(value)


def run_job(job: Callable[..., Any], **arguments: Any) -> Any:
    """Run a job with the settings of this process and return its outcome as plain JSON for XCom.

    The job logs what it does, and logs its outcome itself.

    Raises:
        AirflowSkipException: it was a dry run, so no new data may be announced.
        AirflowFailException: the job failed in a way that trying again can't mend.
    """
    from tidemark import settings

    log.info("%s: %s", job.__module__, ", ".join(f"{k}={v}" for k, v in arguments.items()))
    with fail_fast():
        outcome = job(settings.load(), **arguments)
    if arguments.get("dry_run"):
        raise AirflowSkipException(f"dry run, nothing was changed: {outcome}")
    return plain(outcome)


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn errors that no retry can mend (settings, schema, rights) into a failure without retries."""
    try:
        yield
    except Exception as error:
        if _permanent(error):
            raise AirflowFailException(f"{type(error).__name__}: {error}") from error
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
