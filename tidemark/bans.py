"""Bans of this machine's address: when an exchange has named a time before which nothing may be sent to it.

Contains: one small file per exchange and host, shared by every process of the machine, and the rules by which it is
trusted. Does not contain: reading an answer for the end of a ban (``transport``, ``exchanges``), waiting.

The file is a note, not a lock: a process that cannot read or write it still keeps the ban for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

#: The longest ban that an exchange documents, and what clocks may differ by. A later end is not trusted.
LONGEST_S: Final = 3 * 86_400.0
SLACK_S: Final = 3_600.0
#: The first ban whose end is not named, and the longest: each that follows without an answer between is twice as long.
UNNAMED_S: Final = 150.0
_UNNAMED_MOST_S: Final = 86_400.0
_LARGEST_NOTE: Final = 64 * 1024
_SAID: Final = 300


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a ban: its end (Unix time, seconds), how many came in a row, and the exchange's words."""

    until: float
    times: int
    said: str


def directory(state_dir: str = "") -> Path:
    """Where the notes are: the setting ``TIDEMARK_TRANSPORT__STATE_DIR``, else one of this user in the system's own."""
    return Path(state_dir).expanduser() if state_dir else Path(tempfile.gettempdir()) / f"tidemark-{os.geteuid()}"


@dataclass
class Ban:
    """The ban of this machine's address by one host of one exchange, if there is one.

    ``origin`` is the host's URL; sockets and REST of the same host and port share a note. ``directory`` is where the
    notes are; None: this process only. ``clock`` is Unix time in seconds.
    """

    exchange: str
    origin: str
    directory: Path | None = None
    first_s: float = UNNAMED_S
    clock: Callable[[], float] = time.time
    _own: Note | None = field(default=None, init=False)
    _warned: bool = field(default=False, init=False)

    @property
    def until(self) -> float:
        """The Unix time before which nothing may be sent; 0: there is no ban."""
        note = self.note()
        return note.until if note is not None and note.until > self.clock() else 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the end of the ban; 0: there is no ban."""
        return max(0.0, self.until - self.clock())

    def note(self) -> Note | None:
        """What is known, of a ban that has ended too: until an answer comes, the next one may follow on it."""
        found = [note for note in (self._own, self._read()) if note is not None]
        return max(found, key=lambda note: note.until, default=None)

    def begin(self, until: float | None, said: str) -> Note:
        """Remember a ban. ``until`` is Unix time; None (or a time that has passed): the exchange named no end.

        An end beyond the longest documented ban is cut to that. A ban that ends later stays as it is.
        """
        with self._locked():
            known, now = self.note(), self.clock()
            times = known.times if known is not None else 0
            if until is None or until <= now:
                until = now + min(self.first_s * 2 ** min(times, 30), _UNNAMED_MOST_S)
            end = max(min(until, now + LONGEST_S), known.until if known is not None else 0.0)
            self._own = Note(end, times + 1, said[:_SAID])
            self._write(self._own)
            return self._own

    def lift(self) -> None:
        """Forget a ban that has ended: the exchange has answered."""
        if self.note() is None or self.until:
            return
        self._own = None
        path = self._path
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    # --- the file ---

    @property
    def _path(self) -> Path | None:
        if self.directory is None:
            return None
        host = urlsplit(self.origin).netloc or self.origin
        return self.directory / f"ban-{re.sub(r'[^A-Za-z0-9.-]', '_', f'{self.exchange}-{host}')}.json"

    def _read(self) -> Note | None:
        """The note on disk, where it can be trusted: a regular file of this user or root, well formed, not too far."""
        path = self._path
        if path is None or not _is_ours(path.parent):
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_uid not in (os.geteuid(), 0):
                return None
            note = _parsed(file.read(_LARGEST_NOTE))
        return note if note is not None and note.until <= self.clock() + LONGEST_S + SLACK_S else None

    def _write(self, note: Note) -> None:
        path = self._path
        if path is None:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.new")
        try:
            if not _is_ours(path.parent):
                raise PermissionError(f"{path.parent} belongs to another user, or everybody may write to it")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"exchange": self.exchange, "origin": self.origin, **asdict(note)}, file)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            self._warn(error)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; where that cannot be had, the last one wins."""
        descriptor = None
        if self.directory is not None:
            try:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(
                    self.directory / "bans.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
                )
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                self._warn(error)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            log.warning(
                "The ban by %s is not remembered for other processes: %s. Set TIDEMARK_TRANSPORT__STATE_DIR to a "
                "directory that belongs to this user.",
                self.exchange,
                error,
            )
            self._warned = True


def _is_ours(directory: Path) -> bool:
    """Whether only this user, root and their groups can put files there."""
    try:
        about = directory.stat()
    except OSError:
        return False
    return about.st_uid in (os.geteuid(), 0) and not about.st_mode & stat.S_IWOTH


def _parsed(body: bytes) -> Note | None:
    try:
        found = json.loads(body)
        until, times, said = float(found["until"]), int(found["times"]), str(found["said"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Note(until, max(0, times), said) if math.isfinite(until) and until > 0 else None
