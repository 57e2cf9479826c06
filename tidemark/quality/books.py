"""The ledger of the quality gates: which loads were not checked yet, what checks found, and what may go on to gold.

Lives here: the tables ``ops.quality_run``, ``ops.quality``, ``ops.quality_load`` and ``ops.gate``. Doesn't: checking
(``gate``), and so nothing here imports Great Expectations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from tidemark.warehouse.connection import Connection

#: Datasets whose rows silver is made of.
DATASETS: Final = ("trade", "ticker", "orderbook", "candle", "snapshot")

_NEW: Final = """
SELECT load_id, rows, received_min, received_max FROM ops.load_ledger AS ledger
WHERE exchange = %s AND dataset = %s AND rows > 0 AND retired_at IS NULL AND NOT EXISTS (
    SELECT FROM ops.quality_load AS checked WHERE checked.load_id = ledger.load_id
) ORDER BY load_id
"""
_MARK: Final = """
INSERT INTO ops.quality_load (load_id, run_id) SELECT unnest(%s::bigint[]), %s ON CONFLICT DO NOTHING
"""
_SET_GATE: Final = """
INSERT INTO ops.gate (exchange, dataset, status, reason)
VALUES (%(exchange)s, %(dataset)s, %(status)s, %(reason)s)
ON CONFLICT (exchange, dataset) DO UPDATE SET status = excluded.status, reason = excluded.reason,
    changed_at = CASE WHEN gate.status = excluded.status THEN gate.changed_at ELSE now() END
"""
#: The gates that are closed, one for each dataset of an exchange.
_CLOSED: Final = "SELECT exchange, dataset, reason FROM ops.gate WHERE status = 'red' ORDER BY 1, 2"
#: Broken expectations that a reason names.
_NAMED: Final = 5


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
        return "red" if self._critical else "green"

    @property
    def reason(self) -> str:
        """Why the gate is closed: the first critical expectations that are broken; empty where none is."""
        return "; ".join(f"{f.expectation} {f.about}".strip() for f in self._critical[:_NAMED])

    @property
    def _critical(self) -> list[Finding]:
        return [f for f in self.findings if f.severity == "critical" and not f.success]

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


def record(connection: Connection, verdicts: Sequence[Verdict]) -> None:
    """Write the verdicts down, mark their loads as checked, and set the gate of each dataset: all or nothing."""
    with connection.transaction():
        for verdict in verdicts:
            _record(connection, verdict)
            batch = verdict.batch
            gate = {"exchange": batch.exchange, "dataset": batch.dataset, "status": verdict.status}
            connection.execute(_SET_GATE, {**gate, "reason": verdict.reason})


def closed(connection: Connection) -> dict[str, str]:
    """The gates that are closed, such as ``okx ticker``, each with its reason."""
    return {f"{exchange} {dataset}": reason for exchange, dataset, reason in connection.execute(_CLOSED).fetchall()}


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
