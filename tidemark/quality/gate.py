"""Check what was loaded since the last check, write the results down, and open or close the gate of each exchange.

Lives here: which rows are checked, running a suite in the database, the tables ``ops.quality_run``, ``ops.quality`` and
``ops.gate``. Doesn't: what is expected (``suites``), pages (``pages``), when (``jobs.quality``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
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
from psycopg.types.json import Jsonb

from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.quality import pages, suites
from tidemark.quality.suites import Usual
from tidemark.warehouse.connection import Connection

#: Datasets whose rows silver is made of.
DATASETS: Final = ("trade", "ticker", "orderbook", "candle", "snapshot")
_STALE: Final = timedelta(hours=2)
_BASELINE: Final = timedelta(hours=25)
_LEAST_HOURS: Final = 3

_NEW: Final = """
SELECT load_id, rows, received_min, received_max FROM ops.load_ledger AS ledger
WHERE exchange = %s AND dataset = %s AND rows > 0 AND retired_at IS NULL AND NOT EXISTS (
    SELECT FROM ops.quality_load AS checked WHERE checked.load_id = ledger.load_id
) ORDER BY load_id
"""
_USUAL: Final = """
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY rows) FROM (
    SELECT hour_at, sum(rows)::double precision AS rows FROM ops.load_ledger
    WHERE exchange = %s AND dataset = %s AND kind = 'data' AND hour_at >= %s AND hour_at < %s GROUP BY hour_at
) AS hours
"""
_MARK: Final = """
INSERT INTO ops.quality_load (load_id, run_id) SELECT unnest(%s::bigint[]), %s ON CONFLICT DO NOTHING
"""
_SET_GATE: Final = """
INSERT INTO ops.gate (exchange, status, reason) VALUES (%(exchange)s, %(status)s, %(reason)s)
ON CONFLICT (exchange) DO UPDATE SET status = excluded.status, reason = excluded.reason,
    changed_at = CASE WHEN gate.status = excluded.status THEN gate.changed_at ELSE now() END
"""
_RED: Final = """
SELECT run.dataset, quality.expectation, quality.about FROM (
    SELECT DISTINCT ON (dataset) * FROM ops.quality_run WHERE exchange = %s ORDER BY dataset, run_id DESC
) AS run JOIN ops.quality AS quality USING (run_id)
WHERE run.status = 'red' AND NOT quality.success AND quality.severity = 'critical' ORDER BY 1, quality.place
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The loads of one dataset of one exchange that were not checked yet."""

    exchange: str
    dataset: str
    loads: tuple[int, ...]
    rows: int
    start: datetime | None
    end: datetime | None

    @property
    def name(self) -> str:
        """Such as ``upbit_trade``."""
        return f"{self.exchange}_{self.dataset}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation and what came of it; ``expected`` and ``observed`` are JSON."""

    expectation: str
    about: str
    severity: str
    success: bool
    expected: dict[str, Any]
    observed: dict[str, Any]

    def __str__(self) -> str:
        """For a person."""
        percent = self.observed.get("unexpected_percent")
        share = f" ({percent:.2f} % of rows don't)" if isinstance(percent, int | float) and not self.success else ""
        return f"{self.expectation.removeprefix('expect_').replace('_', ' ')}: {self.about or 'table'}{share}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found of one batch."""

    batch: Batch
    findings: tuple[Finding, ...]

    @property
    def status(self) -> str:
        """``red`` where a critical expectation is broken."""
        return "red" if any(f.severity == "critical" and not f.success for f in self.findings) else "green"

    def line(self) -> tuple[str, str, str, int, str]:
        """For the index of pages: name, exchange, dataset, rows, what is broken."""
        broken = "; ".join(f"{f.severity}: {f}" for f in self.findings if not f.success)
        return self.batch.name, self.batch.exchange, self.batch.dataset, self.batch.rows, broken


def new_batches(connection: Connection, exchange: str, datasets: Sequence[str]) -> list[Batch]:
    """What was loaded of an exchange and not checked yet; nothing for a dataset of which nothing was."""
    found = []
    for dataset in datasets:
        rows = connection.execute(_NEW, [exchange, dataset]).fetchall()
        if rows:
            starts, ends = ([r[n] for r in rows if r[n]] for n in (2, 3))
            loads, count = tuple(r[0] for r in rows), sum(r[1] for r in rows)
            found.append(Batch(exchange, dataset, loads, count, min(starts, default=None), max(ends, default=None)))
    return found


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
        for one in suites.expectations(CONTRACTS[batch.dataset], _usual(connection, batch, now), now, _STALE):
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


def record(connection: Connection, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts down, mark their loads as checked, and set the gate of each exchange: all or nothing."""
    with connection.transaction():
        for verdict in verdicts:
            _record(connection, verdict)
        for exchange in sorted({verdict.batch.exchange for verdict in verdicts}):
            broken = connection.execute(_RED, [exchange]).fetchall()
            reason = "; ".join(f"{dataset}: {what} {about}".strip() for dataset, what, about in broken[:5])
            status = "red" if broken else "green"
            connection.execute(_SET_GATE, {"exchange": exchange, "status": status, "reason": reason})


def closed(connection: Connection) -> dict[str, str]:
    """Exchanges whose gate is closed, each with its reason."""
    return dict(connection.execute("SELECT exchange, reason FROM ops.gate WHERE status = 'red' ORDER BY 1").fetchall())


def _record(connection: Connection, verdict: Verdict) -> None:
    batch = verdict.batch
    (run_id,) = connection.execute(
        """INSERT INTO ops.quality_run (exchange, dataset, status, loads, rows, from_at, to_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING run_id""",
        [batch.exchange, batch.dataset, verdict.status, len(batch.loads), batch.rows, batch.start, batch.end],
    ).fetchone() or (0,)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ops.quality VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (run_id, place, f.expectation, f.about, f.severity, f.success, Jsonb(f.expected), Jsonb(f.observed))
                for place, f in enumerate(verdict.findings, 1)
            ],
        )
    connection.execute(_MARK, [list(batch.loads), run_id])


def _usual(connection: Connection, batch: Batch, now: datetime) -> Usual:
    """By the median hour of the day before, for as many hours as the batch was received in."""
    span = connection.execute(_USUAL, [batch.exchange, batch.dataset, now - _BASELINE, now - timedelta(hours=1)])
    hours, median = span.fetchone() or (0, None)
    if hours < _LEAST_HOURS or not median or batch.start is None or batch.end is None:
        return Usual(None)
    return Usual(median * max((batch.end - batch.start) / timedelta(hours=1), 1 / 6))


def _query(batch: Batch) -> str:
    """The rows of a batch. Names come from ``naming``, ids are whole numbers of our own."""
    ids = ", ".join(str(int(load_id)) for load_id in batch.loads)
    return f"SELECT * FROM {naming.raw_table(batch.dataset)} WHERE load_id = ANY(ARRAY[{ids}]::bigint[])"  # noqa: S608


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
