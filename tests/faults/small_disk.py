"""A disk that is really full, or really read-only: a small file system in memory.

Lives here: mounting, filling, unmounting. Doesn't: who writes to it. Needs root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDS_MOUNT = "only root can mount"


class SmallDisk:
    """A mounted file system at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / ".ballast"

    def fill(self, leave: int = 0) -> None:
        """Take all space but ``leave`` bytes."""
        space = os.statvfs(self.path)
        wanted = max(0, space.f_bavail * space.f_frsize - leave)
        with self._ballast.open("ab") as file:
            try:
                file.write(bytes(wanted))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def empty(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, yes: bool) -> None:
        """Refuse writes, or take them again."""
        _run("mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(self.path))


@contextlib.contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A disk of that size at ``path``; the test skips where nobody may mount."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(NEEDS_MOUNT)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
