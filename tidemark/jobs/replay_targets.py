"""Where a replay goes: the topics of a run, or a file.

Lives here: making and deleting the topics, delivery, the two forms of a file. Doesn't: what is played and when
(``jobs.replay``).
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Protocol

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tidemark import naming
from tidemark.jobs.migrate import migrate_topics
from tidemark.settings import KafkaSettings

_TIMEOUT_S: Final = 20.0


class ReplayError(Exception):
    """Nothing can be played, or not to there; the message says why and what to do."""


class Played(NamedTuple):
    """A record ready to go out again; ``topic`` is the one it once lay in."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: list[tuple[str, bytes]]


class Target(Protocol):
    """Where records go."""

    name: str

    def put(self, record: Played) -> None:
        """Take one record; it may wait."""

    def finish(self) -> None:
        """All records are given: return when they are safe."""


# --- topics ---------------------------------------------------------------------------------------------------


class Topics:
    """The topics of a run, made by this."""

    def __init__(self, settings: KafkaSettings, run: str, topics: Sequence[naming.Topic]) -> None:
        if settings.memory:
            raise ReplayError(
                "the in-memory broker keeps 5 MiB of a partition: replay to a file, or use another broker"
            )
        there = set(_listed(_admin(settings), settings)) & {topic.name for topic in topics}
        if there:
            raise ReplayError(
                f"run {run} was played before ({min(there)} exists): take another name, or delete its topics with "
                f"`tidemark replay {run} --drop`"
            )
        migrate_topics(settings, topics)
        self.name = naming.replay_topic(run, "raw.…")
        self._partitions = {topic.name: topic.partitions for topic in topics}
        self._run = run
        self._names: dict[str, str] = {}
        self._failed: list[str] = []
        self._producer: Any = Producer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "client.id": f"replay-{run}",
                "enable.idempotence": True,
                "acks": "all",
                "max.in.flight.requests.per.connection": 1,  # docs/adr/0010
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.num.messages": 100_000,
                "queue.buffering.max.kbytes": 65_536,
                "delivery.report.only.error": True,
                "on_delivery": self._report,
            }
        )

    def put(self, record: Played) -> None:
        """See the interface. Waits while the client's queue is full."""
        name = self._names.get(record.topic)
        if name is None:
            name = self._names[record.topic] = naming.replay_topic(self._run, record.topic)
        # The log may once have had more partitions than are declared now.
        partition = record.partition % self._partitions[name]
        while True:
            try:
                self._producer.produce(
                    name, record.value, record.key, partition, timestamp=record.timestamp_ms, headers=record.headers
                )
            except BufferError:
                self._producer.poll(0.1)
                self._check()
            except KafkaException as error:
                raise ReplayError(f"{name} does not take records: {error.args[0].str()}") from error
            else:
                return

    def finish(self) -> None:
        """See the interface."""
        left = 1
        while left:
            left = self._producer.flush(1.0)
            self._check()

    def _report(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failed.append(str(error))

    def _check(self) -> None:
        if self._failed:
            raise ReplayError(f"{len(self._failed)} records did not reach the broker: {self._failed[0]}")


def _admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.bootstrap_servers, "log_level": 0})


def _listed(admin: AdminClient, settings: KafkaSettings) -> list[str]:
    try:
        return list(admin.list_topics(timeout=_TIMEOUT_S).topics)
    except KafkaException as error:
        servers = settings.bootstrap_servers
        raise ReplayError(f"no broker answers at {servers}: see TIDEMARK_KAFKA__BOOTSTRAP_SERVERS ({error})") from error


def drop(settings: KafkaSettings, run: str) -> list[str]:
    """Delete the topics of a run; their names.

    Raises:
        ReplayError: there are none, or the broker refuses.
        ValueError: ``run`` is no name for a run.
    """
    prefix = naming.replay_topic(run, "")
    admin = _admin(settings)
    names = sorted(name for name in _listed(admin, settings) if name.startswith(prefix))
    if not names:
        raise ReplayError(f"there is no run {run}: no topic begins with {prefix}")
    for name, future in admin.delete_topics(names, operation_timeout=_TIMEOUT_S).items():
        try:
            future.result(_TIMEOUT_S)
        except KafkaException as error:
            raise ReplayError(f"topic {name} can't be deleted: {error.args[0].str()}") from error
    return names


# --- files ----------------------------------------------------------------------------------------------------


class Lines:
    """A file of lines."""

    def __init__(self, file: IO[bytes], name: str, line: Callable[[Played], bytes]) -> None:
        self.name = name
        self._file = file
        self._line = line

    def put(self, record: Played) -> None:
        """See the interface."""
        self._file.write(self._line(record))

    def finish(self) -> None:
        """See the interface."""
        self._file.flush()


def _ndjson(record: Played) -> bytes:
    values: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "key": None if record.key is None else record.key.decode(),
        "timestamp_ms": record.timestamp_ms,
        "headers": {name: value.decode() for name, value in record.headers},
    }
    try:
        values["frame"] = record.value.decode()
    except UnicodeDecodeError:
        values["frame_base64"] = base64.b64encode(record.value).decode()
    return msgspec.json.encode(values) + b"\n"


def _capture(record: Played) -> bytes:
    headers = dict(record.headers)
    if "frame" not in headers:
        return b""
    micros = int(headers["received_ns"]) // 1_000
    return b"%d.%06d: %s\n" % (*divmod(micros, 1_000_000), repr(record.value).encode())


LINES: Final[dict[str, Callable[[Played], bytes]]] = {"ndjson": _ndjson, "capture": _capture}


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is whole."""
    if str(path) == "-":
        yield sys.stdout.buffer
        return
    if path.exists():
        raise ReplayError(f"{path} exists: take another name or remove it")
    growing = path.with_name(f"{path.name}.part")
    try:
        with growing.open("wb", buffering=1 << 20) as file:
            yield file
        growing.rename(path)
    except OSError as error:
        raise ReplayError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        growing.unlink(missing_ok=True)
