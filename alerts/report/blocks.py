"""The report as Slack shows it: Block Kit.

Lives here: the blocks of one report in one or more languages, and Slack's limits. Doesn't: words (``catalogue``),
posting (``alerts.slack``).

**Languages**: one message, not one each: header, coverage, narrative and tables in the first language of the settings,
then the narrative in the others, which need no second table. So a day is one post, whatever the settings say. Should a
message outgrow Slack's limits, its end goes into its thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from unicodedata import east_asian_width

from alerts.report.catalogue import CATALOGUES
from alerts.report.deterministic import coverage_line, gap_lines, left_out_line, phrase
from alerts.report.facts import Fact, FactSet
from alerts.report.wording import Language, write

Block = dict[str, Any]

MAX_BLOCKS: Final = 50
MAX_TEXT: Final = 3_000
MAX_HEADER: Final = 150
#: Slack refuses messages of somewhat more than 13,000 characters over all blocks, undocumented.
MAX_MESSAGE: Final = 11_000
MAX_FALLBACK: Final = 3_000
_TABLES: Final = (
    ("gainers", "krw.gainer", "columns_move", ("close", "change", "turnover")),
    ("losers", "krw.loser", "columns_move", ("close", "change", "turnover")),
    ("volumes", "krw.volume", "columns_volume", ("turnover", "share", "change")),
    ("volatilities", "krw.volatility", "columns_range", ("range", "low", "high")),
)
_OTHERS: Final = ("other.gainer", "other.loser")


@dataclass(frozen=True, slots=True)
class Section:
    """What one language contributes: the narrative and where it came from."""

    language: Language
    text: str
    origin: str
    reason: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One post: fallback text (for notifications and screen readers) and blocks."""

    text: str
    blocks: tuple[Block, ...]


def messages(facts: FactSet, sections: Sequence[Section]) -> list[Message]:
    """The report as messages: one, or more when it is too long (all but the first belong in its thread)."""
    blocks = [
        block for index, section in enumerate(sections) for block in section_blocks(facts, section, first=index == 0)
    ]
    text = _cut(escape(plain_text(facts, sections)), MAX_FALLBACK)
    pages = split(blocks)
    return [Message(text if n == 0 else _cut(text, 150), tuple(page)) for n, page in enumerate(pages)]


def section_blocks(facts: FactSet, section: Section, *, first: bool) -> list[Block]:
    """The blocks of one language; only the first carries the tables."""
    language = section.language
    opening = (
        [_header(_title(facts, language)), _context(coverage_line(facts, language))] if first else [{"type": "divider"}]
    )
    narrative = [_plain(paragraph) for paragraph in section.text.split("\n\n") if paragraph.strip()]
    tables = [*_tables(facts, language), *_anomalies(facts, language), *_gaps(facts, language)] if first else []
    return [*opening, *narrative, *tables, _context(origin_line(section))]


def origin_line(section: Section) -> str:
    """Who wrote the narrative, and if no model did, why."""
    words = CATALOGUES[section.language]
    if section.origin == "llm":
        return words["origin_llm"].replace("{model}", section.model)
    return words["origin_deterministic"].replace("{reason}", words[f"reason_{section.reason}"])


def plain_text(facts: FactSet, sections: Sequence[Section]) -> str:
    """The report for a terminal, and the message's fallback: no markup, every table as text."""
    parts: list[str] = []
    for index, section in enumerate(sections):
        language = section.language
        if index == 0:
            parts += [_title(facts, language), coverage_line(facts, language), section.text]
            for title, rows in tables(facts, language):
                parts.append(title + "\n" + aligned(rows))
            parts += [line for line in [left_out_line(facts, language)] if line]
            parts += [
                "\n".join([f"{_word(language, 'anomalies')}", *lines])
                for lines in [anomaly_lines(facts, language)]
                if lines
            ]
            parts += ["\n".join(gap_lines(facts, language))] if facts.value("gap.count") else []
        else:
            parts.append(section.text)
        parts.append(origin_line(section))
    return "\n\n".join(parts)


