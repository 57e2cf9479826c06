"""A real worker with a fail point: ``python -m tests.faults.failing consumer after_upload 2 SIGKILL``.

Lives here: where a worker can be hit (by a signal that it sends itself, so that the place is exact). Doesn't: the
worker, which is started by its own entry point and knows nothing of this.

Consumer: ``before_upload``, ``mid_upload`` (written, not yet named; local lake only), ``after_upload``,
``after_commit``. Producer: ``before_send``, ``queued`` (librdkafka has it), ``acknowledged`` (the broker has it, the
worker doesn't know), ``delivered`` (the worker knows). They count from the producer's first delivery on: of a very
first connection of which nothing arrived nobody can know that it was.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

import confluent_kafka

from tidemark.lake.gcs import GcsStore
from tidemark.lake.local import LocalStore


class Point:
    """Hits the process when the place ``name`` is reached for the ``on``-th time."""

    def __init__(self, name: str, on: int, sign: signal.Signals) -> None:
        self._name, self._left, self._sign = name, on, sign

    def reached(self, name: str) -> None:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._sign)


def arm_consumer(point: Point) -> None:
    for store in (LocalStore, GcsStore):
        _arm_store(store, point)
    link = os.link

    def linked(*arguments: Any, **named: Any) -> None:
        point.reached("mid_upload")
        link(*arguments, **named)

    os.link = linked  # type: ignore[assignment]

    class Committing(confluent_kafka.Consumer):
        def commit(self, *arguments: Any, **named: Any) -> Any:
            done = super().commit(*arguments, **named)
            point.reached("after_commit")
            return done

    confluent_kafka.Consumer = Committing  # type: ignore[misc]


def _arm_store(store: type, point: Point) -> None:
    put_new = store.put_new  # type: ignore[attr-defined]

    def armed(self: Any, path: str, data: bytes) -> bool:
        point.reached("before_upload")
        created = bool(put_new(self, path, data))
        point.reached("after_upload")
        return created

    store.put_new = armed  # type: ignore[attr-defined]


def arm_producer(point: Point) -> None:
    class Sending(confluent_kafka.Producer):
        def __init__(self, config: dict[str, Any], **named: Any) -> None:
            # Left to itself the producer hears of failures only.
            super().__init__({**config, "delivery.report.only.error": False}, **named)
            self._is_known = False

        def produce(self, topic: str, value: bytes, key: bytes, partition: int, report: Any, *more: Any) -> None:
            market = ".system." not in topic

            def at(name: str) -> None:
                if market and self._is_known:
                    point.reached(name)

            def delivered(*what: Any) -> None:
                at("acknowledged")
                report(*what)
                self._is_known = True
                at("delivered")

            at("before_send")
            super().produce(topic, value, key, partition, delivered, *more)
            at("queued")

    confluent_kafka.Producer = Sending  # type: ignore[misc]


def main() -> int:
    part, name, on, sign = sys.argv[1:5]
    sys.argv[1:] = sys.argv[5:]
    point = Point(name, int(on), signal.Signals[sign])
    {"consumer": arm_consumer, "producer": arm_producer}[part](point)
    return int(importlib.import_module(f"streaming.{part}.__main__").main())


if __name__ == "__main__":
    sys.exit(main())
