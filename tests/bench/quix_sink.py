"""Timed: quixstreams and its file sink, topics to Parquet: ``python quix_sink.py BOOTSTRAP TOPIC,… COUNT``.

Runs in the yardsticks' own environment. Columns are the message's fields as they are nested, numbers as floats, texts
as texts, key and time, the producer's headers, partition and offset, and with ``--frames`` the message as it came.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from quixstreams import Application
from quixstreams.context import message_context
from quixstreams.sinks.community.file.formats import ParquetFormat
from quixstreams.sinks.community.file.local import LocalFileSink

from tests.bench.memory import peak_mb

_HEADERS = {"received_ns": int, "connection": bytes.decode, "frame": int}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("topics", type=lambda names: names.split(","))
    parser.add_argument("count", type=int)
    parser.add_argument("--frames", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench_quix_"))
    app = Application(
        broker_address=options.bootstrap,
        consumer_group=f"bench-{time.time_ns()}",
        auto_offset_reset="earliest",
        commit_every=50_000,
        commit_interval=600,
        state_dir=folder / "state",
        loglevel="WARNING",
        consumer_extra_config={"fetch.queue.backoff.ms": 5, "queued.max.messages.kbytes": 16_384},
    )

    def with_headers(value: Any, key: Any, timestamp: int, headers: Any) -> dict[str, Any]:
        row: dict[str, Any] = json.loads(value) if options.frames else value
        if options.frames:
            row["verbatim"] = value
        for name, text in headers:
            row[name] = _HEADERS[name](text)
        context = message_context()
        row["partition"], row["offset"] = context.partition, context.offset
        return row

    for name in options.topics:
        topic = app.topic(name, value_deserializer="bytes" if options.frames else "json", key_deserializer="str")
        frame = app.dataframe(topic).apply(with_headers, metadata=True)
        frame.sink(LocalFileSink(directory=str(folder / "out"), format=ParquetFormat(compression="zstd")))
    cpu, wall = time.process_time(), time.perf_counter()
    app.run(count=options.count, timeout=30)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rows = sum(pq.read_metadata(path).num_rows for path in (folder / "out").rglob("*.parquet"))
    assert rows == options.count, rows
    shutil.rmtree(folder)
    print(json.dumps({"count": options.count, "seconds": cpu, "peak_mb": peak_mb(), "wall": wall}))


if __name__ == "__main__":
    main()
