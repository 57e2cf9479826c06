"""The digest page: the same report for a browser, one static file a day.

Lives here: the HTML and its charts. Doesn't: words (``catalogue``), looks (``page.css``), the server (local stack).

``index.html`` is the newest date's page, ``YYYY-MM-DD.html`` each day's. Nothing is fetched from anywhere; without
JavaScript both languages show, one below the other.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Final

from alerts.report.blocks import Section, anomaly_lines, origin_line
from alerts.report.catalogue import CATALOGUES
from alerts.report.deterministic import coverage_line, gap_lines, left_out_line
from alerts.report.facts import Fact, FactSet, Series
from alerts.report.wording import Language, write

_HERE: Final = Path(__file__).parent
_DATED: Final = re.compile(r"\d{4}-\d{2}-\d{2}\.html")
_ARCHIVE: Final = 60
_STATES: Final = {2: "green", 1: "provisional", 0: "unchecked", -1: "red"}
#: Columns of each table that a narrow screen has no room for.
_WIDE: Final = {"volumes": {"change"}, "volatilities": {"low", "high"}}
_WIDE_ELSE: Final = {"turnover"}
_COLUMNS: Final = {
    "close": "close", "change": "change", "turnover": "turnover_word", "range": "range_word", "share": "share",
    "low": "low", "high": "high",
}  # fmt: skip


def write_page(folder: Path, facts: FactSet, sections: Sequence[Section]) -> Path:
    """Write the date's page, and the index unless a later date's page is there; the path of the former.

    Raises:
        OSError: the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{facts.report_date}.html"
    dates = sorted({page.name, *(path.name for path in folder.iterdir() if _DATED.fullmatch(path.name))}, reverse=True)
    html = render_page(facts, sections, [name.removesuffix(".html") for name in dates])
    for target in [page, folder / "index.html"] if dates[0] == page.name else [page]:
        _replace(target, html)
    return page


