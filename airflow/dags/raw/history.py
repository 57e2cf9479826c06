"""The DAGs that ask for the past: ``raw__history__repair`` and ``raw__history__backfill``.

Contains: wiring. Does not contain: what is asked for and what came of it (``tidemark.jobs``: ``repair``, ``backfill``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from tidemark_batch import (
    ALL,
    chosen,
    chosen_codes,
    codes_param,
    dag_arguments,
    dataset_param,
    dry_run_param,
    every,
    exchange_param,
    failure,
    given_window,
    only_if_chosen,
    required_window_params,
    run_job,
    window_params,
)
from tidemark_registry import EXCHANGES, RAW_ASSETS

SERVED = ("trade", "candle")
INTERVAL = Param(
    ALL, type="string", enum=[ALL, "1d", "4h", "1h", "15m", "5m", "1m"], title="Interval",
    description="Width of candles; all: those that the stream takes.",
)  # fmt: skip
REPAIR = """
Ask the exchanges for what is missing: every open gap of `ops.gap` that is due, or a window by hand.

Each quarter of an hour. A gap is found by `ops__completeness__check`: time without a connection, frames or offsets that
were lost, ids with a hole, trades that don't add up to the exchange's own candles. Its answer lands as REST objects, is
loaded, and is tied to the gap in `ops.gap_repair`; what was there already becomes a duplicate in silver. Then the
identities are computed again. What an exchange no longer serves is said in `ops.gap.said`, and the identity stays red;
a market that it does not know any more is not asked for again (`ops.gap_code`), and the others are repaired.
Run twice, or two at once, nothing changes.

**By hand:** a window asks for it whatever is known to be missing; markets need their exchange. *Dry run* checks
the form and the markets, and shows what would be asked and how long it takes.
**When it fails:** what came stays, the gap stays open with the reason in `said`, and the next run asks again.
"""
BACKFILL = """
Load the history of a market: trades or candles of any window, in bounded chunks.

Run by hand only; it has no schedule and is not paused. Chunks (a UTC day of trades, 2,000 bars of candles) are landed,
loaded and recorded in `ops.backfill_chunk` one by one, and the log shows the progress; run again, it continues behind
the last one. The exchange's rate limit is kept. What the exchange does not serve is named in its words, and the next
run of the same window asks for it again. A run that loads nothing because nothing is served fails.

**By hand:** choose exchange, dataset, markets and the window (UTC), which must have begun. *Dry run* checks all of it
and estimates chunks, requests and time. Airflow's own *Backfill* is for DAGs with a schedule: use *Trigger*.
**When it fails:** the first line is the reason. What was loaded stays. A form, a market or an interval that the
exchange refuses is not tried again: correct it. Everything else: run it again for the rest.
"""

with DAG(
    "raw__history__repair",
    schedule=every("*/15 * * * *"),
    **dag_arguments(
        REPAIR,
        tags=("raw", "repair", "rest"),
        timeout=timedelta(hours=2),
        params={
            **window_params("every open gap that is due"),
            "exchange": exchange_param(EXCHANGES),
            "dataset": dataset_param(SERVED),
            "codes": codes_param(),
            "dry_run": dry_run_param(),
        },
    ),
):

    def _repair(exchange: str) -> None:
        @task(task_id=f"repair__{exchange}", outlets=[RAW_ASSETS[name] for name in SERVED])
        def repair() -> Any:
            from tidemark.jobs import repair as job

            context = get_current_context()
            only_if_chosen(context, exchange)
            asked, dry_run = given_window(context["params"]), context["params"]["dry_run"]
            outcome = run_job(
                job.run,
                exchange=exchange,
                dataset=chosen(context, "dataset"),
                codes=chosen_codes(context),
                window_start=asked.start if asked else None,
                window_end=asked.end if asked else None,
                dry_run=dry_run,
            )
            if not dry_run and not outcome["rows"]:
                raise AirflowSkipException("no rows came: nothing new to build")
            return outcome

        repair()

    for _exchange in EXCHANGES:
        _repair(_exchange)


with DAG(
    "raw__history__backfill",
    schedule=None,
    is_paused_upon_creation=False,  # a run by hand would be queued for ever
    **dag_arguments(
        BACKFILL,
        tags=("raw", "backfill", "rest"),
        timeout=timedelta(hours=24),
        params={
            "exchange": Param(
                EXCHANGES[0],
                type="string",
                enum=list(EXCHANGES),
                title="Exchange",
                description="Whose history.",
            ),
            "dataset": Param(
                SERVED[0],
                type="string",
                enum=list(SERVED),
                title="Dataset",
                description="Trades or candles.",
            ),
            "codes": codes_param(),
            **required_window_params(),
            "interval": INTERVAL,
            "dry_run": dry_run_param(),
        },
    ),
):

    @task(outlets=[RAW_ASSETS[name] for name in SERVED])
    def backfill() -> Any:
        """Load the window's history, chunk by chunk."""
        from tidemark.jobs import backfill as job

        context = get_current_context()
        asked = given_window(context["params"])
        if asked is None:
            raise failure("a backfill needs a window: fill in From and To, such as 2026-01-01T00:00:00Z")
        return run_job(
            job.run,
            exchange=context["params"]["exchange"],
            dataset=context["params"]["dataset"],
            window_start=asked.start,
            window_end=asked.end,
            codes=chosen_codes(context),
            interval=chosen(context, "interval"),
            dry_run=context["params"]["dry_run"],
        )

    backfill()
