"""What must hold before anything is started, each failure one clear line.

Lives here: Python, disk, ports, Java, the network for live data; and which broker it will be. Doesn't:
starting.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import requests

from tidemark import bans
from tidemark.bans import Ban
from tidemark.local import kafka, process, workers
from tidemark.local.layout import Layout
from tidemark.local.process import LocalError

_PYTHONS = ((3, 11), (3, 14))
_DISK_BYTES = 2 * 1024**3
#: With less than this a disk is full: PostgreSQL and Kafka write files of 16 MiB and more.
_FULL_BYTES = 256 * 1024**2
#: What all processes of the platform hold together, by adding them up.
_MEMORY_BYTES = 3 * 1024**3
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check(layout: Layout, memory: bool) -> None:
    """Raises LocalError with one line for each obstacle."""
    require_state(layout)
    problems = [*_python(), *_disk(layout), *_ports(layout, memory), *_network(layout)]
    if problems:
        raise LocalError("\n".join(problems))


def require_state(layout: Layout) -> None:
    """Make the state directory.

    Raises:
        LocalError: it can't be made or written, for example because a file has its name.
    """
    try:
        layout.state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=layout.state):
            pass
    except OSError as error:
        raise LocalError(
            f"the state directory {layout.state} can't be written ({error.strerror or error}): make it writable for "
            "this user, or choose another one with TIDEMARK_LOCAL__STATE_DIR"
        ) from None


def full_disk(layout: Layout) -> str:
    """One line when the disk of the state directory is full, else nothing."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(layout.state).free
        if free < _FULL_BYTES:
            return (
                f"The disk is full: {free / 1024**2:.0f} MiB are free at {layout.state}. "
                "Make room, then run tidemark up again: it goes on with the data that it has."
            )
    return ""


def little_memory(layout: Layout) -> str:
    """One line when the machine, or the limit of its control group, leaves too little memory; else nothing."""
    available = _available_memory()
    if layout.postgres.running() or available >= _MEMORY_BYTES:
        return ""
    return (
        f"Memory: {available / 1024**3:.1f} GiB are available, the platform takes about "
        f"{_MEMORY_BYTES / 1024**3:.0f} GiB. The system may end services."
    )


def _available_memory() -> int:
    found = [psutil.virtual_memory().available]
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(min(found), 0)


def choose_broker(layout: Layout) -> tuple[bool, str]:
    """Whether the in-memory broker is used, and a line for the user about it (empty: nothing to say).

    Raises:
        LocalError: the broker that was asked for can't be had here.
    """
    wanted = layout.settings.local.broker
    if wanted == "redpanda":
        raise LocalError("BROKER=redpanda needs Docker: use `docker compose up` (compose.yaml) instead of `make up`")
    if wanted == "kafka":
        require_kafka(layout)
        return False, ""
    if wanted == "memory":
        return True, _memory_line("as asked for")
    if layout.kafka.running() or layout.memory.running():
        return layout.memory.running(), ""
    try:
        require_kafka(layout)
    except LocalError as error:
        reason = str(error).split(": ")[0]
        if layout.kafka.cluster():  # what it holds and has not landed would be passed over without a message
            raise LocalError(
                f"{reason}, and the broker of {layout.state} is Kafka. Install what is missing, or leave Kafka's "
                "records where they are until it runs again: BROKER=memory make up"
            ) from None
        return True, _memory_line(reason)
    return False, ""


def require_kafka(layout: Layout) -> None:
    """Raises LocalError when Kafka can't run here: no Java 17, or neither its jars nor Maven."""
    kafka.require_java()
    if not kafka.jars_cached(layout.cache) and shutil.which("mvn") is None:
        raise LocalError("no Maven found (mvn): install it to fetch the Kafka broker's jars, or use BROKER=memory")


def _memory_line(why: str) -> str:
    return f"Broker: in memory ({why}). Nothing in it survives a stop; what has landed in the lake does."


def _python() -> Iterator[str]:
    if not _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        yield f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.11 up"


def _disk(layout: Layout) -> Iterator[str]:
    if layout.postgres.running():  # what is needed for a start has been written
        if line := full_disk(layout):
            yield line
        return
    free = shutil.disk_usage(layout.state).free
    if free < _DISK_BYTES:
        way = "make room, or move the state directory (TIDEMARK_LOCAL__STATE_DIR)"
        yield f"only {free / 1024**3:.1f} GiB free at {layout.state}, 2 GiB are needed: {way}"


def _ports(layout: Layout, memory: bool) -> Iterator[str]:
    local = layout.settings.local
    simulator = workers.simulator(layout).pid_file
    services = [
        ("PostgreSQL", local.postgres_port, "TIDEMARK_LOCAL__POSTGRES_PORT", layout.postgres.running()),
        ("Valkey", local.valkey_port, "TIDEMARK_LOCAL__VALKEY_PORT", layout.valkey.running()),
        ("Airflow", local.airflow_port, "TIDEMARK_LOCAL__AIRFLOW_PORT", _airflow_runs(layout)),
        ("the pages server", local.pages_port, "TIDEMARK_LOCAL__PAGES_PORT", layout.pages.running()),
    ]
    if not memory:
        services.append(("Kafka", local.kafka_port, "TIDEMARK_LOCAL__KAFKA_PORT", layout.kafka.running()))
    if local.source == "simulator":
        runs = process.running(simulator) is not None
        services.append(("the simulator", local.simulator_port, "TIDEMARK_LOCAL__SIMULATOR_PORT", runs))
    for name, port, setting, ours in services:
        if not ours and not process.port_free(port):
            yield f"port {port} for {name} is taken{process.holder(port)}: stop that, or set {setting}"


def _airflow_runs(layout: Layout) -> bool:
    return process.running(layout.state / "airflow" / "api-server.pid") is not None


def _network(layout: Layout) -> Iterator[str]:
    settings = layout.settings
    if settings.local.source == "live":
        for name, exchange in settings.exchanges.items():
            if Ban(name, exchange.rest_url, bans.directory(settings.transport.state_dir)).until:
                continue  # a banned address sends nothing, and the host is there
            try:
                requests.head(exchange.rest_url, timeout=10)
            except requests.RequestException as error:
                why = f"{name} can't be reached at {exchange.rest_url} ({type(error).__name__})"
                yield f"{why}: without a network use SOURCE=simulator"
