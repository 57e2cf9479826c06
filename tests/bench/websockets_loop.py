"""Timed: the loop that everybody writes, ``websockets`` and confluent-kafka, on uvloop, with the same key and headers.

``python -m tests.bench.websockets_loop BOOTSTRAP COUNT json|msgspec``: what the key is read with. The same settings of
the client, deliveries counted; seconds are of the clock, from the first frame until the broker has confirmed the last
record.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop
import websockets
from confluent_kafka import KafkaError, Message, Producer

from tests.bench.socket_source import source
from tidemark.settings import ProducerSettings

_CONNECTION = b"producer-1-20261120T000000000000-1"


class _Head(msgspec.Struct):
    type: str
    code: str


async def main(bootstrap: str, count: int, reader: str) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "max.in.flight.requests.per.connection": 1,
            "compression.type": "lz4",
            "linger.ms": ProducerSettings().linger_ms,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 1024 * 1024,
        }
    )
    delivered = 0

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        nonlocal delivered
        assert error is None, error
        delivered += 1

    look = _with_json if reader == "json" else _with_msgspec()
    producer.list_topics(timeout=10)
    with source(count) as url:
        async with websockets.connect(f"{url}/websocket/v1", compression=None, max_size=None) as socket:
            await socket.send("[]")
            number = 0
            async for frame in socket:
                received_ns = time.time_ns()
                if not number:
                    start, cpu = time.perf_counter(), time.process_time()
                number += 1
                kind, code = look(frame)
                producer.produce(
                    f"raw.upbit.{kind}.v1",
                    value=frame,
                    key=code,
                    timestamp=received_ns // 1_000_000,
                    headers=[
                        ("received_ns", str(received_ns).encode()),
                        ("connection", _CONNECTION),
                        ("frame", str(number).encode()),
                    ],
                    on_delivery=on_delivery,
                )
                producer.poll(0)
                if number == count:
                    break
            while delivered < count:
                producer.poll(0.01)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"count": count, "seconds": seconds, "cpu": cpu}))


def _with_json(frame: bytes | str) -> tuple[str, str]:
    message = json.loads(frame)
    return message["type"], message["code"]


def _with_msgspec() -> Callable[[bytes | str], tuple[str, str]]:
    decoder = msgspec.json.Decoder(_Head)

    def look(frame: bytes | str) -> tuple[str, str]:
        head = decoder.decode(frame)
        return head.type, head.code

    return look


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
