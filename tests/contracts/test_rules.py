"""The rules of the contracts: one declaration for every engine that judges rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

from tidemark.contracts import CONTRACTS, plausible, plausible_arrow
from tidemark.contracts.render_rules import beyond_columns, broken

RECEIVED = datetime(2026, 3, 11, 12, tzinfo=UTC)
TIME = pa.timestamp("us", "UTC")
TIMES = {
    datetime(1970, 1, 1, tzinfo=UTC): False,
    datetime(1969, 12, 31, tzinfo=UTC): False,
    datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC): False,
    datetime(2017, 1, 1, tzinfo=UTC): True,
    RECEIVED - timedelta(days=900): True,
    RECEIVED: True,
    RECEIVED + timedelta(minutes=15): True,
    RECEIVED + timedelta(minutes=15, microseconds=1): False,
    datetime(2100, 1, 1, tzinfo=UTC): False,
}


@pytest.mark.parametrize(("moment", "expected"), TIMES.items())
def test_a_time_is_plausible_from_2017_to_a_quarter_of_an_hour_after_its_receipt(
    moment: datetime, expected: bool
) -> None:
    times, received = pa.array([moment], TIME), pa.array([RECEIVED], TIME)
    assert plausible_arrow.holds(times, received).to_pylist() == [expected]
    assert plausible_arrow.counted_at(times, received).to_pylist() == [moment if expected else RECEIVED]
    with duckdb.connect() as engine:
        engine.execute("set timezone = 'UTC'")
        query = f"select {plausible.in_duckdb('event_at')} from (select $1 as event_at, $2 as received_at)"
        assert engine.execute(query, [moment, RECEIVED]).fetchone() == (expected,)


def test_what_has_no_time_is_counted_at_its_receipt() -> None:
    times, received = pa.array([None], TIME), pa.array([RECEIVED], TIME)
    assert plausible_arrow.holds(times, received).to_pylist() == [None]
    assert plausible_arrow.counted_at(times, received).to_pylist() == [RECEIVED]


def test_every_dataset_holds_its_event_time_to_the_receipt() -> None:
    for contract in CONTRACTS.values():
        assert "implausible_event_at" in dict(broken(contract)), contract.dataset
    assert "implausible_updated_at" in dict(broken(CONTRACTS["candle"]))


def test_a_ticker_needs_no_last_price_and_one_of_zero_is_bad() -> None:
    reasons = dict(broken(CONTRACTS["ticker"]))
    assert "missing_trade_price" not in reasons
    assert reasons["bad_trade_price"] == "not trade_price > 0"


def test_rules_of_several_values_are_told_from_those_of_one() -> None:
    assert {reason for reason, _ in beyond_columns(CONTRACTS["trade"])} == {
        "implausible_event_at", "bad_first_trade_id",
    }  # fmt: skip
    whole = {reason for reason, _ in beyond_columns(CONTRACTS["orderbook"])}
    changes = {reason for reason, _ in beyond_columns(CONTRACTS["depth"])}
    levels = {f"bad_{side}_{what}" for side in ("ask", "bid") for what in ("prices", "sizes")}
    assert changes == {"implausible_event_at", "uneven_book", *levels}
    assert whole == changes | {"unsorted_book", "crossed_book"}


def test_what_only_describes_is_neither_identity_nor_price_size_or_time() -> None:
    described = {f.name for f in CONTRACTS["ticker"].fields if f.is_descriptive}
    assert {"delisting_date", "market_warning", "is_trading_suspended", "stream_type", "market_state"} <= described
    assert not described & {"market", "code", "event_at", "trade_at", "trade_price", "best_ask_size"}
    assert not next(f for f in CONTRACTS["candle"].fields if f.name == "is_closed").is_descriptive
