"""The batch helpers: which window a run covers, which errors are tried again, what a dry run ends as."""

from __future__ import annotations

import dataclasses
import importlib
import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk import Param
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context
from hypothesis import given
from hypothesis import strategies as st
from tidemark_batch import (
    DAY,
    FUTILE,
    HOUR,
    KST,
    Window,
    check_form,
    due,
    fail_fast,
    floor,
    only_if_chosen,
    plain,
    report_date,
    run_job,
    show,
    wait_ends,
    window,
)
from tidemark_slack import notify_failure, notify_late

from alerts.report.command import ReportError
from tests.dags.slack import SlackServer
from tidemark.exchanges.base import Unparsable
from tidemark.lake.parquet import CorruptObjectError
from tidemark.lake.store import StoreUnavailableError
from tidemark.settings import SettingsError
from tidemark.transport import BannedError, RefusedError, UnavailableError
from tidemark.warehouse.connection import WarehouseError


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def context(
    start: str | None = None,
    end: str | None = None,
    due: str = "2026-04-14T00:40:00",
    by: str = "scheduled",
    logical: str | None = None,
    **params: Any,
) -> dict[str, Any]:
    """What a task gets of a run: its data interval (or none), when it was due, who made it, its Params."""
    run = SimpleNamespace(
        data_interval_start=utc(start) if start else None,
        data_interval_end=utc(end) if end else None,
        run_after=utc(due),
        logical_date=utc(logical) if logical else None,
        run_type=by,
    )
    return {"dag_run": run, "params": params}


SCHEDULED = ("2026-04-13T00:40:00", "2026-04-14T00:40:00")


def test_params_come_first() -> None:
    asked = context(*SCHEDULED, window_start="2026-01-02T03:04:05+09:00", window_end="2026-01-03T00:00:00Z")
    assert window(asked, DAY) == Window(utc("2026-01-01T18:04:05"), utc("2026-01-03T00:00:00"))


def test_params_without_offset_are_utc() -> None:
    asked = context(window_start="2026-01-02T00:00:00", window_end="2026-01-03")
    assert window(asked, DAY) == Window(utc("2026-01-02T00:00:00"), utc("2026-01-03T00:00:00"))


def test_else_the_data_interval_in_whole_periods() -> None:
    """A run at 00:40 is about the day that ended at 00:00."""
    run = context(*SCHEDULED, window_start=None, window_end=None)
    assert window(run, DAY) == Window(utc("2026-04-13T00:00:00"), utc("2026-04-14T00:00:00"))
    hourly = context("2026-04-13T05:10:00", "2026-04-13T06:10:00")
    assert window(hourly, HOUR) == Window(utc("2026-04-13T05:00:00"), utc("2026-04-13T06:00:00"))


def test_an_asset_triggered_run_has_no_interval_and_takes_the_last_whole_period() -> None:
    run = context(due="2026-04-14T00:40:00", by="asset_triggered")
    assert window(run, DAY) == Window(utc("2026-04-13T00:00:00"), utc("2026-04-14T00:00:00"))
    assert window(run, HOUR) == Window(utc("2026-04-13T23:00:00"), utc("2026-04-14T00:00:00"))


def test_a_look_back_widens_what_was_not_asked_for() -> None:
    hourly = context("2026-04-13T05:10:00", "2026-04-13T06:10:00")
    assert window(hourly, HOUR, look_back=DAY) == Window(utc("2026-04-12T05:00:00"), utc("2026-04-13T06:00:00"))
    asked = context(window_start="2026-01-02T00:00:00Z", window_end="2026-01-03T00:00:00Z")
    assert window(asked, HOUR, look_back=DAY) == Window(utc("2026-01-02T00:00:00"), utc("2026-01-03T00:00:00"))


@pytest.mark.parametrize("by", ["manual", "operator_triggered"])
def test_a_run_by_hand_is_about_the_last_whole_period(by: str) -> None:
    """Airflow gives it the interval of the scheduled run before: at 00:20, before the run of 00:40, a day older."""
    early = context("2026-04-12T00:40:00", "2026-04-13T00:40:00", due="2026-04-14T00:20:00", by=by)
    assert window(early, DAY) == Window(utc("2026-04-13T00:00:00"), utc("2026-04-14T00:00:00"))
    dated = context(*SCHEDULED, due="2026-05-01T00:00:00", by=by, logical="2026-04-14T05:05:00")
    assert window(dated, HOUR) == Window(utc("2026-04-14T04:00:00"), utc("2026-04-14T05:00:00"))
    assert due(dated["dag_run"]) == utc("2026-04-14T05:05:00")
    assert due(context(*SCHEDULED)["dag_run"]) == utc("2026-04-14T00:40:00")


