"""What every worker shows to Prometheus and to probes: ``/metrics``, ``/livez``, ``/readyz`` on one port.

Lives here: the small server beside the work, and histograms that take many equal observations at once. Doesn't: what
is counted (``producer.metrics``, ``consumer.metrics``), what is healthy (``health``).

Nothing here is on the way of a message: workers count for themselves, and a scrape reads what they have counted.
"""

from __future__ import annotations

import bisect
import json
import threading
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from streaming.health import Health
from tidemark import __version__

log = structlog.get_logger()

_IDLE_S: Final = 5.0


class Buckets:
    """A histogram. ``observe`` takes a value, in seconds, that ``count`` things had in common."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        """Count ``count`` things that took so long. A clock that was set back counts as no time."""
        seconds = max(seconds, 0.0)
        self._counts[bisect.bisect_left(self._bounds, seconds)] += count
        self._sum += seconds * count

    @property
    def count(self) -> int:
        """Things counted so far."""
        return sum(self._counts)

    def family(self, name: str, documentation: str) -> HistogramMetricFamily:
        """As Prometheus wants it."""
        buckets, total = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], list(self._counts), strict=True):
            total += count
            buckets.append((bound, total))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._sum)


class Server:
    """The server of one worker: started with its work, gone with its process."""

    def __init__(self, host: str, port: int, worker: str, collectors: Iterable[Collector], health: Health) -> None:
        """Listen and answer.

        Raises:
            OSError: the port is taken, or not ours to take.
        """
        registry = CollectorRegistry(auto_describe=False)
        for collector in (_Build(worker), *collectors):
            registry.register(collector)
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=registry)
        handler = type("Handler", (_Handler,), {"registry": registry, "health": health})
        self._server = _Listener((host, port), handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def serve(host: str, port: int, worker: str, collectors: Iterable[Collector], health: Health) -> Server | None:
    """A server; None where ``port`` is 0, or where it can't be had: that is said loudly, and the data goes on."""
    if port == 0:
        return None
    try:
        server = Server(host, port, worker, collectors, health)
    except OSError as error:
        log.error("metrics are not served", host=host, port=port, error=str(error))
        return None
    log.info("metrics are served", host=host, port=server.port)
    return server


class _Listener(ThreadingTCPServer):
    """Not ``http.server``'s own: that asks the name service who we are before it listens."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A prober that hangs up early is no event."""
        log.debug("a probe was not answered", client=str(client_address), exc_info=True)


class _Build(Collector):
    def __init__(self, worker: str) -> None:
        self._worker = worker

    def collect(self) -> Iterable[Metric]:
        """Which version of which worker this is."""
        yield InfoMetricFamily(
            "tidemark_build", "Version and name of the worker.", {"version": __version__, "worker": self._worker}
        )


class _Handler(BaseHTTPRequestHandler):
    """One request. Whoever keeps a connection without asking anything is sent away."""

    registry: CollectorRegistry
    health: Health
    timeout = _IDLE_S
    server_version = "tidemark"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        path = urlsplit(self.path).path
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._send(200, content_type, encode(self.registry))
        elif path in ("/livez", "/readyz"):
            well, answer = self.health.live() if path == "/livez" else self.health.ready()
            self._send(200 if well else 503, "application/json", json.dumps(answer, default=str).encode() + b"\n")
        else:
            self._send(404, "text/plain", b"there are /metrics, /livez and /readyz\n")

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: there is one every few seconds."""
