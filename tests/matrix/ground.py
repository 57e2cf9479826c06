"""Where the matrix works: trees of the project, an ordinary account, platforms in state directories of their own.

Contains: making them, running `make` in them as that account, finding what they left. Does not contain: the cases.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tidemark.local import process, stack
from tidemark.local.layout import Layout
from tidemark.settings import PROJECT_ROOT, LocalSettings, Settings

#: The account that stands in for an ordinary one when root runs the matrix.
ACCOUNT = "nobody"
_DROPPED = ("TIDEMARK_", "LC_", "LANG", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "XDG_", "PIP_FIND_LINKS")
_COMPILERS = ("cc", "gcc", "clang", "c99", "c89", "g++", "c++")
_JAVA = ("java", "javac", "mvn", "mvnDebug")
_TIMEOUT_S = 1500
#: A day that is played within seconds.
_SMALL = {"TIDEMARK_LOCAL__TRADES_PER_DAY": "6000", "TIDEMARK_LOCAL__SWAP_TRADES_PER_DAY": "1500"}


class CaseError(Exception):
    """A case did not come out as it must; the message says what was found."""


class NotHereError(Exception):
    """A case can't be tried on this machine; the message says why."""


@dataclass
class Ground:
    """One folder for everything; ``python`` is an interpreter that the account can execute."""

    folder: Path
    python: str

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        self.home = self.folder / "home"
        self.home.mkdir()
        self.give(self.home)

    @property
    def uid(self) -> int | None:
        """The account's number; None: the one that runs the matrix is an ordinary one itself."""
        return pwd.getpwnam(ACCOUNT).pw_uid if os.geteuid() == 0 else None

    def give(self, path: Path) -> None:
        """Make the account the owner of everything there."""
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(path)], check=True)

    def tree(self, name: str, revision: str = "HEAD") -> Path:
        """A clone of the project as it is committed, at ``revision``."""
        tree = self.folder / name
        for command in (
            ["git", "clone", "--quiet", str(PROJECT_ROOT), str(tree)],
            ["git", "-C", str(tree), "checkout", "--quiet", revision],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment())
            if done.returncode:
                raise NotHereError(f"no tree of {revision}: {done.stderr.strip()}")
        self.give(tree)
        return tree

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the account's processes inherit."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        names = {"USER": ACCOUNT, "LOGNAME": ACCOUNT} if os.geteuid() == 0 else {}
        git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        return {**kept, **names, **git, "HOME": str(self.home), **(extra or {})}

    def run(self, tree: Path, *command: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command in ``tree`` as the account; its exit code, and all that it printed."""
        done = subprocess.run(
            command, cwd=tree, env=self.environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=_TIMEOUT_S, check=False, umask=0o077, user=self.uid, group=self.uid,
            extra_groups=None if self.uid is None else [],
        )  # fmt: skip
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def path_without(self, *, java: bool, compiler: bool) -> str:
        """A PATH that has everything but these."""
        folder = self.folder / f"bin-{java:d}{compiler:d}"
        folder.mkdir()
        hidden = (_JAVA if java else ()) + (_COMPILERS if compiler else ())
        for source in filter(None, os.environ["PATH"].split(":")):
            for program in Path(source).glob("*"):
                link = folder / program.name
                if not (program.name.startswith(hidden) if compiler else program.name in hidden) and not link.exists():
                    with contextlib.suppress(OSError):
                        link.symlink_to(program.resolve())
        return str(folder)


@dataclass
class Platform:
    """One platform: a tree, a state directory, free ports."""

    ground: Ground
    tree: Path
    state: Path
    env: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [name for name in LocalSettings.model_fields if name.endswith("_port")]
        self.ports = self.ports or {name: process.free_port() for name in names}
        cache = PROJECT_ROOT / ".tidemark" / "cache"
        self.state.mkdir(parents=True, exist_ok=True)
        if cache.is_dir() and not (self.state / "cache").exists():  # the broker's jars
            shutil.copytree(cache, self.state / "cache")
        self.ground.give(self.state)

    @property
    def layout(self) -> Layout:
        """Where its parts are."""
        return Layout(Settings(local=LocalSettings(state_dir=self.state, **self.ports)))

    def make(self, target: str, **more: str) -> tuple[int, str]:
        """Run `make TARGET` as the account."""
        ports = {f"TIDEMARK_LOCAL__{name}".upper(): str(port) for name, port in self.ports.items()}
        quiet = {"TIDEMARK_SINK__METRICS_PORT": "0", "TIDEMARK_PRODUCER__METRICS_PORT": "0"}
        env = {**_SMALL, **ports, **quiet, "TIDEMARK_LOCAL__STATE_DIR": str(self.state), **self.env, **more}
        return self.ground.run(self.tree, "make", f"PYTHON={self.ground.python}", target, env=env)

    def up(self, **more: str) -> str:
        """`make up`, which must end green; what it printed.

        Raises:
            CaseError: it did not.
        """
        code, said = self.make("up", **more)
        if code or "✓ Nothing lost, nothing doubled" not in said:
            raise CaseError(f"make up returned {code}: {_end(said)}")
        return said

    def down(self) -> None:
        """`make down`, after which nothing of it may run.

        Raises:
            CaseError: it failed, or processes are left.
        """
        code, said = self.make("down")
        if code:
            raise CaseError(f"make down returned {code}: {_end(said)}")
        if left := self.processes():
            raise CaseError(f"left running: {', '.join(f'{p.pid} {p.name()}' for p in left)}")

    def services(self) -> dict[str, int]:
        """The pid of every service that runs."""
        found = {name: process.running(file) for name, file, _ in stack.services(self.layout)}
        return {name: pid for name, pid in found.items() if pid is not None}

    def kill(self, *names: str) -> None:
        """Kill these services.

        Raises:
            CaseError: one of them does not run.
        """
        running = self.services()
        if absent := [name for name in names if name not in running]:
            raise CaseError(f"not running: {', '.join(absent)}")
        for name in names:
            os.kill(running[name], signal.SIGKILL)

    def ended(self) -> list[str]:
        """The services that should run and don't."""
        return [name for name, file, _ in stack.services(self.layout) if process.running(file) is None]

    def processes(self) -> list[psutil.Process]:
        """Every process that knows of its state directory."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                known = " ".join((*one.cmdline(), *one.environ().values(), one.cwd()))
                if str(self.state) in known and one.pid != os.getpid():
                    found.append(one)
        return found


def _end(said: str) -> str:
    """The last lines that are not empty, as one."""
    return " / ".join([line.strip() for line in said.splitlines() if line.strip()][-6:])[-600:]


@contextlib.contextmanager
def mounted(path: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of that size at ``path``.

    Raises:
        NotHereError: nobody may mount here.
    """
    path.mkdir(parents=True)
    size = f"size={mebibytes}m,mode=0755"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], check=False, capture_output=True)
    if done.returncode:
        raise NotHereError("only root can mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)
