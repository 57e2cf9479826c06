"""``tidemark migrate``: the warehouse and the broker's topics brought up to date.

Lives here: creating the topics that are missing, holding the others to their declaration. Doesn't: what topics there
are (``naming``), the warehouse's migrations (``warehouse.migrate``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its names come from private modules
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from tidemark import naming
from tidemark.exchanges import registry
from tidemark.naming import Topic
from tidemark.settings import KafkaSettings, Settings
from tidemark.warehouse.connection import connect
from tidemark.warehouse.migrate import WarehouseMigration, migrate
from tidemark.warehouse.reference import put_size_overrides

_TIMEOUT_S = 20
#: librdkafka's own lines on standard error: none below critical, since errors are raised here.
_QUIET = 2


class TopicsError(Exception):
    """The broker's topics can't be brought in line; the message names the topic and what to do."""


@dataclass(frozen=True, slots=True)
class TopicsMigration:
    """What was done to topics: names created, names whose settings were changed, and how many stood already."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class MigrateSummary:
    """What one run did."""

    warehouse: WarehouseMigration
    topics: TopicsMigration

    def __str__(self) -> str:
        """Two lines for a person."""
        done, topics = self.warehouse, self.topics
        made = f"{'created, ' if done.created else ''}{len(done.applied)} applied, {done.unchanged} unchanged"
        return (
            f"warehouse {done.database}: {made}\n"
            f"topics: {len(topics.created)} created, {len(topics.changed)} changed, {topics.unchanged} unchanged"
        )


def run(settings: Settings) -> MigrateSummary:
    """Bring warehouse and topics up to date. Run as often as you like: a second run changes nothing.

    Raises:
        WarehouseError: the warehouse can't be reached or brought up to date.
        TopicsError: the broker can't be reached, or a topic has another number of partitions than declared.
    """
    warehouse = migrate(settings.warehouse)
    _put_size_overrides(settings)
    topics = [t for name in settings.exchanges for t in naming.topics(name, registry.get(name).datasets)]
    return MigrateSummary(warehouse, migrate_topics(settings.kafka, [*topics, *naming.control_topics()]))


def _put_size_overrides(settings: Settings) -> None:
    found = [one for name in settings.exchanges for one in registry.get(name).size_overrides]
    rows = [(one.exchange, one.code, one.valid_from, one.size, one.is_inverse) for one in found]
    url = settings.warehouse.admin_url if settings.warehouse.admin_url.get_secret_value() else settings.warehouse.url
    with connect(url, "migrate") as connection:
        put_size_overrides(connection, rows)


def migrate_topics(settings: KafkaSettings, topics: Sequence[Topic]) -> TopicsMigration:
    """Create the topics that are missing and set the settings of those that differ.

    The in-memory broker makes its topics itself (it has no way to create them from outside): they are only checked.
    """
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers, "log_level": _QUIET})
    existing = _existing(admin, settings)
    missing = [topic for topic in topics if topic.name not in existing]
    present = [topic for topic in topics if topic.name in existing]
    _check_partitions(present, existing)
    if settings.memory:
        if missing:
            raise TopicsError(f"the in-memory broker lacks {missing[0].name}: restart it with this exchange")
        return TopicsMigration((), (), len(present))
    created = _create(admin, missing)
    # Made by somebody else a moment ago, and not in the first answer yet: they are held to the declaration too.
    late = [topic for topic in missing if topic.name not in created]
    if late:
        _check_partitions(late, _appearing(admin, settings, late))
        present += late
    changed = _configure(admin, present)
    return TopicsMigration(created, changed, len(present) - len(changed))


def _existing(admin: AdminClient, settings: KafkaSettings) -> dict[str, int]:
    try:
        listed = admin.list_topics(timeout=_TIMEOUT_S)
    except KafkaException as error:
        raise TopicsError(
            f"no broker answers at {settings.bootstrap_servers} ({error.args[0].str()}): is it running, and is "
            "TIDEMARK_KAFKA__BOOTSTRAP_SERVERS right?"
        ) from error
    return {name: len(topic.partitions) for name, topic in listed.topics.items()}


def _check_partitions(topics: Sequence[Topic], existing: Mapping[str, int]) -> None:
    for topic in topics:
        if existing[topic.name] != topic.partitions:
            raise TopicsError(
                f"topic {topic.name} has {existing[topic.name]} partitions, declared are {topic.partitions}: keys "
                "would move to other partitions. Make the topic anew and raise TIDEMARK_KAFKA__EPOCH, or declare "
                "what is there in tidemark/naming.py"
            )


def _appearing(admin: AdminClient, settings: KafkaSettings, topics: Sequence[Topic]) -> dict[str, int]:
    """Partitions of every topic, once all of ``topics`` are among them."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        existing = _existing(admin, settings)
        absent = [topic.name for topic in topics if topic.name not in existing]
        if not absent:
            return existing
        if time.monotonic() > deadline:
            raise TopicsError(f"the broker says that topic {absent[0]} exists, but doesn't list it: run again")
        time.sleep(0.1)


def _create(admin: AdminClient, topics: Sequence[Topic]) -> tuple[str, ...]:
    """Create topics with the broker's own replication factor; the names of those that did not exist."""
    new = [NewTopic(t.name, num_partitions=t.partitions, config=t.config()) for t in topics]
    made = []
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items() if new else ():
        try:
            future.result(timeout=_TIMEOUT_S)
            made.append(name)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise TopicsError(f"topic {name} can't be created: {error.args[0].str()}") from error
    return tuple(made)


def _configure(admin: AdminClient, topics: Sequence[Topic]) -> tuple[str, ...]:
    """Set what differs from the declaration; the names of the topics that did."""
    if not topics:
        return ()
    wanted = {topic.name: topic.config() for topic in topics}
    found = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in wanted])
    changes = []
    for resource, future in found.items():
        entries = _wait(f"settings of topic {resource.name} can't be read", future)
        differ = {k: v for k, v in wanted[resource.name].items() if k not in entries or entries[k].value != v}
        if differ:
            changes.append(_change(resource.name, differ))
    for resource, future in admin.incremental_alter_configs(changes).items() if changes else ():
        _wait(f"settings of topic {resource.name} can't be changed", future)
    return tuple(sorted(change.name for change in changes))


def _change(name: str, values: Mapping[str, str]) -> ConfigResource:
    entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in values.items()]
    return ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)


def _wait(problem: str, future: Future[dict[str, ConfigEntry]]) -> dict[str, ConfigEntry]:
    try:
        return future.result(timeout=_TIMEOUT_S) or {}
    except KafkaException as error:
        raise TopicsError(f"{problem}: {error.args[0].str()}") from error
