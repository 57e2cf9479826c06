"""Topics: made as declared, held to it, and the broker's own answer when something is in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from tests.integration.warehouse.place import close, make_place
from tidemark import naming
from tidemark.jobs import migrate
from tidemark.jobs.migrate import TopicsError, migrate_topics
from tidemark.naming import Topic
from tidemark.settings import KafkaSettings

MINE = [Topic("topics.test.a", 2, 60_000), Topic("topics.test.b", 1, 120_000)]


@pytest.fixture
def kafka(kafka_bootstrap: str) -> Iterator[KafkaSettings]:
    yield KafkaSettings(bootstrap_servers=kafka_bootstrap)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    for future in admin.delete_topics([t.name for t in MINE], operation_timeout=30).values():
        future.exception()


def described(kafka: KafkaSettings, topic: str) -> dict[str, str]:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    [future] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


def test_topics_are_made_as_declared_and_then_left_alone(kafka: KafkaSettings) -> None:
    assert migrate_topics(kafka, MINE).created == ("topics.test.a", "topics.test.b")
    assert described(kafka, "topics.test.a").items() >= MINE[0].config().items()
    second = migrate_topics(kafka, MINE)
    assert (second.created, second.changed, second.unchanged) == ((), (), 2)


def test_settings_that_drifted_are_set_again(kafka: KafkaSettings) -> None:
    migrate_topics(kafka, MINE)
    longer = [Topic("topics.test.a", 2, 999_000), MINE[1]]
    done = migrate_topics(kafka, longer)
    assert (done.changed, done.unchanged) == (("topics.test.a",), 1)
    assert described(kafka, "topics.test.a")["retention.ms"] == "999000"


def test_another_number_of_partitions_is_an_error(kafka: KafkaSettings) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    admin.create_topics([NewTopic("topics.test.a", 5)])["topics.test.a"].result(30)
    with pytest.raises(TopicsError, match=r"topics\.test\.a has 5 partitions, declared are 2"):
        migrate_topics(kafka, MINE)
    assert "topics.test.b" not in admin.list_topics(timeout=30).topics, "nothing else was done"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_TIMEOUT_S", 1)
    with pytest.raises(TopicsError, match=r"no broker answers at 127\.0\.0\.1:1 .*TIDEMARK_KAFKA__BOOTSTRAP_SERVERS"):
        migrate_topics(KafkaSettings(bootstrap_servers="127.0.0.1:1"), MINE)


def test_the_whole_job_on_the_in_memory_broker(
    fresh_database: Callable[..., str], memory_bootstrap: str, tmp_path: Path
) -> None:
    place = make_place(fresh_database(), tmp_path, memory_bootstrap, memory=True)
    done = migrate.run(place.settings)
    close(place)
    assert done.topics.unchanged == len(naming.topics("upbit"))
    assert str(done).startswith("warehouse test_")
    assert ": 0 applied, 10 unchanged\ntopics: 0 created, 0 changed, 10 unchanged" in str(done)
    with pytest.raises(TopicsError, match="the in-memory broker lacks"):
        migrate_topics(place.settings.kafka, MINE)
