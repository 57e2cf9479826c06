"""What there is to orchestrate: the assets, the words for tags, the pools, and the stream loads as a list.

Lives here: declarations that more than one DAG file or test needs. Doesn't: behaviour (``tidemark_batch``),
dbt (``tidemark_transform``), the names of topics and tables (``tidemark.naming``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from airflow.sdk import Asset

from tidemark import settings
from tidemark.exchanges import registry
from tidemark.naming import DATASETS, REST_DATASETS, STREAM_DATASETS

#: Every exchange that is carried: each raw DAG has a task for each that has its dataset.
EXCHANGES: Final = tuple(sorted(settings.load().platform.exchanges))


def carriers(dataset: str) -> tuple[str, ...]:
    """The exchanges that have a dataset; what only REST serves each of them does."""
    return tuple(name for name in EXCHANGES if dataset in (*registry.get(name).datasets, *REST_DATASETS))


#: Every tag that a DAG may carry: its layer, what it does, where its rows come from, its dataset.
TAGS: Final = frozenset(
    {
        "raw",
        "silver",
        "gold",
        "ops",
        "load",
        "fetch",
        "build",
        "compact",
        "check",
        "report",
        "repair",
        "backfill",
        "reprocess",
        "retention",
        "stream",
        "rest",
        "dbt",
    }
    | set(DATASETS)
)

#: Airflow pools, name to slots. The stack creates them before the first run. dbt runs one command at a
#: time: two that rebuild the same relation would wait for each other's locks, and each wants a core.
POOLS: Final = {"dbt": 1}
DBT_POOL: Final = "dbt"

#: What the DAGs hand to each other, for lineage in the UI and for triggers.
RAW_ASSETS: Final = {d: Asset(f"raw.{d}", uri=f"tidemark://warehouse/raw/{d}", group="raw") for d in DATASETS}
#: Those that wake silver: connections (``system``) and changes of books stay in raw, what REST brings is taken along.
SILVER_INPUTS: Final = tuple(RAW_ASSETS[d] for d in STREAM_DATASETS if d not in ("system", "depth") and carriers(d))
LAKE_ASSET: Final = Asset("lake.raw", uri="tidemark://lake/raw", group="lake")
SILVER_ASSET: Final = Asset("silver", uri="tidemark://warehouse/silver", group="silver")
GOLD_ASSET: Final = Asset("gold", uri="tidemark://warehouse/gold", group="gold")
COMPLETENESS_ASSET: Final = Asset("ops.completeness", uri="tidemark://warehouse/ops/completeness", group="ops")
REPORT_ASSET: Final = Asset("gold.daily_report", uri="tidemark://report/daily", group="gold")


@dataclass(frozen=True)
class StreamLoad:
    """One DAG that loads what a stream has landed: its dataset, its cron, how long one load may take."""

    dataset: str
    cron: str = "*/10 * * * *"
    timeout: timedelta = timedelta(minutes=30)

    @property
    def dag_id(self) -> str:
        """``raw__trade__load``."""
        return f"raw__{self.dataset}__load"


#: Order books are about nine tenths of all bytes, so their load may take longest.
STREAM_LOADS: Final = tuple(
    StreamLoad(d, timeout=timedelta(minutes=60 if d in ("orderbook", "depth") else 30))
    for d in STREAM_DATASETS
    if carriers(d)
)
