"""What the lake asks of an object store, and which store a URL means.

Lives here: the interface, what it returns and raises, and ``open_store``. Doesn't: the stores themselves
(``local``, ``gcs``) and what objects mean (``parquet``, ``chain``).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import google_crc32c

from tidemark.settings import LakeSettings


class StoreError(Exception):
    """The store could not do what was asked; the message names the object and what to look at."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or not usefully, also after retries. Asking again later makes sense."""


class ObjectMissingError(StoreError):
    """There is no object at that path."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing. ``version`` changes when an object is deleted and written anew.

    ``written_at`` is when the store got it, Unix seconds by the store's clock; unknown is the far future.
    """

    path: str
    size: int
    version: str
    written_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Stat:
    """One object: size in bytes, and CRC32C as Google spells it (base64 of four big-endian bytes)."""

    path: str
    size: int
    version: str
    crc32c: str


class ObjectStore(Protocol):
    """Objects that are written once and read whole or in part. Paths are relative to the lake's URL.

    Every method may raise :class:`StoreUnavailableError`. A store may be used from several threads.
    """

    def put_new(self, path: str, data: bytes) -> bool:
        """Create an object, durably, only if there is none at ``path``.

        Returns:
            True when this call created it. False when an object is there already: another writer's, or this
            writer's own whose confirmation got lost. Nothing that exists is ever changed.
        """
        ...

    def get(self, path: str) -> bytes:
        """The whole object. Raises ObjectMissingError."""
        ...

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Bytes ``start`` to ``start + length``, fewer where the object ends. Raises ObjectMissingError."""
        ...

    def get_tail(self, path: str, length: int) -> bytes:
        """The last ``length`` bytes, the whole object if it is shorter. Raises ObjectMissingError."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        """Objects whose path begins with ``prefix`` and sorts after ``start_after``, in the paths' byte order."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is an object at ``path``."""
        ...

    def stat(self, path: str) -> Stat:
        """Size and checksum. Raises ObjectMissingError."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; no error if there is none. Never part of the lake protocol."""
        ...


def crc32c(data: bytes) -> str:
    """CRC32C of ``data`` as Google spells it."""
    return base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()


def check_path(path: str) -> str:
    """Return ``path`` if it names an object.

    Raises:
        ValueError: it is empty, absolute, hidden, or climbs out of the lake.
    """
    parts = path.split("/")
    if not path or any(part == "" or part.startswith(".") for part in parts) or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} does not name an object of the lake")
    return path


def open_store(settings: LakeSettings) -> ObjectStore:
    """The store that ``settings.url`` means: ``file:///directory`` or ``gs://bucket/prefix``."""
    # Each store is imported only when it is used: the Google client takes a second to load.
    url = urlsplit(settings.url)
    if url.scheme == "gs":
        from tidemark.lake.gcs import GcsStore

        return GcsStore(url.netloc, url.path.strip("/"), endpoint=settings.gcs_endpoint)
    from tidemark.lake.local import LocalStore

    return LocalStore.from_url(settings.url)
