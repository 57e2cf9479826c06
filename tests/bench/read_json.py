"""Timed: today's frames to Arrow columns, by ours or by polars: ``python read_json.py ours|polars FEED COUNT``.

polars runs in the yardsticks' own environment, on one thread. Ours is what the sink does: the fast path, and the record
parser for what it leaves. ``--more`` adds fields that nobody knows yet, ``--columns FILE`` writes the first batch's
columns as Parquet instead of timing anything.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.feeds import FEEDS, Feed
from tests.bench.feeds.okx import CONTRACTS

_BATCH = 2_000
#: One pass is for warming up.
_PASSES = 6

#: The number of rows in a batch of frames, the number of frames that left the fast path, and the columns.
Read = Callable[[list[bytes]], tuple[int, int, Any]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("which", choices=("ours", "polars"))
    parser.add_argument("feed", choices=FEEDS)
    parser.add_argument("count", type=int)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--columns", type=Path)
    options = parser.parse_args()
    feed = FEEDS[options.feed]
    read = {"ours": _ours, "polars": _polars}[options.which](feed)
    messages = [frame for _, frame in feed.frames(options.count, more=options.more)]
    batches = [messages[at : at + _BATCH] for at in range(0, options.count, _BATCH)]
    if options.columns:
        import pyarrow.parquet as pq

        pq.write_table(read(batches[0])[2](), options.columns)
        return
    times, rows, slow = [], 0, 0
    for _ in range(_PASSES):
        start = time.process_time()
        counts = [read(batch)[:2] for batch in batches]
        times.append(time.process_time() - start)
        rows, slow = sum(n for n, _ in counts), sum(n for _, n in counts)
    note = {"note": f"{slow / len(messages):.0%} on the slow path"} if slow * 200 > len(messages) else {}
    print(json.dumps({"count": rows, "seconds": sorted(times[1:])[len(times) // 2], **note}))


def _ours(feed: Feed) -> Read:
    import pyarrow as pa

    from tidemark.contracts import CONTRACTS
    from tidemark.exchanges import registry
    from tidemark.exchanges.columnar.reader import Reader
    from tidemark.lake import parquet

    reader, contract = Reader(registry.shapes(feed.exchange, feed.dataset)), CONTRACTS[feed.dataset]

    def read(batch: list[bytes]) -> tuple[int, int, Any]:
        parts, left = reader.read(batch)
        parsed = [(place, registry.read(feed.exchange, feed.dataset, None, batch[place]).rows) for place in left]
        slow = parquet.to_batch(contract, [row for _, rows in parsed for row in rows])
        count = sum(len(part.frames) for part in parts) + slow.num_rows
        return count, len(left), lambda: in_order(parts, [place for place, rows in parsed for _ in rows], slow)

    def in_order(parts: Any, places: list[int], slow: pa.RecordBatch) -> pa.Table:
        """The columns that are the frame's own, a row an event, in the order of the frames."""
        fields = [slow.schema.field(f.name) for f in contract.fields]
        tables = [
            pa.Table.from_arrays(
                [
                    part.columns[f.name].cast(f.type) if f.name in part.columns else pa.nulls(len(part.frames), f.type)
                    for f in fields
                ],
                schema=pa.schema(fields),
            )
            for part in parts
        ]
        table = pa.concat_tables([*tables, pa.Table.from_batches([slow]).select([f.name for f in fields])])
        order = [place for part in parts for place in part.frames.tolist()] + places
        return table.take(sorted(range(len(order)), key=order.__getitem__))

    return read


def _polars(feed: Feed) -> Read:
    from tests.bench.polars_reader import readers

    program = readers(CONTRACTS)[feed.name]

    def read(batch: list[bytes]) -> tuple[int, int, Any]:
        found = program(batch)
        return len(found), 0, found.to_arrow

    return read


if __name__ == "__main__":
    main()
