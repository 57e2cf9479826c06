"""Parts and manifests as the released version wrote them (layout 1), to see that the present one lives with them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable

import pyarrow.parquet as pq

from tidemark.lake import compacted, parquet
from tidemark.lake.compacted import Hour, Manifest, Part, Source
from tidemark.lake.store import ObjectStore


def part_of(hour: Hour, sources: Iterable[Source]) -> Part:
    """The part, named as layout 1 named it."""
    taken = tuple(sources)
    names = json.dumps([[s.path, s.start, s.end, s.rows] for s in taken])
    digest = hashlib.sha256(names.encode()).hexdigest()[:32]
    return Part(f"{hour.prefix}part-{digest}.parquet", sum(s.rows for s in taken), taken)


def plan(store: ObjectStore, hour: Hour, sources: Iterable[Source]) -> Part:
    """Write the hour's first manifest, and none of its parts."""
    part = part_of(hour, sources)
    assert store.put_new(hour.manifest(1), Manifest(1, (part,)).to_json(hour))
    return part


def write_part(store: ObjectStore, hour: Hour, part: Part, row_group_size: int | None = None) -> None:
    """A row group for each source, in their order; nothing in the footer says which layout it is.

    Smaller row groups make the footer as long as that of an hour of many sources.
    """
    sink = io.BytesIO()
    schema = parquet.schema_of(hour.dataset)
    with pq.ParquetWriter(sink, schema, **parquet.writer_options(schema)) as writer:
        for source in part.sources:
            writer.write_table(compacted.rows_of(store, hour, source.path, source.start, source.end), row_group_size)
        said = {"kind": "part", "rows": part.rows, "sources": len(part.sources), "content_sha256": "0" * 64}
        writer.add_key_value_metadata({parquet.FOOTER_KEY.decode(): json.dumps(said)})
    assert store.put_new(part.path, sink.getvalue())
