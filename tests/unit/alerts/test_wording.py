"""How facts are written, and what the catalogues hold."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.report import catalogue, deterministic, narrative
from alerts.report.blocks import Section, origin_line, plain_text
from alerts.report.facts import Fact, FactError, FactSet
from alerts.report.narrative import NarrativeError, accept
from alerts.report.numbers import check
from alerts.report.page import render_page
from alerts.report.wording import SLOT, Language, SlotError, fill, write
from tests.unit.alerts.sample import DATE, START, a_day, a_quiet_day, fact

DAY = a_day()


@pytest.mark.parametrize(
    ("value", "unit", "more", "english", "korean"),
    [
        ("3.2149", "percent", {"signed": True}, "+3.21%", "+3.21%"),
        ("-3.215", "percent", {"signed": True}, "-3.22%", "-3.22%"),
        ("-0.004", "percent", {"signed": True}, "0.00%", "0.00%"),
        ("1234.5", "percent", {}, "1,234.50%", "1,234.50%"),
        ("95000000.0000", "krw", {"of": "price"}, "₩95,000,000", "95,000,000원"),
        ("0.00001234", "krw", {"of": "price"}, "₩0.00001234", "0.00001234원"),
        ("1234567890123.45", "krw", {}, "₩1.23T", "1조 2,346억 원"),
        ("512345678901", "krw", {}, "₩512.35B", "5,123억 4,568만 원"),
        ("999999999999.9", "krw", {}, "₩1,000.00B", "10,000억 원"),
        ("300000000", "krw", {}, "₩300.00M", "3억 원"),
        ("99995", "krw", {}, "₩99,995", "9만 9,995원"),
        ("123.5", "krw", {}, "₩124", "124원"),
        ("0.00012345", "asset", {"of": "BTC"}, "0.00012345 BTC", "0.00012345 BTC"),
        ("123456789.87654321", "asset", {"of": "USDT"}, "123,456,790 USDT", "123,456,790 USDT"),
        ("0", "asset", {"of": "BTC"}, "0 BTC", "0 BTC"),
        ("20", "count", {"of": "markets"}, "20", "20개"),
        ("151234", "count", {"of": "trades"}, "151,234", "151,234건"),
        ("5.25", "ratio", {}, "5.3x", "5.3배"),
        ("1", "hours", {}, "1 hour", "1시간"),
        ("23", "hours", {}, "23 hours", "23시간"),
        ("12.55", "minutes", {}, "12.6 minutes", "12.6분"),
        (START + 52500, "time", {}, "14:35 KST", "14:35"),
        (START, "date", {}, "13 Apr 2026", "2026년 4월 13일"),
    ],
)
def test_a_fact_is_written(value: str, unit: Any, more: dict[str, Any], english: str, korean: str) -> None:
    one = fact("a.fact", value, unit, **more)
    assert (write(one, "en"), write(one, "ko")) == (english, korean)


@pytest.mark.parametrize("value", ["3.2149", "-3.2149"])
def test_without_its_sign(value: str) -> None:
    one = fact("a.change", value, "percent", signed=True)
    assert write(one, "en", signed=False) == "3.21%"


def test_slots_are_filled() -> None:
    text = "{{f:krw.loser.1.change}} {{ f:krw.loser.1.change | abs }} {{f:coverage.hours.green|bare}}"
    assert fill(text, DAY, "en") == "-7.50% 7.50% 23"


@pytest.mark.parametrize(
    "text", ["{{f:no.such}}", "{{f:}}", "{{f:krw.markets|x}}", "{{krw.markets}}", "{{f:krw.markets}", "}}", "{{f:a b}}"]
)
def test_a_slot_that_nothing_fills_is_an_error(text: str) -> None:
    with pytest.raises(SlotError):
        fill(text, DAY, "en")


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "Bad Id"}, {"unit": "bananas"}, {"subject": "<!channel>"}, {"of": "two words"}, {"exchange": "x" * 61},
        {"value": "NaN"}, {"value": "Infinity"},
    ],
)  # fmt: skip
def test_a_malformed_fact_cannot_be(bad: dict[str, str]) -> None:
    good: dict[str, Any] = {"id": "a.fact", "value": "1", "unit": "count", "mart": "m"} | bad
    with pytest.raises(FactError):
        Fact(**{**good, "value": Decimal(good["value"])})


def test_an_id_is_used_once() -> None:
    with pytest.raises(FactError, match="used twice"):
        FactSet(DATE, (fact("a", 1, "count"), fact("a", 2, "count")))


@given(st.permutations(["krw.markets", "krw.turnover", "coverage.share"]))
def test_the_digest_names_the_content(ids: list[str]) -> None:
    facts = tuple(DAY.by_id[i] for i in ids)
    assert FactSet(DATE, facts).digest == FactSet.from_json(FactSet(DATE, facts).to_json()).digest
    assert FactSet(DATE, facts).digest != FactSet(DATE, facts[1:]).digest


# --- the catalogues -----------------------------------------------------------------------------------------


def test_both_languages_hold_the_same_entries_with_the_same_slots() -> None:
    english, korean = catalogue.CATALOGUES["en"], catalogue.CATALOGUES["ko"]
    assert english.keys() == korean.keys()
    for key, text in english.items():
        ids = [sorted(match["id"] for match in SLOT.finditer(t)) for t in (text, korean[key])]
        names = [sorted(re.findall(r"(?<!\{)\{(\w+)\}", t)) for t in (text, korean[key])]
        assert ids[0] == ids[1], key
        assert names[0] == names[1], key


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "facts",
    [
        DAY,
        a_quiet_day(),
        a_day(fact("krw.from_open", 2, "count", of="markets")),
        a_day(fact("aside.dead", 41, "count", of="frames"), fact("aside.quarantined", 1, "count", of="rows")),
    ],
)
def test_our_own_text_passes_the_gate(facts: FactSet, language: Language) -> None:
    lines = [deterministic.narrate(facts, language), deterministic.coverage_line(facts, language)]
    lines += deterministic.gap_lines(facts, language)
    for line in lines:
        verdict = check(line, facts)
        assert verdict.passed, f"{line}\n{verdict}"
        assert verdict.proven


def test_what_was_set_aside_is_said_where_there_is_any() -> None:
    facts = a_day(fact("aside.dead", 41, "count", of="frames"), fact("aside.quarantined", 0, "count", of="rows"))
    assert "Set aside, unreadable: 41 trade frames." in deterministic.coverage_line(facts, "en")
    assert "제외된 체결 프레임(판독 불가): 41건." in deterministic.coverage_line(facts, "ko")
    assert "refused" not in deterministic.coverage_line(facts, "en")
    assert "41 trade frames" in plain_text(facts, [Section("en", "", "deterministic", "no_key")])
    assert "41 trade frames" in render_page(facts, [Section("en", "", "deterministic", "no_key")])
    assert not check("41 trades were made.", facts).passed
    assert not check("41 frames were heard.", facts).passed


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_reason_can_be_told(language: Language) -> None:
    reasons = [key.removeprefix("reason_") for key in catalogue.CATALOGUES["en"] if key.startswith("reason_")]
    for reason in reasons:
        assert "{" not in origin_line(Section(language, "", "deterministic", reason))


# --- answers ------------------------------------------------------------------------------------------------


def test_an_answer_becomes_plain_paragraphs() -> None:
    answer = "## Summary\n\n- **BTC-KRW** rose {{f:krw.gainer.2.change|abs}}.\n\n\n\n"
    answer += "ETH-KRW fell {{f:krw.loser.1.change|abs}}."
    assert accept(answer, DAY, "en") == "Summary\n\nBTC-KRW rose 3.21%.\n\nETH-KRW fell 7.50%."


def test_typed_digits_pass_when_they_are_right() -> None:
    assert accept("BTC-KRW rose 3.2%.", DAY, "en") == "BTC-KRW rose 3.2%."


def test_a_slot_of_one_market_may_not_stand_with_another() -> None:
    with pytest.raises(NarrativeError, match="BTC-KRW"):
        accept("ETH-KRW closed at {{f:krw.gainer.2.close}}.", DAY, "en")


def test_the_model_gets_names_and_values_and_no_secrets() -> None:
    sent = narrative.data(DAY, "ko")
    assert "1조 2,346억 원" in sent
    assert "api_key" not in sent
