"""The number gate: what it must let pass, what it must refuse, and the two laws (hypothesis)."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alerts.report.facts import Fact, FactSet
from alerts.report.narrative import NarrativeError, accept
from alerts.report.numbers import check
from alerts.report.wording import Language, write
from tests.unit.alerts.sample import DATE, START, a_day, entry, fact

DAY = a_day()
LANGUAGES = st.sampled_from(["en", "ko"])

PROVEN = """
1INCH-KRW rose 12.35% to ₩512.5, while ETH-KRW fell 7.5%.
1INCH gained 12.3%. 0G slipped 0.00%.
BTC-KRW +3.2% / ETH-KRW -7.50%
ETH-KRW −7.5% (minus sign), ETH-KRW ▼7.5%
KRW-BTC climbed 3% to 95,000,000 won; BTC/KRW 95 million won
Of 20 markets, 12 rose and 7 fell on 13 April 2026.
Turnover came to ₩1.23T, down 5.13% on the day before.
Turnover came to ₩1.2 trillion; KRW 1,234.57 billion; 1,234,567,890,123 won.
Three price anomalies were seen in 24 hours; 1 gap is known.
There was one volume anomaly; twelve markets rose, seven declined.
A dozen markets rose.
1INCH-KRW traded 5.2x its usual hour at 21:00 KST, 9 pm, 12:00 UTC.
The largest move, ETH-KRW -4.25% at 14:35, was a fall.
151,234 trades; 151 thousand trades; 0.15 million trades.
1INCH-KRW was ranked #1 among the gainers, BTC-KRW second.
The day ran from midnight to midnight, 24h, a 24-hour window.
The 13th of April was a Monday.
BTC-KRW closed at ₩95,000,000, up 3.21%.
BTC-KRW ranged from a low of ₩47,500,000 to a high of ₩190,000,000.
BTC-KRW의 비중은 41.24%, 고가는 190,000,000원이다.
BTC-KRW made up 41.24% of turnover, so much for prose.
No unrepaired gaps: 0 gaps are open.
1INCH-KRW는 12.35% 상승해 512.5원에 마감했고, ETH-KRW는 7.5% 하락했다.
거래대금은 1조 2,346억 원으로 전일보다 5.13% 감소했다.
거래대금 1.23조원, 1조 2346억원, 일조 이천삼백억 원, 1조2천3백억 원
스무 개 마켓 중 열두 개가 상승하고 일곱 개가 하락했다.
가격 이상 징후는 세 건이다. 이 시간 동안 조건은 같고 사건은 없다.
4월 13일 월요일, 2026년 4월 13일, 오후 2시 35분에 ETH-KRW 급락 4.25%.
1INCH-KRW 거래량은 평소의 5.2배, 다섯 배였다.
９５,０００,０００원에 거래된 BTC-KRW, ＋3.21％
체결 15만 1234건, 십오만 건
23 of 24 hours were verified, 23 out of 24 hours.
커버리지는 24시간 중 23시간, 95.83퍼센트이고 1시간이 손상되었다.
공백은 한 건.
BTC-KRW는 두 번째, 1INCH-KRW는 1위 상승.
"""

REFUSED = """
BTC-KRW rose 3.31%.
BTC-KRW fell 3.21%.
BTC-KRW rose -3.21%.
ETH-KRW rose 3.21%, BTC-KRW fell 7.5%.
BTC-KRW rose 7.5% and ETH-KRW fell 3.21%.
ETH-KRW 7.5%
ETH-KRW moved by 7.50%
BTC-KRW closed at $95,000,000.
BTC-KRW closed at 95,000,000.
BTC-KRW closed at ₩95,000,001.
BTC-KRW closed at ₩95 billion.
BTC-KRW 3.21%p, BTC-KRW 3.21 percentage points
BTC-KRW gained nearly 3%.
BTC-KRW gained under 3%.
DOGE-KRW rose 3.21%.
12 markets fell.
7 markets rose.
13 markets rose.
20 trades were made.
Two price anomalies.
Four price anomalies.
No price anomalies were found.
Dozens of markets rose.
Hundreds of trades.
The third market.
ETH-KRW was second... no, BTC-KRW #1.
Turnover doubled.
Half of all markets rose.
Two-thirds of hours.
½ of markets
② markets
Ⅳ markets
三 markets
१३ markets rose
12 April 2026
April 14
2025-04-13
on Tuesday
at 14:36
at 2 am
Q3 was better.
BTC-KRW 3.2.1%
BTC-KRW 3,21%
1e1 markets rose
.5% more
twenty thirty markets
BTC-KRW 3\u200b.21%
BTC-KRW rose 3.\u00ad21%
turnover of ₩1.24T
turnover of ₩1,234 million
turnover rose to ₩1.23T
거래대금 1조 2,356억 원
거래대금 1조 3,346억 원
거래대금 12조 3,456억 원
거래대금이 1조 2,346억 원으로 증가했다
삼십 퍼센트 상승
수십 개 마켓이 올랐다
몇십 개
이상 징후 네 건
이상 징후는 없었다.
열세 개가 상승했다
종목 셋이 올랐다
이만오천 원
이만 원
이틀 연속 상승
오후 3시 35분
4월 14일
화요일
BTC-KRW는 3.21% 하락
ETH-KRW가 7.5% 올랐다
BTC-KRW는 3.21%p 상승
3분의 1
절반이 올랐다
1INCH-KRW 거래량은 6배
23 + 1 = 25
BTC-KRW fell sharply.
BTC-KRW rose 3.21%, while ETH-KRW rallied.
ETH-KRW는 강세를 보였다.
No market rose.
3/4 of markets
a hundred markets
BTC-KRW turned over ₩1.23T in 151,234 trades.
BTC-KRW saw 151,234 trades.
KRW turnover was ₩512.35B.
The market as a whole rose 12.35%.
Bitcoin closed at ₩95,000,000.
BTC-KRW fell 7.5% against ETH-KRW.
BTC-KRW, with +3.21% of all turnover
BTC-KRW의 비중은 3.21%
BTC-KRW opened at ₩95,000,000
BTC-KRW 시가 95,000,000원
BTC-KRW closed at ₩190,000,000.
BTC-KRW 종가 190,000,000원
BTC-KRW peaked at ₩95,000,000.
BTC-KRW had a turnover of ₩95,000,000.
BTC-KRW rose to ₩190,000,000.
BTC-KRW's range was 41.24%.
BTC-KRW turnover rose 3.21%.
ETH-KRW fell 4.25% on the day.
ETH-KRW fell 7.5% within a minute.
BTC-KRW rose 3.21%, and its volume quintupled.
The market fell 5.13%.
BTC-KRW was down for 23 hours.
ETH-KRW 공백은 한 건.
이상 징후는 세 건이다.
12 markets traded.
Every hour of the day was verified, and there were no gaps.
There were no gaps.
공백은 없었다.
The day was completely verified.
Coverage is complete.
검증이 완전하다.
KRW turnover soared on the day before.
거래대금이 급증했다. 거래대금이 증가했다.
KRW turnover soared in 151,234 trades.
BTC-KRW turnover soared.
The market rose.
ETH-KRW soared for 24 hours.
Every market rose
All markets fell
Both markets rose
Most markets fell
A couple of markets
모든 마켓이 하락했다
시장 전체가 하락했다
대부분의 마켓
A trio of markets
grew tenfold
ranked XIV
ranked xiv
DOGE turned over ₩1.23T.
1INCH-KRW traded 5.2x more than ETH-KRW
1INCH-KRW 거래량은 ETH-KRW보다 5.2배
Coverage was perfect.
Nothing was missed.
BTC-KRW closed at its high of ₩95,000,000.
시장은 상승 마감했다
데이터 공백 없이 수집되었다.
BTC-KRW rose. Its turnover was ₩1.23T.
24 of 24 hours verified
Coverage ran the full 24 hours.
23 hours were broken: coverage.
ETH-KRW fell 7.5% in an hour.
ETH-KRW fell 7.5% on the week.
ETH-KRW 주간 7.5% 하락
BTC-KRW rose from ₩95,000,000
BTC-KRW 95,000,000원에서 상승
"""


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("text", lines(PROVEN))
def test_what_the_facts_say_passes(text: str) -> None:
    verdict = check(text, DAY)
    assert verdict.passed, str(verdict)
    assert verdict.proven > 0


@pytest.mark.parametrize("text", lines(REFUSED))
def test_what_the_facts_do_not_say_is_refused(text: str) -> None:
    assert not check(text, DAY).passed


@pytest.mark.parametrize(
    "text",
    [
        "BTC-KRW turned over {{f:krw.turnover}} in {{f:krw.trades}} trades.",
        "KRW turnover was {{f:krw.volume.1.turnover}}.",
        "The market as a whole rose {{f:krw.gainer.1.change|abs}}.",
        "BTC-KRW, with {{f:krw.volume.1.change}} of all turnover",
        "BTC-KRW opened at {{f:krw.volume.1.close}} and its volume quintupled",
        "Every hour of the day was verified, and there were no gaps.",
        "KRW turnover soared on the day before.",
    ],
)
def test_a_true_number_in_a_false_sentence_is_refused(text: str) -> None:
    with pytest.raises(NarrativeError) as refused:
        accept(text, DAY, "en")
    assert refused.value.reason == "number"


def test_a_refusal_names_the_token_and_the_nearest_fact() -> None:
    (refusal,) = check("Turnover came to ₩1.24T.", DAY).refusals
    assert refusal.token == "₩1.24T"
    assert "krw.turnover = 1234567890123.45" in refusal.reason


def test_words_without_numbers_prove_nothing_and_break_nothing() -> None:
    verdict = check(
        "One of the calmer days; BTC-KRW rose as ETH-KRW fell. 이번에도 조건은 같았다. 한편 사건은 없었다.", DAY
    )
    assert verdict.passed
    assert verdict.proven == 0


def test_symbols_that_are_numbers_are_no_names() -> None:
    facts = a_day(fact("krw.gainer.3.change", "1.5", "percent", signed=True, subject="5-KRW"))
    assert check("5-KRW gained 1.50%.", facts).passed
    assert not check("5 gained much.", facts).passed
    assert not check("5%", facts).passed


def test_a_fact_of_one_market_does_not_prove_it_of_another() -> None:
    assert check("BTC-KRW closed at ₩95,000,000.", DAY).passed
    assert not check("ETH-KRW closed at ₩95,000,000.", DAY).passed


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("XRP-USDT rose 1.50%.", True), ("OKX:XRP-USDT rose 2.50%.", True), ("XRP-USDT rose 2.50%.", False),
        ("OKX:XRP-USDT rose 1.50%.", False), ("BINANCE:XRP-USDT rose 1.50%.", False), ("XRP rose 2.50%.", False),
        ("XRP rose 1.50%.", True), ("OKX:XRP rose 2.50%.", False), ("OKX rose 2.50%.", False),
        ("OKX:XRP-USDT 상승 2.50%.", True), ("OKX:XRP/USDT rose 1.50%.", False),
        ("XRP-USDT rose 1.50%, OKX:XRP-USDT 2.50%.", True), ("XRP-USDT rose 2.50%, OKX:XRP-USDT 1.50%.", False),
    ],
)  # fmt: skip
def test_the_same_pair_of_another_exchange_is_another_market(text: str, passes: bool) -> None:
    facts = a_day(
        *entry("other.gainer.1", "OKX:XRP-USDT", "2.5", "1.7559", "1000", 1),
        *entry("other.gainer.2", "XRP-USDT", "1.5", "1.7570", "1000", 2),
    )
    assert check(text, facts).passed is passes


def test_an_amount_of_an_asset_needs_that_asset() -> None:
    facts = a_day(fact("other.gainer.1.close", "0.00012345", "asset", of="BTC", subject="XRP-BTC"))
    assert check("XRP-BTC closed at 0.00012345 BTC.", facts).passed
    assert not check("XRP-BTC closed at 0.00012345 ETH.", facts).passed
    assert not check("XRP-BTC closed at 0.00012346 BTC.", facts).passed


@pytest.mark.parametrize(
    ("value", "stated", "passes"),
    [
        ("2.5", "3%", True), ("2.5", "2%", False), ("2.49", "3%", False), ("2.45", "2.5%", True), ("-2.5", "-3%", True),
        ("-2.5", "-2%", False), ("2.5", "2.5%", True), ("2.5", "2.50%", True), ("2.5", "2.51%", False),
        ("0.004", "0%", True), ("0.004", "-0%", False), ("99.996", "100.00%", True),
    ],
)  # fmt: skip
def test_rounding_is_to_the_digit_stated_halves_away_from_zero(value: str, stated: str, passes: bool) -> None:
    assert check(stated, only(fact("a.change", value, "percent", signed=True))).passed is passes


def only(*facts: Fact) -> FactSet:
    return FactSet(DATE, (fact("report.date", START, "date"), *facts))


# --- the two laws -------------------------------------------------------------------------------------------

DECIMALS = st.decimals(min_value=Decimal("-1e6"), max_value=Decimal("1e6"), places=6)
AMOUNTS = st.decimals(min_value=Decimal(0), max_value=Decimal("1e17"), places=4)


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    unit = draw(
        st.sampled_from(["percent", "change", "krw", "price", "asset", "count", "ratio", "hours", "minutes", "sigma"])
    )
    subject = draw(st.sampled_from(["", "BTC-KRW", "1INCH-KRW", "0G-KRW", "3-KRW"]))
    if unit in ("percent", "change"):
        value = draw(DECIMALS)
        return Fact(
            "a.fact", value if unit == "change" else abs(value), "percent", "m", subject, signed=unit == "change"
        )
    if unit == "count":
        of = draw(st.sampled_from(["markets", "trades", "anomalies", "gaps"]))
        return Fact("a.fact", Decimal(draw(st.integers(0, 10**9))), "count", "m", subject, of=of)
    value = draw(AMOUNTS if unit in ("krw", "price", "asset") else st.decimals(0, 100_000, places=3))
    of = {"price": "price", "asset": "USDT"}.get(unit, "")
    return Fact("a.fact", value, "krw" if unit == "price" else unit, "m", subject, of=of)  # type: ignore[arg-type]


@given(facts(), LANGUAGES)
@example(fact("a.fact", "999999999999.9", "krw"), "ko")
@example(fact("a.fact", "99995", "krw"), "ko")
@example(fact("a.fact", "-0.001", "percent", signed=True), "en")
def test_law_whatever_the_formatter_writes_is_proven(one: Fact, language: Language) -> None:
    text = f"{one.subject} {write(one, language)}".strip()
    verdict = check(text, only(one))
    assert verdict.passed, f"{text}: {verdict}"
    assert verdict.proven == 1


@given(facts(), LANGUAGES, st.data())
def test_law_any_changed_digit_is_refused(one: Fact, language: Language, data: st.DataObject) -> None:
    text = write(one, language)
    position = data.draw(st.sampled_from([i for i, char in enumerate(text) if char.isdigit()]))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != text[position]]))
    changed = f"{one.subject} {text[:position]}{digit}{text[position + 1 :]}".strip()
    assert not check(changed, only(one)).passed, changed


@given(st.decimals(min_value=Decimal("-1e6"), max_value=Decimal("-0.005"), places=6), LANGUAGES)
def test_law_a_lost_or_turned_sign_is_refused(value: Decimal, language: Language) -> None:
    one = Fact("a.change", value, "percent", "m", signed=True)
    text = write(one, language)
    assert text[0] == "-"
    assert not check(text[1:], only(one)).passed
    assert not check("+" + text[1:], only(one)).passed


@given(st.text(max_size=200))
def test_no_text_breaks_the_gate(text: str) -> None:
    check(text, DAY)


@given(st.lists(st.sampled_from([*lines(PROVEN), *lines(REFUSED), *"0123456789,.%₩만억조이삼 -\n"]), max_size=12))
def test_no_mixture_of_numbers_breaks_the_gate(parts: list[str]) -> None:
    check("".join(parts), DAY)
