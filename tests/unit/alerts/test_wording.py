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
from tests.unit.alerts.sample import DATE, START, a_day, a_quiet_day, entry, fact

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
        ("9999.5", "krw", {}, "₩10,000", "1만 원"),
        ("999999.4", "krw", {}, "₩999,999", "99만 9,999원"),
        ("999999.5", "krw", {}, "₩1.00M", "100만 원"),
        ("99999999.6", "krw", {}, "₩100.00M", "1억 원"),
        ("100000000", "krw", {}, "₩100.00M", "1억 원"),
        ("999994999", "krw", {}, "₩999.99M", "9억 9,999만 원"),
        ("999999999", "krw", {}, "₩1.00B", "10억 원"),
        ("999999999999.9", "krw", {}, "₩1.00T", "1조 원"),
        ("1000000000000", "krw", {}, "₩1.00T", "1조 원"),
        ("-999999999999.9", "krw", {}, "-₩1.00T", "-1조 원"),
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


@given(st.decimals(0, 10**16, places=1), st.sampled_from([10**4, 10**6, 10**8, 10**9, 10**12]), st.integers(-9, 9))
def test_law_an_amount_is_written_in_the_unit_of_what_is_written(value: Decimal, unit: int, tenths: int) -> None:
    """No unit is written a thousand times (ten thousand in Korean) or more, however close the amount is to the next."""
    for amount in (value, unit + Decimal(tenths) / 10, unit * (1 + Decimal(tenths) / 10**5)):
        one = fact("krw.turnover", str(amount), "krw")
        number, letter = re.fullmatch(r"₩([0-9,.]+)([MBT]?)", write(one, "en")).groups()  # type: ignore[union-attr]
        assert letter == "T" or Decimal(number.replace(",", "")) < (1000 if letter else 10**6)
        for number, name in re.findall(r"([0-9,]+)([만억조]?)", write(one, "ko")):
            assert name == "조" or int(number.replace(",", "")) < 10_000
        for language, text in (("en", "KRW markets turned over {}."), ("ko", "거래대금은 {}입니다.")):
            assert check(text.format(write(one, language)), FactSet(DATE, (one,))).passed  # type: ignore[arg-type]


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


# --- the first of a ranking ---------------------------------------------------------------------------------

SUPERLATIVES = re.compile(
    r"\bled\b|best|worst|largest|widest|\bmost\b|leader|highest|#1|선두|최대|가장|1위|최고", re.IGNORECASE
)


RANKINGS = ("krw.volume", "krw.gainer", "krw.loser", "krw.volatility", "anomaly.price", "anomaly.volume")


def behind(facts: FactSet, *rankings: str) -> FactSet:
    """The day with markets that are not named before the first of these rankings."""
    firsts = {f"{ranking}.1.rank" for ranking in rankings}
    others = tuple(one for one in facts.facts if one.id not in firsts)
    named = {
        ranking: facts.ranked(ranking)[0][
            "move" if ranking == "anomaly.price" else "ratio" if ranking == "anomaly.volume" else "rank"
        ]
        for ranking in rankings
    }
    ranks = [fact(f"{ranking}.1.rank", 3, "rank", subject=one.subject) for ranking, one in named.items()]
    return FactSet(facts.report_date, (*others, *ranks), facts.series)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_no_market_is_called_the_first_when_others_are_before_it(language: Language) -> None:
    facts = behind(a_day(fact("krw.left_out", 6, "count", of="markets")), *RANKINGS)
    text = plain_text(facts, [Section(language, deterministic.narrate(facts, language), "deterministic", "no_key")])
    assert not SUPERLATIVES.search(text), text
    assert not SUPERLATIVES.search(
        re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>|<[^>]*>", " ", page_of(facts, language))
    )
    assert "1INCH-KRW" in deterministic.narrate(facts, language)
    assert {"en": "do not name 6 KRW markets", "ko": "이름이 없는 KRW 마켓 6개"}[language] in text
    verdict = check(deterministic.narrate(facts, language), facts)
    assert verdict.passed, verdict


def page_of(facts: FactSet, language: Language) -> str:
    return render_page(facts, [Section(language, deterministic.narrate(facts, language), "deterministic", "no_key")])


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ("krw.volume", {"en": "led", "ko": "선두"}),
        ("krw.gainer", {"en": "Best", "ko": "최대 상승"}),
        ("krw.loser", {"en": "Worst", "ko": "최대 하락"}),
        ("krw.volatility", {"en": "Widest range", "ko": "폭이 가장 큰"}),
        ("anomaly.price", {"en": "Price anomalies: 3; the largest", "ko": "가격 이상 징후: 3건. 가장 큰"}),
        ("anomaly.volume", {"en": "Volume anomalies: 1; the largest", "ko": "거래량 이상 징후: 1건. 가장 큰"}),
    ],
)
def test_a_market_is_called_the_first_where_it_is(moved: str, words: dict[Language, str], language: Language) -> None:
    assert words[language] in deterministic.narrate(DAY, language)
    facts = behind(DAY, moved)
    assert words[language] not in deterministic.narrate(facts, language)


@pytest.mark.parametrize("language", ["en", "ko"])
def test_of_two_equal_markets_neither_is_called_the_first(language: Language) -> None:
    equal = (*entry("krw.volume.2", "ETH-KRW", "-7.5", "4123000", "512345678901", 2),)
    assert not re.search(r"\bled\b|선두", deterministic.narrate(a_day(*equal), language))


def test_the_place_of_an_anomaly_is_no_rank_of_its_market() -> None:
    facts = behind(DAY, "anomaly.price")
    assert not check("ETH-KRW came #3.", facts).passed


def test_the_count_of_markets_not_named_proves_nothing_else() -> None:
    facts = a_day(fact("krw.left_out", 6, "count", of="markets"))
    assert check(deterministic.left_out_line(facts, "en"), facts).passed
    assert check(deterministic.left_out_line(facts, "ko"), facts).passed
    assert not check("Only 6 markets traded.", facts).passed


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


@pytest.mark.parametrize(
    ("answer", "language", "reason"),
    [
        ("I cannot help with that request.", "en", "malformed"),
        ("요청하신 내용은 도와드릴 수 없습니다.", "ko", "malformed"),
        ("\n\n".join(["BTC-KRW rose 3.2%."] * 7), "en", "malformed"),
        ("\n\n".join("a" * 930), "en", "malformed"),
        ("KRW markets turned over {{f:krw.turnover}} in {{f:krw.trades}} trades.", "ko", "language"),
        ("BTC-KRW rose {{f:krw.gainer.2.change|abs}} 상승.", "ko", "language"),
        ("{{f:krw.turnover}}", "ko", "language"),
        ("거래대금은 {{f:krw.turnover}}입니다.", "en", "language"),
    ],
)
def test_an_answer_that_is_no_narrative_is_refused(answer: str, language: Language, reason: str) -> None:
    with pytest.raises(NarrativeError) as caught:
        accept(answer, DAY, language)
    assert caught.value.reason == reason


def test_six_paragraphs_and_names_in_capitals_pass() -> None:
    assert accept("\n\n".join(["BTC-KRW rose 3.2%."] * 6), DAY, "en").count("\n\n") == 5
    korean = "BTC-KRW는 {{f:krw.gainer.2.change|abs}} 상승했습니다. KRW 마켓 거래대금은 {{f:krw.turnover}}입니다."
    assert "3.21% 상승" in accept(korean, DAY, "ko")


def test_the_model_gets_names_and_values_and_no_secrets() -> None:
    sent = narrative.data(DAY, "ko")
    assert "1조 2,346억 원" in sent
    assert "api_key" not in sent
