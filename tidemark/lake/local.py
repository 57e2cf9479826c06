"""The object store in a local directory.

Lives here: create-only writes that survive a power cut (temporary file, fsync, hard link, fsync of the folders),
listings in the same order as Google's. Doesn't: sharing between machines; use ``gcs`` for that.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tidemark.lake.store import Listed, ObjectMissingError, Stat, StoreUnavailableError, check_path, crc32c

_TEMPORARY = ".writing"
_STALE_S = 24 * 60 * 60


class LocalStore:
    """Objects as files under ``root`` (see :class:`tidemark.lake.store.ObjectStore`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary = root / _TEMPORARY
        with _as_store_error(str(root)):
            self._temporary.mkdir(parents=True, exist_ok=True)
            self._remove_stale()

    @classmethod
    def from_url(cls, url: str) -> LocalStore:
        """The store that ``file:///directory`` means."""
        return cls(Path(unquote(urlsplit(url).path)))

    def put_new(self, path: str, data: bytes) -> bool:
        """See the interface."""
        target = self.root / check_path(path)
        self._check_there()
        temporary = self._temporary / uuid.uuid4().hex
        with _as_store_error(path):
            try:
                _write_durably(temporary, data)
                self._make_folder(target.parent)
                return self._link(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

    def get(self, path: str) -> bytes:
        """See the interface."""
        with _as_store_error(path):
            return (self.root / check_path(path)).read_bytes()

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See the interface."""
        with _as_store_error(path), (self.root / check_path(path)).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def get_tail(self, path: str, length: int) -> bytes:
        """See the interface."""
        with _as_store_error(path), (self.root / check_path(path)).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - length))
            return file.read(length)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        """See the interface."""
        self._check_there()
        with _as_store_error(prefix):
            yield from self._walk("", prefix, start_after)

    def exists(self, path: str) -> bool:
        """See the interface."""
        return (self.root / check_path(path)).is_file()

    def stat(self, path: str) -> Stat:
        """See the interface. Reads the whole file for its checksum."""
        file = self.root / check_path(path)
        with _as_store_error(path):
            listed = _listed(path, file.stat())
            return Stat(path, listed.size, listed.version, crc32c(file.read_bytes()))

    def delete(self, path: str) -> None:
        """See the interface."""
        file = self.root / check_path(path)
        with _as_store_error(path):
            file.unlink(missing_ok=True)
            if file.parent.is_dir():
                _sync_folder(file.parent)

    def _check_there(self) -> None:
        """A lake that has been moved or unmounted is not an empty lake."""
        if not self._temporary.is_dir():
            raise StoreUnavailableError(f"the lake's directory {self.root} is gone: bring it back")

    def _link(self, temporary: Path, target: Path) -> bool:
        try:
            os.link(temporary, target)
        except FileExistsError:
            created = False
        else:
            created = True
        # The loser syncs too: it is about to rely on a name that the winner may not have made durable yet.
        _sync_folder(target.parent)
        return created

    def _make_folder(self, folder: Path) -> None:
        missing = [folder, *folder.parents]
        missing = missing[: next(i for i, f in enumerate(missing) if f.is_dir())]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[Listed]:
        """Depth first in the order of whole paths: a folder sorts as its name with a slash behind it."""
        try:
            entries = list(os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        named = [(f"{folder}{e.name}{'/' if e.is_dir() else ''}", e) for e in entries if not e.name.startswith(".")]
        for path, entry in sorted(named, key=lambda n: n[0].encode()):
            if path.endswith("/"):
                if _may_hold(path, prefix, start_after):
                    yield from self._walk(path, prefix, start_after)
            elif path.startswith(prefix) and path > start_after:
                with contextlib.suppress(FileNotFoundError):
                    yield _listed(path, entry.stat())

    def _remove_stale(self) -> None:
        """Remove what a killed writer left. A day is far longer than any write takes."""
        for file in self._temporary.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < time.time() - _STALE_S:
                    file.unlink()


def _may_hold(folder: str, prefix: str, start_after: str) -> bool:
    if not (folder.startswith(prefix) or prefix.startswith(folder)):
        return False
    return folder > start_after or start_after.startswith(folder)


def _listed(path: str, status: os.stat_result) -> Listed:
    return Listed(path, status.st_size, f"{status.st_ino}-{status.st_mtime_ns}", status.st_mtime)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _as_store_error(path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ObjectMissingError(f"the lake has no object {path}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreUnavailableError(
            f"the lake's directory can't serve {path}: {reason}; check disk and rights"
        ) from error
