"""The one place that spells names: topics, lake paths, tables, roles.

Lives here: the spelling of every name that two parts of the platform must agree on, and the declaration of
each topic (partitions, retention). Doesn't: columns (``contracts``), addresses (``settings``), anything that
does work.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Final

VERSION: Final = 1

#: Datasets that come over the socket, each with a topic and a raw table.
STREAM_DATASETS: Final = ("trade", "ticker", "orderbook", "depth", "candle", "system")
#: Datasets that only REST serves: a raw table, and no topic anyone produces to.
REST_DATASETS: Final = ("market", "snapshot")
DATASETS: Final = STREAM_DATASETS + REST_DATASETS

SCHEMAS: Final = ("raw", "silver", "gold", "ops")
ROLE_LOADER: Final = "tidemark_loader"
ROLE_DBT: Final = "tidemark_dbt"
ROLE_GOLD_READER: Final = "tidemark_gold_ro"
ROLE_OPS_READER: Final = "tidemark_ops_ro"

LANDING: Final = "landing"
COMPACTED: Final = "raw"
REST_CLUSTER: Final = "rest"
SINK_GROUP: Final = "tidemark.sink"
#: What producers are told to take, exchange by exchange, while they run; the key is the exchange.
SUBSCRIPTIONS: Final = "control.subscriptions.v1"

_DAY_MS: Final = 24 * 60 * 60 * 1000
_TOPIC = re.compile(r"raw\.(?P<exchange>[a-z0-9]+)\.(?P<dataset>[a-z]+)\.v(?P<version>[0-9]+)")
_RUN = r"[a-z0-9-]{1,40}"
_CHAIN = re.compile(
    r"(?P<topic>[a-z0-9._-]+)/(?P<cluster>.+)-(?P<epoch>[0-9]+)/p(?P<partition>[0-9]{4,})/(?P<start>[0-9]{20})\.parquet"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it is created: name, partitions, retention in milliseconds, largest record in bytes."""

    name: str
    partitions: int
    retention_ms: int
    max_message_bytes: int = 1_048_576

    compacted: bool = False

    def config(self) -> dict[str, str]:
        """Topic-level settings for the broker's admin API."""
        return {
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "cleanup.policy": "compact" if self.compacted else "delete",
        }


@dataclass(frozen=True, slots=True)
class TopicName:
    """What a raw topic's name says."""

    exchange: str
    dataset: str
    version: int


@dataclass(frozen=True, slots=True)
class ChainObject:
    """What a landing object's path says: whose chain it is in, and its first offset."""

    topic: str
    cluster: str
    epoch: int
    partition: int
    start: int


def raw_topic(exchange: str, dataset: str) -> str:
    """``raw.upbit.trade.v1``."""
    return f"raw.{exchange}.{dataset}.v{VERSION}"


def control_topics() -> tuple[Topic, ...]:
    """The topics that tell workers what to do."""
    return (Topic(SUBSCRIPTIONS, 1, -1, compacted=True),)


def replay_topic(run: str, topic: str) -> str:
    """Where the records of ``topic`` go when a day is played again: never a production topic.

    Raises:
        ValueError: ``run`` is not made of 1 to 40 lower-case letters, digits and dashes.
    """
    if not re.fullmatch(_RUN, run):
        raise ValueError(f"run {run!r}: a name of 1 to 40 lower-case letters, digits and dashes")
    return f"replay.{run}.{topic}"


def replay_topics(run: str, topics: Iterable[Topic]) -> tuple[Topic, ...]:
    """Where the records of ``topics`` go when they are played again.

    Kept until somebody deletes them: the records carry the times of the day that is played, so any retention would
    take them at once.

    Raises:
        ValueError: see :func:`replay_topic`.
    """
    return tuple(replace(topic, name=replay_topic(run, topic.name), retention_ms=-1) for topic in topics)


