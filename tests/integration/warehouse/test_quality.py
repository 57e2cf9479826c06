"""The gate between raw and silver, over a real warehouse: rows in bulk against their contract."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.warehouse.landed import T0, chain, envelope, land, land_rest, trades
from tests.integration.warehouse.place import Place
from tidemark.completeness.verdicts import HOUR
from tidemark.jobs import load, quality

NOW = T0 + HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EMPTY = {"exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "received_at": T0}


def arrive(place: Place, start: int, count: int, **changes: object) -> None:
    rows = [row | changes for row in trades(chain(), start, count, T0 + timedelta(seconds=start))]
    land(place.store, chain(), rows)
    load.run(place.settings, "trade", "upbit")


def check(place: Place) -> quality.QualitySummary:
    return quality.run(place.settings, now=NOW)


def gate(place: Place) -> str:
    return str(place.value("select status from ops.gate where exchange = 'upbit' and dataset = 'trade'"))


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
        "implausible_event_at",
    }
    assert check(place).batches == 0
    assert place.value("select count(*) from ops.quality_run") == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"price": Decimal(-1)}, "expect_column_values_to_be_between price"),
        ({"side": "BID"}, "expect_column_values_to_be_in_set side"),
        ({"market": None}, "expect_column_values_to_not_be_null market"),
        ({"event_at": NOW + timedelta(days=1)}, "expect_column_values_to_be_in_set implausible_event_at"),
        ({"event_at": EPOCH}, "expect_column_values_to_be_in_set implausible_event_at"),
    ],
)
def test_many_broken_rows_close_the_gate_until_a_sound_check(
    place: Place, changes: dict[str, object], named: str
) -> None:
    arrive(place, 0, 180)
    arrive(place, 180, 20, **changes)
    found = check(place)
    assert found.closed.keys() == {"upbit trade"}
    assert named in found.closed["upbit trade"]
    assert any("10.00 % of rows don't" in one for one in found.broken), found.broken
    arrive(place, 200, 100)
    assert check(place).closed == {}
    assert gate(place) == "green"


def test_one_broken_row_in_two_hundred_is_left_to_silver(place: Place) -> None:
    arrive(place, 0, 199)
    arrive(place, 199, 1, price=Decimal(-1))
    assert check(place).closed == {}


@pytest.mark.parametrize(("sound", "broken"), [(2, 1), (0, 1), (60, 9)])
def test_few_broken_rows_close_no_gate_however_large_their_share(place: Place, sound: int, broken: int) -> None:
    if sound:
        arrive(place, 0, sound)
    arrive(place, sound, broken, price=Decimal(-1))
    assert check(place).closed == {}


def test_the_gate_of_one_dataset_says_nothing_of_another(place: Place) -> None:
    arrive(place, 0, 50)
    empty: dict[str, object] = {"market": None, "event_at": T0, "document": "{}"}
    land_rest(place.store, "snapshot", [{**EMPTY, **empty} for _ in range(20)], "cd" * 16)
    load.run(place.settings, "snapshot", "upbit")
    assert check(place).closed.keys() == {"upbit snapshot"}
    assert gate(place) == "green"


def test_a_ticker_without_a_last_price_is_sound_and_odd_books_are_not(place: Place) -> None:
    tickers, books = chain("ticker"), chain("orderbook")
    own = {"exchange": "upbit", "market": "BTC-KRW", "code": "KRW-BTC", "event_at": T0}
    land(place.store, tickers, [own | envelope(tickers, n, T0) for n in range(30)])
    sides = {
        "ask_prices": [Decimal(1)],
        "ask_sizes": [Decimal(1)],
        "bid_prices": [Decimal(2)],
        "bid_sizes": [Decimal(1)],
    }
    land(place.store, books, [own | sides | envelope(books, n, T0) for n in range(30)])
    for dataset in ("ticker", "orderbook"):
        load.run(place.settings, dataset, "upbit")
    found = check(place).closed
    assert found == {"upbit orderbook": "expect_column_values_to_be_in_set crossed_book"}


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
    assert "expect_table_columns_to_match_set" in check(place).closed["upbit trade"]


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
