"""How the platform stands: rows at every layer, the identities, the report; and what is wrong, if anything.

Lives here: asking the warehouse, the lake and the simulator, judging, and showing it on a terminal. Doesn't:
making any of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tidemark.completeness import summary as coverage
from tidemark.exchanges import registry
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
_HOURS = 24
#: States of an hour beside "green", for people.
_STATES = {"red": "broken", "unchecked": "not known yet", "provisional": "of them proven so far"}
_LEGEND = "green: hours in which the check holds · open: not known yet, checked again at :25 and :55 · red: broken"
#: Said instead of a comparison.
NOT_COMPARED = "The simulator was restarted since that day: its candles were not compared."
_BARS = """
select exchange, market, bucket_at, open, high, low, close, volume_base, trade_count from gold.ohlcv_1h
where bucket_at >= %s and bucket_at < %s
"""
_REPORT = """
select text, origin from ops.report where report_date = %s order by (language <> 'en'), language limit 1
"""


@dataclass
class Summary:
    """What was found. ``problems`` is empty when all that must hold does.

    Counts of rows are by layer, table and exchange (empty where a table knows none), those of identities by
    number, exchange and status.
    """

    exchanges: tuple[str, ...] = ()
    objects: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    dead: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    identities: dict[int, dict[str, dict[str, int]]] = field(default_factory=dict)
    red: list[str] = field(default_factory=list)
    witness: str = ""
    report: str = ""
    posted: str = ""
    #: Of each hour of the day: green, provisional, unchecked or red, by the platform's one definition of coverage.
    hours: list[str] = field(default_factory=list)
    checked_at: datetime | None = None
    problems: list[str] = field(default_factory=list)

    def total(self, layer: str) -> int:
        """All rows of a layer."""
        return sum(sum(counts.values()) for counts in self.rows[layer].values())

    def states(self, identity: int) -> dict[str, int]:
        """How often an identity is green, open and red, over all exchanges."""
        found: dict[str, int] = {}
        for states in self.identities.get(identity, {}).values():
            for status, count in states.items():
                found[status] = found.get(status, 0) + count
        return found


def collect(layout: Layout, day: Day, first: bool) -> Summary:
    """Look at everything once. ``first``: the day has not been proven before, so its witness must speak."""
    summary = Summary(tuple(layout.settings.exchanges))
    summary.objects, summary.bytes = _landing(layout.lake)
    with psycopg.connect(layout.postgres.url(), autocommit=True) as connection:
        summary.rows = {layer: _rows(connection, layer) for layer in LAYERS}
        summary.dead = _dead(connection)
        summary.identities = _identities(connection)
        summary.red = _red(connection)
        summary.hours = coverage.trade_states(connection, day.begin, day.end)
        summary.checked_at = connection.execute("select max(checked_at) from ops.completeness").fetchone()[0]  # type: ignore[index]
        summary.report, summary.posted = _report(connection, day)
        if layout.settings.local.source == "simulator":
            summary.witness, differing = _witness(connection, layout, day)
            summary.problems += differing
    summary.problems += judged(summary, day, first)
    return summary


def show(summary: Summary, console: Console, day: Day) -> None:
    """Print it."""
    console.print()
    console.print(_rows_table(summary))
    console.print(_identities_table(summary))
    console.print(f"  {_LEGEND}", style="dim", highlight=False)
    console.print(f"  {coverage_line(summary, day)}", highlight=False)
    if summary.witness:
        console.print(f"  {summary.witness}", highlight=False)
    if summary.report:
        title = f"Daily report {day.date} ({summary.posted})"
        console.print(Panel(Text(summary.report), title=title, title_align="left", border_style="cyan"))


def coverage_line(summary: Summary, day: Day) -> str:
    """How much of the day is proven, and by which check."""
    states = summary.hours or ["unchecked"] * _HOURS
    rest = [f"{states.count(state)} {words}" for state, words in _STATES.items() if states.count(state)]
    checked = f"checked {summary.checked_at:%Y-%m-%d %H:%M} UTC" if summary.checked_at else "never checked"
    proven = f"{coverage.proven_hours(states)} of {len(states)} hours of {day.date} (KST) are proven"
    return "; ".join([proven, *rest, checked])


def _landing(lake: Path) -> tuple[dict[str, int], int]:
    """Objects by exchange (the second word of a topic's name), and the bytes of all."""
    files = list((lake / "landing").rglob("*.parquet"))
    owners = (file.relative_to(lake / "landing").parts[0].split(".")[1:2] for file in files)
    return dict(Counter("".join(owner) for owner in owners)), sum(file.stat().st_size for file in files)


def _rows(connection: psycopg.Connection[Any], layer: str) -> dict[str, dict[str, int]]:
    names = connection.execute(
        """select c.relname, exists(
            select from pg_attribute a where a.attrelid = c.oid and a.attname = 'exchange' and not a.attisdropped
        ) from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = %s and c.relkind in ('r', 'p') and not c.relispartition order by 1""",
        [layer],
    ).fetchall()
    return {name: _count(connection, layer, name, known) for name, known in names}


def _count(connection: psycopg.Connection[Any], schema: str, name: str, by_exchange: bool) -> dict[str, int]:
    whose = sql.SQL("exchange") if by_exchange else sql.SQL("''")
    query = sql.SQL("select {}, count(*) from {} group by 1").format(whose, sql.Identifier(schema, name))
    return {exchange or "": int(count) for exchange, count in connection.execute(query)}


def _dead(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Records that could not be parsed; each lies in a dead-letter topic with its reason."""
    query = "select exchange, sum(dead)::bigint from ops.load_ledger where kind = 'data' group by 1"
    return dict(connection.execute(query).fetchall())


def _identities(connection: psycopg.Connection[Any]) -> dict[int, dict[str, dict[str, int]]]:
    found: dict[int, dict[str, dict[str, int]]] = {}
    for identity, exchange, status, count in connection.execute(
        "select identity, exchange, status, count(*) from ops.completeness group by 1, 2, 3"
    ):
        found.setdefault(identity, {}).setdefault(exchange, {})[status] = count
    return found


def _red(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        """select identity, exchange, dataset, hour_at, expected, actual from ops.completeness
        where status = 'red' order by hour_at desc, identity limit 5"""
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
    sent = {name: workers.simulator_trades(layout, name) for name in layout.settings.exchanges}
    if not all(sent.values()) or workers.simulator_begin(layout) > day.begin:
        return NOT_COMPARED, []
    ours = {tuple(row[:3]): _bar(*row[3:]) for row in connection.execute(_BARS, [day.begin, day.end])}
    theirs: dict[tuple[Any, ...], tuple[Decimal, ...]] = {}
    for exchange, markets in sent.items():
        for code in markets:
            for candle in workers.simulator_candles(layout, exchange, code, day.begin, day.end):
                theirs[exchange, registry.get(exchange).market(code), candle.begin] = candle.values
    ours = {key: bar for key, bar in ours.items() if key[0] in sent}
    differ = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    if not differ:
        trades = sum(int(values[-1]) for values in theirs.values())
        bars = Counter(exchange for exchange, *_ in theirs)
        same = f"all {len(theirs)} hourly bars equal its own candles"
        return f"The simulator sent {trades:,} trades that day; {same} ({_counted(bars)}).", []
    exchange, market, hour = min(differ, key=str)
    first = f"the first: {exchange} {market} {hour:%Y-%m-%d %H}Z"
    return "", [f"{len(differ)} of {len(theirs)} hourly bars differ from the simulator's candles, {first}"]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _bar(*values: Any) -> tuple[Decimal, ...]:
    return tuple(Decimal(value).normalize() for value in values)


def judged(summary: Summary, day: Day, first: bool) -> list[str]:
    """What is wrong with what was found; ``first`` as in :func:`collect`."""
    problems = []
    if first and summary.witness == NOT_COMPARED:
        problems.append(
            f"the bars of {day.date} were not compared with the simulator's candles, because it did not play the whole "
            "day: run make down, then make up"
        )
    for exchange in summary.exchanges:
        problems += [
            f"{layer} has no rows of {exchange}"
            for layer in LAYERS
            if not any(counts.get(exchange) for counts in summary.rows[layer].values())
        ]
        if not summary.objects.get(exchange):
            problems.append(f"nothing of {exchange} has landed in the lake")
        for identity, meaning in IDENTITIES.items():
            states = summary.identities.get(identity, {}).get(exchange, {})
            what = f"identity {identity} ({meaning})"
            if not states:
                problems.append(f"{what} was not computed for {exchange}")
            if states.get("red"):
                problems.append(f"{what} is red {states['red']} times for {exchange}")
    return problems + ([] if summary.report else [f"there is no report for {day.date}"]) + summary.red


def _rows_table(summary: Summary) -> Table:
    table = Table(title="Rows at every layer", title_justify="left", box=None, pad_edge=True, padding=(0, 2))
    for name in ("layer", "what"):
        table.add_column(name)
    for name in (*summary.exchanges, "all"):
        table.add_column(name, justify="right")

    def add(layer: str, name: str, counts: Mapping[str, int], warns: bool = False) -> None:
        total = sum(counts.values())
        shown = [f"{counts[x]:,}" if counts.get(x) else "" for x in summary.exchanges]
        table.add_row(layer, name, *shown, f"{total:,}", style="dim" if not total else "yellow" if warns else "")

    add("lake", f"landing objects ({summary.bytes / 1024**2:,.1f} MiB)", summary.objects)
    add("lake", "dead letters", summary.dead, warns=True)
    for layer in LAYERS:
        for name, counts in summary.rows[layer].items():
            add(layer, name, counts)
    return table


def _identities_table(summary: Summary) -> Table:
    table = Table(title="Identities", title_justify="left", box=None, pad_edge=True, padding=(0, 2))
    table.add_column("")
    table.add_column("")
    for name in summary.exchanges:
        table.add_column(name)
    for identity, meaning in IDENTITIES.items():
        cells = [_states(summary.identities.get(identity, {}).get(name, {})) for name in summary.exchanges]
        table.add_row(_mark(summary.states(identity)), f"{identity} {meaning}", *cells)
    return table


def _mark(states: Mapping[str, int]) -> Text:
    if states.get("red"):
        return Text("✗", "red")
    return Text("✓", "green") if states.get("green") else Text("·", "yellow")


def _states(states: Mapping[str, int]) -> Text:
    """How often an identity of one exchange is green, open and red."""
    colours = {"green": "green", "open": "yellow", "red": "red"}
    parts = [Text(f"{states[name]:,} {name}", colour) for name, colour in colours.items() if states.get(name)]
    return Text(", ").join(parts)
