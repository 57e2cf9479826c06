"""Reading by the column held against the exchange's own parser, frame by frame.

Lives here: the comparison, and captured frames. Doesn't: tests.
"""

from __future__ import annotations

import ast
import gzip
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed
from tidemark.exchanges.columnar.reader import Part, Reader
from tidemark.lake import parquet


def check(exchange: str, dataset: str, frames: Sequence[bytes], reader: Reader | None = None) -> list[int]:
    """Every row that is read by the column is exactly the parser's; the numbers of the frames left to the parser."""
    reader = reader or Reader(registry.shapes(exchange, dataset))
    parts, left = reader.read(frames)
    read = [n for part in parts for n in dict.fromkeys(part.frames.tolist())]
    assert sorted([*read, *left]) == list(range(len(frames)))
    for part in parts:
        mine = list(dict.fromkeys(part.frames.tolist()))
        assert mine == sorted(mine)
        expected = [(n, item, row) for n in mine for item, row in enumerate(rows(exchange, dataset, frames[n]))]
        assert list(zip(part.frames.tolist(), part.items.tolist(), strict=True)) == [(n, i) for n, i, _ in expected]
        wanted = parquet.to_batch(CONTRACTS[dataset], [row for _, _, row in expected])
        assert table(dataset, part).to_pylist() == wanted.to_pylist()
    return left


def rows(exchange: str, dataset: str, frame: bytes) -> list[dict[str, Any]]:
    """What the exchange's parser makes of a frame that must be sound."""
    outcome = registry.read(exchange, dataset, None, frame)
    assert isinstance(outcome, Parsed), frame
    return outcome.rows


def table(dataset: str, part: Part) -> pa.RecordBatch:
    """A part in the lake's schema; it must be valid to the last bit."""
    schema = parquet.schema_of(dataset)
    assert part.columns.keys() <= {f.name for f in CONTRACTS[dataset].fields}
    columns = [part.columns.get(f.name, pa.nulls(len(part.frames), f.type)).cast(f.type) for f in schema]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    batch.validate(full=True)
    return batch


def captured(exchange: str, folder: Path) -> dict[str, list[bytes]]:
    """The recorded frames of an exchange by dataset."""
    frames: dict[str, list[bytes]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        for frame in _frames(path) if path.is_file() else ():
            dataset, _ = registry.get(exchange).classify(frame)
            frames[dataset].append(frame)
    return frames


def _frames(path: Path) -> list[bytes]:
    if ".ws." in path.name:
        found = [line.split(b": ", 1)[1] for line in path.read_bytes().splitlines() if line[:1].isdigit()]
        return [ast.literal_eval(f.decode()) if f.startswith(b"b'") else f for f in found]
    if path.suffix == ".jsonl":
        import json

        return [json.loads(line)["raw"].encode() for line in path.read_bytes().splitlines() if b'"raw"' in line]
    if path.suffix == ".gz":
        return [line.split(b" ", 1)[1] for line in gzip.decompress(path.read_bytes()).splitlines()]
    return []
