"""Real servers for tests: one PostgreSQL and one Kafka for the whole run, on free ports, started when first
asked for.

Lives here: the fixtures (a pytest plugin, see ``tests/conftest.py``) and the guard that stops the servers
even when pytest is killed. Doesn't: how servers are started (``tidemark.local``). Under pytest-xdist all
workers share them.

* ``postgres_url`` (session): administrator's URL of an empty database;
* ``fresh_database()``: a function that makes a database of this test's own and returns its URL; ``template=``
copies;
* ``kafka_bootstrap`` (session): Apache Kafka; ``fresh_kafka()``: a broker of this test's own (5 s, 400 MB);
* ``memory_bootstrap``: the in-memory broker, this test's own (0.2 s).
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import psycopg
import pytest
from psycopg import sql

PROJECT_ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT_ROOT))

from tidemark.local import process  # noqa: E402
from tidemark.local.kafka import KafkaServer, jars_cached, require_java  # noqa: E402
from tidemark.local.memory import MemoryBroker  # noqa: E402
from tidemark.local.postgres import PostgresServer  # noqa: E402
from tidemark.local.process import LocalError, Program  # noqa: E402

NO_JAVA = "no Java 17 with Maven here"
_FOLDER = "LOCAL_STACK_TEST_SERVERS"
_CACHE = PROJECT_ROOT / ".tidemark" / "cache"
_numbers = itertools.count(1)


class _Server(Protocol):
    def start(self) -> None: ...


S = TypeVar("S", bound=_Server)


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all workers of this run share."""
    if not hasattr(config, "workerinput"):
        folder = Path(tempfile.mkdtemp(prefix="tidemark-tests-"))
        folder.chmod(0o755)  # PostgreSQL started by root runs as another user
        os.environ[_FOLDER] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop every server of this run."""
    if not hasattr(config, "workerinput"):
        folder = Path(os.environ.pop(_FOLDER))
        _stop_all(folder)
        process.stop(replace(_program(folder / "guard.pid"), stop_signals=(signal.SIGKILL,)))
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The run's PostgreSQL."""

    def make(home: Path, port: int) -> PostgresServer:
        return PostgresServer(home, port, home.parent / "postgres.log", durable=False, shared_buffers="256MB")

    return _shared("postgres", make)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """Administrator's URL of the run's PostgreSQL (an empty database that all tests share: don't write to
    it).
    """
    return postgres_server.url("postgres")


@pytest.fixture
def fresh_database(postgres_server: PostgresServer) -> Iterator[Callable[..., str]]:
    """A function that makes an empty database (or copies the one named); returns its administrator's URL."""
    made: list[str] = []
    admin = postgres_server.url("postgres")

    def make(template: str = "template1") -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        made.append(name)
        return postgres_server.url(name)

    yield make
    with psycopg.connect(admin, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def kafka_server() -> KafkaServer:
    """The run's Kafka."""
    _need_java()
    return _shared("kafka", lambda home, port: KafkaServer(home, port, home.parent / "kafka.log", _CACHE))


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_server: KafkaServer) -> str:
    """Bootstrap servers of the run's Kafka (all tests share it: use topic names of your own)."""
    return kafka_server.bootstrap


@pytest.fixture
def fresh_kafka() -> Iterator[Callable[..., KafkaServer]]:
    """A function that starts a Kafka of this test's own (in ``home``, if given); stopped with the test."""
    yield from _kafkas()


@pytest.fixture(scope="session")
def own_kafka() -> Iterator[Callable[..., KafkaServer]]:
    """The same, stopped at the end of the run: for tests of one process that share a broker with nobody else."""
    yield from _kafkas()


def _kafkas() -> Iterator[Callable[..., KafkaServer]]:
    _need_java()
    made: list[KafkaServer] = []

    def make(home: Path | None = None) -> KafkaServer:
        home = home or Path(os.environ[_FOLDER]) / f"kafka-{os.getpid()}-{next(_numbers)}" / "kafka"
        server = KafkaServer(home, process.free_port(), home.parent / "kafka.log", _CACHE)
        made.append(server)
        _guard(Path(os.environ[_FOLDER]))
        server.start()
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def memory_bootstrap(tmp_path: Path) -> Iterator[str]:
    """Bootstrap servers of an in-memory broker of this test's own, with Upbit's topics."""
    broker = MemoryBroker(Path(os.environ[_FOLDER]) / f"memory-{os.getpid()}-{next(_numbers)}", tmp_path / "memory.log")
    _guard(broker.home.parent)
    broker.start()
    yield broker.bootstrap
    broker.stop()


def _shared(name: str, make: Callable[[Path, int], S]) -> S:
    folder = Path(os.environ[_FOLDER])
    with _locked(folder / f"{name}.lock"):
        _guard(folder)
        port_file = folder / f"{name}.port"
        if not port_file.exists():
            port_file.write_text(str(process.free_port()))
        server = make(folder / name, int(port_file.read_text()))
        server.start()  # leaves a running one as it is
        return server


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _need_java() -> None:
    try:
        require_java()
    except LocalError:
        pytest.skip(NO_JAVA)
    if not jars_cached(_CACHE) and shutil.which("mvn") is None:
        pytest.skip(NO_JAVA)


def _controller() -> int:
    return os.getppid() if os.environ.get("PYTEST_XDIST_WORKER") else os.getpid()


def _guard(folder: Path) -> None:
    """Start the process that stops the servers in ``folder`` when pytest is no more."""
    with _locked(folder / "guard.lock"):
        watched = _controller()
        arguments = [str(Path(__file__).resolve()), str(watched), str(process.identity(watched)), str(folder)]
        process.start(_program(folder / "guard.pid", [sys.executable, *arguments]))


def _watch(pid: int, identity: str, folder: Path) -> None:
    while process.identity(pid) == identity and folder.exists():
        time.sleep(1)
    _stop_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _stop_all(folder: Path) -> None:
    for pid_file in sorted(folder.rglob("*.pid")):
        if pid_file.name != "guard.pid":
            process.stop(_program(pid_file))
    for note in folder.glob("*/place"):  # PostgreSQL's data, where it had to lie elsewhere
        shutil.rmtree(note.read_text().strip(), ignore_errors=True)


def _program(pid_file: Path, command: Sequence[str] = ()) -> Program:
    signals = (signal.SIGINT, signal.SIGKILL)  # SIGINT: PostgreSQL doesn't wait for its clients
    log = pid_file.with_suffix(".log")
    return Program(pid_file.stem, command, pid_file.parent, log, pid_file, stop_signals=signals, grace_s=10)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
