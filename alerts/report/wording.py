"""How a fact is written out, in English and Korean; and how slots in a text become facts.

Lives here: the only formatter of numbers, and ``{{f:<id>}}``. Doesn't: sentences (``catalogue``), proof that a text
states nothing else (``numbers``), which reads every form written here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal

from alerts.report.facts import Fact, FactSet, plain

Language = Literal["en", "ko"]

#: ``{{f:id}}`` is the fact; ``{{f:id|abs}}`` the same without its sign, for use after "fell" or "rose";
#: ``{{f:id|bare}}`` its number alone, for "23 of 24 hours".
SLOT: Final = re.compile(r"\{\{\s*f:\s*(?P<id>[A-Za-z0-9_.]*)\s*(?:\|\s*(?P<how>\w+)\s*)?\}\}")
#: Not strftime's, which follow the process's locale.
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
#: Units of amounts, the smallest first.
_SCALES_EN: Final = ((10**6, "M"), (10**9, "B"), (10**12, "T"))
_SCALES_KO: Final = ((10**4, "만"), (10**8, "억"), (10**12, "조"))
_COUNTERS_KO: Final = {"markets": "개", "trades": "건", "anomalies": "건", "gaps": "건", "frames": "건", "rows": "건"}


class SlotError(Exception):
    """A text holds a slot that no fact fills; the message names it."""


def rounded(value: Decimal, quantum: Decimal) -> Decimal:
    """``value`` to the nearest multiple of ``quantum``, halves away from zero: the one rounding rule."""
    return (value / quantum).quantize(Decimal(1), ROUND_HALF_UP) * quantum


def write(fact: Fact, language: Language, *, signed: bool = True) -> str:
    """The fact as text: ``+3.21%``, ``₩1.23T`` or ``1조 2,346억 원``, ``14:35 KST``.

    ``signed=False`` leaves the sign out, for use after a word that says the direction.
    """
    shown = fact if signed else replace(fact, value=abs(fact.value), signed=False)
    return _WRITERS[language][fact.unit](shown)


def fill(text: str, facts: FactSet, language: Language) -> str:
    """Put facts into the slots of ``text``.

    Raises:
        SlotError: a slot names no fact, asks for an unknown form, or braces are left over.
    """

    def put(match: re.Match[str]) -> str:
        fact, how = facts.get(match["id"]), match["how"]
        if fact is None:
            raise SlotError(f"{match[0]}: no fact has the id {match['id']!r}")
        if how not in (None, "abs", "bare"):
            raise SlotError(f"{match[0]}: there is no form {how!r}, only abs and bare")
        return _tenths(fact.value) if how == "bare" else write(fact, language, signed=how is None)

    filled = SLOT.sub(put, text)
    if "{{" in filled or "}}" in filled:
        raise SlotError("the text holds braces that are no slot of the form {{f:<id>}}")
    return filled


def _percent(fact: Fact) -> str:
    number = rounded(fact.value, Decimal("0.01"))
    sign = "+" if fact.signed and number > 0 else ""
    return f"{sign}{abs(number) if number == 0 else number:,.2f}%"


def _scaled_en(value: Decimal) -> str:
    """The amount in its unit, which is chosen by the amount as written: 999,999.6 is 1.00M."""
    letter, written, number = "", rounded(value, Decimal(1)), Decimal(0)
    for scale, name in _SCALES_EN:
        if written < scale:
            break
        letter, number = name, rounded(value / scale, Decimal("0.01"))
        written = number * scale
    return f"{number:,.2f}{letter}" if letter else f"{written:,f}"


def _scaled_ko(value: Decimal) -> str:
    """The amount in its unit and the one below, which are chosen by the amount as written: 99,999,999.6 is 1억."""
    unit, lower = (1, ""), (1, "")
    written = rounded(value, Decimal(1))
    for scale, name in _SCALES_KO:
        if written < scale:
            break
        unit, lower = (scale, name), unit
        written = rounded(value, Decimal(lower[0]))
    high, low = divmod(int(written), unit[0])
    tail = f" {low // lower[0]:,}{lower[1]}" if low else ""
    return f"{high:,}{unit[1]}{tail}"


def _krw_en(fact: Fact) -> str:
    amount = abs(fact.value)
    return f"{_minus(fact)}₩{_exact(amount) if fact.of == 'price' else _scaled_en(amount)}"


def _krw_ko(fact: Fact) -> str:
    amount = abs(fact.value)
    if fact.of == "price":
        return f"{_minus(fact)}{_exact(amount)}원"
    text = _scaled_ko(amount)
    return f"{_minus(fact)}{text} 원" if text[-1] in "조억만" else f"{_minus(fact)}{text}원"


def _minus(fact: Fact) -> str:
    return "-" if fact.value < 0 else ""


def _exact(value: Decimal) -> str:
    whole, _, fraction = plain(value).partition(".")
    return f"{int(whole):,}.{fraction}" if fraction else f"{int(whole):,}"


def _tenths(value: Decimal) -> str:
    number = rounded(value, Decimal("0.1"))
    return _exact(number)


def _asset(fact: Fact) -> str:
    amount = abs(fact.value)
    quantum = Decimal(1).scaleb(min(amount.adjusted() - 7, 0))  # eight significant digits, whole units at least
    return f"{_minus(fact)}{_exact(rounded(amount, quantum))} {fact.of}"


def _count_ko(fact: Fact) -> str:
    return f"{int(fact.value):,}{_COUNTERS_KO.get(fact.of, '개')}"


def _plural(value: Decimal, one: str, many: str) -> str:
    text = _tenths(value)
    return f"{text} {one if text == '1' else many}"


Writer = Callable[[Fact], str]
_ENGLISH: Final[Mapping[str, Writer]] = {
    "percent": _percent,
    "krw": _krw_en,
    "asset": _asset,
    "count": lambda fact: f"{int(fact.value):,}",
    "ratio": lambda fact: f"{_tenths(fact.value)}x",
    "hours": lambda fact: _plural(fact.value, "hour", "hours"),
    "minutes": lambda fact: _plural(fact.value, "minute", "minutes"),
    "sigma": lambda fact: f"{_tenths(fact.value)}σ",
    "rank": lambda fact: f"#{int(fact.value)}",
    "time": lambda fact: f"{fact.when:%H:%M} KST",
    "date": lambda fact: f"{fact.when.day} {MONTHS[fact.when.month - 1][:3]} {fact.when.year}",
}
_KOREAN: Final[Mapping[str, Writer]] = {
    **_ENGLISH,
    "krw": _krw_ko,
    "count": _count_ko,
    "ratio": lambda fact: f"{_tenths(fact.value)}배",
    "hours": lambda fact: f"{_tenths(fact.value)}시간",
    "minutes": lambda fact: f"{_tenths(fact.value)}분",
    "rank": lambda fact: f"{int(fact.value)}위",
    "time": lambda fact: f"{fact.when:%H:%M}",
    "date": lambda fact: f"{fact.when.year}년 {fact.when.month}월 {fact.when.day}일",
}
_WRITERS: Final[Mapping[str, Mapping[str, Writer]]] = {"en": _ENGLISH, "ko": _KOREAN}
