"""Brokers for real on odd paths, and a change between them: nothing lands twice, nothing is left behind."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from confluent_kafka import Producer
from rich.console import Console

from tests.servers import NO_JAVA, PROJECT_ROOT
from tests.unit.local.conftest import stack_in
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.jobs.migrate import migrate_topics
from tidemark.lake.parquet import read_footer
from tidemark.lake.store import open_store
from tidemark.local import children, process, stack, workers
from tidemark.local.kafka import KafkaServer, jars_cached, require_java
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError
from tidemark.settings import PlatformSettings

CACHE = PROJECT_ROOT / ".tidemark" / "cache"
TOPIC = "raw.upbit.trade.v1"


@pytest.fixture(autouse=True)
def _java() -> None:
    try:
        require_java()
    except LocalError:
        pytest.skip(NO_JAVA)
    if not jars_cached(CACHE) and shutil.which("mvn") is None:
        pytest.skip(NO_JAVA)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_kafka_keeps_to_its_folder_on_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str) -> None:
    monkeypatch.setenv("LC_ALL", locale)
    folder = tmp_path / "나의 데이터, and more"
    server = KafkaServer(folder / "kafka", process.free_port(), folder / "kafka.log", CACHE)
    server.start()
    try:
        cluster = server.cluster()
        assert cluster
        assert any(server.data.iterdir())
        server.stop()
        server.start()
        assert server.cluster() == cluster
    finally:
        server.stop()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def quiet(detail: str) -> None:
    pass


@pytest.fixture
def carried(tmp_path: Path) -> Iterator[Layout]:
    """A stack of one exchange whose jars are there; whatever of it runs is stopped."""
    layout = stack_in(tmp_path / "state")
    settings = layout.settings.model_copy(
        update={
            "platform": PlatformSettings(exchanges=("upbit",)),
            "sink": layout.settings.sink.model_copy(update={"metrics_port": 0}),
        }
    )
    one = Layout(settings)
    one.state.mkdir(parents=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    (one.state / "cache").symlink_to(CACHE)
    yield one
    for program in (workers.sink(one, {}), one.kafka.program, one.memory.program):
        process.stop(program)


def use(layout: Layout, *, memory: bool, records: int) -> None:
    """As `make up` does with this broker: start it and the sink; then so many records come in and land."""
    up = stack.Up(layout, Console(file=StringIO()))
    up._memory = memory
    up._broker(quiet)
    settings = children.local_settings(layout, memory)
    topics = [t for name in settings.exchanges for t in naming.topics(name, registry.get(name).datasets)]
    migrate_topics(settings.kafka, [*topics, *naming.control_topics()])
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers, "log_level": 0})
    for number in range(records):
        producer.produce(TOPIC, b"{}", str(number).encode(), partition=0, headers={"frame_no": str(number).encode()})
    assert producer.flush(30) == 0
    up._sink(quiet)


def landed(layout: Layout) -> dict[str, list[tuple[int, int]]]:
    """For each chain of the topic's first partition the ranges of its objects."""
    found: dict[str, list[tuple[int, int]]] = {}
    store = open_store(children.local_settings(layout, memory=False).lake)
    for listed in store.list(f"{naming.LANDING}/{TOPIC}/"):
        footer = read_footer(store, listed.path)
        if footer.partition == 0:
            found.setdefault(f"{footer.cluster}-{footer.epoch}", []).append((footer.start, footer.end))
    return {chain: sorted(ranges) for chain, ranges in found.items()}


def test_a_change_of_the_broker_lands_everything_once(carried: Layout) -> None:
    """What Kafka holds, what the in-memory one was sent, and what Kafka gets afterwards."""
    use(carried, memory=False, records=40)
    cluster = carried.kafka.cluster()
    use(carried, memory=True, records=30)  # what Kafka still held has landed before
    assert not carried.kafka.running()
    assert landed(carried)[f"{cluster}-1"][-1][1] == 40 - 1
    use(carried, memory=False, records=20)
    assert not carried.memory.running()
    use(carried, memory=True, records=10)

    chains = landed(carried)
    assert chains.keys() == {f"{cluster}-1", "memory-1"}
    assert [chain[-1][1] for chain in (chains[f"{cluster}-1"], chains["memory-1"])] == [59, 29]
    for ranges in chains.values():
        assert ranges[0][0] == 0
        assert all(later[0] == earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))


def test_the_epoch_stays_while_kafka_runs(carried: Layout) -> None:
    use(carried, memory=False, records=0)
    assert carried.epoch(memory=False) == 1
    (carried.kafka.data / "meta.properties").rename(carried.state / "elsewhere")
    use(carried, memory=False, records=0)
    assert carried.epoch(memory=False) == 1
