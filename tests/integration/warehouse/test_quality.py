"""The gate between raw and silver, over a real warehouse: rows in bulk against their contract."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.warehouse.landed import T0, chain, land, trades
from tests.integration.warehouse.place import Place
from tidemark.completeness.verdicts import HOUR
from tidemark.jobs import load, quality

NOW = T0 + HOUR


def arrive(place: Place, start: int, count: int, **changes: object) -> None:
    rows = [row | changes for row in trades(chain(), start, count, T0 + timedelta(seconds=start))]
    land(place.store, chain(), rows)
    load.run(place.settings, "trade", "upbit")


def check(place: Place) -> quality.QualitySummary:
    return quality.run(place.settings, now=NOW)


def gate(place: Place) -> str:
    return str(place.value("select status from ops.gate where exchange = 'upbit'"))


def test_sound_rows_are_green_and_checked_once(place: Place) -> None:
    arrive(place, 0, 200)
    found = check(place)
    assert (found.batches, found.rows, found.broken, found.closed) == (1, 200, (), {})
    assert gate(place) == "green"
    assert place.value("select count(*) from ops.quality where success") >= 10
    assert {row[0] for row in place.opened[0].execute("select about from ops.quality")} >= {
        "",
        "price",
        "side",
        "event_at",
    }
    assert check(place).batches == 0
    assert place.value("select count(*) from ops.quality_run") == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"price": Decimal(-1)}, "expect_column_values_to_be_between price"),
        ({"side": "BID"}, "expect_column_values_to_be_in_set side"),
        ({"market": None}, "expect_column_values_to_not_be_null market"),
        ({"event_at": NOW + timedelta(days=1)}, "expect_column_values_to_be_between event_at"),
    ],
)
def test_many_broken_rows_close_the_gate_until_a_sound_check(
    place: Place, changes: dict[str, object], named: str
) -> None:
    arrive(place, 0, 180)
    arrive(place, 180, 20, **changes)
    found = check(place)
    assert found.closed.keys() == {"upbit"}
    assert named in found.closed["upbit"]
    assert any("10.00 % of rows don't" in one for one in found.broken), found.broken
    arrive(place, 200, 100)
    assert check(place).closed == {}
    assert gate(place) == "green"


def test_one_broken_row_in_two_hundred_is_left_to_silver(place: Place) -> None:
    arrive(place, 0, 199)
    arrive(place, 199, 1, price=Decimal(-1))
    assert check(place).closed == {}


def test_stale_and_unusually_few_rows_are_warnings(place: Place) -> None:
    for hour in range(4):
        where = chain()
        land(place.store, where, trades(where, hour * 1000, 1000, T0 - timedelta(hours=8 - hour)))
    load.run(place.settings, "trade", "upbit")
    check(place)
    land(place.store, chain(), trades(chain(), 4000, 3, T0 - timedelta(hours=3)))
    load.run(place.settings, "trade", "upbit")
    found = check(place)
    assert found.closed == {}
    assert sorted(one.split(": ")[1] for one in found.broken) == [
        "column max to be between", "table row count to be between",
    ]  # fmt: skip


def test_a_changed_table_closes_the_gate(place: Place) -> None:
    arrive(place, 0, 10)
    place.opened[0].execute("alter table raw.trade_v1 add column surprise text")
    assert "expect_table_columns_to_match_set" in check(place).closed["upbit"]


def test_a_dry_run_checks_nothing(place: Place) -> None:
    arrive(place, 0, 10)
    assert str(quality.run(place.settings, dry_run=True, now=NOW)) == "would check 1 batches with 10 rows"
    assert place.value("select count(*) from ops.quality_run") == 0
    assert check(place).batches == 1


def test_pages_need_no_network(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    own = place.settings.quality.model_copy(update={"pages_dir": str(folder)})
    settings = place.settings.model_copy(update={"quality": own})
    arrive(place, 0, 50)
    quality.run(settings, now=NOW)
    pages = [page.read_text("utf-8") for page in folder.rglob("*.html")]
    assert len(pages) >= 2
    for page in pages:
        assert not re.search(r'<(script|link|img)[^>]*(src|href)="https?://', page)
        assert "<style>" in page
    assert any("upbit_trade" in page for page in pages)
