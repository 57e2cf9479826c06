"""The figures of the home page: what the warehouse proves, and "unknown" where it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tidemark.local import home
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.migrate import migrate

NOW = datetime(2026, 4, 14, 5, 30, tzinfo=UTC)  # 14:30 in Korea
DAY = datetime(2026, 4, 12, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def url(fresh_database: Callable[..., str]) -> str:
    made = fresh_database()
    migrate(WarehouseSettings(url=made))
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute("create table gold.ohlcv_1h (exchange text, bucket_at timestamptz)")
    return made


def shown(url: str) -> dict[str, tuple[str, str]]:
    return {figure.english: (figure.value, figure.tone) for figure in home.figures(url, NOW)}


def verdicts(url: str, hours: int, status: str = "green") -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(hours):
            for dataset, identity in (("system", 0), ("trade", 1), ("trade", 2), ("trade", 3), ("trade", 4)):
                connection.execute(
                    """insert into ops.completeness (exchange, dataset, hour_at, identity, status, checked_at)
                    values ('upbit', %s, %s, %s, %s, %s)
                    on conflict (exchange, dataset, hour_at, identity) do update set status = excluded.status""",
                    [dataset, DAY + n * HOUR, identity, status, NOW - timedelta(minutes=5)],
                )


def test_nothing_is_claimed_of_an_empty_warehouse(url: str) -> None:
    found = shown(url)
    assert found["Proven, 04-13 KST"] == ("not checked yet", "")
    assert found["Last check"] == ("unknown", "")
    assert found["Newest row"] == ("unknown", "")
    assert found["Report of 04-13"] == ("none yet", "")


def test_hours_are_proven_one_by_one(url: str) -> None:
    verdicts(url, 20)
    assert shown(url)["Proven, 04-13 KST"] == ("20 of 24 h", "")
    verdicts(url, 24)
    assert shown(url)["Proven, 04-13 KST"] == ("24 of 24 h", "good")
    assert shown(url)["Last check"] == ("5 min ago", "")
    verdicts(url, 1, "red")
    assert shown(url)["Proven, 04-13 KST"] == ("1 h broken", "bad")


def test_a_warehouse_that_does_not_answer_is_no_good_news() -> None:
    found = home.figures("postgresql://nobody@127.0.0.1:9/none", NOW)
    assert [figure.tone for figure in found] == ["", ""]
    assert found[1].value == "does not answer"