def render_page(facts: FactSet, sections: Sequence[Section], dates: Sequence[str] = ()) -> str:
    """The page as one HTML document; ``dates`` are linked at its foot."""
    first = sections[0].language
    title = f"{CATALOGUES[first]['title']} · {facts.report_date}"
    buttons = "".join(
        f'<button type="button" data-show="{s.language}">{CATALOGUES[s.language]["language"]}</button>'
        for s in sections
    )
    nav = f"<nav>{buttons}</nav>" if len(sections) > 1 else ""
    mains = "".join(_main(facts, section, dates) for section in sections)
    return (
        f'<!doctype html><html lang="{first}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_asset('page.css')}</style></head><body>{nav}{mains}<script>{_asset('page.js')}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _replace(target: Path, html: str) -> None:
    """Readers see the old page or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(html)
    Path(name).chmod(0o644)
    Path(name).replace(target)


def _main(facts: FactSet, section: Section, dates: Sequence[str]) -> str:
    language = section.language
    words = CATALOGUES[language]
    paragraphs = "".join(f"<p>{escape(p)}</p>" for p in section.text.split("\n\n") if p.strip())
    moves = ("change", "close", "turnover")
    return (
        f'<main lang="{language}"><h1>{escape(words["title"])}</h1>'
        f'<p class="dim">{escape(_day(facts, language))}</p>'
        f"{_tiles(facts, language)}"
        f'<div class="card">{paragraphs}<p class="note">{escape(origin_line(section))}</p></div>'
        f"{_hourly(facts, language)}"
        f'<div class="pair">{_table(facts, language, "gainers", "krw.gainer", moves)}'
        f"{_table(facts, language, 'losers', 'krw.loser', moves)}</div>"
        f'<div class="pair">{_table(facts, language, "volumes", "krw.volume", ("change", "share", "turnover"))}'
        f"{_table(facts, language, 'volatilities', 'krw.volatility', ('range', 'low', 'high'))}</div>"
        f"{_table(facts, language, 'others', 'other.gainer', moves, 'other.loser')}{_basis(facts, language)}"
        f"{_list(words['anomalies'], anomaly_lines(facts, language))}{_coverage(facts, language)}"
        f"{_archive(facts, language, dates)}</main>"
    )


def _day(facts: FactSet, language: Language) -> str:
    return f"{write(facts.by_id['report.date'], language)}, 00:00–24:00 KST"


def _tiles(facts: FactSet, language: Language) -> str:
    words = CATALOGUES[language]
    tiles = [
        (words["turnover_word"], facts.get("krw.turnover"), facts.get("krw.turnover.change")),
        (words["trades"], facts.get("krw.trades"), None),
    ]
    html = "".join(_tile(label, write(fact, language), note, language) for label, fact, note in tiles if fact)
    rose, fell = facts.get("krw.advancing"), facts.get("krw.declining")
    if rose and fell:
        both = f'<span class="up">▲ {int(rose.value)}</span> <span class="down">▼ {int(fell.value)}</span>'
        html += f'<div class="card"><span class="dim">{words["rose"]} · {words["fell"]}</span><b>{both}</b></div>'
    html += _tile(words["coverage"], write(facts.by_id["coverage.share"], language), None, language)
    return f'<div class="tiles">{html}</div>'


def _tile(label: str, value: str, note: Fact | None, language: Language) -> str:
    change = f' <span class="{_direction(note)}">{escape(write(note, language))}</span>' if note else ""
    return f'<div class="card"><span class="dim">{escape(label)}{change}</span><b>{escape(value)}</b></div>'


def _direction(fact: Fact) -> str:
    return {1: "up", -1: "down", 0: ""}[fact.moves]


# --- charts -------------------------------------------------------------------------------------------------


def _hourly(facts: FactSet, language: Language) -> str:
    series = facts.chart("krw.turnover")
    if series is None:
        return ""
    top = max(value or Decimal(0) for value in series.values) or Decimal(1)
    bars = []
    for hour, value in enumerate(series.values):
        height = float((value or Decimal(0)) / top * 100)
        hint = write(Fact("hour", value or Decimal(0), "krw", series.mart), language)
        bars.append(
            f'<rect x="{hour * 10 + 1}" y="{100 - height:.2f}" width="8" height="{height:.2f}" rx="0.8">'
            f"<title>{hour:02d}:00 · {escape(hint)}</title></rect>"
        )
    words = CATALOGUES[language]
    svg = (
        f'<svg class="bars" viewBox="0 0 240 100" preserveAspectRatio="none" role="img" aria-label="{words["hourly"]}">'
    )
    return f'<div class="card"><h2>{words["hourly"]}</h2>{svg}{"".join(bars)}</svg>{_axis()}</div>'


def _axis() -> str:
    return '<div class="axis">' + "".join(f"<span>{hour:02d}:00</span>" for hour in (0, 6, 12, 18, 24)) + "</div>"


def sparkline(series: Series | None) -> str:
    """A line through the hours that have a value; empty for fewer than two."""
    points = [(hour, value) for hour, value in enumerate(series.values) if value is not None] if series else []
    if len(points) < 2:
        return ""
    low, high = min(v for _, v in points), max(v for _, v in points)
    spread = (high - low) or Decimal(1)
    line = " L".join(f"{hour * 100 / 23:.1f} {28 - float((value - low) / spread) * 24:.1f}" for hour, value in points)
    return f'<svg viewBox="0 0 100 32" preserveAspectRatio="none" aria-hidden="true"><path d="M{line}"/></svg>'


def _table(facts: FactSet, language: Language, title: str, prefix: str, cells: Sequence[str], also: str = "") -> str:
    entries = facts.ranked(prefix) + (facts.ranked(also) if also else [])
    if not entries:
        return ""
    words = CATALOGUES[language]
    wide = _WIDE.get(title, _WIDE_ELSE)
    heads = "".join(f'<th class="{"wide" * (cell in wide)}">{words[_COLUMNS[cell]]}</th>' for cell in cells)
    rows = "".join(_table_row(facts, entry, [(cell, cell in wide) for cell in cells], language) for entry in entries)
    return (
        f'<div class="card"><h2>{words[title]}</h2><table><thead><tr><th>{words["market"]}</th>'
        f"<th>{words['day_word']}</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _table_row(facts: FactSet, entry: Mapping[str, Fact], cells: Sequence[tuple[str, bool]], language: Language) -> str:
    change = entry["change"]
    line = sparkline(facts.chart(f"close.{change.subject}"))
    html = f'<td>{_market(change.subject)}</td><td class="spark {_direction(change)}">{line}</td>'
    for cell, wide in cells:
        fact = entry[cell]
        mark = "*" if fact.signed and fact.of == "open" else ""
        classes = " ".join(filter(None, ["wide" if wide else "", _direction(fact)]))
        html += f'<td class="{classes}">{escape(write(fact, language))}{mark}</td>'
    return f"<tr>{html}</tr>"


def _market(name: str) -> str:
    """An exchange's name stands above its market: a phone has no room beside it."""
    exchange, _, market = name.rpartition(":")
    return f"<small>{escape(exchange)}</small>{escape(market)}" if exchange else escape(name)


# --- lists --------------------------------------------------------------------------------------------------


def _basis(facts: FactSet, language: Language) -> str:
    marked = any(fact.signed and fact.of == "open" for fact in facts.facts)
    notes = [CATALOGUES[language]["basis"]] if marked else []
    notes += [line for line in [left_out_line(facts, language)] if line]
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="card"><h2>{escape(title)}</h2><ul>{items}</ul></div>' if lines else ""


def _coverage(facts: FactSet, language: Language) -> str:
    words = CATALOGUES[language]
    series = facts.chart("coverage")
    states = [_STATES[int(value or 0)] for value in series.values] if series else []
    cells = "".join(f'<i class="{s}" title="{hour:02d}:00 {words[f"state_{s}"]}"></i>' for hour, s in enumerate(states))
    used = [state for state in _STATES.values() if state in states]
    legend = "".join(f'<span><i class="{s}"></i>{words[f"state_{s}"]} {states.count(s)}</span>' for s in used)
    gaps = "".join(f"<li>{escape(line)}</li>" for line in gap_lines(facts, language))
    return (
        f'<div class="card"><h2>{words["coverage_title"]}</h2>'
        f'<p class="dim">{escape(coverage_line(facts, language))}</p><div class="hours">{cells}</div>{_axis()}'
        f'<div class="legend">{legend}</div>{f"<ul>{gaps}</ul>" if gaps else ""}</div>'
    )


def _archive(facts: FactSet, language: Language, dates: Sequence[str]) -> str:
    others = [day for day in dates if day != facts.report_date.isoformat()][:_ARCHIVE]
    links = "".join(f'<li><a href="{day}.html">{day}</a></li>' for day in others)
    return (
        f'<div class="card"><h2>{CATALOGUES[language]["archive"]}</h2><ul class="archive">{links}</ul></div>'
        if others
        else ""
    )
