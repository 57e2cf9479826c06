"""Contracts and what is rendered from them."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
import yaml

from tidemark.contracts import CONTRACTS, Contract, Kind, render
from tidemark.contracts.fields import ROW_KEY

ROOT = Path(__file__).resolve().parents[2]
EACH = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda c: c.dataset)


def test_committed_files_are_what_the_contracts_render_to() -> None:
    stale = [str(p) for p, text in render.rendered_files().items() if (ROOT / p).read_text("utf-8") != text]
    assert stale == [], "run `make contracts` and commit the result"


def test_check_names_a_file_that_drifted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(render, "dbt_sources", lambda: "something else")
    assert render.main(["--check"]) == 1
    assert "dbt/models/sources.yml differs from its contract" in capsys.readouterr().out


@EACH
def test_every_column_is_declared_once_and_described(contract: Contract) -> None:
    names = [f.name for f in contract.columns]
    assert len(names) == len(set(names))
    assert all(f.description.endswith(".") for f in contract.columns)
    assert set(ROW_KEY) <= set(names)


@EACH
def test_no_number_is_a_float(contract: Contract) -> None:
    assert not [f for f in render.arrow_schema(contract) if pa.types.is_floating(f.type)]


@EACH
def test_the_same_columns_stand_in_every_rendering(contract: Contract) -> None:
    expected = [f.name for f in contract.raw_columns]
    ddl = render.postgres_ddl(contract)
    source = next(
        t for t in yaml.safe_load(render.dbt_sources())["sources"][0]["tables"] if t["name"] == f"{contract.dataset}_v1"
    )
    assert list(render.json_schema(contract)["properties"]) == expected
    assert [c["name"] for c in source["columns"]] == ["load_id", *expected]
    assert all(f"COMMENT ON COLUMN raw.{contract.dataset}_v1." in ddl for _ in expected)
    assert [f.name for f in render.arrow_schema(contract)] == [*expected, "frame"]


@EACH
def test_json_schema_is_a_schema(contract: Contract) -> None:
    jsonschema.Draft202012Validator.check_schema(render.json_schema(contract))


def test_json_schema_wants_decimals_as_text() -> None:
    price = {"price": render.json_schema(CONTRACTS["trade"])["properties"]["price"]}
    validator = jsonschema.Draft202012Validator({"properties": price})
    assert validator.is_valid({"price": "127.00000001"})
    assert not validator.is_valid({"price": 127.00000001})


def test_ticker_holds_every_field_of_upbits_frame() -> None:
    # fmt: off
    frame = [
        "opening_price", "high_price", "low_price", "trade_price", "prev_closing_price", "change", "change_price",
        "signed_change_price", "change_rate", "signed_change_rate", "trade_volume", "acc_trade_volume",
        "acc_trade_volume_24h", "acc_trade_price", "acc_trade_price_24h", "trade_date", "trade_time", "acc_ask_volume",
        "acc_bid_volume", "highest_52_week_price", "highest_52_week_date", "lowest_52_week_price",
        "lowest_52_week_date", "market_state", "is_trading_suspended", "delisting_date", "market_warning",
        "stream_type",
    ]
    # fmt: on
    renamed = {"code", "event_at", "trade_at", "side"}  # code, timestamp, trade_timestamp, ask_bid; type is the dataset
    assert len(frame) + len(renamed) + 1 == 33
    assert set(frame) | renamed <= set(CONTRACTS["ticker"].names())


@EACH
def test_required_columns_come_with_their_natural_key(contract: Contract) -> None:
    fields = {f.name: f for f in contract.fields}
    assert all(fields[key].required for key in contract.natural_key if key != "content_hash")
    assert all(f.kind is not Kind.DECIMALS or f.required for f in contract.fields)
