"""The real scheduler, driven through the REST API: every DAG is there, and running one again changes nothing."""

from __future__ import annotations

import pytest

from tests.dags.project import DAG_IDS
from tests.integration.airflow.stage import Platform
from tidemark.local.process import LocalError

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

LOAD = "raw__trade__load"
RAW = ("raw.trade_v1", "ops.load_ledger")


def states(platform: Platform, dag_id: str, run_id: str) -> dict[str, str]:
    """State of each task of a run."""
    return {task["task_id"]: task["state"] for task in platform.client.tasks(dag_id, run_id)}


def test_every_dag_is_there_and_none_fails_to_import(platform: Platform) -> None:
    assert platform.client.import_errors() == []
    assert set(platform.client.dags()) == DAG_IDS


def test_triggered_twice_and_two_at_once_no_row_changes(platform: Platform) -> None:
    platform.land_trades(0, 40)
    platform.land_trades(40, 25)
    client = platform.client
    client.unpause(LOAD)  # that alone starts the run that is due
    client.wait(LOAD, client.trigger(LOAD, {"exchange": "all"}), 90)
    loaded = platform.contents(*RAW)
    assert loaded["raw.trade_v1"][0] == 65
    assert loaded["ops.load_ledger"][0] == 2

    again = client.trigger(LOAD)
    together = [client.trigger(LOAD, {"exchange": "all", "dry_run": False}) for _ in range(2)]
    for run_id in (again, *together):
        client.wait(LOAD, run_id, 90)
        assert set(states(platform, LOAD, run_id).values()) == {"success"}
    assert platform.contents(*RAW) == loaded


def test_a_dry_run_says_what_it_would_do_and_does_nothing(platform: Platform) -> None:
    platform.land_trades(65, 5)
    before = platform.contents(*RAW)
    run_id = platform.client.trigger(LOAD, {"dry_run": True})
    platform.client.wait(LOAD, run_id, 90)
    assert set(states(platform, LOAD, run_id).values()) == {"skipped"}
    assert "nothing was changed" in platform.log(LOAD, run_id)
    assert "'rows': 5" in platform.log(LOAD, run_id)
    assert platform.contents(*RAW) == before


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        (LOAD, {"exchange": "nowhere"}),
        (LOAD, {"dry_run": "perhaps"}),
        ("raw__lake__compact", {"dataset": "weather"}),
        ("gold__daily_report", {"report_date": "2026-02-30"}),
    ],
)
def test_the_form_refuses_what_makes_no_sense(platform: Platform, dag_id: str, conf: dict[str, object]) -> None:
    with pytest.raises(LocalError, match="400"):
        platform.client.trigger(dag_id, conf)
