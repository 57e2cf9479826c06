"""Sizes of contracts and what instruments are, over real PostgreSQL: from the lists, with history."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest

from tests.transform.conftest import BARS_OF_TRADES, Warehouse
from tests.transform.rows import Row, at, listing, trade

SWAP = {"exchange": "okx", "market": "XMR-USDT", "code": "XMR-USDT-SWAP"}
COIN = {"exchange": "okx", "market": "BTC-USD", "code": "BTC-USD-SWAP"}


def contract(event_at: datetime, value: str | None, of: Row = SWAP, **more: Any) -> Row:
    """One swap in one list."""
    about = {"instrument": "swap", "contract_value": value, "is_inverse": False, "state": "live"}
    return listing(**of, event_at=event_at, **{**about, **more})


def counted(trade_id: int, event_at: datetime, contracts: str, size: str | None = None, **more: Any) -> Row:
    """A trade that counts contracts; ``size`` is what the parser made of it."""
    return trade(trade_id, event_at, size_contracts=contracts, size=size, **{**SWAP, **more})


def sizes(warehouse: Warehouse) -> dict[int, str]:
    return {r["trade_id"]: r["size"] for r in warehouse.rows("select trade_id, size::text as size from silver.trade")}


def test_a_trade_of_an_unknown_contract_waits_for_the_list(warehouse: Warehouse) -> None:
    warehouse.load("trade", [counted(1, at("14:40"), "8"), counted(2, at("14:41"), "0.5")])
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.rows("select reason, count(*) as n from silver.quarantine group by 1") == [
        {"reason": "unknown_contract", "n": 2}
    ]
    warehouse.check()
    warehouse.load("market", [contract(at("15:00"), "0.1")])
    warehouse.run("market", *BARS_OF_TRADES)
    assert sizes(warehouse) == {1: "0.8", 2: "0.05"}
    assert warehouse.count("silver.quarantine") == 0
    assert warehouse.rows("select sum(volume_base)::text as v from gold.ohlcv_1m") == [{"v": "0.85"}]
    warehouse.check()
    warehouse.run("market", *BARS_OF_TRADES)
    assert warehouse.count("silver.trade") == 2


def test_a_list_without_the_contract_lets_it_wait(warehouse: Warehouse) -> None:
    warehouse.load("market", [contract(at("13:00"), None)])
    warehouse.load("trade", [counted(1, at("14:40"), "8")])
    warehouse.run("market", "trade")
    warehouse.run("market", "trade")
    assert warehouse.rows("select reason from silver.quarantine") == [{"reason": "unknown_contract"}]
    warehouse.check()


def test_a_trade_has_the_size_that_was_listed_when_it_was_executed(warehouse: Warehouse) -> None:
    """Listed as 0.1 at 10:00 and as 1 from 12:00 on. Before the first list the parser's size holds, if it has one."""
    warehouse.load("market", [contract(at("10:00"), "0.1")])
    warehouse.load("market", [contract(at("12:00"), "1"), contract(at("11:00"), "0.10")])
    warehouse.load(
        "trade",
        [
            counted(1, at("09:00"), "8", "80"),
            counted(2, at("09:30"), "8"),
            counted(3, at("10:00"), "8", "80"),
            counted(4, at("11:59:59.999"), "8"),
            counted(5, at("12:00"), "8", "0.8"),
            trade(6, at("12:30"), size="8", **SWAP),
        ],
    )
    warehouse.run("market", "trade")
    assert sizes(warehouse) == {1: "80", 2: "0.8", 3: "0.8", 4: "0.8", 5: "8", 6: "8"}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_the_history_is_the_same_in_any_order_of_the_lists(warehouse: Warehouse, order: tuple[int, ...]) -> None:
    lists = [
        [contract(at("10:00"), "0.1", state="preopen")],
        [contract(at("11:00"), "0.1")],
        [contract(at("12:00"), "1")],
    ]
    for number in order:
        warehouse.load("market", lists[number])
        warehouse.run("market")
    history = warehouse.rows(
        "select state, contract_value::text as value, valid_from, valid_to from silver.instrument order by valid_from"
    )
    assert history == [
        {"state": "preopen", "value": "0.1", "valid_from": at("10:00"), "valid_to": at("11:00")},
        {"state": "live", "value": "0.1", "valid_from": at("11:00"), "valid_to": at("12:00")},
        {"state": "live", "value": "1", "valid_from": at("12:00"), "valid_to": None},
    ]


