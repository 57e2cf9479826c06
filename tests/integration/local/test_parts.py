"""Parts of the local stack that start no server: preflight, steps, what children are told, what is played again."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from tidemark import settings as config
from tidemark.local import children, preflight, process, stack, workers
from tidemark.local import day as market_day
from tidemark.local.day import Day, yesterday
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError
from tidemark.local.steps import Progress, Step, run
from tidemark.settings import LocalSettings, PlatformSettings, Settings


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A stack with free ports and an empty state directory."""
    for name in [n for n in os.environ if n.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    ports = {n: process.free_port() for n in LocalSettings.model_fields if n.endswith("_port")}
    return Layout(Settings(local=LocalSettings(state_dir=tmp_path / "state", **ports)))


def with_local(layout: Layout, **changes: object) -> Layout:
    local = layout.settings.local.model_copy(update=changes)
    return Layout(layout.settings.model_copy(update={"local": local}))


# --- preflight ----------------------------------------------------------------------------------------------


def test_nothing_stands_in_the_way_of_free_ports(layout: Layout) -> None:
    preflight.check(layout, memory=False)


def test_every_taken_port_gets_its_own_line(layout: Layout) -> None:
    local = layout.settings.local
    with socket.socket() as one, socket.socket() as two:
        for server, port in ((one, local.airflow_port), (two, local.kafka_port)):
            server.bind(("127.0.0.1", port))
            server.listen()
        with pytest.raises(LocalError) as raised:
            preflight.check(layout, memory=False)
        lines = str(raised.value).splitlines()
        assert [line.split(" is taken")[0] for line in lines] == [
            f"port {local.airflow_port} for Airflow",
            f"port {local.kafka_port} for Kafka",
        ]
        assert all("TIDEMARK_LOCAL__" in line for line in lines)
        with pytest.raises(LocalError, match=r"^port [0-9]+ for Airflow is taken[^\n]*$"):
            preflight.check(layout, memory=True)  # no Kafka then


def test_a_full_disk_is_one_line(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=512 * 1024**2))
    with pytest.raises(LocalError, match=r"^only 0\.5 GiB free at [^\n]*$"):
        preflight.check(layout, memory=True)


