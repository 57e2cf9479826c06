"""Check batches of rows inside the database, with Great Expectations.

Lives here: running the suites. Doesn't: what is expected (``suites``), which rows and what follows (``books``), pages
(``pages``), when (``jobs.quality``). Importing it takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import great_expectations as gx
from great_expectations.checkpoint import Checkpoint
from great_expectations.core import ExpectationSuite
from great_expectations.core.validation_definition import ValidationDefinition
from great_expectations.data_context import AbstractDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.quality import pages, suites
from tidemark.quality.books import Batch, Finding, Verdict
from tidemark.quality.suites import Usual
from tidemark.warehouse.connection import Connection

_STALE: Final = timedelta(hours=2)
_BASELINE: Final = timedelta(hours=25)
_LEAST_HOURS: Final = 3

_USUAL: Final = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY rows) FROM (
    SELECT hour_at, sum(rows)::double precision AS rows FROM ops.load_ledger
    WHERE exchange = %s AND dataset = %s AND kind = 'data' AND hour_at >= %s AND hour_at < %s GROUP BY hour_at
) AS hours
"""


def check(
    connection: Connection, url: str, batches: Sequence[Batch], now: datetime, pages_dir: str = ""
) -> list[Verdict]:
    """Hold every batch against its suite, inside the database at ``url`` (a PostgreSQL URL).

    With ``pages_dir`` the results become pages there, in place of those of the check before.
    """
    if not batches:
        return []
    context = _context()
    source = context.data_sources.add_postgres("raw", connection_string=_sqlalchemy(url), create_temp_table=False)
    definitions = []
    for batch in batches:
        asset = source.add_query_asset(batch.name, query=_query(batch))
        suite = ExpectationSuite(batch.name)
        for one in suites.expectations(
            CONTRACTS[batch.dataset], batch.rows, _usual(connection, batch, now), now, _STALE
        ):
            suite.add_expectation(one)
        definition = ValidationDefinition(
            name=batch.name, data=asset.add_batch_definition_whole_table("new"), suite=context.suites.add(suite)
        )
        definitions.append(context.validation_definitions.add(definition))
    actions = pages.actions(context, pages_dir) if pages_dir else []
    checkpoint = context.checkpoints.add(
        Checkpoint(name="gate", validation_definitions=definitions, actions=actions, result_format="BASIC")
    )
    outcome = checkpoint.run()
    results = {one.suite_name: one for one in outcome.run_results.values()}
    verdicts = [Verdict(b, tuple(_finding(r) for r in results[b.name].results)) for b in batches]
    if pages_dir:
        pages.without_network(pages_dir)
        pages.write_index(pages_dir, [v.line() for v in verdicts], now)
    return verdicts


def _usual(connection: Connection, batch: Batch, now: datetime) -> Usual:
    """By the median hour of the day before, for as many hours as the batch was received in."""
    span = connection.execute(_USUAL, [batch.exchange, batch.dataset, now - _BASELINE, now - timedelta(hours=1)])
    hours, median = span.fetchone() or (0, None)
    if hours < _LEAST_HOURS or not median or batch.start is None or batch.end is None:
        return Usual(None)
    return Usual(median * max((batch.end - batch.start) / timedelta(hours=1), 1 / 6))


def _query(batch: Batch) -> str:
    """The rows of a batch, and which rules each breaks. Names are our own, ids are whole numbers of our own."""
    ids = ", ".join(str(int(load_id)) for load_id in batch.loads)
    breaches = "".join(
        f", coalesce({broken}, false) AS {reason}"
        for reason, broken in suites.derived(CONTRACTS[batch.dataset]).items()
    )
    table = naming.raw_table(batch.dataset)
    return f"SELECT *{breaches} FROM {table} WHERE load_id = ANY(ARRAY[{ids}]::bigint[])"  # noqa: S608


def _finding(result: Any) -> Finding:
    config = result.expectation_config
    kwargs = {k: v for k, v in config.kwargs.items() if k not in ("batch_id", "column")}
    return Finding(
        config.type,
        str(config.kwargs.get("column", "")),
        str(getattr(config.severity, "value", config.severity)),
        bool(result.success),
        _json(kwargs),
        _json(result.result if not result.exception_info.get("raised_exception") else result.exception_info),
    )


def _json(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return found


def _context() -> AbstractDataContext:
    """Nothing is kept between checks, nothing is sent anywhere, nothing is drawn."""
    config = DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(),
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)
