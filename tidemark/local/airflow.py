"""Airflow of the user's own: metadata in the local PostgreSQL, four processes, one generated password.

Lives here: its configuration (all of it environment), making the metadata, starting and stopping. Doesn't:
talking to it (``airflow_client``), DAGs (``airflow/dags``). Airflow is started as a program and never
imported.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil
import psycopg

from tidemark.local import process
from tidemark.local.airflow_client import AirflowClient
from tidemark.local.process import LocalError, Program
from tidemark.settings import PROJECT_ROOT

USER = "admin"
DATABASE = "airflow"
#: Pools that the DAGs name, with their slots (`airflow/plugins/tidemark_registry.py` says why).
POOLS = {"dbt": 1}
_MIGRATE_TIMEOUT_S = 300
_TASK_GRACE_S = 5.0
#: Seconds that a component which runs already may take to send a heartbeat.
HUNG_S = 60.0
#: Component to its command. Logs are read from the shared folder, so none needs to serve them.
_COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


@dataclass(frozen=True)
class AirflowServer:
    """One Airflow: state in ``home``, metadata at ``database_url`` (PostgreSQL), UI and API on ``port``.

    ``logs`` is the folder for the four processes' own logs; ``settings`` is the environment that tasks get.
    """

    home: Path
    port: int
    logs: Path
    database_url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    dags: Path = PROJECT_ROOT / "airflow" / "dags"
    plugins: Path = PROJECT_ROOT / "airflow" / "plugins"
    dbt_docs: Path | None = None
    parallelism: int = 4

    @property
    def url(self) -> str:
        """Address of the UI."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """The password of user ``admin``, made at the first start."""
        return str(self._secrets["password"])

    @cached_property
    def client(self) -> AirflowClient:
        """A client of its REST API."""
        return AirflowClient(self.url, USER, self.password)

    @cached_property
    def programs(self) -> dict[str, Program]:
        """The four processes, as they are started and stopped."""
        return {
            name: Program(
                name=f"Airflow {name}",
                command=[*_airflow(), *arguments],
                home=self.home,
                log=self.logs / f"airflow-{name}.log",
                pid_file=self.pid_files[name],
                env=self.environment(),
            )
            for name, arguments in _COMPONENTS.items()
        }

    @property
    def pid_files(self) -> dict[str, Path]:
        """Where each of the four is recorded."""
        return {name: self.home / f"{name}.pid" for name in _COMPONENTS}

    def running(self) -> bool:
        """Whether all four processes run."""
        return all(process.running(file) is not None for file in self.pid_files.values())

    def start(self, timeout_s: float = 180.0) -> None:
        """Make or migrate the metadata, start what doesn't run, wait until every component reports healthy.

        Raises:
            LocalError: the port is taken, or a component ended or is not healthy in time.
        """
        if not self._alive("api-server"):
            process.require_port("Airflow", self.port)
        self._write_passwords()
        before = [name for name in _COMPONENTS if self._alive(name)]
        if not before:
            self._migrate()
        for name, program in self.programs.items():
            if name != "scheduler":
                process.start(program)
        # A task left from the last time is begun at once, and fails when it can't reach the API.
        api = self.programs["api-server"]
        process.wait_until(api.name, self.client.answers, timeout_s=timeout_s, pid_file=api.pid_file, log=api.log)
        process.start(self.programs["scheduler"])
        self._replace_hung(before)
        process.wait_until("Airflow", self._healthy, timeout_s=timeout_s, log=self.programs["api-server"].log)
        for name, slots in POOLS.items():
            self.client.set_pool(name, slots)

    def hung(self) -> list[str]:
        """The components that run and no longer send heartbeats, as after a disk was full."""
        names = [name.replace("_", "-") for name in self.client.unhealthy()]
        return [name for name in names if name in _COMPONENTS and self._alive(name)]

    def kill(self, name: str) -> None:
        """End a component that is hung; its record stays, so that the next start cleans up after it."""
        if (pid := process.running(self.pid_files[name])) is not None:
            os.kill(pid, signal.SIGKILL)
            process.ended(self.pid_files[name], _TASK_GRACE_S)

    def _replace_hung(self, before: Sequence[str]) -> None:
        """Start those anew that ran ``before`` and send no heartbeat within a minute."""
        deadline = time.monotonic() + HUNG_S
        while (hung := [name for name in self.hung() if name in before]) and time.monotonic() < deadline:
            time.sleep(1)
        for name in hung:
            self.kill(name)
            process.start(self.programs[name])

    def stop(self) -> bool:
        """Stop all four, the API last; True if any ran. A running task gets a few seconds to end."""
        with ThreadPoolExecutor() as pool:
            scheduler = pool.submit(self._stop_scheduler)
            others = list(pool.map(lambda name: process.stop(self.programs[name]), ("triggerer", "dag-processor")))
            stopped = [scheduler.result(), *others]
        return any([*stopped, process.stop(self.programs["api-server"])])  # last: a task's end is told to it

    def _stop_scheduler(self) -> bool:
        """Stop the scheduler, which waits for its tasks: those that don't end soon are killed.

        Airflow starts a killed task again at its next start, and no task of ours leaves anything half-done.
        """
        program = self.programs["scheduler"]
        if (pid := process.running(program.pid_file)) is None:
            return process.stop(program)
        tasks = _tasks(pid)
        os.kill(pid, signal.SIGTERM)
        if not process.ended(program.pid_file, _TASK_GRACE_S):
            for task in {*tasks, *_tasks(pid)}:
                with contextlib.suppress(psutil.Error):
                    task.kill()
        return process.stop(program)

    def environment(self) -> dict[str, str]:
        """Airflow's whole configuration. Tasks inherit it, and Tidemark's settings with it."""
        return dict(self.settings) | self._core() | self._services() | _quiet() | self._cosmos()

    def _core(self) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": str(PROJECT_ROOT),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(self.parallelism),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self._passwords),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": str(self._secrets["fernet_key"]),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database_url.replace("postgresql://", "postgresql+psycopg2://"),
        }  # fmt: skip

    def _services(self) -> dict[str, str]:
        return {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": str(self._secrets["secret_key"]),
            "AIRFLOW__API_AUTH__JWT_SECRET": str(self._secrets["jwt_secret"]),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            # A DAG that differs from parse to parse would be a new version each time: it isn't loaded.
            "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "120",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "90",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        }

    def _cosmos(self) -> dict[str, str]:
        # Its default is one folder for all installations of the machine, each of which throws the others' cache away.
        cache = {"AIRFLOW__COSMOS__CACHE_DIR": str(self.home / "cosmos")}
        if self.dbt_docs is None:
            return cache
        project = {"tidemark": {"dir": str(self.dbt_docs), "index": "index.html", "name": "Tidemark"}}
        return {**cache, "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(project)}

    @property
    def _passwords(self) -> Path:
        return self.home / "passwords.json"

    @cached_property
    def _secrets(self) -> dict[str, str]:
        path = self.home / "secrets.json"
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            made = {name: secrets.token_urlsafe(32) for name in ("secret_key", "jwt_secret")}
            made["fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            made["password"] = secrets.token_hex(8)
            path.touch(mode=0o600)
            path.write_text(json.dumps(made))
        return {name: str(value) for name, value in json.loads(path.read_text()).items()}

    def _write_passwords(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self._passwords.touch(mode=0o600)
        self._passwords.write_text(json.dumps({USER: self.password}))

    def _migrate(self) -> None:
        marker = self.home / "migrated"
        version = _version()
        if marker.exists() and marker.read_text() == version and self._has_tables():
            return
        log = self.logs / "airflow-migrate.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            done = subprocess.run(
                [*_airflow(), "db", "migrate"], cwd=self.home, env=process.environment(self.environment()),
                stdout=output, stderr=subprocess.STDOUT, timeout=_MIGRATE_TIMEOUT_S, check=False,
            )  # fmt: skip
        if done.returncode:
            raise LocalError(f"airflow db migrate failed; its log {log} ends with:\n{process.tail(log)}")
        marker.write_text(version)

    def _has_tables(self) -> bool:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute("select to_regclass('alembic_version')").fetchone() != (None,)

    def _alive(self, name: str) -> bool:
        return process.running(self.pid_files[name]) is not None

    def _healthy(self) -> bool:
        for program in self.programs.values():
            if process.running(program.pid_file) is None:
                end = process.tail(program.log)
                raise LocalError(f"{program.name} ended while starting; its log {program.log} ends with:\n{end}")
        return self.client.healthy()


def _tasks(scheduler: int) -> list[psutil.Process]:
    """The processes of running tasks: of all that the scheduler has begun, they lead process groups of their own."""
    found = []
    with contextlib.suppress(psutil.Error):
        for process_ in psutil.Process(scheduler).children(recursive=True):
            with contextlib.suppress(OSError):
                if os.getpgid(process_.pid) == process_.pid:
                    found.append(process_)
    return found


def _airflow() -> list[str]:
    return [sys.executable, "-m", "airflow"]


def _version() -> str:
    from importlib import metadata

    return metadata.version("apache-airflow")


def _quiet() -> dict[str, str]:
    """No telemetry from anything that runs inside Airflow."""
    return {
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "GX_ANALYTICS_ENABLED": "False",
    }
