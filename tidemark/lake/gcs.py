"""The object store on Google Cloud Storage.

Lives here: create-only uploads (``if_generation_match=0``), reads checked by CRC32C, Google's errors turned into the
lake's. Doesn't: credentials (Application Default Credentials find them; an emulator gets none).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from datetime import datetime

import requests
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from tidemark.lake.store import (
    Listed,
    ObjectMissingError,
    Stat,
    StoreError,
    StoreUnavailableError,
    check_path,
)

_TIMEOUT_S = 30.0
_RETRY_FOR_S = 60.0
_LISTED_FIELDS = "items(name,size,generation,timeCreated),nextPageToken"
_AGAIN_LATER = (
    api.ServerError,
    api.TooManyRequests,
    api.RetryError,
    requests.exceptions.RequestException,
    ConnectionError,
    DataCorruption,
    InvalidResponse,
    GoogleAuthError,
)


class GcsStore:
    """Objects in ``bucket`` under ``prefix`` (see :class:`tidemark.lake.store.ObjectStore`).

    ``endpoint`` is an emulator's address, reached without credentials; ``retry_for_s`` bounds how long one call
    keeps trying. The library retries reads, and uploads because they carry a precondition.
    """

    def __init__(self, bucket: str, prefix: str = "", *, endpoint: str = "", retry_for_s: float = _RETRY_FOR_S) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry: Retry = DEFAULT_RETRY.with_timeout(retry_for_s)
        with _as_store_error(f"gs://{bucket}"):
            self._client = _client(endpoint)
        self._bucket = self._client.bucket(bucket)

    def put_new(self, path: str, data: bytes) -> bool:
        """See the interface."""
        with _as_store_error(path):
            try:
                self._blob(path).upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    checksum="crc32c",
                    timeout=_TIMEOUT_S,
                    retry=self._retry,
                )
            except api.PreconditionFailed:
                return False
            return True

    def get(self, path: str) -> bytes:
        """See the interface."""
        return self._download(path)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """See the interface."""
        if length <= 0:
            return b""
        try:
            return self._download(path, start=start, end=start + length - 1)
        except _BeyondEndError:
            return b""

    def get_tail(self, path: str, length: int) -> bytes:
        """See the interface."""
        return self._download(path, start=-length)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        """See the interface."""
        first = f"{self._prefix}{start_after}" if start_after else None
        with _as_store_error(prefix):
            pages = self._client.list_blobs(
                self._bucket,
                prefix=f"{self._prefix}{prefix}",
                start_offset=first,
                fields=_LISTED_FIELDS,
                timeout=_TIMEOUT_S,
                retry=self._retry,
            )
            for blob in pages:
                path = blob.name.removeprefix(self._prefix)
                if path > start_after:  # Google's start offset is inclusive
                    yield Listed(path, int(blob.size), str(blob.generation), _unix(blob.time_created))

    def exists(self, path: str) -> bool:
        """See the interface."""
        with _as_store_error(path):
            return bool(self._blob(path).exists(timeout=_TIMEOUT_S, retry=self._retry))

    def stat(self, path: str) -> Stat:
        """See the interface."""
        blob = self._blob(path)
        with _as_store_error(path):
            blob.reload(timeout=_TIMEOUT_S, retry=self._retry)
        return Stat(path, int(blob.size), str(blob.generation), str(blob.crc32c))

    def delete(self, path: str) -> None:
        """See the interface."""
        with _as_store_error(path), contextlib.suppress(api.NotFound):
            self._blob(path).delete(timeout=_TIMEOUT_S, retry=self._retry)

    def _blob(self, path: str) -> storage.Blob:
        return self._bucket.blob(f"{self._prefix}{check_path(path)}")

    def _download(self, path: str, *, start: int | None = None, end: int | None = None) -> bytes:
        with _as_store_error(path):
            data = self._blob(path).download_as_bytes(
                start=start,
                end=end,
                raw_download=True,
                checksum="crc32c" if start is None else None,
                timeout=_TIMEOUT_S,
                retry=self._retry,
            )
        return bytes(data)


class _BeyondEndError(StoreError):
    """The range begins behind the object's end."""


def _unix(at: datetime | None) -> float:
    return math.inf if at is None else at.timestamp()


def _client(endpoint: str) -> storage.Client:
    if not endpoint:
        return storage.Client()
    anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
    return storage.Client(project="emulator", credentials=anonymous, client_options={"api_endpoint": endpoint})


def _passes(error: api.GoogleAPICallError) -> bool:
    """Whether asking again makes sense: any 5xx (the library names few), or bytes that changed on their way there."""
    code = int(error.code or 0)
    return code >= 500 or (code == 400 and "match calculated" in str(error.message))


@contextlib.contextmanager
def _as_store_error(path: str) -> Iterator[None]:
    try:
        yield
    except api.NotFound as error:
        raise ObjectMissingError(f"the bucket has no object {path} (or there is no such bucket)") from error
    except api.RequestRangeNotSatisfiable as error:
        raise _BeyondEndError(f"{path} ends before the range that was asked for") from error
    except _AGAIN_LATER as error:
        raise StoreUnavailableError(f"Google Cloud Storage did not serve {path}: {error}") from error
    except api.GoogleAPICallError as error:
        if _passes(error):
            raise StoreUnavailableError(f"Google Cloud Storage did not take {path}: {error.message}") from error
        raise StoreError(f"Google Cloud Storage refused {path}: {error.message}; check the role's rights") from error
