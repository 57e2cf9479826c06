"""Background processes: start detached, wait until healthy, find again, stop.

Lives here: pid files that survive the starter and never lead to killing a stranger (they hold the start time
of the process, so a recycled pid is recognised), the environment that children get, waiting with an error
that quotes the log's tail. Doesn't: what the processes are (each server has its own module).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import psutil

from tidemark.settings import PROJECT_ROOT, inherited_environment

_LOOPBACK = "127.0.0.1"
_POLL_S = 0.1
#: How often what outlives its parent is looked for, at most.
_ROUNDS = 5
#: Put into each child's environment with its pid file's path, so that what outlives its parent is recognised.
_MARK = "LOCAL_STACK_PID_FILE"
#: Held while a process exists that no pid file names yet.
spawning = threading.Lock()
#: Our own children by pid, to be waited for when they are stopped.
_children: dict[int, subprocess.Popen[bytes]] = {}


class LocalError(Exception):
    """Something of the local stack can't be started or stopped; the message is one line for a person."""


@dataclass(frozen=True)
class Program:
    """How one background process is started and stopped.

    ``home`` is its working directory, ``pid_file`` and ``log`` may lie anywhere. ``user`` is a numeric uid to
    run as (only root can); ``stop_signals`` are sent one after the other, each with ``grace_s`` seconds to
    obey.
    """

    name: str
    command: Sequence[str]
    home: Path
    log: Path
    pid_file: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    group: int | None = None
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    grace_s: float = 20.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: what the operating system needs, UTC, no telemetry, and ``extra``."""
    base = inherited_environment()
    for name in ("NO_PROXY", "no_proxy"):  # what listens here is never asked for through a proxy
        base[name] = ",".join(filter(None, (base.get(name), "127.0.0.1,localhost")))
    quiet = {"TZ": "UTC", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    return base | quiet | _utf8(base) | dict(extra or {})


def _utf8(base: Mapping[str, str]) -> dict[str, str]:
    """The locale of a child. In the locale C neither Java nor Python's start reads a path that isn't ASCII.

    C.UTF-8 is a part of every system but macOS, whose programs read paths as UTF-8 in any locale but C.
    """
    locale = base.get("LC_ALL") or base.get("LANG") or "C"
    if sys.platform == "darwin" and locale not in ("C", "POSIX"):
        return {}
    return {"LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"}


def identity(pid: int) -> str | None:
    """What tells this process from any other that ever has the same pid; None when there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None  # with more threads it is a JVM on its way out: its ports may still be taken
        if sys.platform == "linux":
            # Ticks since boot: unlike a wall-clock start time it doesn't move when the clock is set.
            ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
            return f"{_boot()}:{ticks}"
        return f"{process.create_time():.2f}"
    except (psutil.Error, OSError, IndexError):
        return None


def running(pid_file: Path) -> int | None:
    """The pid recorded in ``pid_file`` if exactly that process still runs, else None."""
    record = _record(pid_file)
    if record is None:
        return None
    if identity(record["pid"]) == record["identity"]:
        return int(record["pid"])
    _reap(record["pid"])
    return None


def recorded(pid_file: Path) -> int | None:
    """The pid recorded in ``pid_file``, whether that process runs or not; None without a record."""
    record = _record(pid_file)
    return None if record is None else int(record["pid"])


def died(pid_file: Path) -> bool:
    """Whether the process of ``pid_file`` ended without being stopped."""
    return _record(pid_file) is not None and running(pid_file) is None


def outdated(pid_file: Path) -> bool:
    """Whether it runs code of the project that is no longer what the project's folder holds."""
    record = _record(pid_file) if running(pid_file) is not None else None
    return record is not None and record.get("code", "") != "" and record["code"] != code_version()


