"""``python -m streaming.producer``: the environment, signals and the event loop around ``app``.

Lives here: the entry point, the only file of the producer that reads settings. Doesn't: the work.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import structlog
import uvloop

from streaming.producer import app
from tidemark import logs, settings


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit code (0: in order, 1: could not go on, 2: wrong settings)."""
    parser = argparse.ArgumentParser(
        prog="python -m streaming.producer",
        description="Every frame of the exchanges' sockets, verbatim, into Kafka. Settings come from the environment.",
    )
    parser.add_argument("--exchange", action="append", help="only this exchange (may be given again); default: all")
    parser.add_argument("--log-level", default="INFO")
    options = parser.parse_args()
    try:
        setup = _setup(settings.load(), options.exchange)
        logs.setup(setup.producer.worker, options.log_level)
    except (settings.SettingsError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return uvloop.run(_run(setup))


def _setup(loaded: settings.Settings, chosen: list[str] | None) -> app.Setup:
    unknown = sorted(set(chosen or ()) - set(loaded.exchanges))
    if unknown:
        raise ValueError(f"no exchange {', '.join(unknown)}; there are: {', '.join(loaded.exchanges)}")
    exchanges = {name: loaded.exchanges[name] for name in chosen or loaded.exchanges}
    return app.Setup(exchanges, loaded.kafka, loaded.producer, loaded.sink.group)


async def _run(setup: app.Setup) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        return await app.run(setup, stop)
    except Exception:
        structlog.get_logger().exception("the producer failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
