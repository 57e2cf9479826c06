"""Stage: JSON to Arrow.

Lives here: what is compared with what. Doesn't: the timed programs (``read_json``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.harness import Candidate, Place, Row

_KNOWN_POLARS = 332_000


def rows(place: Place) -> Iterator[Row]:
    """One line of the table."""
    program, count = "tests/bench/read_json.py", "20000" if place.quick else "100000"
    yield Row(
        "JSON → Arrow, decimals exact (per CPU second)",
        Candidate("reader", [program, "ours", count]),
        goal=0.9,
        yardstick=Candidate(
            "polars read_ndjson (floats)", [program, "polars", count], place.yardsticks, {"POLARS_MAX_THREADS": "1"}
        ),
        known=_KNOWN_POLARS,
    )