@cache
def code_version() -> str:
    """What tells the project's code from any other: a digest of the Python files and of the lock."""
    packages = ("tidemark", "streaming", "alerts", "serving")
    files = [file for package in packages for file in sorted((PROJECT_ROOT / package).rglob("*.py"))]
    digest = hashlib.sha256()
    for file in (*files, PROJECT_ROOT / "requirements.lock"):
        with contextlib.suppress(OSError):
            digest.update(str(file.relative_to(PROJECT_ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def start(program: Program) -> int:
    """Start ``program`` in the background, in a session of its own, and return its pid.

    What already runs under the same pid file is left running and its pid returned.

    Raises:
        LocalError: the program can't be executed.
    """
    if (pid := running(program.pid_file)) is not None:
        return pid
    if (stale := _record(program.pid_file)) is not None:
        _kill_left_over(stale, program.pid_file)  # the record is the only trace of them, and is overwritten here
    for folder in (program.home, program.log.parent, program.pid_file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with spawning:
        return _spawn_and_record(program)


def _spawn_and_record(program: Program) -> int:
    try:
        pid = _spawn(program)
    except OSError as error:
        raise LocalError(f"{program.name} can't be started: {error.strerror or error}: {program.command[0]}") from None
    record = {
        "name": program.name,
        "pid": pid,
        "identity": identity(pid),
        "home": str(program.home.resolve()),
        "code": code_version() if list(program.command[:1]) == [sys.executable] else "",
    }
    temporary = program.pid_file.with_suffix(".new")
    try:
        temporary.write_text(json.dumps(record))
        temporary.replace(program.pid_file)
    except OSError as error:  # a full disk: nobody would find it again
        _children[pid].kill()
        _children.pop(pid).wait()
        raise LocalError(f"{program.name} can't be recorded in {program.pid_file}: {error.strerror}") from None
    return pid


def _spawn(program: Program) -> int:
    env = environment(program.env) | {_MARK: str(program.pid_file.resolve())}
    with program.log.open("ab") as log:
        child = subprocess.Popen(
            list(program.command), cwd=program.home, env=env, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True, user=program.user, group=program.group,
            extra_groups=None if program.user is None else [],
        )  # fmt: skip
    _children[child.pid] = child
    return child.pid


def stop(program: Program) -> bool:
    """Stop what ``program.pid_file`` names, children included, and remove the file; True if something ran.

    Raises:
        LocalError: it still runs after the last signal.
    """
    record = _record(program.pid_file)
    if record is None:
        return False
    pid = running(program.pid_file)
    for sign in program.stop_signals if pid is not None else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)  # type: ignore[arg-type]
        if _gone(record, program.grace_s):
            break
    if running(program.pid_file) is not None:
        raise LocalError(f"{program.name} (pid {pid}) does not stop; see {program.log}")
    left_over = _kill_left_over(record, program.pid_file)
    program.pid_file.unlink(missing_ok=True)
    return pid is not None or left_over


def ended(pid_file: Path, timeout_s: float) -> bool:
    """Wait until the process of ``pid_file`` is gone; False when it is still there after ``timeout_s``."""
    record = _record(pid_file)
    return record is None or _gone(record, timeout_s)


def wait_until(
    what: str,
    check: Callable[[], bool],
    *,
    timeout_s: float,
    pid_file: Path | None = None,
    log: Path | None = None,
    every_s: float = _POLL_S,
) -> None:
    """Wait until ``check``, asked every ``every_s`` seconds, says True.

    Raises:
        LocalError: the process of ``pid_file`` ended, or ``timeout_s`` passed; quotes the end of ``log``.
    """
    deadline = time.monotonic() + timeout_s
    while not check():
        if pid_file is not None and running(pid_file) is None:
            raise LocalError(f"{what} ended while starting{_quote(log)}")
        if time.monotonic() > deadline:
            raise LocalError(f"{what} is not ready after {timeout_s:.0f} s{_quote(log)}")
        time.sleep(every_s)
    if pid_file is not None and running(pid_file) is None:  # another one answers on its port
        raise LocalError(f"{what} ended while starting{_quote(log)}")


def settled(what: str, pid_file: Path, log: Path, seconds: float) -> None:
    """Watch a process for ``seconds`` after its start.

    Raises:
        LocalError: it ended within that time; quotes the end of ``log``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if running(pid_file) is None:
            raise LocalError(f"{what} ended while starting{_quote(log)}")
        time.sleep(_POLL_S)


def port_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def port_open(port: int, host: str = _LOOPBACK) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def require_port(name: str, port: int) -> None:
    """Raises LocalError with one clear line when ``port`` is taken."""
    if not port_free(port):
        raise LocalError(f"port {port} for {name} is taken{holder(port)}: stop that, or set another port (.env)")


def tail(log: Path, lines: int = 8) -> str:
    """The last non-empty lines of ``log``, at most 64 KiB from its end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def holder(port: int) -> str:
    """Who listens on ``port``, as " by NAME (pid N)"; empty when that can't be seen."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,) and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def _quote(log: Path | None) -> str:
    end = tail(log) if log else ""
    return f"; its log {log} ends with:\n{end}" if end else f"; its log {log} is empty" if log else ""


def _record(pid_file: Path) -> dict | None:  # type: ignore[type-arg]
    try:
        record = json.loads(pid_file.read_text())
        return record if isinstance(record["pid"], int) and record["identity"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gone(record: Mapping[str, object], timeout_s: float) -> bool:
    pid = int(str(record["pid"]))
    deadline = time.monotonic() + timeout_s
    while identity(pid) == record["identity"]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    _reap(pid)
    return True


def _reap(pid: int) -> None:
    """Take note of the end of a child of ours, so that no zombie stays."""
    if (child := _children.pop(pid, None)) is not None:
        child.poll()


def _kill_left_over(record: Mapping[str, object], pid_file: Path) -> bool:
    found = False
    for _ in range(_ROUNDS):  # one may have begun another while we looked
        members = list(_left_over(record, str(pid_file.resolve())))
        if not members:
            break
        found = True
        for member in members:
            with contextlib.suppress(psutil.Error):
                members += [child for child in member.children(recursive=True) if child not in members]
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(members, timeout=5)
    return found


def _left_over(record: Mapping[str, object], mark: str) -> Iterator[psutil.Process]:
    """Processes that outlived the one we started.

    They have its mark in their environment, or are in its session and work in its home. A process may hide both from
    its own user (Airflow's workers do, see prctl(2), PR_SET_DUMPABLE); then the session decides, if it is still ours.
    """
    session, home = int(str(record["pid"])), str(record["home"])
    ours = _session_is_ours(record)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if _seen(lambda process=process: process.environ().get(_MARK) == mark):  # type: ignore[misc]
                yield process
            elif os.getsid(process.pid) == session:
                at_home = _seen(lambda process=process: process.cwd() == home)  # type: ignore[misc]
                if at_home or (at_home is None and ours and process.uids().real == os.getuid()):
                    yield process


def _seen(look: Callable[[], bool]) -> bool | None:
    """The answer of ``look``, or None where the process hides it from us."""
    try:
        return look()
    except (psutil.AccessDenied, PermissionError):
        return None


def _session_is_ours(record: Mapping[str, object]) -> bool:
    """Whether a session with the recorded process's number can only be the one that it led.

    The kernel gives a number to no new process while a session has it. So it is ours unless another process has the
    number now, or the machine was restarted since.
    """
    if identity(int(str(record["pid"]))) not in (None, record["identity"]):
        return False
    boot, colon, _ = str(record["identity"]).partition(":")
    return not colon or boot == _boot()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