def tables(facts: FactSet, language: Language) -> list[tuple[str, list[list[str]]]]:
    """Every ranking as a title (with its columns) and rows of cells."""
    found = []
    for name, prefix, columns, cells in _TABLES:
        if entries := facts.ranked(prefix):
            title = f"{_word(language, name)} ({_word(language, columns)})"
            found.append((title, [_row(entry, cells, language) for entry in entries]))
    others = [entry for prefix in _OTHERS for entry in facts.ranked(prefix)]
    if others:
        title = f"{_word(language, 'others')} ({_word(language, 'columns_move')})"
        found.append((title, [_row(entry, ("close", "change", "turnover"), language) for entry in others]))
    return found


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns for a fixed-width font: names left, figures right. Korean letters count two columns."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        padding = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [row[0] + padding[0], *(space + cell for cell, space in zip(row[1:], padding[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def anomaly_lines(facts: FactSet, language: Language) -> list[str]:
    """The largest anomalies, one a line, and how many there were."""
    lines = []
    for kind in ("price", "volume"):
        for number, entry in enumerate(facts.ranked(f"anomaly.{kind}"), 1):
            lines.append(phrase(facts, language, f"anomaly_{kind}_row", number=number, market=entry["at"].subject))
    return [*lines, phrase(facts, language, "anomalies_more")] if lines else []


def escape(text: str) -> str:
    """Text that Slack takes for text: no links, mentions or entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def split(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks in messages that keep Slack's limits, in order."""
    pages: list[list[Block]] = [[]]
    size = 0
    for block in blocks:
        length = text_length(block)
        if pages[-1] and (len(pages[-1]) == MAX_BLOCKS or size + length > MAX_MESSAGE):
            pages.append([])
            size = 0
        pages[-1].append(block)
        size += length
    return pages


def text_length(block: Mapping[str, Any]) -> int:
    """Characters of text in a block."""
    texts = [block["text"]] if isinstance(block.get("text"), dict) else []
    return sum(len(text["text"]) for text in [*texts, *block.get("elements", [])])


def _title(facts: FactSet, language: Language) -> str:
    return f"{_word(language, 'title')} · {write(facts.by_id['report.date'], language)}"


def _word(language: Language, key: str) -> str:
    return CATALOGUES[language][key]


def _row(entry: Mapping[str, Fact], cells: Sequence[str], language: Language) -> list[str]:
    return [entry["change"].subject, *(_cell(entry[cell], language) for cell in cells)]


def _cell(fact: Fact, language: Language) -> str:
    mark = "*" if fact.signed and fact.of == "open" else ""
    return write(fact, language) + mark


def _tables(facts: FactSet, language: Language) -> list[Block]:
    blocks = []
    for title, rows in tables(facts, language):
        blocks.append(_markdown(f"*{escape(title)}*\n```{escape(aligned(rows))}```"))
    if any(f.signed and f.of == "open" for f in facts.facts):
        blocks.append(_context(_word(language, "basis")))
    if line := left_out_line(facts, language):
        blocks.append(_context(line))
    return blocks


def _anomalies(facts: FactSet, language: Language) -> list[Block]:
    lines = anomaly_lines(facts, language)
    if not lines:
        return []
    *rows, total = (escape(line) for line in lines)
    return [
        _markdown(f"*{escape(_word(language, 'anomalies'))}*\n" + "\n".join(f"• {row}" for row in rows) + f"\n{total}")
    ]


def _gaps(facts: FactSet, language: Language) -> list[Block]:
    lines = gap_lines(facts, language)
    return [_context("\n".join(lines))] if lines else []


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": _cut(text, MAX_HEADER), "emoji": False}}


def _plain(text: str) -> Block:
    """Prose as plain text: nothing in it can be markup, so nothing in it needs escaping."""
    return {"type": "section", "text": {"type": "plain_text", "text": _cut(text, MAX_TEXT), "emoji": False}}


def _markdown(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [{"type": "plain_text", "text": _cut(text, MAX_TEXT), "emoji": False}]}


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, never ending inside an entity."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    tail = kept.rfind("&")
    return (kept[:tail] if tail > len(kept) - 6 and ";" not in kept[tail:] else kept) + "…"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)
