"""The server: the part of the JSON API that the lake uses.

Lives here: uploads (media, multipart, resumable) with ``ifGenerationMatch`` answered by a real 412, listings with
pages and ``startOffset``, downloads with ``Range``, metadata, deletion, checksums checked, and faults. Doesn't:
authentication, ACLs, object versions, anything else. Objects live in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests of ``method`` whose path holds ``match``.

    ``kind``: ``status`` (answers ``status``), ``reset`` (the connection breaks, nothing was done), ``cut`` (it breaks
    in the middle of an upload's body), ``lost`` (it was done, and the connection breaks instead of the answer),
    ``truncated`` (half of a download, then it breaks), ``corrupt`` (a byte of the body is another one, up or down),
    ``hang`` (no answer until ``release()``, then it breaks, nothing was done), ``hang_after`` (the same, but done).
    """

    kind: str
    method: str = ""
    match: str = ""
    status: int = 503
    times: int = 1


@dataclass
class _Object:
    data: bytes
    generation: int
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": bucket,
            "generation": str(self.generation),
            "metageneration": "1",
            "size": str(len(self.data)),
            "timeCreated": self.created,
            "crc32c": _crc32c(self.data),
            "md5Hash": base64.b64encode(hashlib.md5(self.data, usedforsecurity=False).digest()).decode(),
        }


@dataclass
class _Session:
    bucket: str
    name: str
    query: dict[str, str]
    crc32c: str
    data: bytearray = field(default_factory=bytearray)
    made: dict[str, Any] | None = None


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.objects: dict[tuple[str, str], _Object] = {}
        self.sessions: dict[str, _Session] = {}
        self.faults: list[Fault] = []
        self.requests: Counter[str] = Counter()
        self.generation = 1_700_000_000_000_000
        self.hanging = 0
        self.released = threading.Event()

    def hang(self) -> None:
        with self.lock:
            self.hanging += 1
        self.released.wait(120)

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests[method] += 1
            if _BUCKET.fullmatch(path.partition("?")[0]):
                return None  # the client looks at the bucket in the background, when it likes
            for fault in self.faults:
                if fault.times > 0 and fault.method in ("", method) and fault.match in path:
                    fault.times -= 1
                    return fault
        return None

    def create(self, bucket: str, name: str, data: bytes, query: dict[str, str], crc32c: str) -> dict[str, Any]:
        if crc32c and crc32c != _crc32c(data):
            raise _RefusedError(400, f"Provided CRC32C {crc32c} doesn't match calculated CRC32C {_crc32c(data)}.")
        with self.lock:
            self._check(bucket, name, query)
            self.generation += 1
            made = self.objects[bucket, name] = _Object(data, self.generation)
        return made.resource(bucket, name)

    def check(self, bucket: str, name: str, query: dict[str, str]) -> None:
        with self.lock:
            self._check(bucket, name, query)

    def _check(self, bucket: str, name: str, query: dict[str, str]) -> None:
        wanted = query.get("ifGenerationMatch")
        there = self.objects.get((bucket, name))
        if wanted is not None and int(wanted) != (there.generation if there else 0):
            raise _RefusedError(412, "At least one of the pre-conditions you specified did not hold.")


