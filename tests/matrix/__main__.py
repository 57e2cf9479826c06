"""``make matrix``: the platform on odd but ordinary machines. One line a case: verdict, time, what was found.

Contains: the cases, cheap ones first. Does not contain: trees and platforms (``ground``). A case that can't be tried
here is skipped and says why; the exit code is 1 when a case failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.matrix.ground import CaseError, Ground, NotHereError, Platform, mounted
from tidemark.local import process

_KILLED = ("sink", "producer okx", "Valkey", "pages", "Airflow scheduler", "Kafka", "simulator")
_BACK_S = 240.0
_DISK_MIB = 4096
_FULL_S = 45.0

Case = Callable[[Ground], Iterator[str]]


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument(
        "--from", dest="before", default="", help="revision of the release before; default: the newest tag"
    )
    parser.add_argument("--only", default="", help="groups to run: state, kafka, memory, upgrade (comma-separated)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = options.only.split(",") if options.only else ["state", "kafka", "memory", "upgrade"]
    table = _Table()
    with tempfile.TemporaryDirectory(prefix="tidemark-matrix-", ignore_cleanup_errors=True) as folder:
        with table.case("an ordinary account finds Python"):
            ground = Ground(Path(folder), _python())
        if table.failed:
            return 1
        tree = None
        with table.case("install: ordinary account, umask 077, LC_ALL=C, a path with a space and Korean letters"):
            tree = ground.tree("나의 tidemark")
            code, said = ground.run(tree, "make", f"PYTHON={ground.python}", "install", env={"LC_ALL": "C"})
            if code:
                raise CaseError(said.strip()[-600:])
        if tree is not None and not table.failed:
            groups = {"state": _state, "kafka": _kafka, "memory": _memory}
            for name in chosen:
                if name in groups:
                    groups[name](ground, tree, table)
            if "upgrade" in chosen:
                _upgrade(ground, table, options.before)
    return table.end()


class _Table:
    """The lines as they come, and how many cases failed."""

    def __init__(self) -> None:
        self.failed = self.skipped = self.passed = 0

    @contextlib.contextmanager
    def case(self, name: str) -> Iterator[None]:
        """One case: passes unless the block raises."""
        began = time.monotonic()
        verdict, detail = "passed", ""
        try:
            yield
            self.passed += 1
        except NotHereError as reason:
            verdict, detail = "skipped", str(reason)
            self.skipped += 1
        except (CaseError, subprocess.SubprocessError, OSError, process.LocalError) as problem:
            verdict, detail = "FAILED", str(problem)
            self.failed += 1
        line = f"{verdict:8}{time.monotonic() - began:6.0f} s  {name}"
        print(f"{line}: {detail}" if detail else line, flush=True)

    def end(self) -> int:
        """Print the sum; the exit code."""
        print(f"{self.passed} passed, {self.skipped} skipped, {self.failed} failed")
        return 1 if self.failed else 0


def _state(ground: Ground, tree: Path, table: _Table) -> None:
    """State directories that can't be used: one line, no trace, and nothing started."""
    for name, make in (("read-only", _read_only), ("a file", _a_file)):
        with table.case(f"state directory: {name}"):
            state = make(ground)
            env = {"TIDEMARK_LOCAL__STATE_DIR": str(state)}
            for command in ("up", "status", "down"):
                code, said = ground.run(tree, ".venv/bin/tidemark", command, env=env)
                if "Traceback" in said:
                    raise CaseError(f"tidemark {command} prints a trace: {said[-300:]}")
                if command == "up" and (code != 1 or "can't be written" not in said):
                    raise CaseError(f"tidemark up returned {code}: {said[-300:]}")


def _kafka(ground: Ground, tree: Path, table: _Table) -> None:
    """One platform on a disk of its own, treated roughly."""
    with contextlib.ExitStack() as on_exit:
        folder = ground.folder / "디스크, small"
        platform = None
        with table.case("make up: the same, on a small disk"):
            if psutil.virtual_memory().available < 3 * _DISK_MIB * 1024**2:
                raise NotHereError("too little memory for a disk in it")
            on_exit.enter_context(mounted(folder, _DISK_MIB))
            ground.give(folder)
            platform = Platform(ground, tree, folder / "state", {"LC_ALL": "C"})
            on_exit.callback(platform.make, "down")
            said = platform.up()
            if "Broker: in memory" in said:
                platform.make("down")
                raise NotHereError("no Java 17 with Maven here")
            if stray := [path.name for path in folder.iterdir() if path.name != "state"]:
                raise CaseError(f"written outside of the state directory: {stray}")
        if platform is None or not platform.services():
            return
        with table.case("killed services come back, and the check holds"):
            _kill_and_wait(platform, _KILLED)
            platform.up()
        with table.case("a full disk: workers live, and all goes on once there is room"):
            _fill(platform, folder)
        with table.case("make up again changes nothing"):
            before = platform.services()
            platform.up()
            if platform.services() != before:
                raise CaseError("services were restarted")
        with table.case("make down after a killed scheduler leaves nothing"):
            platform.kill("watcher", "Airflow scheduler")
            platform.down()


