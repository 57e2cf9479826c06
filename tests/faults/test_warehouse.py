"""PostgreSQL, Airflow and the sink's own limits: streaming doesn't wait for any of them, and the load catches up
exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from tests.faults.conftest import Stages
from tests.faults.feed import Feed, trade
from tests.faults.proof import prove, rows_loaded, value
from tests.faults.stage import Stage, until
from tests.faults.wire import Wire
from tests.faults.worker import Worker
from tests.gcs_double import Fault, GcsDouble
from tidemark import naming
from tidemark.jobs import compact
from tidemark.local import children, process
from tidemark.local.kafka import KafkaServer
from tidemark.local.postgres import PostgresServer
from tidemark.settings import PROJECT_ROOT, LakeSettings, WarehouseSettings
from tidemark.warehouse.connection import WarehouseError
from tidemark.warehouse.migrate import migrate

SECOND = 10**9
HOUR = 3_600 * SECOND


@pytest.fixture
def own_postgres(
    tmp_path_factory: pytest.TempPathFactory, stages: Stages, broker: KafkaServer
) -> Iterator[tuple[Stage, PostgresServer]]:
    """A stage with a PostgreSQL of its own, which may be killed."""
    home = tmp_path_factory.mktemp("own") / "postgres"
    server = PostgresServer(home, process.free_port(), home.parent / "postgres.log", shared_buffers="32MB")
    server.start()
    server.create_database("tidemark")
    admin = server.url("tidemark")
    loader = SecretStr(make_conninfo(admin, user=naming.ROLE_LOADER))
    warehouse = WarehouseSettings(url=loader, admin_url=SecretStr(admin))
    migrate(warehouse)
    stage = stages(broker.bootstrap)
    stage.settings = stage.settings.model_copy(update={"warehouse": warehouse})
    yield stage, server
    server.remove()


def ten_minutes(feed: Feed, first: int, begin_ns: int) -> tuple[list[bytes], list[int]]:
    """Trades of ten minutes, ten a second, and when each is received."""
    times = [begin_ns + n * SECOND // 10 for n in range(6_000)]
    return [trade(first + n, at_ns=at) for n, at in enumerate(times)], times


def test_postgresql_stopped_for_ten_minutes_of_the_stream(own_postgres: tuple[Stage, PostgresServer]) -> None:
    """PostgreSQL is down while ten minutes of stream come in → all of it lands; the load says what is wrong, and once
    the server is back it brings exactly what landed."""
    stage, server = own_postgres
    begin = time.time_ns() - 11 * 60 * SECOND
    frames, times = ten_minutes(stage.feed, 1, begin)
    sink = stage.sink(rotate_rows=1_000)
    stage.publish(frames[:1_000], received=lambda n: times[n])
    stage.landed(1_000)
    stage.load()
    server.stop()
    stage.publish(frames[1_000:], received=lambda n: times[1_000 + n])
    stage.landed(6_000)
    assert sink.alive
    assert sink.said("waiting") == []
    with pytest.raises(WarehouseError, match="warehouse"):
        stage.load("trade")
    server.start()
    assert rows_loaded(stage) == 1_000
    proof = prove(stage)
    assert (proof.landed, rows_loaded(stage)) == (6_000, 6_000)


def test_postgresql_killed_in_the_middle_of_a_load(own_postgres: tuple[Stage, PostgresServer]) -> None:
    """``kill -9`` of every PostgreSQL process while rows are copied → the load says so and leaves nothing of the object
    behind; the next one brings each row once."""
    stage, server = own_postgres
    stage.publish(stage.feed.trades(4_000))
    stage.sink(rotate_rows=2_000)
    stage.landed(4_000)
    stage.load("system")
    with _locked(stage) as waiting:
        problems: list[BaseException] = []
        loading = threading.Thread(target=lambda: _keep(problems, lambda: stage.load("trade")))
        loading.start()
        until(waiting)
        postmaster = process.running(server.program.pid_file)
        assert postmaster is not None
        os.kill(postmaster, signal.SIGQUIT)  # every session ends at once, nothing is written any more
        loading.join(30)
    assert isinstance(problems[0], WarehouseError)
    until(lambda: not server.running())
    server.start()
    assert value(stage, "SELECT count(*) FROM raw.trade_v1") == value(
        stage, "SELECT coalesce(sum(rows), 0) FROM ops.load_ledger WHERE dataset = 'trade'"
    )
    assert prove(stage).missing == ()
    assert rows_loaded(stage) == 4_000


def test_line_to_postgresql_breaks_in_the_middle_of_a_load(stage: Stage) -> None:
    """The line breaks after some of an object's rows were copied → nothing of it is there, and the next load brings
    each row once."""
    stage.publish(stage.feed.trades(5_000))
    stage.sink(rotate_rows=5_000, rotate_seconds=2)
    stage.landed(5_000)
    url = stage.settings.warehouse.url.get_secret_value()
    with Wire(int(str(conninfo_to_dict(url)["port"]))) as wire:
        through = make_conninfo(url, host="127.0.0.1", port=wire.port)
        straight = stage.settings
        broken = WarehouseSettings(url=SecretStr(through), admin_url=straight.warehouse.admin_url)
        stage.settings = straight.model_copy(update={"warehouse": broken})
        wire.break_after(100_000)
        with pytest.raises(WarehouseError):
            stage.load("trade")
        stage.settings = straight
    assert rows_loaded(stage) < 5_000
    assert prove(stage).missing == ()
    assert rows_loaded(stage) == 5_000


@pytest.mark.quick_fault
def test_loader_killed_and_two_at_once(stage: Stage) -> None:
    """A load is killed (``kill -9``) while it waits inside its transaction, two others run at once → each row is there
    once."""
    stage.publish(stage.feed.trades(3_000))
    stage.sink(rotate_rows=100)
    stage.landed(3_000)
    with _locked(stage) as waiting:
        loader = _loader(stage)
        until(waiting)
        loader.kill()
    both = [_loader(stage), _loader(stage)]
    assert [loader.ended() for loader in both] == [0, 0]
    assert rows_loaded(stage) == 3_000
    assert prove(stage).missing == ()


@pytest.mark.quick_fault
def test_streaming_knows_no_airflow_and_no_warehouse(stage: Stage, tmp_path: Path) -> None:
    """Airflow, dbt and PostgreSQL's client can't even be imported → producer and sink carry on as always."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(FORBID)
    environment = children.environment(stage.settings) | {"PYTHONPATH": f"{hook}:{PROJECT_ROOT}"}
    probe = [sys.executable, "-c", "import airflow"]
    refused = subprocess.run(probe, env=process.environment(environment), capture_output=True, text=True, check=False)
    assert "is forbidden here" in refused.stderr
    for name in ("consumer", "producer"):
        log = tmp_path / f"{name}.log"
        stage.workers.append(Worker(f"streaming.{name}", stage.settings, log, environment=environment))
    stage.feed.send(300)
    stage.landed(300)
    for worker in reversed(stage.workers):
        assert worker.drained() == 0, worker.tail()
    assert prove(stage).missing == ()


