"""What the fault cases share: a durable broker, a migrated warehouse to copy, and stages.

Lives here: fixtures. Doesn't: the stage itself (``stage``), what must hold after a fault (``proof``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from tests.faults.feed import Feed
from tests.faults.stage import Stage, settings_of
from tests.gcs_double import GcsDouble
from tidemark import naming
from tidemark.local.kafka import KafkaServer
from tidemark.local.memory import MemoryBroker
from tidemark.local.postgres import PostgresServer
from tidemark.settings import LakeSettings, WarehouseSettings
from tidemark.warehouse.migrate import migrate


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a fault case; ``make test`` runs the quick ones."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.fault)


@pytest.fixture(scope="session")
def broker(own_kafka: Callable[[], KafkaServer]) -> KafkaServer:
    """This process's Kafka: topics carry their real names here, so no other test may share it."""
    return own_kafka()


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> Iterator[str]:
    """Name of a migrated database to copy."""
    name = f"faults_{os.getpid()}"
    postgres_server.create_database(name)
    migrate(_warehouse(postgres_server.url(name)))
    yield name
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def warehouse(fresh_database: Callable[..., str], migrated: str) -> WarehouseSettings:
    """A migrated database of this case's own."""
    return _warehouse(fresh_database(migrated))


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as running:
        yield running


@pytest.fixture
def gcs() -> Iterator[GcsDouble]:
    with GcsDouble() as double:
        yield double


@pytest.fixture
def fresh_memory(tmp_path: Path) -> Iterator[Callable[[], MemoryBroker]]:
    """A function that starts an in-memory broker of this case's own."""
    made: list[MemoryBroker] = []

    def make() -> MemoryBroker:
        made.append(MemoryBroker(tmp_path / f"memory-{len(made)}", tmp_path / "memory.log"))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


Stages = Callable[..., Stage]


@pytest.fixture
def stages(feed: Feed, warehouse: WarehouseSettings, tmp_path: Path) -> Iterator[Stages]:
    """A function that makes a stage on a broker, with the lake that is given (default: a directory)."""
    made: list[Stage] = []

    def make(bootstrap: str, lake: LakeSettings | None = None, *, memory: bool = False) -> Stage:
        lake = lake or LakeSettings(url=f"file://{tmp_path}/lake")
        stage = Stage(settings_of(bootstrap, lake, warehouse, feed, memory=memory), tmp_path, feed)
        made.append(stage)
        if not memory:  # that broker makes its topics itself
            stage.make_topics()
        return stage

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stages: Stages, broker: KafkaServer) -> Stage:
    """The usual stage: this process's broker, a lake in a directory."""
    return stages(broker.bootstrap)


@pytest.fixture
def on_gcs(stages: Stages, broker: KafkaServer, gcs: GcsDouble) -> Stage:
    """The same with a lake on the double of Google Cloud Storage."""
    return stages(broker.bootstrap, LakeSettings(url="gs://lake/tidemark", gcs_endpoint=gcs.endpoint))


def _warehouse(admin_url: str) -> WarehouseSettings:
    loader = make_conninfo(admin_url, user=naming.ROLE_LOADER)
    return WarehouseSettings(url=SecretStr(loader), admin_url=SecretStr(admin_url))
