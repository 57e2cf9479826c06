"""The local stack's servers, for real: start, answer, stop, start again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.servers import NO_JAVA
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.local import kafka, process
from tidemark.local.kafka import KafkaServer
from tidemark.local.postgres import PostgresServer
from tidemark.local.process import LocalError
from tidemark.local.valkey import ValkeyServer


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(
        tmp_path / "postgres", process.free_port(), tmp_path / "log", durable=False, shared_buffers="16MB"
    )
    yield server
    server.remove()


def produce(bootstrap: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "log_level": 0})
    for number in range(count):
        producer.produce(topic, key=str(number).encode(), value=b"x" * 100, headers={"n": str(number).encode()})
    assert producer.flush(30) == 0


def consume(bootstrap: str, topic: str, count: int, group: str) -> set[int]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe([topic])
    found: set[int] = set()
    for _ in range(count * 10):
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            found.add(int(message.key()))
        if len(found) == count:
            break
    consumer.close()
    return found


def test_postgres_keeps_its_data_over_a_restart(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.create_database("tidemark")
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("create table kept as select 7 as seven")
    postgres.start()  # runs already
    assert postgres.stop() is True
    assert postgres.running() is False
    assert process.port_free(postgres.port)
    postgres.start()
    postgres.create_database("tidemark")  # is there already
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("select seven from kept").fetchone() == (7,)
        assert connection.execute("show server_version_num").fetchone() >= ("180000",)


def test_postgres_stops_though_a_client_is_connected(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.url("postgres")) as connection:
        assert postgres.stop() is True
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")


def test_postgres_listens_on_loopback_only(postgres: PostgresServer) -> None:
    postgres.start()
    with psycopg.connect(postgres.url("postgres")) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("show unix_socket_directories").fetchone() == ("",)


def test_postgres_on_a_taken_port_says_so(postgres: PostgresServer, busy_port: int) -> None:
    with pytest.raises(LocalError, match=rf"^port {busy_port} for PostgreSQL is taken .*$"):
        PostgresServer(postgres.home, busy_port, postgres.log).start()
    assert not (postgres.home / "data").exists()


def test_postgres_that_cannot_start_quotes_its_log(postgres: PostgresServer) -> None:
    postgres.start()
    postgres.stop()
    (postgres.data / "PG_VERSION").write_text("11\n")
    with pytest.raises(LocalError, match=r"(?s)PostgreSQL ended while starting; its log .*incompatible"):
        postgres.start()
    (postgres.data / "PG_VERSION").write_text("18\n")


def test_a_fresh_database_is_empty_and_a_template_is_copied(
    fresh_database: Callable[..., str],
) -> None:
    first = fresh_database()
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("create table here as select 1 as one")
    copy = fresh_database(template=first.rpartition("/")[2])
    with psycopg.connect(copy) as connection:
        assert connection.execute("select one from here").fetchone() == (1,)
    with psycopg.connect(fresh_database()) as connection:
        assert connection.execute("select to_regclass('here')").fetchone() == (None,)


def test_kafka_keeps_its_data_over_a_restart(fresh_kafka: Callable[[], KafkaServer]) -> None:
    server = fresh_kafka()
    admin = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("kept", 4, 1)])["kept"].result(30)
    assert admin.describe_cluster().result(30).cluster_id == server.cluster() != ""
    produce(server.bootstrap, "kept", 50)
    cluster = server.cluster()
    assert server.stop() is True
    assert process.port_free(server.port)
    server.start()
    assert server.cluster() == cluster
    assert consume(server.bootstrap, "kept", 50, "a group") == set(range(50))


def test_kafka_makes_no_topic_by_itself(kafka_bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "message.timeout.ms": 3000, "log_level": 0})
    errors: list[str] = []
    producer.produce("never.made", b"x", on_delivery=lambda error, _: errors.append(error.name()))
    producer.flush(20)
    assert errors in (["_UNKNOWN_TOPIC"], ["_MSG_TIMED_OUT"], ["UNKNOWN_TOPIC_OR_PART"])


def test_kafka_without_java_or_maven_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match=r"^no Java found: .*BROKER=memory$"):
        kafka.require_java()
    with pytest.raises(LocalError, match=r"^no Maven found .*BROKER=memory$"):
        kafka.resolve_jars(tmp_path / "cache")


def test_kafka_without_a_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Maven whose repository is empty and whose proxy leads nowhere."""
    if not kafka.shutil.which("mvn"):
        pytest.skip(NO_JAVA)
    dead = f"-Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort={process.free_port()}"
    monkeypatch.setenv("MAVEN_OPTS", f"-Dmaven.repo.local={tmp_path}/repository {dead}")
    with pytest.raises(LocalError, match=r"^Maven could not fetch the Kafka jars .*BROKER=memory[^\n]*$"):
        kafka.resolve_jars(tmp_path / "cache")
    assert not kafka.jars_cached(tmp_path / "cache")


def test_the_memory_broker_has_the_declared_topics(memory_bootstrap: str) -> None:
    found = AdminClient({"bootstrap.servers": memory_bootstrap}).list_topics(timeout=10).topics
    topics = [*naming.topics("upbit", registry.get("upbit").datasets), *naming.control_topics()]
    declared = {topic.name: topic.partitions for topic in topics}
    assert {name: len(topic.partitions) for name, topic in found.items()} == declared
    topic = naming.raw_topic("upbit", "trade")
    produce(memory_bootstrap, topic, 50)
    assert consume(memory_bootstrap, topic, 50, "a group") == set(range(50))


def test_valkey_starts_and_stops(tmp_path: Path, busy_port: int) -> None:
    server = ValkeyServer(tmp_path / "valkey", process.free_port(), tmp_path / "log")
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"SET a 1\r\nGET a\r\n")
        connection.settimeout(5)
        answer = b""
        while not answer.endswith(b"1\r\n"):
            answer += connection.recv(100)
    assert answer == b"+OK\r\n$1\r\n1\r\n"
    assert server.stop() is True
    assert process.port_free(server.port)
    with pytest.raises(LocalError, match=rf"^port {busy_port} for Valkey is taken"):
        ValkeyServer(tmp_path / "valkey", busy_port, tmp_path / "log").start()
