"""Timed: the producer itself, from a socket to a topic. ``python -m tests.bench.our_producer BOOTSTRAP COUNT``.

The process is set up as ``python -m streaming.producer`` sets itself up. Seconds are of the clock, from the first
frame until the broker has confirmed the last record.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import structlog
import uvloop

from streaming.producer import app
from streaming.producer.__main__ import settle_memory
from tests.bench.memory import peak_mb
from tests.bench.socket_source import source
from tidemark.settings import ExchangeSettings, KafkaSettings, ProducerSettings

_EXCHANGE = "upbit"


def worker(bootstrap: str, url: str, stop: asyncio.Event) -> app.Worker:
    """A producer of one connection."""
    exchange = ExchangeSettings(ws_url=url, rest_url="http://127.0.0.1:1", codes=("KRW-BTC",), datasets=("trade",))
    settings = ProducerSettings(max_buffer_bytes=256 * 1024 * 1024)
    return app.Worker(app.Setup({_EXCHANGE: exchange}, KafkaSettings(bootstrap_servers=bootstrap), settings, ""), stop)


async def main(bootstrap: str, count: int) -> None:
    stop = asyncio.Event()
    with source(count) as url:
        ours = worker(bootstrap, url, stop)
        running = asyncio.create_task(ours.run())
        while not ours.counts[_EXCHANGE].frames:
            await asyncio.sleep(0.0005)
        start, cpu = time.perf_counter(), time.process_time()
        while ours.broker.delivered < count + 1:  # and the record of the opened connection
            await asyncio.sleep(0.005)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        stop.set()
        assert await running == 0
    print(json.dumps({"count": count, "seconds": seconds, "cpu": cpu, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    settle_memory()
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
