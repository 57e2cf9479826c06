"""OKX's codes as markets, and contracts as coins."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.exchanges import registry
from tidemark.exchanges.base import Unparsable
from tidemark.exchanges.contract_size import ContractSize
from tidemark.exchanges.okx import sizes, symbols

OKX = registry.get("okx")
NOW = datetime(2026, 9, 20, tzinfo=UTC)
IN_2022 = datetime(2022, 2, 27, 23, 14, tzinfo=UTC)


def coins(code: str, count: str, price: str | None = None, at: datetime | None = NOW) -> Decimal | None:
    return sizes.coins(symbols.instrument(code), Decimal(count), None if price is None else Decimal(price), at)


@pytest.mark.parametrize(
    ("code", "market"),
    [
        ("BTC-USDT-SWAP", "BTC-USDT"),
        ("BTC-USD-SWAP", "BTC-USD"),
        ("BTC-USD_UM-SWAP", "BTC-USD_UM"),
        ("1INCH-USDC-SWAP", "1INCH-USDC"),
        ("BTC-USDT", "BTC-USDT-SPOT"),
        ("PROPS-ETH", "PROPS-ETH-SPOT"),
        ("BTC-USDT-250328", "BTC-USDT-250328"),
        ("BTC-USD_UM-261030", "BTC-USD_UM-261030"),
        ("ETH-USD_UM_XPERP-310404", "ETH-USD_UM_XPERP-310404"),
        ("BTC-USD-220325-40000-C", "BTC-USD-220325-40000-C"),
        ("XRP-USD-260327-0.55-P", "XRP-USD-260327-0.55-P"),
    ],
)
def test_only_a_swap_has_the_plain_market(code: str, market: str) -> None:
    assert OKX.market(code) == market


@pytest.mark.parametrize(
    "code",
    [
        "",
        "BTC",
        "btc-usdt",
        "BTC-USDT-",
        "BTC-USDT-SWAP-1",
        "BTC-USDT-2503",
        "BTC-USD-220325-40000-X",
        "A-B\n",
        "LISTING-SPOT-SLX-USDT",
        "LISTING-SWAP-SLX-USDT",
        "BTC-USD_UM",
        "ETH-USD_UM_XPERP",
    ],
)
def test_other_forms_are_no_codes(code: str) -> None:
    with pytest.raises(Unparsable, match="bad_code"):
        OKX.market(code)


@pytest.mark.parametrize(
    ("code", "count", "size"),
    [
        ("BTC-USDT-SWAP", "1040.37", "10.4037"),
        ("ETH-USDT-SWAP", "1", "0.1"),
        ("SOL-USDT-SWAP", "0.01", "0.01"),
        ("XRP-USDT-SWAP", "0.01", "1"),
        ("DOGE-USDT-SWAP", "4500729.03", "4500729030"),
        ("BTC-USDT-220624", "133", "1.33"),
        ("BTC-USDT", "0.00373695", "0.00373695"),
    ],
)
def test_contracts_are_an_amount_of_coins(code: str, count: str, size: str) -> None:
    assert coins(code, count) == Decimal(size)


def test_inverse_contracts_are_an_amount_of_dollars() -> None:
    assert coins("BTC-USD-SWAP", "1400", "20000") == 7
    assert coins("BTC-USD-250328", "1", "50000") == Decimal("0.002")
    assert coins("UNI-USD-SWAP", "10", "9.615") == Decimal("10.400416016640665627")
    assert coins("UNI-USD-SWAP", "0") == 0
    assert coins("UNI-USD-SWAP", "10") is None


def test_options_were_cut_to_a_tenth() -> None:
    assert (coins("BTC-USD-220325-40000-C", "100", at=IN_2022), coins("BTC-USD-261225-40000-C", "100")) == (10, 1)
    assert (coins("ETH-USD-220228-3000-C", "1", at=IN_2022), coins("ETH-USD-261225-3000-C", "1")) == (1, Decimal("0.1"))
    assert coins("ETH-USD-261225-3000-C", "1", at=None) == Decimal("0.1")


@pytest.mark.parametrize(
    ("code", "is_inverse"),
    [
        ("BTC-USD-SWAP", True),
        ("BTC-USD-250328", True),
        ("BTC-USD_UM-261030", False),
        ("ETH-USD_UM_XPERP-310404", False),
        ("BTC-USDT-SWAP", False),
        ("BTC-USD-261225-40000-C", False),
        ("BTC-USD", False),
    ],
)
def test_only_a_quote_of_plain_dollars_is_inverse(code: str, is_inverse: bool) -> None:
    assert symbols.instrument(code).is_inverse is is_inverse


@pytest.mark.parametrize(
    "code",
    ["NEW-USDT-SWAP", "BTC-USDC-SWAP", "BTC-USD_UM-SWAP", "SOL-USD-261225-100-C", "ETH-USD_UM_XPERP-310404",
     "XMR-USDT-SWAP", "BTC-USD_UM-261030"],
)  # fmt: skip
def test_the_size_of_an_unknown_contract_is_none(code: str) -> None:
    assert coins(code, "1") is None
    assert OKX.contract_size(code) is None
    assert not sizes.is_countable(symbols.instrument(code))


def test_a_family_has_one_size_for_its_swap_and_its_futures() -> None:
    assert OKX.contract_size("TRX-USDT-210924") == OKX.contract_size("TRX-USDT-SWAP") == ContractSize(Decimal(1000))
    assert OKX.contract_size("BTC-USD-SWAP") == ContractSize(Decimal(100), is_inverse=True)
    assert OKX.contract_size("BTC-USDT") is None


def test_the_file_says_of_every_row_what_it_is() -> None:
    assert {contract for contract, _ in sizes.KNOWN} == {"linear", "inverse", "option"}
    assert len(LINEAR) > 50


LINEAR = sorted(family for contract, family in sizes.KNOWN if contract == "linear" and family.endswith("-USDT"))


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from(LINEAR))
def test_linear_sizes_are_exact(count: Decimal, family: str) -> None:
    ((_, size),) = sizes.KNOWN["linear", family]
    found = sizes.coins(symbols.instrument(f"{family}-SWAP"), count, None, NOW)
    assert found is not None
    assert found.as_integer_ratio() == (count * size.value).as_integer_ratio()
    assert size.contracts(found, None) == count


@given(
    st.decimals(min_value=1, max_value=10**9, places=0),
    st.decimals(min_value=Decimal("0.01"), max_value=10**7, places=2),
)
def test_inverse_sizes_are_off_by_half_of_the_last_decimal_at_most(count: Decimal, price: Decimal) -> None:
    found = sizes.coins(symbols.instrument("ETH-USD-SWAP"), count, price, NOW)
    assert found is not None
    exact_top, exact_bottom = (count * 10).as_integer_ratio()[0] * 100, int(price * 100)
    ours_top, ours_bottom = found.as_integer_ratio()
    assert abs(exact_top * ours_bottom - ours_top * exact_bottom) * 2 * 10**18 <= exact_bottom * ours_bottom
