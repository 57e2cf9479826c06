"""A record becomes rows of its dataset, a dead letter with a reason, or nothing.

Lives here: that decision, and the envelope that every row gets. Doesn't: the exchanges' formats
(``tidemark.exchanges``), delivery of dead letters (``dead_letters``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog

from streaming.consumer.records import Record
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Parsed, Row, Unparsable
from tidemark.lake.chain import Chain
from tidemark.naming import original_topic, parse_raw_topic

_log = structlog.get_logger()
#: The parser failed in a way it should not: a fault of ours, so the record waits for the fix as a dead letter.
PARSER_ERROR: Final = "parser_error"


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that can't be parsed: ``reason`` is counted, ``message`` is for people."""

    reason: str
    message: str


class Decoder:
    """Decodes the records of one partition. ``place`` holds the columns that are the same in all of its rows."""

    def __init__(self, chain: Chain) -> None:
        name = parse_raw_topic(original_topic(chain.topic))
        self.dataset = name.dataset
        self.exchange = registry.get(name.exchange).name
        self.place: Row = {
            "source": "ws",
            "kafka_cluster": chain.cluster,
            "kafka_epoch": chain.epoch,
            "kafka_topic": chain.topic,
            "kafka_partition": chain.partition,
        }

    def decode(self, record: Record) -> list[Row] | Ignored | Dead:
        """The rows of a record with their envelope, or why there are none. Never raises."""
        try:
            outcome = registry.read(self.exchange, self.dataset, record.kind, record.value)
        except Unparsable as error:
            return Dead(error.reason, error.message)
        except Exception as error:  # whatever the parser stumbles over must not stop the others
            _log.exception("parser failed", topic=self.place["kafka_topic"], offset=record.offset)
            return Dead(PARSER_ERROR, f"{type(error).__name__}: {error}")
        if isinstance(outcome, Parsed):
            return [self._row(record, row, item) for item, row in enumerate(outcome.rows)]
        return outcome

    def _row(self, record: Record, row: Row, item: int) -> Row:
        return {
            **row,
            **self.place,
            "received_at": record.received_at,
            "connection_id": record.connection,
            "frame_no": record.frame_no,
            "kafka_offset": record.offset,
            "item": item,
            "frame": record.value if item == 0 else None,
        }
