"""Stage: landing objects of trades into PostgreSQL's raw, a logged and partitioned table, with their ledger rows.

Lives here: what is compared with what. Doesn't: the timed programs (``our_load``, ``psql_copy``,
``pandas_to_sql``, ``dlt_load``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from tests.bench.harness import Candidate, Place, Row, run
from tests.bench.warehouse import warehouse
from tidemark.local.postgres import binary


def rows(place: Place) -> Iterator[Row]:
    """Three lines of the table, over one warehouse."""
    with warehouse(place, 80_000 if place.quick else 1_000_000) as made:
        ours = Candidate("loader", ["-m", "tests.bench.our_load", made.url, str(made.lake)])
        run(ours)
        prepared = place.folder / "trades.copy"
        copy = f"\\copy (select * from raw.trade_v1) to '{prepared}' (format binary)"
        subprocess.run([binary("psql"), "-q", made.url, "-c", copy], check=True)
        yield Row(
            "landing objects → PostgreSQL raw (28 columns, logged, partitioned, with ledger)",
            ours,
            goal=0.7,
            yardstick=Candidate(
                "psql COPY of a prepared file",
                ["-m", "tests.bench.psql_copy", made.url, str(prepared), str(made.trades)],
            ),
        )
        yield Row(
            "the same",
            ours,
            goal=25.0,
            yardstick=Candidate("pandas.to_sql", ["-m", "tests.bench.pandas_to_sql", made.url, str(made.lake)]),
            known=10_000,
        )
        yield Row(
            "the same",
            ours,
            goal=2.5,
            yardstick=Candidate(
                "dlt from Parquet", ["tests/bench/dlt_load.py", made.url, str(made.lake)], place.yardsticks
            ),
            known=110_000,
        )
