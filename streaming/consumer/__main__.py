"""``python -m streaming.consumer``: run one sink until SIGTERM or SIGINT.

Contains: settings, signals (SIGURG: write now what was gathered), exit codes (0 drained, 1 the broker gave up or
draining took too long, 2 a person must act). Does not contain: work (``worker``).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Final

import pyarrow as pa
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

#: glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD (malloc.h): bytes.
_MALLOC: Final = {-1: 64 << 20, -2: 4 << 20, -3: 32 << 20}


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
        # Its default is to be ignored: a sink that is still starting does not end of it.
        signal.signal(signal.SIGURG, lambda *_: sink.write_soon())
        settle_memory()
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


class _WithoutPandas(MetaPathFinder):
    """Where pandas happens to be installed, Arrow imports it to ask whether a list is one of its: 40 MB for nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Let others find it, unless it is pandas."""
        if name == "pandas":
            raise ModuleNotFoundError("the sink does without pandas", name=name)


def settle_memory() -> None:
    """Look for garbage less often, and keep freed memory instead of giving it back and asking for it again.

    Messages are many small objects that are freed by their counts: looking for cycles among them took a third of the
    time. Columns are few large blocks of the same sizes over and over: the system clearing them each time, a fifth.
    """
    sys.meta_path.insert(0, _WithoutPandas())
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):  # another libc has no such knobs
        libc = ctypes.CDLL("libc.so.6")
        for option, size in _MALLOC.items():
            libc.mallopt(option, size)


def _of_their_own(settings: config.Settings, topics: Sequence[str]) -> config.Settings:
    """Chosen topics get a group of their own, so that the platform's sinks don't share in them."""
    if not topics:
        return settings
    group = ".".join([settings.sink.group, *sorted(topics)])
    return settings.model_copy(update={"sink": settings.sink.model_copy(update={"group": group})})


if __name__ == "__main__":
    sys.exit(main())