def test_a_backfill_of_airflow_is_about_its_interval() -> None:
    assert window(context(*SCHEDULED, by="backfill"), DAY) == Window(
        utc("2026-04-13T00:00:00"), utc("2026-04-14T00:00:00")
    )


def test_korean_days() -> None:
    run = context("2026-04-12T15:10:00", "2026-04-13T15:10:00")
    assert window(run, DAY, KST) == Window(utc("2026-04-12T15:00:00"), utc("2026-04-13T15:00:00"))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"window_start": "2026-01-02T00:00:00Z"}, "both"),
        ({"window_end": "2026-01-02T00:00:00Z"}, "both"),
        ({"window_start": "2026-01-02T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"}, "empty"),
        (
            {"window_start": "2026-01-03T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"},
            "the window .* ends before it starts",
        ),
        ({"window_start": "2126-01-03T00:00:00Z", "window_end": "2126-01-04T00:00:00Z"}, "lies in the future"),
        ({"window_start": "yesterday", "window_end": "2026-01-02T00:00:00Z"}, "yesterday"),
    ],
)
def test_a_senseless_window_fails_without_retries(params: dict[str, str], says: str) -> None:
    with pytest.raises(AirflowFailException, match=says):
        window(context(*SCHEDULED, **params), DAY)


instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC))
periods = st.sampled_from([HOUR, timedelta(hours=4), DAY])
zones = st.sampled_from([UTC, KST])


@given(instants, periods, zones)
def test_floor_is_a_whole_period_at_or_before(instant: datetime, period: timedelta, zone: Any) -> None:
    floored = floor(instant, period, zone)
    assert floored <= instant < floored + period
    assert floor(floored, period, zone) == floored
    assert floored.tzinfo == UTC


@given(instants, periods, zones)
def test_windows_of_following_runs_follow_each_other(due: datetime, period: timedelta, zone: Any) -> None:
    def of(end: datetime) -> Window:
        return window(
            {"dag_run": SimpleNamespace(data_interval_start=end - period, data_interval_end=end, run_type="scheduled")},
            period,
            zone,
        )

    assert of(due).end == of(due + period).start
    assert of(due).end - of(due).start == period


@given(instants, periods, zones)
def test_the_last_whole_period_is_over_when_the_run_is_due(due: datetime, period: timedelta, zone: Any) -> None:
    run = SimpleNamespace(
        data_interval_start=None, data_interval_end=None, run_after=due, logical_date=None, run_type="asset_triggered"
    )
    found = window({"dag_run": run}, period, zone)
    assert found.end <= due < found.end + period
    assert found.end - found.start == period


def test_the_report_is_about_the_korean_date_on_which_the_interval_starts() -> None:
    scheduled = context("2026-04-12T15:10:00", "2026-04-13T15:10:00")
    assert report_date(scheduled) == date(2026, 4, 13)


def test_a_report_asked_for_by_hand() -> None:
    assert report_date(context(report_date="2026-02-03")) == date(2026, 2, 3)
    assert report_date(context(due="2026-04-13T15:10:00", by="manual")) == date(2026, 4, 13)
    early = context(due="2026-04-13T14:59:00", by="manual")
    assert report_date(early) == date(2026, 4, 12), "that day isn't over in Korea yet"
    with pytest.raises(AirflowFailException, match="report_date"):
        report_date(context(report_date="tomorrow"))


@pytest.mark.parametrize("logical", ["2026-11-29T15:05:00", None])
def test_just_after_midnight_in_korea_a_run_by_hand_reports_the_day_that_has_just_ended(logical: str | None) -> None:
    """00:05 KST on the 30th, before the scheduled run: Airflow's interval is still that of the run before."""
    interval = ("2026-11-27T15:10:00", "2026-11-28T15:10:00") if logical else (None, None)
    run = context(*interval, due="2026-11-29T15:05:00", by="manual", logical=logical)
    assert report_date(run, now=utc("2026-11-29T15:05:10")) == date(2026, 11, 29)


def test_a_day_that_is_not_over_in_korea_is_refused_at_once() -> None:
    """Else the wait for its coverage would keep the scheduled report from starting for two hours."""
    asked = context(report_date="2026-11-30", dry_run=True)
    with pytest.raises(AirflowFailException, match=r"^2026-11-30 is not over in Korea"):
        report_date(asked, now=utc("2026-11-30T14:59:59"))
    assert report_date(asked, now=utc("2026-11-30T15:00:00")) == date(2026, 11, 30)
    with pytest.raises(AirflowFailException, match="not over"):
        report_date(context(report_date="9999-12-31"))


def test_the_report_waits_until_half_past_midnight_in_korea() -> None:
    assert wait_ends(date(2026, 4, 13), 30) == utc("2026-04-13T15:30:00")
    assert wait_ends(date(2026, 4, 30), 0) == utc("2026-04-30T15:00:00")