def test_the_same_list_again_is_no_history(warehouse: Warehouse) -> None:
    for clock in ("10:00", "11:00", "12:00"):
        warehouse.load("market", [contract(at(clock), "0.1"), contract(at(clock), "100", COIN, is_inverse=True)])
        warehouse.run("market")
    assert warehouse.count("silver.instrument") == 2
    warehouse.connection.execute("drop table silver.market cascade")
    warehouse.run("market")
    assert warehouse.count("silver.instrument") == 2


@pytest.mark.parametrize(
    ("contracts", "price"),
    [("1400", "20000"), ("10", "9.615"), ("1", "3"), ("2", "3"), ("7", "1048576"), ("0.1", "86712.3")],
)
def test_inverse_contracts_are_rounded_as_the_parser_rounds(warehouse: Warehouse, contracts: str, price: str) -> None:
    warehouse.load("market", [contract(at("10:00"), "10", COIN, is_inverse=True)])
    warehouse.load("trade", [counted(1, at("14:40"), contracts, price=price, **COIN)])
    warehouse.run("market", "trade")
    with localcontext(prec=60) as context:
        context.rounding = ROUND_HALF_EVEN
        expected = (Decimal(contracts) * 10 / Decimal(price)).quantize(Decimal(1).scaleb(-18))
    assert Decimal(sizes(warehouse)[1]) == expected


def test_a_tie_at_the_last_decimal_goes_to_the_even_one(warehouse: Warehouse) -> None:
    """10 dollars at 2^20 of 2^20 * 10^12: the nineteenth decimal is a 5 with nothing behind it."""
    warehouse.load("market", [contract(at("10:00"), "1", COIN, is_inverse=True)])
    rows = [
        counted(n, at("14:40"), contracts, price="2000000000", **COIN)
        for n, contracts in ((1, "0.000000001"), (2, "0.000000003"))
    ]
    warehouse.load("trade", rows)
    warehouse.run("market", "trade")
    assert sizes(warehouse) == {2: "0.000000000000000002"}
    assert warehouse.rows("select reason from silver.quarantine") == [{"reason": "bad_size"}]


def test_an_override_wins_over_the_list_from_its_day_on(warehouse: Warehouse) -> None:
    warehouse.connection.execute(
        "insert into ops.contract_size_override values ('okx', 'XMR-USDT-SWAP', %s, 5, false)", [at("12:00")]
    )
    warehouse.load("market", [contract(at("10:00"), "0.1")])
    warehouse.load("trade", [counted(1, at("11:00"), "8"), counted(2, at("12:00"), "8", "0.8")])
    warehouse.run("market", "trade")
    assert sizes(warehouse) == {1: "0.8", 2: "40"}


def test_the_same_trade_by_socket_and_by_rest_is_no_conflict_when_the_size_has_changed(warehouse: Warehouse) -> None:
    """The socket's row came while the file's size was all there was; REST brings it after the list."""
    warehouse.load("trade", [counted(1, at("09:00"), "8", "80"), counted(2, at("14:40"), "8")])
    warehouse.run("market", "trade")
    warehouse.load("market", [contract(at("10:00"), "0.1")])
    again = [counted(1, at("09:00"), "8", "80", source="rest"), counted(2, at("14:40"), "8", source="rest")]
    warehouse.load("trade", again)
    warehouse.run("market", "trade")
    assert sizes(warehouse) == {1: "80", 2: "0.8"}
    assert warehouse.count("silver.duplicate") == 2
    assert warehouse.count("silver.quarantine") == 0
    warehouse.check()
