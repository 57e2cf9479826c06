"""What Slack and the browser get."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from alerts.failure import Failure, failure_blocks, failure_text
from alerts.report import deterministic
from alerts.report.blocks import (
    MAX_BLOCKS,
    MAX_MESSAGE,
    MAX_TEXT,
    Section,
    aligned,
    escape,
    messages,
    plain_text,
    text_length,
)
from alerts.report.facts import FactSet, Series
from alerts.report.numbers import check
from alerts.report.page import render_page, sparkline, write_page
from tests.unit.alerts.sample import DATE, a_day, a_quiet_day, entry

DAY = a_day()
BOTH = [
    Section("en", deterministic.narrate(DAY, "en"), "llm", model="some-model"),
    Section("ko", deterministic.narrate(DAY, "ko"), "deterministic", "number"),
]


def texts(blocks: Any) -> list[str]:
    return [t["text"] for block in blocks for t in ([block["text"]] if "text" in block else block.get("elements", []))]


def test_one_message_opens_with_what_it_rests_on_and_ends_with_who_wrote_it() -> None:
    (message,) = messages(DAY, BOTH)
    found = texts(message.blocks)
    assert found[0] == "Daily market report · 13 Apr 2026"
    assert found[1].startswith("Coverage: 23 of 24 hours verified (95.83%).")
    assert "Written by AI (some-model); every number checked against the warehouse." in found
    assert found[-1] == "AI 없이 작성: AI 글에 사실로 증명되지 않는 숫자가 있음."
    assert message.text.startswith("Daily market report")


def test_the_first_language_of_the_settings_leads() -> None:
    (message,) = messages(DAY, BOTH[::-1])
    found = texts(message.blocks)
    assert found[0] == "일간 시장 리포트 · 2026년 4월 13일"
    assert (
        sum(text.startswith("*") and "\n" in text for text in found) == 5
    )  # tables and anomalies once, not once a language


@pytest.mark.parametrize("facts", [DAY, a_quiet_day()])
@pytest.mark.parametrize("languages", [("en",), ("ko",), ("ko", "en")])
def test_slacks_limits_are_kept_and_every_text_is_proven(facts: FactSet, languages: tuple[Any, ...]) -> None:
    sections = [Section(x, deterministic.narrate(facts, x), "deterministic", "no_key") for x in languages]
    for message in messages(facts, sections):
        assert len(message.blocks) <= MAX_BLOCKS
        assert sum(map(text_length, message.blocks)) <= MAX_MESSAGE
        for text in texts(message.blocks):
            assert 0 < len(text) <= MAX_TEXT
            verdict = check(text.replace("*", " ").replace("`", " "), facts)
            assert verdict.passed, f"{text}\n{verdict}"


def test_a_message_that_is_too_long_goes_on_in_the_thread() -> None:
    long = "\n\n".join(["word " * 500] * 8)
    pages = messages(DAY, [Section("en", long, "llm", model="m"), Section("ko", long, "llm", model="m")])
    assert len(pages) > 1
    assert all(sum(map(text_length, page.blocks)) <= MAX_MESSAGE for page in pages)
    whole = [text for page in pages for text in texts(page.blocks)]
    assert whole.count("word " * 500) == 16
    many = messages(DAY, [Section("en", "\n\n".join(["word"] * 120), "llm", model="m")])
    assert [len(page.blocks) <= MAX_BLOCKS for page in many] == [True] * len(many)


def test_a_name_cannot_be_markup() -> None:
    assert escape("<!channel> & <https://x|y>") == "&lt;!channel&gt; &amp; &lt;https://x|y&gt;"
    (message,) = messages(DAY, [Section("en", "All <!channel> & co", "llm", model="<m>")])
    assert "<!channel>" not in message.text
    for block in message.blocks:
        for text in [block["text"]] if "text" in block else block.get("elements", []):
            assert text["type"] == "plain_text" or "<" not in text["text"]


def test_columns_are_aligned() -> None:
    assert aligned([["A-KRW", "1원", "+1%"], ["LONG-KRW", "1,000원", "-10%"]]).splitlines() == [
        "A-KRW         1원   +1%",
        "LONG-KRW  1,000원  -10%",
    ]


def test_a_change_measured_from_the_open_is_marked_and_explained() -> None:
    (message,) = messages(DAY, BOTH[:1])
    assert any("+3.21%*" in text for text in texts(message.blocks))
    assert "* measured from the day's opening price" in texts(message.blocks)


def test_the_terminal_shows_the_same() -> None:
    shown = plain_text(DAY, BOTH)
    assert "0G-KRW" in shown
    assert "Losers" in shown
    assert "*" in shown
    assert "```" not in shown


# --- the page -----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page would load, and checks that its tags close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.loads += [
            value or "" for name, value in attributes if name in ("src", "srcset") or (name, tag) == ("href", "link")
        ]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("facts", [DAY, a_quiet_day()])
def test_the_page_is_whole_and_loads_nothing(facts: FactSet) -> None:
    sections = [Section(x, deterministic.narrate(facts, x), "deterministic", "no_key") for x in ("en", "ko")]  # type: ignore[arg-type]
    html = render_page(facts, sections, ["2026-04-12"])
    assert Page(html).loads == ["data:,"]
    assert "http" not in html.replace("http-equiv", "")
    assert '<main lang="en">' in html
    assert '<main lang="ko">' in html
    assert 'href="2026-04-12.html"' in html


def test_a_hostile_text_is_text_on_the_page() -> None:
    html = render_page(DAY, [Section("en", "<script>alert(1)</script>", "llm", model='"><img src=x>')])
    assert Page(html).loads == ["data:,"]
    assert "&lt;script&gt;" in html


def test_one_language_needs_no_switch() -> None:
    assert "<nav>" not in render_page(DAY, BOTH[:1])


def test_the_index_is_the_newest_day(tmp_path: Path) -> None:
    newer = FactSet(DATE.replace(day=14), DAY.facts, DAY.series)
    write_page(tmp_path, newer, BOTH)
    newest = (tmp_path / "index.html").read_text()
    older = write_page(tmp_path, DAY, BOTH)
    assert older.name == "2026-04-13.html"
    assert (tmp_path / "index.html").read_text() == newest
    assert 'href="2026-04-14.html"' in older.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2026-04-13.html", "2026-04-14.html", "index.html"]


def test_a_sparkline_skips_hours_without_a_price() -> None:
    values = (None, Decimal(1), None, Decimal(3), *[None] * 20)
    assert sparkline(Series("close.A-KRW", "m", values)).count("L") == 1
    assert sparkline(Series("close.A-KRW", "m", (Decimal(1), *[None] * 23))) == ""
    assert sparkline(None) == ""


def test_a_flat_line_is_a_line() -> None:
    assert "<path" in sparkline(Series("close.A-KRW", "m", (Decimal(5),) * 24))


def test_a_market_on_the_page_keeps_its_direction() -> None:
    facts = a_day(*entry("other.gainer.1", "XRP-KRW", "1", "2", "3", 1))
    html = render_page(facts, [replace(BOTH[0])])
    assert '<td class="up">+12.35%</td>' in html
    assert '<td class="down">-7.50%</td>' in html


# --- failures -----------------------------------------------------------------------------------------------


def test_a_failure_says_what_where_and_why() -> None:
    failure = Failure(
        "silver__build", "trade`", "scheduled__2026", 3, "https://airflow/log|x>", "boom <!here> ``` & more"
    )
    said = texts(failure_blocks(failure))
    assert "silver__build" in said[0]
    assert "try 3" in said[0]
    assert "<https://airflow/log%7Cx%3E|Log>" in said[0]
    assert said[1] == "```boom &lt;!here&gt; ''' &amp; more```"
    assert failure_text(failure) == "silver__build.trade` failed on try 3 (run scheduled__2026)"


@pytest.mark.parametrize("url", ["", "javascript:alert(1)", "file:///etc/passwd", "https://x/<!channel>"])
def test_only_a_web_address_is_linked(url: str) -> None:
    said = texts(failure_blocks(Failure("d", "t", "r", 1, url)))
    assert "|Log>" not in said[0]


def test_a_long_error_is_cut() -> None:
    assert len(texts(failure_blocks(Failure("d", "t", "r", 1, "", "x" * 9000)))[1]) < 700
