"""Delivery of dead letters to ``<topic>.dlq``: at least once, before the object that counts them is written.

Lives here: what a dead letter carries, and waiting until the broker has it. Doesn't: deciding what is dead
(``decode``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException, Producer

from streaming.consumer.columns import DeadLetter
from tidemark.exchanges import connection
from tidemark.lake.chain import Chain
from tidemark.naming import dead_letter_topic
from tidemark.settings import KafkaSettings

#: How much of a giant is kept.
KEPT_BYTES: Final = 64 * 1024
_MESSAGE_BYTES: Final = 500
_TIMEOUT_S: Final = 30.0


class UndeliveredError(Exception):
    """The broker did not take every dead letter; sending again later makes sense."""


class DeadLetters(Protocol):
    """Where dead letters go."""

    def send(self, chain: Chain, letters: Sequence[DeadLetter]) -> None:
        """Deliver all of them. Raises UndeliveredError unless every one is safe."""
        ...


class KafkaDeadLetters:
    """Dead letters to the broker (see :class:`DeadLetters`)."""

    def __init__(self, settings: KafkaSettings, name: str) -> None:
        self._producer: Any = Producer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "client.id": f"{name}-dead",
                "enable.idempotence": True,
                "max.in.flight.requests.per.connection": 1,  # see streaming/producer/broker.py
                "acks": "all",
                "compression.type": "zstd",
                "linger.ms": 5,
                "delivery.timeout.ms": int(_TIMEOUT_S * 1_000),
                "queue.buffering.max.kbytes": 65_536,
            }
        )

    def send(self, chain: Chain, letters: Sequence[DeadLetter]) -> None:
        """See the interface."""
        if not letters:
            return
        topic = dead_letter_topic(chain.topic)
        failed: list[str] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failed.append(str(error))

        for letter in letters:
            self._produce(topic, chain, letter, delivered)
        left = self._producer.flush(_TIMEOUT_S + 5)
        if left or failed:
            reason = failed[0] if failed else "no answer"
            raise UndeliveredError(
                f"{len(failed) + left} of {len(letters)} dead letters did not reach {topic}: {reason}"
            )

    def close(self) -> None:
        """Leave the broker."""
        self._producer.close()

    def _produce(self, topic: str, chain: Chain, letter: DeadLetter, delivered: Any) -> None:
        record = letter.record
        while True:
            try:
                self._producer.produce(
                    topic,
                    record.value[:KEPT_BYTES],
                    record.key,
                    headers=headers(chain, letter),
                    on_delivery=delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise UndeliveredError(f"{topic} does not take dead letters: {error}") from error
            else:
                return


def headers(chain: Chain, letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Reason, place, length and SHA-256 of the original, then the original's own headers."""
    record, dead = letter.record, letter.dead
    ours: dict[str, bytes | None] = {
        "reason": dead.reason.encode(),
        "message": dead.message.encode("utf-8", "backslashreplace")[:_MESSAGE_BYTES],
        "cluster": chain.cluster.encode(),
        "epoch": str(chain.epoch).encode(),
        "topic": chain.topic.encode(),
        "partition": str(chain.partition).encode(),
        "offset": str(record.offset).encode(),
        "length": str(len(record.value)).encode(),
        "sha256": hashlib.sha256(record.value).hexdigest().encode(),
    }
    if record.kind == connection.OVERSIZED:  # the producer measured the whole frame; here is only its beginning
        ours.update({n: v for n, v in record.headers if n in ("length", "sha256")})
    return [*ours.items(), *((n, v) for n, v in record.headers if n not in ours)]