class GcsDouble:
    """The running server: ``with GcsDouble() as gcs: …  gcs.endpoint``. Every bucket exists."""

    def __init__(self) -> None:
        self._state = _State()
        handler = type("Handler", (_Handler,), {"state": self._state})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> GcsDouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def plant(self, *faults: Fault) -> None:
        """Let these faults happen, the first that matches a request first."""
        self._state.faults.extend(faults)

    @property
    def unspent(self) -> list[Fault]:
        """Planted faults that have not (fully) happened."""
        return [fault for fault in self._state.faults if fault.times > 0]

    @property
    def hanging(self) -> int:
        """How many requests have been left hanging so far."""
        return self._state.hanging

    def release(self) -> None:
        """Break the connections that hang; faults of that kind break at once from now on."""
        self._state.released.set()

    def object(self, bucket: str, name: str) -> bytes | None:
        """What is stored there, seen from inside."""
        there = self._state.objects.get((bucket, name))
        return there.data if there else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to report; whatever else fails, its test sees as a broken answer."""


class _Handler(BaseHTTPRequestHandler):
    state: _State
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    def _serve(self, action: Any) -> None:
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        fault = self.state.fault(self.command, unquote(self.path))
        kind = fault.kind if fault else ""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length // 2 if kind == "cut" else length)
        if fault and kind == "status":
            return self._error(fault.status, "planted")
        if kind == "hang":
            self.state.hang()
        if kind in ("reset", "cut", "hang"):
            return self._break()
        try:
            answer = action(url.path, _flipped(body) if kind == "corrupt" and body else body)
        except _RefusedError as refused:
            answer = (refused.status, {}, _error_body(refused.status, str(refused)))
        if kind == "hang_after":
            self.state.hang()
        if kind in ("lost", "hang_after"):
            return self._break()
        if kind == "corrupt" and not body:
            answer = (*answer[:2], _flipped(answer[2]))
        return self._answer(*answer, cut=kind == "truncated")

    def _get(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if found := _BUCKET.fullmatch(path):
            return self._json({"kind": "storage#bucket", "name": found[1], "location": "US"})
        bucket, name = _place(path)
        if not name:
            return self._json(self._page(bucket))
        there = self._there(bucket, name)
        if self.query.get("alt") != "media":
            return self._json(there.resource(bucket, name))
        headers = {
            "x-goog-hash": f"crc32c={_crc32c(there.data)}",
            "x-goog-generation": str(there.generation),
            "Content-Type": "application/octet-stream",
        }
        return self._part(there.data, headers)

    def _part(self, data: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            return 200, headers, data
        if not asked[1]:
            first, last = max(0, len(data) - int(asked[2])), len(data) - 1
        else:
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first >= len(data):
            raise _RefusedError(416, "The requested range cannot be satisfied.")
        return 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]

    def _page(self, bucket: str) -> dict[str, Any]:
        prefix, first = self.query.get("prefix", ""), self.query.get("startOffset", "")
        after = base64.b64decode(self.query.get("pageToken", "")).decode()
        size = int(self.query.get("maxResults", "1000"))
        with self.state.lock:
            found = sorted((n, o) for (b, n), o in self.state.objects.items() if b == bucket)
        found = [(n, o) for n, o in found if n.startswith(prefix) and n >= first and n > after]
        page: dict[str, Any] = {"kind": "storage#objects"}
        if found:
            page["items"] = [o.resource(bucket, n) for n, o in found[:size]]
        if len(found) > size:
            page["nextPageToken"] = base64.b64encode(found[size - 1][0].encode()).decode()
        return page

    def _post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        bucket, _ = _place(path)
        match self.query.get("uploadType"):
            case "multipart":
                metadata, data = _parts(self.headers["Content-Type"], body)
                name = metadata.get("name") or self.query["name"]
                return self._json(self.state.create(bucket, name, data, self.query, metadata.get("crc32c", "")))
            case "media":
                return self._json(self.state.create(bucket, self.query["name"], body, self.query, ""))
            case "resumable":
                return self._begin(path, bucket, json.loads(body or b"{}"))
        raise _RefusedError(400, "unknown uploadType")

    def _begin(self, path: str, bucket: str, metadata: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        name = metadata.get("name") or self.query["name"]
        self.state.check(bucket, name, self.query)
        key = uuid.uuid4().hex
        self.state.sessions[key] = _Session(bucket, name, self.query, metadata.get("crc32c", ""))
        host = self.headers["Host"]
        return 200, {"Location": f"http://{host}{path}?uploadType=resumable&upload_id={key}"}, b""

    def _put(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        session = self.state.sessions.get(self.query.get("upload_id", ""))
        if session is None:
            raise _RefusedError(404, "no such upload")
        asked = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers.get("Content-Range") or "bytes */*")
        assert asked is not None
        if asked[1] is not None and int(asked[1]) == len(session.data):
            session.data += body
        total = None if asked[3] == "*" else int(asked[3])
        if total is None or len(session.data) < total:
            headers = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return 308, headers, b""
        sent = re.search(r"crc32c=([A-Za-z0-9+/=]+)", self.headers.get("X-Goog-Hash") or "")
        crc32c = sent[1] if sent else session.crc32c
        if session.made is None:
            made = self.state.create(session.bucket, session.name, bytes(session.data), session.query, crc32c)
            session.made = made
        return self._json(session.made)

    def _delete(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        bucket, name = _place(path)
        self._there(bucket, name)
        with self.state.lock:
            self.state.objects.pop((bucket, name), None)
        return 204, {}, b""

    def _there(self, bucket: str, name: str) -> _Object:
        there = self.state.objects.get((bucket, name))
        if there is None:
            raise _RefusedError(404, f"No such object: {bucket}/{name}")
        return there

    def _json(self, content: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def _error(self, status: int, message: str) -> None:
        self._answer(status, {}, _error_body(status, message))

    def _answer(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._break()

    def _break(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


def _place(path: str) -> tuple[str, str]:
    found = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/([^/]+)/o(?:/(.*))?", path)
    if found is None:
        raise _RefusedError(404, f"not served by this double: {path}")
    return unquote(found[1]), unquote(found[2] or "")


def _parts(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    assert found is not None
    _, metadata, rest = body.split(b"--" + found[1].encode(), 2)
    _, _, data = rest.partition(b"\r\n\r\n")
    end = data.rindex(b"\r\n--" + found[1].encode())
    return json.loads(metadata.partition(b"\r\n\r\n")[2]), data[:end]


def _flipped(data: bytes) -> bytes:
    """``data`` with one bit in its middle turned over."""
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


def _crc32c(data: bytes) -> str:
    return base64.b64encode(int(google_crc32c.value(data)).to_bytes(4, "big")).decode()


def _error_body(status: int, message: str) -> bytes:
    error = {"code": status, "message": message, "errors": [{"message": message}]}
    return json.dumps({"error": error}).encode()