def original_topic(topic: str) -> str:
    """The topic whose records ``topic`` holds: itself, or the one that is played again to it."""
    return re.sub(rf"^replay\.{_RUN}\.", "", topic)


def dead_letter_topic(topic: str) -> str:
    """Where the records of ``topic`` go that cannot be parsed."""
    return f"{topic}.dlq"


@cache
def parse_raw_topic(topic: str) -> TopicName:
    """The exchange, dataset and version of a raw topic.

    Raises:
        ValueError: the name is not of the form ``raw.<exchange>.<dataset>.v<N>``.
    """
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise ValueError(f"topic {topic!r} is not of the form raw.<exchange>.<dataset>.v<N>")
    return TopicName(match["exchange"], match["dataset"], int(match["version"]))


def topics(exchange: str, datasets: Iterable[str]) -> tuple[Topic, ...]:
    """Every topic of an exchange that carries these datasets, dead letters included."""
    partitions = {"trade": 4, "ticker": 4, "orderbook": 4, "depth": 2, "candle": 2, "system": 1}
    raw = [Topic(raw_topic(exchange, d), partitions[d], 7 * _DAY_MS) for d in datasets]
    dead = [Topic(dead_letter_topic(t.name), 1, 30 * _DAY_MS) for t in raw]
    return (*raw, *dead)


# --- the lake -----------------------------------------------------------------------------------------------


def landing_prefix(topic: str) -> str:
    """Everything that has landed of one topic: its chains and its REST objects."""
    return f"{LANDING}/{topic}/"


def chain_prefix(topic: str, cluster: str, epoch: int, partition: int) -> str:
    """The folder of one partition's chain."""
    return f"{LANDING}/{topic}/{cluster}-{epoch}/p{partition:04d}/"


def chain_object(topic: str, cluster: str, epoch: int, partition: int, start: int) -> str:
    """The path of the object that begins at offset ``start``. It holds no time, so racing workers agree on it."""
    return f"{chain_prefix(topic, cluster, epoch, partition)}{start:020d}.parquet"


def rest_object(topic: str, digest: str) -> str:
    """The path of rows fetched by REST; ``digest`` names the request and its content."""
    return f"{LANDING}/{topic}/{REST_CLUSTER}/{digest}.parquet"


def revived_prefix(topic: str, origin: str, cluster: str, epoch: int, partition: int, start: int) -> str:
    """How the paths begin of what was revived of one chain object's dead letters, as rows of ``topic``.

    ``origin`` is the topic that the records lie in, ``start`` the chain object's first offset. Behind it stand the
    generation, from 1, in four digits, and ``.parquet``.
    """
    return f"{LANDING}/{topic}/revived/{origin}/{cluster}-{epoch}/p{partition:04d}/{start:020d}-"


def parse_chain_object(path: str) -> ChainObject | None:
    """What a landing path says, or None when it is not a chain object (a REST object, say)."""
    match = _CHAIN.fullmatch(path.removeprefix(f"{LANDING}/"))
    if match is None:
        return None
    return ChainObject(
        match["topic"], match["cluster"], int(match["epoch"]), int(match["partition"]), int(match["start"])
    )


def compacted_prefix(dataset: str, exchange: str, hour_at: datetime) -> str:
    """The folder of one closed receive hour (UTC) in the lake that readers query."""
    return f"{COMPACTED}/{dataset}/v{VERSION}/exchange={exchange}/dt={hour_at:%Y-%m-%d}/hour={hour_at:%H}/"


# --- the warehouse ------------------------------------------------------------------------------------------


def raw_table(dataset: str) -> str:
    """``raw.trade_v1``: the table (partitioned by day of receipt) that one dataset is loaded into."""
    return f"raw.{dataset}_v{VERSION}"


def raw_partition(dataset: str, day: datetime) -> str:
    """``raw.trade_v1_20260413``: the partition of one UTC day."""
    return f"raw.{dataset}_v{VERSION}_{day:%Y%m%d}"
