"""Changes of a book that came over two connections, cut into other events by each: nothing is missing between them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.warehouse.landed import T0
from tests.integration.warehouse.place import Place
from tidemark.completeness import sequences
from tidemark.completeness.verdicts import HOUR

FIRST = [(100, 90), (110, 100), (120, 110)]
SECOND = [(105, 95), (115, 105), (120, 115), (130, 120)]


def store(place: Place, changes: list[tuple[int, int]]) -> None:
    connection = place.opened[0]
    connection.execute("SELECT ops.ensure_raw_partition('depth_v1', 'depth_v1_20260413', '2026-04-13')")
    row = connection.execute(
        """INSERT INTO ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset,
            end_offset, rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
        VALUES ('p', 'data', 'x', 'depth', 't', 'c', 0, 0, 0, 0, 1, 1, 0, 0, %s, 1, '', '') RETURNING load_id""",
        [T0],
    ).fetchone()
    assert row is not None
    connection.execute("INSERT INTO ops.load_hour VALUES (%s, %s, 1)", [row[0], T0])
    for number, (last, before) in enumerate(changes):
        at = T0 + timedelta(milliseconds=last)
        connection.execute(
            """INSERT INTO raw.depth_v1 (load_id, exchange, market, code, event_at, received_at, kind, last_update_id,
                prev_update_id, source, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item)
            VALUES (%s, 'x', 'BTC-USDT', 'BTCUSDT', %s, %s, 'update', %s, %s, 'ws', 'c', 0, 't', 0, %s, 0)""",
            [row[0], at, at, last, before, number],
        )


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        (FIRST + SECOND, []),
        ([*FIRST[:2], SECOND[3]], ["110 was followed by a change of 120"]),
        ([FIRST[0], SECOND[1], *SECOND[2:]], ["100 was followed by a change of 105"]),
    ],
)
def test_overlapping_events_leave_nothing_out(place: Place, changes: list[tuple[int, int]], numbers: list[str]) -> None:
    store(place, changes)
    found = sequences.depth(place.opened[0], "x", T0, T0 + HOUR)
    assert [gap.detail["numbers"] for gap in found] == numbers
