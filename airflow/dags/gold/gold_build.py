"""The DAG ``gold__build``: silver becomes the marts.

Lives here: wiring. Doesn't: the models (``dbt/models/gold``), how dbt is run (``tidemark_transform``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, get_current_context, task
from tidemark_batch import announce_nothing, dag_arguments, dry_run_param, every
from tidemark_registry import GOLD_ASSET, SILVER_ASSET
from tidemark_transform import build

DOC = """
Build gold: OHLCV bars of six widths, and every mart that is made of them.

Runs when silver has changed, and hourly in any case. Each model takes the builds that its upstream has marked
and it hasn't (`ops.build_mark`), deletes the event-time buckets that they touched, and writes these anew in
the same transaction: late trades, corrected trades and vanished trades all end right, and a second run finds
nothing to do. One dbt command builds and tests all models in dbt's own order; its log says what each took.

**By hand:** *Dry run* compiles the models against the warehouse and runs none. **When a model fails:** what
stands in its mart is what stood there before; the marts above it wait; the next run takes the same builds
again.
"""

with DAG(
    "gold__build",
    schedule=AssetOrTimeSchedule(timetable=every("15 * * * *"), assets=[SILVER_ASSET]),
    **dag_arguments(
        DOC,
        tags=("gold", "build", "dbt"),
        timeout=timedelta(minutes=30),
        late_after=timedelta(minutes=20),
        params={"dry_run": dry_run_param()},
    ),
):

    @task(outlets=[GOLD_ASSET])
    def announce() -> None:
        """Say that gold is new, once for all models."""
        if get_current_context()["params"]["dry_run"]:
            announce_nothing("dry run: gold is as it was")

    build("gold__build", "path:models/gold") >> announce()
