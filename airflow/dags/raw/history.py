"""The DAGs that ask for the past: ``raw__history__repair`` and ``raw__history__backfill``.

Lives here: wiring. Doesn't: what is asked for and what came of it (``tidemark.jobs``: ``repair``, ``backfill``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from tidemark_batch import (
    ALL,
    chosen,
    dag_arguments,
    dataset_param,
    dry_run_param,
    every,
    exchange_param,
    given_window,
    only_if_chosen,
    run_job,
    window_params,
)
from tidemark_registry import EXCHANGES, RAW_ASSETS

SERVED = ("trade", "candle")
CODES = Param(
    [], type="array", items={"type": "string"}, title="Markets",
    description="The exchange's own codes, such as KRW-BTC, one a line. Empty: every market that is taken.",
)  # fmt: skip
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

**By hand:** a window asks for it whatever is known to be missing; *Dry run* says what would be asked.
**When it fails:** what came stays, the gap stays open with the reason in `said`, and the next run asks again.
"""
BACKFILL = """
Load the history of a market: trades or candles of any window, in bounded chunks.

Run by hand only. Chunks (a UTC day of trades, 2,000 bars of candles) are landed, loaded and booked in
`ops.backfill_chunk` one by one, and the log says how far it is; run again, it goes on behind the last one. The
exchange's rate limit is kept. What it doesn't serve is named.

**By hand:** choose exchange, dataset, markets and the window; *Dry run* says how many chunks would be asked for.
**When it fails:** what was loaded stays; run it again for the rest.
"""

with DAG(
    "raw__history__repair",
    schedule=every("*/15 * * * *"),
    **dag_arguments(
        REPAIR,
        tags=("raw", "repair", "rest"),
        timeout=timedelta(hours=2),
        params={
            **window_params(),
            "exchange": exchange_param(EXCHANGES),
            "dataset": dataset_param(SERVED),
            "codes": CODES,
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
            window = given_window(context["params"])
            outcome = run_job(
                job.run,
                exchange=exchange,
                dataset=chosen(context, "dataset"),
                codes=tuple(context["params"]["codes"]),
                window_start=window.start if window else None,
                window_end=window.end if window else None,
                dry_run=context["params"]["dry_run"],
            )
            if not outcome["rows"]:
                raise AirflowSkipException("no rows came: nothing new to build")
            return outcome

        repair()

    for _exchange in EXCHANGES:
        _repair(_exchange)


with DAG(
    "raw__history__backfill",
    schedule=None,
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
            "codes": CODES,
            **window_params(),
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
        window = given_window(context["params"])
        if window is None:
            raise AirflowFailException("a backfill needs a window: give both From and To")
        return run_job(
            job.run,
            exchange=context["params"]["exchange"],
            dataset=context["params"]["dataset"],
            window_start=window.start,
            window_end=window.end,
            codes=tuple(context["params"]["codes"]),
            interval=chosen(context, "interval"),
            dry_run=context["params"]["dry_run"],
        )

    backfill()
