"""A store in memory that keeps the interface's promises: fast enough for thousands of random runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tidemark.lake.store import Listed, ObjectMissingError, Stat, check_path, crc32c


class MemoryStore:
    """See :class:`tidemark.lake.store.ObjectStore`."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self._versions = itertools.count(1)

    def put_new(self, path: str, data: bytes) -> bool:
        if check_path(path) in self.objects:
            return False
        self.objects[path] = (data, str(next(self._versions)))
        return True

    def get(self, path: str) -> bytes:
        return self._data(path)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        return self._data(path)[start : start + length]

    def get_tail(self, path: str, length: int) -> bytes:
        return self._data(path)[-length:]

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        for path, (data, version) in sorted(self.objects.items()):
            if path.startswith(prefix) and path > start_after:
                yield Listed(path, len(data), version)

    def exists(self, path: str) -> bool:
        return path in self.objects

    def stat(self, path: str) -> Stat:
        data = self._data(path)
        return Stat(path, len(data), self.objects[path][1], crc32c(data))

    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    def _data(self, path: str) -> bytes:
        try:
            return self.objects[path][0]
        except KeyError:
            raise ObjectMissingError(f"the lake has no object {path}") from None
