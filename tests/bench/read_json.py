"""Timed: JSON to Arrow, by our reader or by polars: ``python read_json.py ours|polars COUNT``.

polars runs in the yardsticks' own environment, on one thread, and makes floats of numbers; ours makes exact decimals.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import frames

_BATCH = 2_000
#: One pass is for warming up.
_PASSES = 6
_FLOATS = (
    "trade_price trade_volume prev_closing_price change_price best_ask_price best_ask_size best_bid_price best_bid_size"
)
_INTEGERS = "timestamp trade_timestamp sequential_id"
_TEXTS = "type code trade_date trade_time ask_bid change stream_type"


def main() -> None:
    which, count = sys.argv[1], int(sys.argv[2])
    messages = [frame for _, frame in frames.trades(count)]
    batches = [messages[at : at + _BATCH] for at in range(0, count, _BATCH)]
    read = {"ours": _ours, "polars": _polars}[which]()
    times = []
    for _ in range(_PASSES):
        start = time.process_time()
        assert sum(read(batch) for batch in batches) == count
        times.append(time.process_time() - start)
    print(json.dumps({"count": count, "seconds": sorted(times[1:])[len(times) // 2]}))


def _ours() -> Callable[[list[bytes]], int]:
    from tidemark.exchanges import registry
    from tidemark.exchanges.columnar.reader import Reader

    reader = Reader(registry.shapes("upbit", "trade"))

    def read(batch: list[bytes]) -> int:
        parts, left = reader.read(batch)
        assert not left
        return sum(len(part.frames) for part in parts)

    return read


def _polars() -> Callable[[list[bytes]], int]:
    import polars as pl

    kinds: dict[str, Any] = dict.fromkeys(_FLOATS.split(), pl.Float64)
    kinds |= dict.fromkeys(_INTEGERS.split(), pl.Int64) | dict.fromkeys(_TEXTS.split(), pl.String)
    return lambda batch: pl.read_ndjson(b"\n".join(batch), schema=kinds).to_arrow().num_rows


if __name__ == "__main__":
    main()
