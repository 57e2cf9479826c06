"""Airflow for real: started, driven through its API, stopped without a trace, started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tidemark.local import day, process
from tidemark.local.airflow import AirflowServer
from tidemark.local.postgres import PostgresServer
from tidemark.local.process import LocalError

pytestmark = pytest.mark.airflow

DAG = """
from airflow.sdk import DAG, Param, task

with DAG("doubles", schedule="@hourly", params={"n": Param(21, type="integer")}):

    @task
    def double(**context):
        return context["params"]["n"] * 2

    double()

with DAG("sleeps"):

    @task(retries=1)
    def sleep():
        import time

        time.sleep(300)

    sleep()

with DAG("fails"):

    @task
    def break_down():
        raise ValueError("as asked for")

    break_down()
"""


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[AirflowServer]:
    folder = tmp_path_factory.mktemp("airflow")
    postgres_server.create_database("airflow_local_test")
    (folder / "dags").mkdir()
    (folder / "dags" / "two.py").write_text(DAG)
    server = AirflowServer(
        folder / "home",
        process.free_port(),
        folder / "logs",
        postgres_server.url("airflow_local_test"),
        dags=folder / "dags",
        plugins=folder / "plugins",
    )
    server.start()
    process.wait_until("the DAGs", lambda: {"doubles", "fails", "sleeps"} <= server.client.dags().keys(), timeout_s=60)
    yield server
    server.stop()


def quiet(detail: str) -> None:
    pass


def test_a_dag_that_is_new_runs_and_one_that_a_person_paused_stays(airflow: AirflowServer) -> None:
    """As after an upgrade that brings a DAG: nobody has to find out that it is paused."""
    wanted = ("doubles", "fails", "not there")
    assert airflow.client.dag("fails")["is_paused"]
    assert day.resume(airflow.client, wanted, ["doubles", "fails"]) == ([], ["doubles", "fails"])
    assert day.resume(airflow.client, wanted, ["fails"]) == (["doubles"], ["fails"])
    assert not airflow.client.dag("doubles")["is_paused"]
    assert day.resume(airflow.client, wanted, None) == (["fails"], [])


def test_a_run_gets_its_params_and_returns_its_result(airflow: AirflowServer) -> None:
    airflow.client.unpause("doubles")
    run_id = airflow.client.trigger("doubles", {"n": 4}, run_id="four")
    assert airflow.client.trigger("doubles", {"n": 4}, run_id="four") == run_id
    assert airflow.client.wait("doubles", run_id, timeout_s=120)["state"] == "success"
    assert airflow.client.result("doubles", run_id, "double") == 8


def test_a_scheduler_that_hangs_is_replaced(airflow: AirflowServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs and does nothing, as after a disk that was full."""
    monkeypatch.setattr("tidemark.local.airflow.HUNG_S", 0.0)
    pid = process.running(airflow.pid_files["scheduler"])
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    process.wait_until("old heartbeat", lambda: airflow.hung() == ["scheduler"], timeout_s=120, every_s=1)
    others = {name: process.running(file) for name, file in airflow.pid_files.items() if name != "scheduler"}
    airflow.start()
    assert process.running(airflow.pid_files["scheduler"]) not in (None, pid)
    assert others == {name: process.running(airflow.pid_files[name]) for name in others}
    assert airflow.hung() == []


def test_a_param_of_the_wrong_type_is_refused(airflow: AirflowServer) -> None:
    with pytest.raises(LocalError, match="Airflow refuses a run of doubles: 400"):
        airflow.client.trigger("doubles", {"n": "four"})


def test_a_failure_names_the_task_and_where_to_look(airflow: AirflowServer) -> None:
    airflow.client.unpause("fails")
    run_id = airflow.client.trigger("fails")
    with pytest.raises(
        LocalError, match=rf"^fails failed in break_down \(as asked for\): see {airflow.url}/dags/fails/runs/"
    ):
        airflow.client.wait("fails", run_id, timeout_s=120)


def test_a_dag_that_runs_by_itself_is_not_run_twice(airflow: AirflowServer) -> None:
    airflow.client._call("PATCH", "/dags/doubles", {"is_paused": True})
    before = {run["dag_run_id"] for run in airflow.client.runs("doubles")}
    day.run_anew(airflow.client, ["doubles"], quiet)
    first = {run["dag_run_id"] for run in airflow.client.runs("doubles")} - before
    assert len(first) == 1
    day.run_anew(airflow.client, ["doubles"], quiet)
    assert len({run["dag_run_id"] for run in airflow.client.runs("doubles")} - before) == 2


def test_the_pool_that_dags_name_is_there(airflow: AirflowServer) -> None:
    assert airflow.client._get("/pools/dbt")["slots"] == 1
    airflow.client.set_pool("dbt", 1)


def test_everything_listens_on_loopback_only(airflow: AirflowServer) -> None:
    family = [psutil.Process(process.running(p.pid_file)) for p in airflow.programs.values()]
    family += [child for parent in family for child in parent.children(recursive=True)]
    heard = {c.laddr.ip for p in family for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}


def test_the_password_is_kept_and_is_nobodys_elses_business(airflow: AirflowServer) -> None:
    again = AirflowServer(airflow.home, airflow.port, airflow.logs, airflow.database_url)
    assert again.password == airflow.password
    for name in ("secrets.json", "passwords.json"):
        assert (airflow.home / name).stat().st_mode & 0o077 == 0


def test_it_stops_without_a_trace_and_starts_again(airflow: AirflowServer) -> None:
    """Even while a task runs: it is ended, and begun again at the next start."""
    airflow.client.unpause("sleeps")
    run_id = airflow.client.trigger("sleeps")

    def state() -> str:
        return str(airflow.client.tasks("sleeps", run_id)[0]["state"])

    process.wait_until("the task", lambda: state() == "running", timeout_s=60)
    family = [psutil.Process(process.running(p.pid_file)) for p in airflow.programs.values()]
    family += [child for parent in family for child in parent.children(recursive=True)]
    assert airflow.stop() is True
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
    assert airflow.running() is False
    assert airflow.stop() is False
    airflow.start()
    process.wait_until("the task again", lambda: state() == "running", timeout_s=90)
