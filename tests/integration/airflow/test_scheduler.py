"""The real scheduler, driven through the REST API: every DAG is there, and running one again changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.dags.project import DAG_IDS
from tests.integration.airflow.stage import CLUSTER, EXCHANGE, Platform
from tidemark.local import process
from tidemark.local.process import LocalError
from tidemark.naming import chain_object, raw_topic

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

LOAD, CANDLES, MARKETS = "raw__trade__load", "raw__candle__fetch", "raw__market__fetch"
SILVER, GOLD = "silver__build", "gold__build"
RAW = ("raw.trade_v1", "ops.load_ledger")
BACKFILL = "raw__history__backfill"
DAY = {"exchange": "upbit", "window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-02T00:00:00Z"}


def states(platform: Platform, dag_id: str, run_id: str) -> dict[str, str]:
    """State of each task of a run."""
    return {task["task_id"]: task["state"] for task in platform.client.tasks(dag_id, run_id)}


def scheduled(platform: Platform, dag_id: str) -> int:
    """How often a DAG has run by its schedule: that may happen in the middle of a test too."""
    return sum(run["run_type"] == "scheduled" for run in platform.client.runs(dag_id))


def test_every_dag_is_there_and_none_fails_to_import(platform: Platform) -> None:
    assert platform.client.import_errors() == []
    assert set(platform.client.dags()) == DAG_IDS


def test_triggered_twice_and_two_at_once_no_row_changes(platform: Platform) -> None:
    platform.land_trades(0, 40)
    platform.land_trades(40, 25)
    client = platform.client
    client.unpause(LOAD)  # that alone starts the run that is due
    client.wait(LOAD, client.trigger(LOAD, {"exchange": "all"}), 300)
    loaded = platform.contents(*RAW)
    assert loaded["raw.trade_v1"][0] == 65
    assert loaded["ops.load_ledger"][0] == 2

    again = client.trigger(LOAD)
    together = [client.trigger(LOAD, {"exchange": "all", "dry_run": False}) for _ in range(2)]
    for run_id in (again, *together):
        client.wait(LOAD, run_id, 300)
        assert set(states(platform, LOAD, run_id).values()) == {"success"}
    assert platform.contents(*RAW) == loaded


def test_a_dry_run_says_what_it_would_do_and_does_nothing(platform: Platform) -> None:
    platform.land_trades(65, 5)
    before, due = platform.contents(*RAW), scheduled(platform, LOAD)
    run_id = platform.client.trigger(LOAD, {"dry_run": True})
    platform.client.wait(LOAD, run_id, 300)
    assert set(states(platform, LOAD, run_id).values()) == {"success"}
    shown = {task["task_id"]: task["rendered_map_index"] for task in platform.client.tasks(LOAD, run_id)}
    assert shown["load__upbit"].startswith("dry run, nothing was changed: upbit trade: would load ")
    assert platform.client.result(LOAD, run_id, "load__upbit")["summary"][0].startswith("upbit trade: would load ")
    assert platform.client.announced(LOAD, run_id) == [], "it would wake silver"
    assert "nothing was changed" in platform.log(LOAD, run_id)
    assert "would load 1 of 3 objects, 5 rows" in platform.log(LOAD, run_id) or scheduled(platform, LOAD) > due
    assert platform.contents(*RAW) == before or scheduled(platform, LOAD) > due

    real = platform.client.trigger(LOAD)
    platform.client.wait(LOAD, real, 300)
    assert "raw.trade" in platform.client.announced(LOAD, real)
    assert platform.contents(*RAW)["raw.trade_v1"][0] == 70


def test_what_rest_serves_is_fetched_once(platform: Platform) -> None:
    asked = {
        CANDLES: {
            "exchange": "upbit",
            "interval": "1d",
            "window_start": f"{datetime.now(UTC) - timedelta(days=9):%Y-%m-%d}T00:00:00Z",
            "window_end": f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}T00:00:00Z",
            "codes": ["KRW-BTC"],
        },
        MARKETS: {},
    }
    for dag_id, conf in asked.items():
        platform.client.unpause(dag_id)
        platform.client.trigger(dag_id, conf)
    platform.settle(*asked)
    fetched = platform.contents("raw.candle_v1", "raw.market_v1", "ops.load_ledger")
    # The scheduled run, which unpausing starts, fetches a later day of every market.
    days = (
        "select count(*) from raw.candle_v1 where interval = '1d' and code = 'KRW-BTC' "
        "and event_at < date_trunc('day', now()) - interval '2 days'"
    )
    assert platform.query(days) == [(7,)]
    assert platform.query("select count(distinct exchange) from raw.market_v1") == [(3,)]

    for dag_id, conf in asked.items():
        platform.client.trigger(dag_id, conf)
    platform.settle(*asked)
    assert platform.contents("raw.candle_v1", "raw.market_v1", "ops.load_ledger") == fetched


def test_silver_and_gold_again_change_nothing_and_silver_wakes_gold(platform: Platform) -> None:
    client = platform.client
    client.unpause(SILVER)  # the run that is due builds it
    platform.settle(SILVER)
    client.unpause(GOLD)
    platform.settle(GOLD)
    built = platform.contents("silver.trade", "gold.ohlcv_1m", "gold.ohlcv_1h", "ops.load_mark", "ops.build")
    assert platform.query("select sum(trade_count), count(distinct market) from gold.ohlcv_1m") == [(70, 1)]

    again = client.trigger(SILVER)
    client.trigger(GOLD)
    platform.settle(SILVER, GOLD)
    gate = {"check_new_rows": "success", "gates_are_open": "success"}
    assert states(platform, SILVER, again) == {**gate, "build": "success", "announce": "skipped"}
    assert platform.contents(*built) == built

    platform.land_trades(70, 30)
    client.wait(LOAD, client.trigger(LOAD), 300)
    due = scheduled(platform, SILVER)
    dry = client.trigger(SILVER, {"dry_run": True})
    client.wait(SILVER, dry, 300)
    assert states(platform, SILVER, dry) == {**gate, "build": "success", "announce": "success"}
    assert platform.client.announced(SILVER, dry) == []
    assert platform.contents(*built) == built or scheduled(platform, SILVER) > due

    client.wait(SILVER, client.trigger(SILVER), 300)
    woken = lambda: "asset_triggered" in {run["run_type"] for run in client.runs(GOLD)}  # noqa: E731
    process.wait_until("the run of gold that silver asked for", woken, timeout_s=200, every_s=0.5)


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        (LOAD, {"exchange": "nowhere"}),
        (LOAD, {"dry_run": "perhaps"}),
        ("raw__lake__compact", {"dataset": "weather"}),
        ("gold__daily_report", {"report_date": "2026-02-30"}),
        (BACKFILL, {}),
        (BACKFILL, {**DAY, "window_start": "yesterday"}),
        (BACKFILL, {**DAY, "codes": ["KRW-BTC, KRW-ETH"]}),
        ("raw__history__repair", {"window_start": "yesterday"}),
        (CANDLES, {"window_end": "31.12.2025"}),
    ],
)
def test_the_form_refuses_what_makes_no_sense(platform: Platform, dag_id: str, conf: dict[str, object]) -> None:
    with pytest.raises(LocalError, match="400"):
        platform.client.trigger(dag_id, conf)


@pytest.mark.parametrize(
    ("dag_id", "conf", "task", "reason"),
    [
        (BACKFILL, {**DAY, "codes": ["KRW-NOPE"]}, "backfill", "upbit does not have the market asked for"),
        (BACKFILL, {"window_start": DAY["window_end"], "window_end": DAY["window_start"]}, "backfill", "the window "),
        (BACKFILL, {**DAY, "market": "KRW-BTC"}, "backfill", "the form has no 'market'"),
        ("raw__history__repair", {"codes": ["KRW-BTC"]}, "repair__binance", "the markets KRW-BTC belong to one"),
    ],
)
def test_what_only_a_task_can_know_fails_at_once_and_says_why(
    platform: Platform, dag_id: str, conf: dict[str, object], task: str, reason: str
) -> None:
    platform.client.unpause(dag_id)
    run_id = platform.client.trigger(dag_id, conf)
    with pytest.raises(LocalError, match=rf"failed in {task} \({reason}"):
        platform.client.wait(dag_id, run_id, 300)
    failed = [one for one in platform.client.tasks(dag_id, run_id) if one["state"] == "failed"]
    assert [(one["task_id"], one["try_number"]) for one in failed] == [(task, 1)], "one task, one try"
    assert failed[0]["rendered_map_index"].startswith(reason), "the list of the run's tasks shows it"


def test_a_dry_run_of_a_backfill_checks_and_estimates(platform: Platform) -> None:
    assert platform.client.dag(BACKFILL)["is_paused"] is False, "a run of a paused DAG would be queued for ever"
    conf = {**DAY, "dataset": "candle", "interval": "1h", "codes": ["BTC-KRW"], "dry_run": True}
    run_id = platform.client.trigger(BACKFILL, conf)
    platform.client.wait(BACKFILL, run_id, 300)
    assert states(platform, BACKFILL, run_id) == {"backfill": "success"}
    (shown,) = [one["rendered_map_index"] for one in platform.client.tasks(BACKFILL, run_id)]
    assert "would ask for 1 of 1 chunks (0 are done): about 1 requests" in shown
    assert platform.client.announced(BACKFILL, run_id) == []


def test_a_task_that_fails_for_good_is_told_in_slack_at_once(platform: Platform) -> None:
    """An object that isn't Parquet: no retry can mend it, so there is none."""
    dag_id = "raw__orderbook__load"
    platform.lake.put_new(chain_object(raw_topic(EXCHANGE, "orderbook"), CLUSTER, 0, 0, 0), b"not Parquet")
    platform.client.unpause(dag_id)
    with pytest.raises(LocalError, match="load__upbit"):
        platform.client.wait(dag_id, platform.client.trigger(dag_id), 300)
    told = [message for message in platform.slack.posted if dag_id in str(message)]
    assert told
    assert told[0]["channel"] == "C0ALERTS"
    assert "LoadError" in str(told[0])
    assert "p0000/00000000000000000000.parquet" in str(told[0]), "it names the object"
    assert {
        task["try_number"]
        for run in platform.client.runs(dag_id)
        for task in platform.client.tasks(dag_id, run["dag_run_id"])
    } == {1}


def test_a_run_that_is_late_is_told_in_slack_and_goes_on(platform: Platform) -> None:
    """Not after an hour: the run's deadline is brought forward. A paused DAG keeps the run queued until then."""
    dag_id = "gold__daily_report"
    run_id = platform.client.trigger(dag_id, {"dry_run": True})
    with psycopg.connect(platform.airflow.database_url) as metadata:
        moved = metadata.execute(
            """
            update deadline set deadline_time = now() from dag_run
            where deadline.dagrun_id = dag_run.id and dag_run.run_id = %s
            """,
            [run_id],
        )
        assert moved.rowcount == 1

    def told() -> list[dict[str, object]]:
        return [message for message in platform.slack.posted if f"{dag_id} is late" in str(message)]

    process.wait_until("the word that the run is late", lambda: bool(told()), timeout_s=60)
    assert [message["channel"] for message in told()] == ["C0ALERTS"]
    assert run_id in str(told()[0])
    assert platform.client.run(dag_id, run_id)["state"] == "queued"
