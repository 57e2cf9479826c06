"""What runs on the test's hosts beside the workers: ``python -m tests.integration.hosts.roles broker|exchange …``.

Each says on standard output, in one line, where it is found, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from tests.exchanges.upbit import samples
from tests.integration.producer.exchange import Client, ScriptedExchange
from tidemark import naming
from tidemark.exchanges import registry
from tidemark.jobs.migrate import migrate_topics
from tidemark.local.kafka import KafkaServer
from tidemark.settings import KafkaSettings


def broker(host: str, folder: str, cache: str) -> None:
    """A Kafka that listens on ``host`` alone, with Upbit's topics."""
    server = KafkaServer(Path(folder), 9092, Path(folder).parent / "kafka.log", Path(cache), host=host)
    try:
        server.start()
        topics = [*naming.topics("upbit", registry.get("upbit").datasets), *naming.control_topics()]
        migrate_topics(KafkaSettings(bootstrap_servers=server.bootstrap), topics)
        print(server.bootstrap, flush=True)
        sys.stdin.read()
    finally:
        server.stop()


def exchange(count: str) -> None:
    """An exchange that sends ``count`` trades, with ids from 0, to each connection, and then ten a second."""

    async def script(client: Client) -> None:
        number = 0
        while True:
            await client.send(samples.TRADE.replace(b"17898744375740003", b"%d" % number))
            number += 1
            if number > int(count):
                await asyncio.sleep(0.1)

    async def serve() -> None:
        async with ScriptedExchange(script).running() as running:
            print(running.url, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(serve())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the broker's own process is stopped too
    {"broker": broker, "exchange": exchange}[sys.argv[1]](*sys.argv[2:])
