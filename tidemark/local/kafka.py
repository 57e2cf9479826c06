"""Apache Kafka (KRaft, one node) from Maven jars: the local stack's durable broker.

Lives here: resolving the jars that ``infra/local/pom.xml`` pins, making, starting and stopping one broker, on
127.0.0.1 unless told otherwise. Doesn't: topics (``tidemark migrate`` creates them), the in-memory broker (``memory``).
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import subprocess
import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tidemark.local import process
from tidemark.local.process import LocalError, Program

POM = Path(__file__).resolve().parents[2] / "infra" / "local" / "pom.xml"
_JAVA_MIN = 17
_DOWNLOAD_TIMEOUT_S = 600
_NODE = 1
_JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


@dataclass(frozen=True)
class KafkaServer:
    """One broker: data in ``home``, jars shared through the ``cache`` folder.

    Clients reach it at ``host`` and ``port``, which is also the address that it tells them. Where Java
    optimises what runs often (``optimised``), it starts with half as much work again: that pays under heavy load only.
    """

    home: Path
    port: int
    log: Path
    cache: Path
    heap: str = "512m"
    host: str = "127.0.0.1"
    optimised: bool = False

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers for clients."""
        return f"{self.host}:{self.port}"

    @property
    def data(self) -> Path:
        """The log directory: what makes the broker durable."""
        return self.home / "data"

    @cached_property
    def program(self) -> Program:
        """How the broker is started and stopped."""
        return Program(
            name="Kafka",
            command=(),  # looked up at start only: stopping needs neither Java nor Maven
            home=self.home,
            log=self.log,
            pid_file=self.home / "kafka.pid",
            stop_signals=(signal.SIGTERM, signal.SIGKILL),
            grace_s=30.0,
        )

    def cluster(self) -> str:
        """The id of this cluster, as its ``meta.properties`` has it (empty before the first start)."""
        return read_cluster(self.data)

    def running(self) -> bool:
        """Whether this very broker runs."""
        return process.running(self.home / "kafka.pid") is not None

    def start(self, timeout_s: float = 90.0) -> None:
        """Start the broker, formatting its storage the first time, and wait until it answers.

        Raises:
            LocalError: no Java or jars, the port is taken, or the broker ended or did not answer in time.
        """
        if not self.running():
            process.require_port("Kafka", self.port)
            self.home.mkdir(parents=True, exist_ok=True)
            self._write_properties()
            if not self.cluster():
                self._format()
            command = [*self._java(f"-Xms128m -Xmx{self.heap}"), "kafka.Kafka", self._properties.name]
            process.start(replace(self.program, command=command))
        process.wait_until("Kafka", self._answers, timeout_s=timeout_s, pid_file=self.home / "kafka.pid", log=self.log)

    def stop(self) -> bool:
        """Stop the broker cleanly; True if it ran. What it holds is there again after the next start."""
        return process.stop(self.program)

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"

    def _java(self, options: str) -> list[str]:
        jars = resolve_jars(self.cache)
        compiler = [] if self.optimised else ["-XX:TieredStopAtLevel=1"]
        return [require_java(), *options.split(), *compiler, *_JAVA_OPTIONS, "-cp", f"{jars}/*"]

    def _write_properties(self) -> None:
        controller = process.free_port()
        self._properties.write_text(
            _PROPERTIES.format(node=_NODE, host=self.host, port=self.port, controller=controller, data=self.data.name)
        )

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = re.sub("^[-_]", "t", cluster)  # a leading dash would look like an option
        command = [*self._java("-Xmx128m"), "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*command, "--cluster-id", cluster, "--config", self._properties.name],
            cwd=self.home, env=process.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise LocalError(f"Kafka can't format {self.data}: {cause(done.stderr or done.stdout)}")

    def _answers(self) -> bool:
        return answers(self.host, self.port)


def answers(host: str, port: int) -> bool:
    """Whether a broker serves metadata there."""
    if not process.port_open(port, host):
        return False
    client = AdminClient({"bootstrap.servers": f"{host}:{port}", "log_level": 0})
    try:
        return bool(client.list_topics(timeout=3).brokers)
    except KafkaException:
        return False


def read_cluster(data: Path) -> str:
    """The cluster id in the ``meta.properties`` of a broker's log directory; empty if it has none."""
    try:
        match = re.search(r"^cluster\.id=(.+)$", (data / "meta.properties").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return match[1].strip() if match else ""


def require_java() -> str:
    """The path of a usable ``java``.

    Raises:
        LocalError: there is none, or it is older than 17.
    """
    home = process.environment().get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise LocalError(f"no Java found: install Java {_JAVA_MIN} for the Kafka broker, or use BROKER=memory")
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, env=process.environment())
    match = re.search(r'version "(\d+)', done.stderr)
    if match is None or int(match[1]) < _JAVA_MIN:
        found = _last_line(done.stderr.split("\n")[0]) if match is None else f"version {match[1]}"
        raise LocalError(f"Java {_JAVA_MIN} is needed for the Kafka broker, {java} is {found}: or use BROKER=memory")
    return java


def jars_cached(cache: Path) -> bool:
    """Whether the jars are there already (so that neither Maven nor the network is needed)."""
    return (_jar_folder(cache) / "complete").exists()


def resolve_jars(cache: Path) -> Path:
    """The folder with all jars of ``infra/local/pom.xml``; Maven fetches them the first time.

    Raises:
        LocalError: Maven is missing, or can't reach its repository.
    """
    folder = _jar_folder(cache)
    if jars_cached(cache):
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise LocalError("no Maven found (mvn): install it to fetch the Kafka broker's jars, or use BROKER=memory")
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    _copy_dependencies(maven, temporary)
    (temporary / "complete").touch()
    try:
        temporary.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _copy_dependencies(maven: str, target: Path) -> None:
    command = [
        maven,
        "-q",
        "-B",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={target}",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_maven_environment(),
            timeout=_DOWNLOAD_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LocalError("Maven could not fetch the Kafka jars within 10 minutes: see the network") from None
    if done.returncode or not any(target.glob("kafka_*.jar")):
        errors = [line.removeprefix("[ERROR]").strip() for line in done.stdout.splitlines() if "[ERROR]" in line]
        reason = next(filter(None, errors), "") or cause(done.stderr or done.stdout)
        raise LocalError(f"Maven could not fetch the Kafka jars (no network? or use BROKER=memory): {reason[:300]}")


def _maven_environment() -> dict[str, str]:
    """Maven's home is $HOME; Java would take it from the user's account, where there may be none."""
    env = process.environment()
    if (home := env.get("HOME", "")) and " " not in home:
        env["MAVEN_OPTS"] = f"{env.get('MAVEN_OPTS', '')} -Duser.home={home}"
    return env


def _jar_folder(cache: Path) -> Path:
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    return cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def cause(text: str) -> str:
    """What a Java program that failed says of the cause: the innermost "Caused by", else the first exception's line."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))
    ]
    caused = [line.partition("Caused by: ")[2] for line in lines if "Caused by: " in line]
    named = [line for line in lines if re.search(r"\w(Exception|Error)\b", line)]
    return (caused[-1:] or named[:1] or lines[-1:] or ["no message"])[0][:300]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:300]


_PROPERTIES = """\
# Written at every start by tidemark.local.kafka
process.roles=broker,controller
node.id={node}
controller.quorum.voters={node}@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
# Relative to the working directory: Java reads this file as Latin-1, and a comma would begin a second folder.
log.dirs={data}
auto.create.topics.enable=false
message.max.bytes=1048588
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# One node: whatever Kafka keeps for itself exists once, and small.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
"""
