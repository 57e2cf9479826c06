"""The DAGs that fetch what the streams don't bring, over REST: ``raw__<dataset>__fetch``.

Contains: the factory, and what each of the fetches passes on. Does not contain: requests, paging and rate
limits (``tidemark.jobs.fetch_*``), the load that follows (``tidemark.jobs.load``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Context, Param, get_current_context, task
from tidemark_batch import (
    DAY,
    chosen,
    chosen_codes,
    codes_param,
    dag_arguments,
    dry_run_param,
    due,
    every,
    exchange_param,
    only_if_chosen,
    run_job,
    window,
    window_params,
)
from tidemark_registry import RAW_ASSETS, carriers

CODES = codes_param()
LAST_DAY = window_params("the last UTC day that was over when the run was due")
INTERVAL = Param(
    "all", type="string", enum=["all", "1d", "4h", "1h", "15m", "5m", "1m"], title="Interval",
    description="Width of the candles; all: daily and hourly ones.",
)  # fmt: skip
HINT = """
What is fetched lands in the lake under a name made of the question and the answer, and is loaded from there: the same
answer to the same question adds nothing. The exchange's rate limit is kept, and its 429 waited for; while it has banned
this address, nothing is sent. A market that it does not have (any more) is left out and named, the others land.

**By hand:** choose in the form; markets need their exchange. *Dry run* checks the form and the markets, and shows how
many questions would be asked. **When it fails:** what has landed stays, and the log names what is missing; run it
again. What the exchange refuses is not tried again.
"""


@dataclass(frozen=True)
class Fetch:
    """One DAG: dataset, cron, what it is for, its job, and the Params of its form besides exchange and dry run."""

    dataset: str
    cron: str
    about: str
    job: Callable[[Context, Mapping[str, Any]], object]
    params: Mapping[str, Param] = field(default_factory=dict)
    timeout: timedelta = timedelta(minutes=30)


def fetch_dag(spec: Fetch) -> DAG:
    """The DAG of one dataset: for each exchange that has it fetch, then load what has landed."""
    form = {**spec.params, "exchange": exchange_param(carriers(spec.dataset)), "dry_run": dry_run_param()}
    with DAG(
        f"raw__{spec.dataset}__fetch",
        schedule=every(spec.cron),
        **dag_arguments(
            spec.about + HINT, tags=("raw", "fetch", "rest", spec.dataset), timeout=spec.timeout, params=form
        ),
    ) as dag:
        for exchange in carriers(spec.dataset):
            _fetch_and_load(spec, exchange)
    return dag


def _fetch_and_load(spec: Fetch, exchange: str) -> None:
    @task(task_id=f"fetch__{exchange}")
    def fetch() -> object:
        context = get_current_context()
        only_if_chosen(context, exchange)
        return spec.job(context, {"exchange": exchange, "dry_run": context["params"]["dry_run"]})

    @task(task_id=f"load__{exchange}", outlets=[RAW_ASSETS[spec.dataset]])
    def load() -> object:
        from tidemark.jobs import load as job

        dry_run = get_current_context()["params"]["dry_run"]
        return run_job(job.run, dataset=spec.dataset, exchange=exchange, dry_run=dry_run)

    fetch() >> load()


def _candles(context: Context, common: Mapping[str, Any]) -> object:
    from tidemark.jobs import fetch_candles as job

    days = window(context, DAY)
    return run_job(
        job.run,
        interval=chosen(context, "interval"),
        window_start=days.start,
        window_end=days.end,
        codes=chosen_codes(context),
        **common,
    )


def _trades(context: Context, common: Mapping[str, Any]) -> object:
    from tidemark.jobs import fetch_trades as job

    days = window(context, DAY)
    return run_job(
        job.run,
        window_start=days.start,
        window_end=days.end,
        codes=chosen_codes(context),
        **common,
    )


def _tickers(context: Context, common: Mapping[str, Any]) -> object:
    from tidemark.jobs import fetch_tickers as job

    return run_job(job.run, codes=chosen_codes(context), **common)


def _snapshots(context: Context, common: Mapping[str, Any]) -> object:
    from tidemark.jobs import fetch_snapshots as job

    return run_job(job.run, at=due(context["dag_run"]), codes=chosen_codes(context), **common)


def _markets(context: Context, common: Mapping[str, Any]) -> object:
    from tidemark.jobs import fetch_markets as job

    return run_job(job.run, **common)


FETCHES = (
    Fetch(
        "candle",
        "40 0 * * *",
        "Fetch the daily and hourly candles of the day before (UTC), or of any window by hand.\n",
        _candles,
        {**LAST_DAY, "interval": INTERVAL, "codes": CODES},
        timeout=timedelta(hours=3),
    ),
    Fetch(
        "trade",
        "50 0 * * *",
        "Fetch all trades of the day before (UTC), so that what the socket missed is filled in.\n",
        _trades,
        {**LAST_DAY, "codes": CODES},
        timeout=timedelta(hours=6),
    ),
    Fetch(
        "ticker",
        "25 * * * *",
        "Fetch the state of every market as rows of the ticker, hourly: what a socket that was cut off missed.\n",
        _tickers,
        {"codes": CODES},
    ),
    Fetch(
        "snapshot",
        "*/10 * * * *",
        "Fetch all that each exchange says of each market's state, as documents, every ten minutes.\n",
        _snapshots,
        {"codes": CODES},
    ),
    Fetch(
        "market",
        "2 * * * *",
        "Fetch what each exchange lists, hourly: markets, their names and warnings, and what a contract is.\n",
        _markets,
    ),
)

for _spec in FETCHES:
    if carriers(_spec.dataset):
        fetch_dag(_spec)