def test_without_java_the_broker_is_in_memory(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    memory, line = preflight.choose_broker(layout)
    assert memory is True
    assert "no Java found" in line
    assert "\n" not in line
    with pytest.raises(LocalError, match=r"^no Java found[^\n]*BROKER=memory$"):
        preflight.choose_broker(with_local(layout, broker="kafka"))


def test_redpanda_needs_docker(layout: Layout) -> None:
    with pytest.raises(LocalError, match=r"^BROKER=redpanda needs Docker[^\n]*$"):
        preflight.choose_broker(with_local(layout, broker="redpanda"))


def test_live_data_need_the_network(layout: Layout) -> None:
    live = with_local(layout, source="live")
    nowhere = {"rest_url": f"http://127.0.0.1:{process.free_port()}"}
    dead = {name: exchange.model_copy(update=nowhere) for name, exchange in live.settings.exchanges.items()}
    live = Layout(live.settings.model_copy(update=dead))
    with pytest.raises(LocalError) as raised:
        preflight.check(live, memory=True)
    lines = str(raised.value).splitlines()
    assert [line.split(" can't be reached at ")[0] for line in lines] == ["upbit", "okx", "binance"]
    assert all(line.endswith("SOURCE=simulator") for line in lines)


# --- what children are told ---------------------------------------------------------------------------------


def test_children_read_back_exactly_the_settings_of_the_stack(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    slack = layout.settings.slack.model_copy(update={"token": SecretStr("xoxb-a token"), "channel": "#a"})
    upbit = layout.settings.upbit.model_copy(update={"codes": ("KRW-BTC", "KRW-ETH")})
    layout = Layout(layout.settings.model_copy(update={"slack": slack, "upbit": upbit}))
    told = children.local_settings(layout, memory=False)
    for name, value in children.environment(told).items():
        monkeypatch.setenv(name, value)
    assert config.load() == told
    assert told.kafka.bootstrap_servers == f"127.0.0.1:{layout.settings.local.kafka_port}"
    assert told.upbit.ws_url == f"ws://127.0.0.1:{layout.settings.local.simulator_port}"
    assert told.lake.url == f"file://{layout.state}/lake"


def test_each_producer_has_a_name_and_a_port_of_its_own(layout: Layout) -> None:
    told = children.local_settings(layout, memory=False)
    assert {one.ws_url for one in told.exchanges.values()} == {told.upbit.ws_url}
    own = [children.producer_settings(told, name).producer for name in told.exchanges]
    assert [one.worker for one in own] == ["producer-1-upbit", "producer-1-okx", "producer-1-binance"]
    assert [one.metrics_port for one in own] == [9101, 9103, 9104]
    assert told.sink.metrics_port == 9102
    silent = told.model_copy(update={"producer": told.producer.model_copy(update={"metrics_port": 0})})
    assert {children.producer_settings(silent, name).producer.metrics_port for name in told.exchanges} == {0}


def test_producers_of_exchanges_that_are_no_longer_carried_are_known(layout: Layout) -> None:
    for name in ("producer", "producer-okx", "producer-upbit"):
        (layout.state / name).mkdir(parents=True)
    fewer = PlatformSettings(exchanges=("upbit",))
    layout = Layout(layout.settings.model_copy(update={"platform": fewer}))
    assert [one.home.name for one in workers.former_producers(layout)] == ["producer", "producer-okx"]
    assert list(workers.producers(layout)) == ["upbit"]
    assert "--wait-codes" not in workers.simulator(layout).command  # every market of Upbit's is taken


def test_the_simulator_waits_for_the_codes_that_are_taken(layout: Layout) -> None:
    okx = layout.settings.okx.model_copy(update={"codes": ("BTC-USDT-SWAP",)})
    command = workers.simulator(Layout(layout.settings.model_copy(update={"okx": okx}))).command
    assert "okx:BTC-USDT-SWAP" in command


def test_with_live_data_the_exchange_stays_the_exchange(layout: Layout) -> None:
    told = children.local_settings(with_local(layout, source="live"), memory=False)
    assert told.upbit == layout.settings.upbit


def test_in_memory_the_sink_keeps_far_less_than_the_broker_forgets(layout: Layout) -> None:
    told = children.local_settings(layout, memory=True)
    assert told.kafka.memory is True
    assert told.sink.rotate_bytes * 4 < told.producer.max_lag_bytes < 5 * 1024 * 1024


# --- the day ------------------------------------------------------------------------------------------------


def test_yesterday_is_koreas() -> None:
    day = yesterday(datetime(2026, 4, 13, 15, 30, tzinfo=UTC))  # 00:30 on the 14th in Korea
    assert day.date == date(2026, 4, 13)
    assert (day.begin, day.end) == (datetime(2026, 4, 12, 15, tzinfo=UTC), datetime(2026, 4, 13, 15, tzinfo=UTC))


def test_a_day_is_played_once(layout: Layout) -> None:
    day = Day(date(2026, 4, 13))
    whole = ["--day", "2026-04-13", "--day-zone", "kst"]
    assert stack._what_to_play(layout, day) == whole
    carried = {"begin": day.begin.isoformat(), "exchanges": ["upbit", "okx", "binance"]}
    layout.write_note("played", {**carried, "end": "2026-04-13T20:00:00+00:00"})
    assert stack._what_to_play(layout, day) == whole  # its bars have not been compared yet
    layout.write_note("day", {"done": "2026-04-13", "exchanges": carried["exchanges"]})
    layout.write_note("played", {**carried, "end": "2026-04-13T20:00:00+00:00"})
    assert stack._what_to_play(layout, day) == ["--from", "2026-04-13T19:00:00+00:00"]
    layout.write_note("played", {**carried, "exchanges": ["upbit"], "end": "2026-04-13T20:00:00+00:00"})
    assert stack._what_to_play(layout, day) == whole  # an exchange is new
    layout.write_note("played", {**carried, "end": day.begin.isoformat()})
    assert stack._what_to_play(layout, day) == ["--from", day.begin.isoformat()]
    later = Day(date(2026, 4, 15))  # the stack was down meanwhile: a hole, so the whole day again
    assert stack._what_to_play(layout, later) == ["--day", "2026-04-15", "--day-zone", "kst"]


# --- steps --------------------------------------------------------------------------------------------------


def test_steps_run_beside_each_other_and_after_what_they_need() -> None:
    both = threading.Barrier(2, timeout=10)  # passes only if two run at the same time
    order: list[str] = []

    def meet(say: object) -> None:
        both.wait()

    steps = [
        Step("last", lambda say: order.append("last"), after=("one", "two")),
        Step("one", meet),
        Step("two", meet),
    ]
    run(steps, Progress(Console(file=StringIO())))
    assert order == ["last"]


def test_a_failure_stops_what_follows_and_waits_for_what_runs() -> None:
    done: list[str] = []

    def slow(say: object) -> None:
        time.sleep(0.3)
        done.append("slow")

    def fails(say: object) -> None:
        raise LocalError("the reason")

    out = StringIO()
    steps = [Step("slow", slow), Step("bad", fails), Step("next", lambda say: done.append("next"), ("bad",))]
    with pytest.raises(LocalError, match="the reason"):
        run(steps, Progress(Console(file=out)))
    assert done == ["slow"]
    assert "FAILED bad" in out.getvalue()


def test_a_failure_ends_what_would_wait_for_long() -> None:
    def waits(say: Callable[[str], None]) -> None:
        for _ in range(600):
            time.sleep(0.05)
            say("waiting")

    def fails(say: object) -> None:
        raise LocalError("the reason")

    began = time.monotonic()
    with pytest.raises(LocalError, match="the reason"):
        run([Step("waits", waits), Step("fails", fails)], Progress(Console(file=StringIO())))
    assert time.monotonic() - began < 15


def test_steps_that_wait_for_each_other_are_refused() -> None:
    steps = [Step("a", lambda say: None, ("b",)), Step("b", lambda say: None, ("a",))]
    with pytest.raises(LocalError, match="wait for each other"):
        run(steps, Progress(Console(file=StringIO())))


def test_only_one_up_at_a_time(layout: Layout) -> None:
    with (
        stack.only_one(layout),
        pytest.raises(LocalError, match="another `tidemark up` is in progress"),
        stack.only_one(layout),
    ):
        pass


def test_a_damaged_note_counts_as_none(layout: Layout) -> None:
    layout.write_note("day", {"done": "2026-04-13"})
    assert layout.note("day") == {"done": "2026-04-13"}
    (layout.state / "day.json").write_text(json.dumps({"done": "x"})[:-3])
    assert layout.note("day") == {}


def test_down_where_nothing_runs_does_nothing(layout: Layout) -> None:
    assert stack.down(layout.settings) == 0
    assert stack.status(layout.settings) == 1


def test_a_check_waits_for_builds_of_the_days_own_hours_only() -> None:
    one = Day(date(2026, 9, 20))  # 15:00Z of the 19th to 15:00Z of the 20th
    line = "OPEN  4 arithmetic  trade      2026-09-{} expected 5 actual 0 waiting_layers=['1d']"
    assert market_day._waits_for_builds(line.format("19 15:00"), one)
    assert market_day._waits_for_builds(line.format("20 14:00"), one)
    assert not market_day._waits_for_builds(line.format("20 15:00"), one), "the hours after it wait for the next build"
    assert not market_day._waits_for_builds(line.format("20 14:00").replace("4 arithmetic", "5 witness   "), one)
