"""``python -m streaming.consumer``: run one sink until SIGTERM or SIGINT.

Lives here: settings, signals, exit codes (0 drained, 1 the broker gave up or draining took too long, 2 a person must
act). Doesn't: work (``worker``).
"""

from __future__ import annotations

import signal
import sys

import structlog

from streaming.consumer.worker import BrokerError, Sink
from tidemark import logs
from tidemark import settings as config
from tidemark.lake.chain import LogChangedError
from tidemark.lake.store import StoreError


def main() -> int:
    """Run a sink; the exit code."""
    try:
        settings = config.load()
        logs.setup(settings.sink.worker)
        sink = Sink(settings)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: sink.stop())
        sink.run()
    except (config.SettingsError, LogChangedError, StoreError, ValueError) as error:
        structlog.get_logger().critical("sink stops", error=str(error))
        return 2
    except BrokerError as error:
        structlog.get_logger().critical("sink stops", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