def test_a_run_about_one_exchange_skips_the_others() -> None:
    only_if_chosen(context(exchange="all"), "somewhere")
    only_if_chosen(context(exchange="somewhere"), "somewhere")
    with pytest.raises(AirflowSkipException, match="elsewhere"):
        only_if_chosen(context(exchange="elsewhere"), "somewhere")


@dataclasses.dataclass(frozen=True)
class Outcome:
    rows: int
    at: datetime
    total: Decimal


def job(settings: object, *, dataset: str, dry_run: bool = False) -> Outcome:
    assert type(settings).__name__ == "Settings"
    return Outcome(3, utc("2026-04-13T00:00:00"), Decimal("0.10"))


def test_a_jobs_outcome_becomes_json() -> None:
    assert run_job(job, dataset="trade") == {"rows": 3, "at": "2026-04-13 00:00:00+00:00", "total": "0.10"}


def test_a_dry_run_succeeds_and_announces_nothing() -> None:
    task = SimpleNamespace(outlets=["raw.trade"])
    asked: dict[str, Any] = {**context(), "ti": SimpleNamespace(task=task)}
    with set_current_context(asked):  # type: ignore[arg-type]
        found = run_job(job, dataset="trade", dry_run=True)
    assert found["dry_run"] is True
    assert found["rows"] == 3
    assert "rows=3" in found["summary"][0]
    assert task.outlets == [], "an outlet of a task that succeeds wakes whoever waits for it"
    assert asked["tidemark_result"].startswith("dry run, nothing was changed: Outcome(rows=3")


def test_what_came_of_a_task_is_shown_beside_it_in_one_short_line() -> None:
    asked: dict[str, Any] = {**context(), "ti": SimpleNamespace(task=SimpleNamespace(outlets=["raw.trade"]))}
    with set_current_context(asked):  # type: ignore[arg-type]
        run_job(job, dataset="trade")
        assert asked["tidemark_result"].startswith("Outcome(rows=3")
        assert asked["ti"].task.outlets == ["raw.trade"]
        show("first\n  second\n\n" + "x" * 1000)
    assert asked["tidemark_result"].startswith("first · second · xxx")
    assert len(asked["tidemark_result"]) == 250, "Airflow's column holds no more"


FORM = {
    "exchange": Param("all", enum=["all", "okx", "upbit"]),
    "codes": Param([], type="array"),
    "window_start": Param(None, type=["null", "string"]),
    "window_end": Param(None, type=["null", "string"]),
}


def triggered(**conf: Any) -> dict[str, Any]:
    """The context of a run that a person triggered with ``conf``, of a DAG with two exchanges."""
    run = context(by="manual")["dag_run"]
    run.conf = conf
    values = {name: param.value for name, param in FORM.items()} | conf
    return {"dag_run": run, "params": values, "dag": SimpleNamespace(params=ParamsDict(FORM))}


SENSELESS = [
    ({"market": "KRW-BTC"}, "the form has no 'market'; it has: codes, exchange, window_end, window_start"),
    ({"codes": ["KRW-BTC"]}, "the markets KRW-BTC belong to one exchange: choose it"),
    ({"window_start": "2026-01-02"}, r"To \(window_end\) is empty"),
    ({"window_start": "2026-01-02", "window_end": "2026-01-01"}, "the window .* ends before it starts"),
    ({"window_start": "2026-02-30", "window_end": "2026-03-01"}, "window_start='2026-02-30' is no ISO 8601 time"),
]


@pytest.mark.parametrize(("conf", "says"), SENSELESS)
def test_a_senseless_form_is_refused_by_one_task_with_the_reason_first(conf: dict[str, Any], says: str) -> None:
    with pytest.raises(AirflowFailException, match=f"^{says}"):
        only_if_chosen(triggered(**conf), "okx")
    with pytest.raises(AirflowSkipException, match=f"see the task of okx: {says}"):
        only_if_chosen(triggered(**conf), "upbit")
    with pytest.raises(AirflowFailException, match=f"^{says}"), set_current_context(triggered(**conf)):  # type: ignore[arg-type]
        run_job(job, dataset="trade")


def test_the_task_of_the_chosen_exchange_refuses_the_form() -> None:
    asked = triggered(exchange="upbit", window_start="2026-01-02", window_end="2026-01-01")
    with pytest.raises(AirflowFailException, match=r"^the window"):
        only_if_chosen(asked, "upbit")
    with pytest.raises(AirflowSkipException, match="about upbit only"):
        only_if_chosen(asked, "okx")


def test_a_form_that_makes_sense_is_taken() -> None:
    for conf in (
        {},
        {"exchange": "upbit", "codes": ["KRW-BTC"], "window_start": "2026-01-01", "window_end": "2026-01-02"},
    ):
        check_form(triggered(**conf))


