"""Numbers spelled as Upbit spells them, and never changed by it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.local.simulator.upbit import spelling

E8 = spelling.E8


@pytest.mark.parametrize(
    ("value", "fixed", "plain", "double"),
    [
        (127 * E8, "127.00000000", "127.0", "127.0"),
        (0, "0E-8", "0.0", "0.0"),
        (116_539_000 * E8, "116539000.00000000", "116539000.0", "1.16539E8"),
        (79_276, "0.00079276", "0.00079276", "7.9276E-4"),
        (1, "0.00000001", "0.00000001", "1.0E-8"),
        (100_000, "0.00100000", "0.001", "0.001"),
        (10_000_000 * E8, "10000000.00000000", "10000000.0", "1.0E7"),
        (-4 * E8, "-4.00000000", "-4.0", "-4.0"),
        (-2_302_000 * E8, "-2302000.00000000", "-2302000.0", "-2302000.0"),
    ],
)
def test_known_spellings(value: int, fixed: str, plain: str, double: str) -> None:
    assert (spelling.fixed(value), spelling.plain(value), spelling.double(value)) == (fixed, plain, double)


def test_rates_and_amounts() -> None:
    assert spelling.rate(1000, 158_200_000) == "0.0000063211"
    assert spelling.rate(182_000, 122_720_000) == "0.0014830508"
    assert spelling.rate(-2_302_000, 49_112_000) == "-0.0468724548"
    assert spelling.rate(0, 5) == "0"
    assert spelling.amount(1413944826754000 * 10**8) == "14139448.26754000"
    assert spelling.amount(1234567890123456) == "0.1234567890123456"


@given(st.integers(-(10**22), 10**22))
def test_no_spelling_changes_the_value(value: int) -> None:
    for spell in (spelling.fixed, spelling.plain, spelling.double):
        assert Decimal(spell(value)).scaleb(8) == value
    assert Decimal(spelling.amount(abs(value))).scaleb(16) == abs(value)
