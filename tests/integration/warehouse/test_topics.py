"""Topics: made as declared, held to it, and the broker's own answer when something is in the way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from tests.integration.warehouse.place import close, make_place
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.jobs import migrate
from tidemark.jobs.migrate import TopicsError, migrate_topics
from tidemark.naming import Topic
from tidemark.settings import KafkaSettings
from tidemark.warehouse.migrate import migrations


@pytest.fixture
def kafka(kafka_bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_bootstrap)


@pytest.fixture
def mine() -> list[Topic]:
    """Two topics of this test's own."""
    name = f"topics.{uuid.uuid4().hex}"
    return [Topic(f"{name}.a", 2, 60_000), Topic(f"{name}.b", 1, 120_000)]


def described(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


def test_topics_are_made_as_declared_and_then_left_alone(kafka: KafkaSettings, mine: list[Topic]) -> None:
    assert migrate_topics(kafka, mine).created == (mine[0].name, mine[1].name)
    assert described(kafka, mine[0].name).items() >= mine[0].config().items()
    second = migrate_topics(kafka, mine)
    assert (second.created, second.changed, second.unchanged) == ((), (), 2)


def test_settings_that_drifted_are_set_again(kafka: KafkaSettings, mine: list[Topic]) -> None:
    migrate_topics(kafka, mine)
    done = migrate_topics(kafka, [replace(mine[0], retention_ms=999_000), mine[1]])
    assert (done.changed, done.unchanged) == ((mine[0].name,), 1)
    assert described(kafka, mine[0].name)["retention.ms"] == "999000"


def test_another_number_of_partitions_is_an_error(kafka: KafkaSettings, mine: list[Topic]) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic(mine[0].name, 5)])[mine[0].name].result(30)
    with pytest.raises(TopicsError, match=rf"{mine[0].name} has 5 partitions, declared are 2"):
        migrate_topics(kafka, mine)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, mine: list[Topic]) -> None:
    monkeypatch.setattr(migrate, "_TIMEOUT_S", 1)
    with pytest.raises(TopicsError, match=r"no broker answers at 127\.0\.0\.1:1 .*TIDEMARK_KAFKA__BOOTSTRAP_SERVERS"):
        migrate_topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"), mine)


def test_the_whole_job_on_the_in_memory_broker(
    fresh_database: Callable[..., str], memory_bootstrap: str, tmp_path: Path, mine: list[Topic]
) -> None:
    place = make_place(fresh_database(), tmp_path, memory_bootstrap, memory=True)
    done = migrate.run(place.settings)
    close(place)
    declared = [*naming.topics("upbit", registry.get("upbit").datasets), *naming.control_topics()]
    assert done.topics.unchanged == len(declared)
    assert str(done).startswith("warehouse test_")
    applied = len(migrations()) + len(CONTRACTS)
    said = f": 0 applied, {applied} unchanged\ntopics: 0 created, 0 changed, {len(declared)} unchanged"
    assert said in str(done)
    with pytest.raises(TopicsError, match="the in-memory broker lacks"):
        migrate_topics(place.settings.kafka, mine)
