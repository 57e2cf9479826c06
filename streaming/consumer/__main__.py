"""``python -m streaming.consumer``: run one sink until SIGTERM or SIGINT.

Lives here: settings, signals, exit codes (0 drained, 1 the broker gave up or draining took too long, 2 a person must
act). Doesn't: work (``worker``).
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Sequence

import structlog

from streaming.consumer.metrics import SinkCollector
from streaming.consumer.worker import BrokerError, Sink
from streaming.health import Health
from streaming.metrics import serve
from streaming.notify import ServiceManager
from tidemark import logs
from tidemark import settings as config
from tidemark.lake.chain import LogChangedError
from tidemark.lake.store import StoreError


def main() -> int:
    """Run a sink; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m streaming.consumer",
        description="Records of the topics to typed Parquet in the lake. Settings come from the environment.",
    )
    parser.add_argument("--topic", action="append", help="only this one, of a replay say (may be given again)")
    topics = parser.parse_args().topic or []
    try:
        settings = _of_their_own(config.load(), topics)
        logs.setup(settings.sink.worker, settings.log.level, settings.log)
        sink = Sink(settings, topics=topics, manager=ServiceManager(*config.service_manager()))
        _show(sink, settings)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: sink.stop())
        spare_collections()
        sink.run()
    except (config.SettingsError, LogChangedError, StoreError, ValueError) as error:
        structlog.get_logger().critical("sink stops", error=str(error))
        return 2
    except BrokerError as error:
        structlog.get_logger().critical("sink stops", error=str(error))
        return 1
    return 0


def _show(sink: Sink, settings: config.Settings) -> None:
    """Metrics and health, for as long as the process lives."""
    name, monitor = settings.sink.worker, settings.monitor
    health = Health(name, sink.pulse, sink.report, monitor.stuck_after_s)
    serve(monitor.host, settings.sink.metrics_port, name, [SinkCollector(sink.meter, sink.vitals)], health)


def spare_collections() -> None:
    """Let the garbage collector look at what lives for long no more, and at the rest less often.

    Messages are many small objects that are freed by their counts: looking for cycles took a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def _of_their_own(settings: config.Settings, topics: Sequence[str]) -> config.Settings:
    """Chosen topics get a group of their own, so that the platform's sinks don't share in them."""
    if not topics:
        return settings
    group = ".".join([settings.sink.group, *sorted(topics)])
    return settings.model_copy(update={"sink": settings.sink.model_copy(update={"group": group})})


if __name__ == "__main__":
    sys.exit(main())