FORBID = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"airflow", "dbt", "psycopg", "cosmos"}:
            raise ImportError(f"{name} is forbidden here")
sys.meta_path.insert(0, Forbidden())
"""


def test_compaction_while_the_sink_is_behind(stage: Stage) -> None:
    """An hour is compacted while half of it hasn't landed, and again when it has → the files that readers see hold each
    row of the hour once."""
    begin = stage.began.replace(minute=0, second=0, microsecond=0)
    first = int(begin.timestamp()) * SECOND - 2 * HOUR
    stage.publish(stage.feed.trades(500), received=lambda n: first + n * SECOND)
    sink = stage.sink(rotate_rows=100)
    stage.landed(500)
    sink.pause()
    stage.publish(stage.feed.trades(700), received=lambda n: first + (1_000 + 4 * n) * SECOND)
    hours = [begin.fromtimestamp(first // SECOND + n * 3_600, begin.tzinfo) for n in range(3)]
    assert compact.run(stage.settings, hours[0], hours[2], "trade").rows == 500
    sink.kill()
    stage.sink(rotate_rows=130)
    stage.landed(1_200)
    assert compact.run(stage.settings, hours[0], hours[2], "trade").rows == 700
    assert compact.run(stage.settings, hours[0], hours[2], "trade").rows == 0
    assert prove(stage).missing == ()


def test_sink_stays_small_while_the_lake_is_away(stages: Stages, broker: KafkaServer, gcs: GcsDouble) -> None:
    """The lake refuses everything while 60 MB come in → the sink stops reading, its memory stays bounded, and all of it
    lands when the lake is back."""
    stage = stages(broker.bootstrap, LakeSettings(url="gs://lake/tidemark", gcs_endpoint=gcs.endpoint))
    sink = stage.sink(rotate_bytes=2 * 1024 * 1024, rotate_rows=100_000)
    stage.publish(stage.feed.trades(500))
    stage.landed(500)
    before = sink.rss()
    away = Fault("status", "POST", "uploadType", 507, times=1_000_000)
    gcs.plant(away)
    padding = b',"x":"' + b"0123456789" * 400 + b'"}'
    stage.publish([frame[:-1] + padding for frame in stage.feed.trades(15_000)])
    sink.until_said("waiting")
    time.sleep(8)
    grown = sink.rss() - before
    away.times = 0
    stage.landed(15_500, 120)
    assert grown < 120 * 1024 * 1024, f"{grown} bytes more while it could not write"
    assert prove(stage).missing == ()


WHEN = {
    "before it has begun": 0.3,
    "while it joins its group": 1.5,
    "as soon as it has landed something": 0.0,
}


@pytest.mark.parametrize("seconds", WHEN.values(), ids=WHEN)
def test_sink_asked_to_stop(stage: Stage, seconds: float) -> None:
    """SIGTERM at any time → the sink ends in seconds, and the next one goes on where the chain ends."""
    stage.publish(stage.feed.trades(1_000))
    sink = stage.sink(rotate_rows=50)
    if seconds:
        time.sleep(seconds)
    else:
        stage.landed(50)
    began = time.monotonic()
    code = sink.drained()
    assert code in (0, -signal.SIGTERM), sink.tail()
    assert time.monotonic() - began < 40
    stage.sink(rotate_rows=70)
    stage.landed(1_000)
    assert prove(stage).missing == ()


def test_sink_asked_to_stop_while_the_lake_hangs(on_gcs: Stage, gcs: GcsDouble) -> None:
    """SIGTERM while an upload hangs → the sink gives up in time and says so; the next one reads it again."""
    stage = on_gcs
    stage.publish(stage.feed.trades(300))
    sink = stage.sink(rotate_rows=100, drain_timeout_s=3)
    stage.landed(300)
    gcs.plant(Fault("hang", "POST", "uploadType", times=100))
    stage.publish(stage.feed.trades(300))
    until(lambda: gcs.hanging > 0)
    began = time.monotonic()
    sink.popen.terminate()
    code = sink.ended(60)
    assert code == 1, sink.tail()
    assert time.monotonic() - began < 40
    for fault in gcs.unspent:
        fault.times = 0
    gcs.release()
    assert prove(stage).missing == ()


def _loader(stage: Stage) -> Worker:
    """A load of trades as a process of its own."""
    number = sum("loader" in w.log.name for w in stage.workers)
    code = "from tidemark import settings; from tidemark.jobs import load; load.run(settings.load(), 'trade', 'upbit')"
    worker = Worker("", stage.settings, stage.folder / f"loader-{number}.log", code=code)
    stage.workers.append(worker)
    return worker


class _locked:  # noqa: N801 - reads as what it does
    """Inside, raw's trades can't be written to; yields whether a load waits for that within its transaction."""

    def __init__(self, stage: Stage) -> None:
        self._url = stage.settings.warehouse.admin_url.get_secret_value()

    def __enter__(self) -> Callable[[], bool]:
        self._connection = psycopg.connect(self._url)
        self._connection.execute("LOCK TABLE ops.load_ledger IN SHARE MODE")
        return self._someone_waits

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _someone_waits(self) -> bool:
        row = self._connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return row is not None and row[0] > 0


def _keep(problems: list[BaseException], act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException as error:
        problems.append(error)