def unknown_market(settings: object) -> None:
    raise ValueError("upbit does not have the market asked for")


def test_the_first_line_of_a_refusal_is_its_reason() -> None:
    asked = triggered()
    says = "upbit does not have the market asked for"
    with pytest.raises(AirflowFailException, match=f"^{says}$"), set_current_context(asked):  # type: ignore[arg-type]
        run_job(unknown_market)
    assert asked["tidemark_result"] == says


def test_futile_errors_are_classes_that_exist() -> None:
    for name in FUTILE:
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert issubclass(found, Exception)
        assert f"{found.__module__}.{found.__qualname__}" == name


def unreachable(reason: str) -> WarehouseError:
    """The error of a connection that PostgreSQL (or nobody) answered with ``reason``."""
    error = WarehouseError(f"no connection to the warehouse: {reason}")
    error.__cause__ = psycopg.OperationalError(reason)
    return error


@pytest.mark.parametrize(
    "error",
    [
        SettingsError("no such setting: X"),
        ReportError("2026-04-13 isn't over in Korea"),
        CorruptObjectError("no footer"),
        RefusedError("http://exchange/v1/candles", 401, b"who are you"),
        BannedError("blocked"),
        Unparsable("not_json", "an HTML page"),
        psycopg.errors.UndefinedTable("relation raw.trade_v1 is not there"),
        psycopg.errors.InsufficientPrivilege("permission denied"),
        unreachable('FATAL:  password authentication failed for user "x"'),
        unreachable('FATAL:  database "tidemark" does not exist'),
    ],
)
def test_what_a_retry_cannot_mend_fails_at_once(error: Exception) -> None:
    with pytest.raises(AirflowFailException) as caught, fail_fast():
        raise error
    assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        unreachable("connection refused"),
        unreachable("FATAL:  the database system is starting up"),
        StoreUnavailableError("503"),
        UnavailableError("429 in spite of all retries"),
        psycopg.errors.DeadlockDetected("deadlock detected"),
        TimeoutError("slow"),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    with pytest.raises(type(error)), fail_fast():
        raise error


def test_plain() -> None:
    assert plain({"a": (1, 2.5, None, True), date(2026, 1, 1): {"x"}}) == {
        "a": [1, 2.5, None, True],
        "2026-01-01": ["x"],
    }


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)


FAILED = SimpleNamespace(dag_id="raw__trade__load", task_id="load", try_number=4, log_url="http://127.0.0.1/log")


def test_a_failure_is_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    with SlackServer() as slack:
        monkeypatch.setenv("TIDEMARK_SLACK__BASE_URL", slack.url)
        monkeypatch.setenv("TIDEMARK_SLACK__TOKEN", "xoxb-test")
        monkeypatch.setenv("TIDEMARK_SLACK__CHANNEL", "C0ALERTS")
        notify_failure({"ti": FAILED, "run_id": "manual__1", "exception": ValueError("no such table")})
    (message,) = slack.posted
    assert message["method"] == "chat.postMessage"
    assert message["channel"] == "C0ALERTS"
    assert "raw__trade__load" in str(message)
    assert "no such table" in str(message)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("failed", None),
        ("success", None),
        ("running", "It goes on."),
        ("queued", "It has not started."),
        ("", "Its state is unknown."),
    ],
)
def test_a_run_that_has_ended_is_not_late(state: str, says: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow calls for each run whose time is up, also for one that failed in the meantime."""
    with SlackServer() as slack:
        monkeypatch.setenv("TIDEMARK_SLACK__BASE_URL", slack.url)
        monkeypatch.setenv("TIDEMARK_SLACK__TOKEN", "xoxb-test")
        monkeypatch.setenv("TIDEMARK_SLACK__CHANNEL", "C0ALERTS")
        notify_late(20, {"dag_run": {"dag_id": "raw__system__load", "dag_run_id": "manual__x", "state": state}})
    assert [says in str(message) for message in slack.posted] == ([True] if says else [])


def test_without_slack_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    notify_failure({"ti": FAILED, "run_id": "manual__1"})
    assert "raw__trade__load.load failed on try 4" in caplog.text


@pytest.mark.parametrize("context", [{}, {"ti": None}, {"ti": FAILED, "run_id": "x", "exception": object()}])
def test_the_callback_never_raises(context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_SLACK__BASE_URL", "http://127.0.0.1:9/api/")  # nobody listens there
    monkeypatch.setenv("TIDEMARK_SLACK__TOKEN", "xoxb-test")
    monkeypatch.setenv("TIDEMARK_SLACK__CHANNEL", "C0ALERTS")
    notify_failure(context)
