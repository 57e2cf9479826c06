"""Runs timed programs in turns and says how they compare.

Lives here: ``Candidate``, ``Row`` (a line of the table), ``measure`` and ``table``. Doesn't: any stage.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
#: A yardstick slower than this share of the figure known for it is broken: the ratio flatters.
BROKEN_BELOW = 0.7
_TIMEOUT_S = 900


@dataclass(frozen=True)
class Candidate:
    """A program to time: Python's arguments, and which Python (the yardsticks have an environment of their own)."""

    name: str
    arguments: Sequence[str]
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the table: ``ours`` against ``yardstick``, or against ``reference`` (a fixed rate) without one.

    Rates are counts per second of what the programs report as seconds; ``scale`` and ``unit`` are for showing them.
    ``known`` is the yardstick's rate in docs/architecture/performance.md.
    """

    stage: str
    ours: Candidate
    goal: float
    unit: str = "k/s"
    scale: float = 1e-3
    yardstick: Candidate | None = None
    reference: float | None = None
    reference_name: str = "live rate"
    known: float | None = None


@dataclass(frozen=True)
class Place:
    """Where stages find what they need."""

    folder: Path
    yardsticks: str
    quick: bool
    #: Where the brokers' jars are kept.
    cache: Path
    #: How many books a consumer catches up on.
    books: int
    #: Part of a feed's name: only these feeds are read.
    match: str = ""


@dataclass(frozen=True)
class Result:
    """The medians of a line, in counts per second, and what our program noted last."""

    row: Row
    ours: float
    yardstick: float
    notes: Mapping[str, object]

    @property
    def ratio(self) -> float:
        return self.ours / self.yardstick

    @property
    def broken(self) -> bool:
        return self.row.known is not None and self.yardstick < BROKEN_BELOW * self.row.known


def measure(row: Row, runs: int) -> Result:
    """Time the candidates of a line in turns, ``runs`` times each."""
    ours: list[float] = []
    theirs: list[float] = []
    notes: Mapping[str, object] = {}
    for _ in range(runs):
        if row.yardstick is not None:
            theirs.append(_rate(run(row.yardstick)))
        notes = run(row.ours)
        ours.append(_rate(notes))
        print(f"  {row.stage}: {ours[-1] * row.scale:,.1f} {row.unit}", *_against(row, theirs), file=sys.stderr)
    yardstick = statistics.median(theirs) if theirs else float(row.reference or 1)
    return Result(row, statistics.median(ours), yardstick, notes)


def run(candidate: Candidate, *, silent: bool = False) -> Mapping[str, object]:
    """What a program reports; nothing of one that is ``silent``.

    Raises:
        SystemExit: it failed; the message holds the end of its standard error.
    """
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), **candidate.environment}
    done = subprocess.run(
        [candidate.python, *candidate.arguments],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not (lines or silent):
        raise SystemExit(f"{candidate.name} failed ({done.returncode}):\n{done.stderr[-3000:]}")
    if silent:
        return {}
    report = json.loads(lines[-1])
    assert isinstance(report, dict)
    return report


def table(results: Sequence[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| stage | ours | yardstick | ratio | goal | |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        row = result.row
        name = row.yardstick.name if row.yardstick else row.reference_name
        verdict = "reached" if result.ratio >= row.goal else "**not reached**"
        if result.broken:
            verdict += (
                f"; yardstick under {BROKEN_BELOW}× of its known {float(row.known or 0) * row.scale:,.0f} {row.unit}"
            )
        extra = f", {result.notes['peak_mb']:.0f} MB" if "peak_mb" in result.notes else ""
        extra += f", {result.notes['note']}" if "note" in result.notes else ""
        ours = f"{result.ours * row.scale:,.{0 if row.scale < 1 else 1}f} {row.unit}{extra}"
        theirs = f"{name}: {result.yardstick * row.scale:,.1f} {row.unit}"
        lines.append(f"| {row.stage} | {ours} | {theirs} | {result.ratio:.2f}× | ≥ {row.goal}× | {verdict} |")
    return "\n".join(lines)


def _rate(report: Mapping[str, object]) -> float:
    return float(str(report["count"])) / float(str(report["seconds"]))


def _against(row: Row, theirs: Sequence[float]) -> Sequence[str]:
    return [f"against {theirs[-1] * row.scale:,.1f}"] if theirs else []