def _memory(ground: Ground, tree: Path, table: _Table) -> None:
    """Without Java and without a compiler."""
    with table.case("make up: no Java, no compiler"):
        native = tree / "tidemark" / "exchanges" / "columnar"
        for library in native.glob("frames-*.so"):
            library.unlink()
        path = ground.path_without(java=True, compiler=True)
        platform = Platform(ground, tree, ground.folder / "memory", {"PATH": path, "JAVA_HOME": ""})
        try:
            said = platform.up()
            if "Broker: in memory (no Java found)" not in said:
                raise CaseError("the in-memory broker was not chosen, or nothing said so")
            if list(native.glob("frames-*.so")):
                raise CaseError("frames.c was compiled")
        finally:
            platform.down()
        (ground.folder / "memory" / "kafka" / "data").mkdir(parents=True)
        (ground.folder / "memory" / "kafka" / "data" / "meta.properties").write_text("cluster.id=of-before\n")
        ground.give(ground.folder / "memory")
        code, said = platform.make("up")
        if code == 0 or "is Kafka" not in said:
            raise CaseError(f"Kafka's state was passed over: {said[-300:]}")


def _upgrade(ground: Ground, table: _Table, before: str) -> None:
    """The release before, then this one over its state."""
    with table.case("make up over the state of the release before"):
        before = before or _newest_tag()
        tree = ground.tree("upgrade", before)
        platform = Platform(ground, tree, ground.folder / "upgraded")
        try:
            platform.make("up")
            head = subprocess.run(
                ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (("fetch", "--quiet", "origin"), ("checkout", "--quiet", "--force", head)):
                code, said = ground.run(tree, "git", *command)
                if code:
                    raise CaseError(f"git {command[0]}: {said}")
            platform.make("down")
            said = platform.up()
            if "paused by a person" in said:
                raise CaseError("DAGs stayed paused")
        finally:
            platform.down()


def _kill_and_wait(platform: Platform, names: tuple[str, ...]) -> None:
    before = platform.services()
    platform.kill(*names)
    _wait_until_whole(platform)
    after = platform.services()
    if same := [name for name in names if after[name] == before[name]]:
        raise CaseError(f"not killed: {same}")


def _fill(platform: Platform, folder: Path) -> None:
    ballast = folder / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024**2))
    workers = {name: pid for name, pid in platform.services().items() if name.startswith(("sink", "producer"))}
    time.sleep(_FULL_S)
    lost = [name for name, pid in workers.items() if platform.services().get(name) != pid]
    code, said = platform.make("up")
    ballast.unlink()
    if lost:
        raise CaseError(f"ended on the full disk: {', '.join(lost)}")
    if code == 0 or "disk is full" not in said:
        raise CaseError(f"make up on the full disk returned {code}: {said[-300:]}")
    _wait_until_whole(platform)
    platform.up()


def _wait_until_whole(platform: Platform) -> None:
    deadline = time.monotonic() + _BACK_S
    while ended := platform.ended():
        if time.monotonic() > deadline:
            raise CaseError(f"not back after {_BACK_S:.0f} s: {', '.join(ended)}")
        time.sleep(1)


def _read_only(ground: Ground) -> Path:
    state = ground.folder / "read-only"
    state.mkdir()
    ground.give(state)
    state.chmod(0o555)
    return state


def _a_file(ground: Ground) -> Path:
    state = ground.folder / "a file"
    state.write_text("not a folder")
    ground.give(state)
    return state


def _newest_tag() -> str:
    here = Path(__file__).parent
    command = ["git", "describe", "--tags", "--abbrev=0"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotHereError("no tag names a release before; name a revision with FROM=")
    return done.stdout.strip()


def _python() -> str:
    """An interpreter that everybody may execute: root's own may be in a folder that others can't reach."""
    candidates = [
        sys.executable,
        *(shutil.which(f"python3.{minor}", path="/usr/local/bin:/usr/bin") for minor in (11, 12, 13)),
    ]
    for candidate in filter(None, candidates):
        real = Path(candidate).resolve()
        if os.geteuid() != 0 or all(step.stat().st_mode & 0o001 for step in (real, *real.parents)):
            return str(real)
    raise NotHereError("no Python 3.11 to 3.13 that another account can execute")


if __name__ == "__main__":
    sys.exit(main())
