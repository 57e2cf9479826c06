"""Silver as dbt would make it, in one statement a table: enough to look at, and quick.

Lives here: ``build``. Doesn't: the real rules (``dbt``, tested in ``tests/transform``).
"""

from __future__ import annotations

from tests.integration.warehouse.place import Place

KEYS = {"trade": "exchange, market, trade_id", "candle": "exchange, market, interval, event_at"}
ORDER = {"trade": "(source = 'ws') DESC", "candle": "is_closed DESC NULLS LAST, updated_at DESC, volume_base DESC"}


def build(place: Place, *datasets: str) -> None:
    """Make silver's tables of these datasets (default: trade and candle) anew from raw, and mark every load."""
    dbt = place.connect("tidemark_dbt")
    for dataset in datasets or ("trade", "candle"):
        dbt.execute(f"DROP TABLE IF EXISTS silver.{dataset}".encode())
        dbt.execute(
            f"""CREATE TABLE silver.{dataset} AS SELECT DISTINCT ON ({KEYS[dataset]}) * FROM raw.{dataset}_v1
            ORDER BY {KEYS[dataset]}, {ORDER[dataset]}""".encode()
        )
        dbt.execute(
            """INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, %s FROM ops.load_ledger WHERE dataset = %s
            ON CONFLICT DO NOTHING""",
            [f"silver.{dataset}", dataset],
        )
    dbt.close()
