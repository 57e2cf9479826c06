"""How the platform stands: rows at every layer, the identities, the report; and what is wrong, if anything.

Lives here: asking the warehouse, the lake and the simulator, judging, and showing it on a terminal. Doesn't:
making any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidemark.local import workers
from tidemark.local.day import Day
from tidemark.local.layout import Layout

LAYERS = ("raw", "silver", "gold")
IDENTITIES = {
    0: "socket: no frame missing",
    1: "chain: objects tile every partition",
    2: "counts: offsets, Parquet, ledger, rows",
    3: "accounting: raw = silver + set aside",
    4: "arithmetic: bars = trades",
    5: "witness: the exchange's own candles",
}
MUST = range(5)
_BARS = """
select market, bucket_at, open, high, low, close, volume_base, trade_count from gold.ohlcv_1h
where bucket_at >= %s and bucket_at < %s
"""
_REPORT = """
select text, origin from ops.report where report_date = %s order by (language <> 'en'), language limit 1
"""


@dataclass
class Summary:
    """What was found. ``problems`` is empty when all that must hold does."""

    objects: int = 0
    bytes: int = 0
    dead: int = 0
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    identities: dict[int, dict[str, int]] = field(default_factory=dict)
    red: list[str] = field(default_factory=list)
    witness: str = ""
    report: str = ""
    posted: str = ""
    problems: list[str] = field(default_factory=list)


def collect(layout: Layout, day: Day) -> Summary:
    """Look at everything once."""
    summary = Summary()
    summary.objects, summary.bytes = _landing(layout.lake)
    with psycopg.connect(layout.postgres.url(), autocommit=True) as connection:
        summary.rows = {layer: _rows(connection, layer) for layer in LAYERS}
        summary.dead = _dead(connection)
        summary.identities = _identities(connection)
        summary.red = _red(connection)
        summary.report, summary.posted = _report(connection, day)
        if layout.settings.local.source == "simulator":
            summary.witness, differing = _witness(connection, layout, day)
            summary.problems += differing
    summary.problems += _judged(summary, day)
    return summary


def show(summary: Summary, console: Console, day: Day) -> None:
    """Print it."""
    console.print()
    console.print(_rows_table(summary))
    console.print(_identities_table(summary))
    if summary.witness:
        console.print(f"  {summary.witness}", highlight=False)
    if summary.report:
        title = f"Daily report {day.date} ({summary.posted})"
        console.print(Panel(Text(summary.report), title=title, title_align="left", border_style="cyan"))


def _landing(lake: Path) -> tuple[int, int]:
    files = list((lake / "landing").rglob("*.parquet"))
    return len(files), sum(file.stat().st_size for file in files)


def _rows(connection: psycopg.Connection[Any], layer: str) -> dict[str, int]:
    names = connection.execute(
        """select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %s and c.relkind in ('r', 'p') and not c.relispartition order by 1""",
        [layer],
    ).fetchall()
    return {name: _count(connection, layer, name) for (name,) in names}


def _count(connection: psycopg.Connection[Any], schema: str, name: str) -> int:
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))).fetchone()
    return int(row[0]) if row else 0


def _dead(connection: psycopg.Connection[Any]) -> int:
    """Records that could not be parsed; each lies in a dead-letter topic with its reason."""
    row = connection.execute("select coalesce(sum(dead), 0) from ops.load_ledger").fetchone()
    return int(row[0]) if row else 0


def _identities(connection: psycopg.Connection[Any]) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for identity, status, count in connection.execute(
        "select identity, status, count(*) from ops.completeness group by 1, 2"
    ):
        found.setdefault(identity, {})[status] = count
    return found


def _red(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        """select identity, exchange, dataset, hour_at, expected, actual from ops.completeness
        where status = 'red' and identity <= 4 order by hour_at desc, identity limit 5"""
    )
    return [f"identity {i}, {x} {d}, hour {h:%Y-%m-%d %H}Z: expected {e}, found {a}" for i, x, d, h, e, a in rows]


def _report(connection: psycopg.Connection[Any], day: Day) -> tuple[str, str]:
    row = connection.execute(
        _REPORT,
        [day.date],
    ).fetchone()
    if row is None:
        return "", ""
    sent = connection.execute(
        "select count(*) filter (where state = 'sent'), count(*) from ops.slack_outbox where key like %s",
        [f"%{day.date.isoformat()}%"],
    ).fetchone() or (0, 0)
    where = "posted to Slack" if sent[0] else "waiting for Slack" if sent[1] else "no Slack token: shown here only"
    return str(row[0]), f"{row[1]} text, {where}"


def _witness(connection: psycopg.Connection[Any], layout: Layout, day: Day) -> tuple[str, list[str]]:
    """Compare the day's hourly bars with the simulator's own candles, to the last digit."""
    log = workers.simulator_trades(layout)
    if not log or workers.simulator_begin(layout) > day.begin:
        return "The simulator was started anew since that day: its candles were not compared.", []
    names = dict(connection.execute("select distinct code, market from silver.trade").fetchall())
    ours = {(row[0], row[1]): _bar(*row[2:]) for row in connection.execute(_BARS, [day.begin, day.end])}
    theirs: dict[tuple[str, Any], tuple[Decimal, ...]] = {}
    for code in log:
        for candle in workers.simulator_candles(layout, code, day.begin, day.end):
            theirs[names.get(code, code), candle.begin] = candle.values
    differ = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    if not differ:
        trades = sum(int(values[-1]) for values in theirs.values())
        same = f"all {len(theirs)} hourly bars equal its own candles"
        return f"The simulator sent {trades:,} trades that day; {same}.", []
    market, hour = min(differ, key=str)
    first = f"the first: {market} {hour:%Y-%m-%d %H}Z"
    return "", [f"{len(differ)} of {len(theirs)} hourly bars differ from the simulator's candles, {first}"]


def _bar(*values: Any) -> tuple[Decimal, ...]:
    return tuple(Decimal(value).normalize() for value in values)


def _judged(summary: Summary, day: Day) -> list[str]:
    problems = [f"{layer} has no rows" for layer in LAYERS if not any(summary.rows[layer].values())]
    if not summary.objects:
        problems.append("nothing has landed in the lake")
    for identity in MUST:
        states = summary.identities.get(identity, {})
        if not states:
            problems.append(f"identity {identity} ({IDENTITIES[identity]}) was not computed")
        if states.get("red"):
            problems.append(f"identity {identity} ({IDENTITIES[identity]}) is red {states['red']} times")
    return problems + ([] if summary.report else [f"there is no report for {day.date}"]) + summary.red


def _rows_table(summary: Summary) -> Table:
    table = Table(title="Rows at every layer", title_justify="left", box=None, pad_edge=True, padding=(0, 2))
    for name in ("layer", "what"):
        table.add_column(name)
    table.add_column("rows", justify="right")
    table.add_row("lake", f"landing objects ({summary.bytes / 1024**2:,.1f} MiB)", f"{summary.objects:,}")
    table.add_row("lake", "dead letters", f"{summary.dead:,}", style="yellow" if summary.dead else "dim")
    for layer in LAYERS:
        for name, count in summary.rows[layer].items():
            table.add_row(layer, name, f"{count:,}", style="dim" if not count else "")
    return table


def _identities_table(summary: Summary) -> Table:
    table = Table(title="Identities", title_justify="left", box=None, pad_edge=True, padding=(0, 2))
    table.add_column("")
    table.add_column("")
    for name, colour in (("green", "green"), ("open", "yellow"), ("red", "red")):
        table.add_column(name, justify="right", style=colour)
    for identity, meaning in IDENTITIES.items():
        if identity not in MUST and identity not in summary.identities:
            continue
        states: Mapping[str, int] = summary.identities.get(identity, {})
        mark = (
            Text("✗", "red")
            if states.get("red")
            else Text("✓", "green")
            if states.get("green")
            else Text("·", "yellow")
        )
        counts = [str(states.get(name, 0) or "") for name in ("green", "open", "red")]
        table.add_row(mark, f"{identity} {meaning}", *counts)
    return table
