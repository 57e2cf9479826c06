"""Timed: what the producer adds to a frame's way, from the socket into the log. ``… BOOTSTRAP COUNT``.

Both ends are at the same clock: the source writes into each frame when it was sent, and the broker (topics made with
``message.timestamp.type=LogAppendTime``) when it lay in its log, to the millisecond, which counts as the end of that
millisecond. A bare loop over the same source says how much of it is the way to the socket. Both run twice, in turns.

Prints the limit (5 ms) as the count and the added p99 as the seconds, so a rate above one is within the limit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Sequence

import structlog
import uvloop
from confluent_kafka import Consumer, TopicPartition
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from streaming.producer.__main__ import settle_memory
from tests.bench.our_producer import worker
from tests.bench.socket_source import source

_PACE = 5_000
_LIMIT_S = 0.005
#: What connecting and the first records cost is not what is asked.
_WARMING_UP = 5_000
_TURNS = 2


class _Bare(WSListener):
    def __init__(self, count: int) -> None:
        self.latencies: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self._count = count

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, b"[]")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = time.time_ns()
        self.latencies.append((now - _sent(frame.get_payload_as_bytes())) / 1e9)
        if len(self.latencies) == self._count:
            self.done.set_result(None)


async def main(bootstrap: str, topic: str, count: int) -> None:
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(_TURNS):
        with source(count, _PACE) as url:
            listener = _Bare(count)
            await ws_connect(lambda listener=listener: listener, url)
            await listener.done
            bare += listener.latencies[_WARMING_UP:]
        before = _ends(bootstrap, topic)
        with source(count, _PACE) as url:
            stop = asyncio.Event()
            producer = worker(bootstrap, url, stop)
            running = asyncio.create_task(producer.run())
            while producer.broker.delivered < count + 1:
                await asyncio.sleep(0.05)
            stop.set()
            assert await running == 0
        ours += _in_log(bootstrap, topic, before, count)
    added = {p: _quantile(ours, p) - _quantile(bare, p) for p in (0.5, 0.99)}
    note = f"p50 {added[0.5] * 1e3:.1f} ms, p99 {added[0.99] * 1e3:.1f} ms"
    print(json.dumps({"count": _LIMIT_S, "seconds": added[0.99], "note": note}))


def _sent(frame: bytes) -> int:
    return int(frame[frame.rindex(b":") + 1 : -1])


def _ends(bootstrap: str, topic: str) -> list[TopicPartition]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "looks"})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    places = [TopicPartition(topic, partition) for partition in partitions]
    found = [TopicPartition(topic, p.partition, consumer.get_watermark_offsets(p, timeout=10)[1]) for p in places]
    consumer.close()
    return found


def _in_log(bootstrap: str, topic: str, places: Sequence[TopicPartition], count: int) -> list[float]:
    """How long each record took from the source into the log."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "looks"})
    consumer.assign(list(places))
    found: list[tuple[int, float]] = []
    while len(found) < count:
        for message in consumer.consume(1_000, 5.0):
            headers = dict(message.headers() or ())
            appended_ms = message.timestamp()[1]
            found.append((int(headers["frame"] or 0), (appended_ms + 1) / 1e3 - _sent(message.value()) / 1e9))
    consumer.close()
    return [seconds for frame, seconds in found if frame > _WARMING_UP]


def _quantile(values: Sequence[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)]


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    settle_memory()
    uvloop.run(main(sys.argv[1], "raw.upbit.trade.v1", int(sys.argv[2])))
