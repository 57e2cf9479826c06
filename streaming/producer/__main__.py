"""``python -m streaming.producer``: the environment, signals and the event loop around ``app``.

Lives here: the entry point, the only file of the producer that reads settings. Doesn't: the work.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys

import structlog
import uvloop

from streaming.health import Health
from streaming.metrics import serve
from streaming.notify import ServiceManager
from streaming.producer import app
from streaming.producer.metrics import ProducerCollector
from tidemark import logs, settings


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit code (0: in order, 1: could not go on, 2: wrong settings)."""
    parser = argparse.ArgumentParser(
        prog="python -m streaming.producer",
        description="Every frame of the exchanges' sockets, verbatim, into Kafka. Settings come from the environment.",
    )
    parser.add_argument("--exchange", action="append", help="only this exchange (may be given again); default: all")
    parser.add_argument("--log-level", help="default: TIDEMARK_LOG__LEVEL")
    options = parser.parse_args()
    try:
        loaded = settings.load()
        setup = _setup(loaded, options.exchange)
        logs.setup(setup.producer.worker, options.log_level or loaded.log.level, loaded.log)
    except (settings.SettingsError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    settle_memory()
    return uvloop.run(_run(setup, loaded.monitor))


def settle_memory() -> None:
    """Look for garbage less often: frames are freed by their counts, and what was imported stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _setup(loaded: settings.Settings, chosen: list[str] | None) -> app.Setup:
    unknown = sorted(set(chosen or ()) - set(loaded.exchanges))
    if unknown:
        raise ValueError(f"no exchange {', '.join(unknown)}; there are: {', '.join(loaded.exchanges)}")
    exchanges = {name: loaded.exchanges[name] for name in chosen or loaded.exchanges}
    return app.Setup(exchanges, loaded.kafka, loaded.producer, loaded.sink.group, state_dir=loaded.transport.state_dir)


def _show(worker: app.Worker, setup: app.Setup, monitor: settings.MonitorSettings) -> None:
    """Metrics and health, for as long as the process lives."""
    name = setup.producer.worker
    health = Health(name, worker.pulse, worker.readiness.report, monitor.stuck_after_s)
    collector = ProducerCollector(
        worker.counts, worker.book_counts, worker.broker, worker.gate, worker.latency, worker.bans
    )
    serve(monitor.host, setup.producer.metrics_port, name, [collector], health)


async def _run(setup: app.Setup, monitor: settings.MonitorSettings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        worker = app.Worker(setup, stop, ServiceManager(*settings.service_manager()))
        _show(worker, setup, monitor)
        return await worker.run()
    except Exception:
        structlog.get_logger().exception("the producer failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
