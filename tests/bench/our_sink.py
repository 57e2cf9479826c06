"""Timed: the sink itself, from full topics to objects. ``python -m tests.bench.our_sink BOOTSTRAP TOPIC,… COUNT …``.

The process is set up as ``python -m streaming.consumer`` sets itself up. Seconds are CPU seconds of the whole process
from the start of its work to the last object, or with ``--wall`` seconds of the clock.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from streaming.consumer.__main__ import settle_memory
from streaming.consumer.worker import Sink
from tests.bench.memory import peak_mb
from tidemark.settings import KafkaSettings, LakeSettings, Settings, SinkSettings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("topics", type=lambda names: names.split(","))
    parser.add_argument("count", type=int)
    parser.add_argument("--no-frames", action="store_true")
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--bytes", type=int, help="report these as the count")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    folder = Path(tempfile.mkdtemp(prefix="bench_sink_"))
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=options.bootstrap),
        lake=LakeSettings(url=f"file://{folder}"),
        sink=SinkSettings(group=f"bench-{time.time_ns()}", keep_frames=not options.no_frames),
    )
    sink = Sink(settings, topics=options.topics, places=[(topic, 0) for topic in options.topics])
    threading.Thread(target=_stop_at, args=(sink, options.count), daemon=True).start()
    settle_memory()
    cpu, wall = time.process_time(), time.perf_counter()
    sink.run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rows = sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))
    assert rows == sink.totals.rows >= sink.totals.parsed == options.count, (rows, sink.totals)
    assert sink.totals.dead == sink.totals.ignored == 0, sink.totals
    shutil.rmtree(folder)
    seconds = wall if options.wall else cpu
    print(json.dumps({"count": options.bytes or options.count, "seconds": seconds, "peak_mb": peak_mb(), "wall": wall}))


def _stop_at(sink: Sink, count: int) -> None:
    while sink.seen < count:
        time.sleep(0.02)
    sink.stop()


if __name__ == "__main__":
    main()
