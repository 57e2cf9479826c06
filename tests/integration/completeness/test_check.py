"""The whole check against a real broker: watermarks by time, verdicts kept, coverage read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.integration.completeness.test_identities import connections
from tests.integration.warehouse.landed import land, trades
from tests.integration.warehouse.place import Place, close, make_place
from tidemark.completeness import summary
from tidemark.completeness.verdicts import HOUR, Verdict, hour_of, scope, write
from tidemark.jobs import completeness, load, migrate
from tidemark.jobs.completeness import CompletenessSummary
from tidemark.lake.chain import Chain
from tidemark.local.kafka import KafkaServer
from tidemark.settings import Settings

TOPIC = "raw.upbit.trade.v1"
#: A closed hour of yesterday and the one after it.
FIRST = hour_of(datetime.now(UTC)) - 20 * HOUR
CHAINS = {
    "first": Chain(TOPIC, "test", 0, 0),
    "second": Chain(TOPIC, "test", 0, 1),
    "third": Chain(TOPIC, "test", 0, 2),
}


def send(bootstrap: str, partition: int, moments: list[datetime]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for moment in moments:
        producer.produce(TOPIC, b"{}", b"KRW-BTC", partition, timestamp=int(moment.timestamp() * 1000))
    assert producer.flush(30) == 0


@pytest.fixture
def place(
    fresh_database: Callable[..., str], fresh_kafka: Callable[[], KafkaServer], tmp_path: Path
) -> Iterator[Place]:
    made = make_place(fresh_database(), tmp_path, fresh_kafka().bootstrap, cluster="test")
    yield made
    close(made)


def check(
    place: Place, start: datetime = FIRST, end: datetime = FIRST + 2 * HOUR, **options: object
) -> CompletenessSummary:
    return completeness.run(place.settings, start, end, **options)  # type: ignore[arg-type]


def row(place: Place, identity: int, hour: datetime) -> tuple[object, ...] | None:
    query = """SELECT status, expected, actual FROM ops.completeness
        WHERE identity = %s AND hour_at = %s AND dataset = 'trade'"""
    return place.opened[0].execute(query, [identity, hour]).fetchone()


def test_a_day_from_broker_to_verdict(place: Place) -> None:
    assert len(migrate.run(place.settings).topics.created) == 11
    assert migrate.run(place.settings).topics.unchanged == 11
    bootstrap, zero, one = place.settings.kafka.bootstrap_servers, CHAINS["first"], CHAINS["second"]
    objects = [trades(zero, 0, 10, FIRST), trades(zero, 10, 10, FIRST), trades(zero, 20, 5, FIRST + HOUR)]
    other = trades(one, 0, 7, FIRST + timedelta(minutes=30), connection="c2", frame=1)
    for rows in objects:
        send(bootstrap, 0, [r["received_at"] for r in rows])
    send(bootstrap, 1, [r["received_at"] for r in other])

    # Nothing has landed: the hours are over, so what is missing is lost until it lands.
    outcome = check(place)
    assert (outcome.green, outcome.red, outcome.open) == (0, 2, 0)
    assert (row(place, 1, FIRST), row(place, 1, FIRST + HOUR)) == (("red", 27, 0), ("red", 5, 0))

    paths = [land(place.store, zero, rows) for rows in objects] + [land(place.store, one, other)]
    outcome = check(place)
    assert row(place, 1, FIRST) == ("green", 27, 27)
    assert row(place, 2, FIRST) == ("red", 27, 0), "an hour after its end it should be loaded"
    load.run(place.settings, "trade", "upbit")
    outcome = check(place)
    assert outcome.red == 0, outcome
    assert row(place, 1, FIRST + HOUR) == ("green", 5, 5)
    assert row(place, 2, FIRST) == ("green", 27, 27)
    assert row(place, 3, FIRST) == ("open", 0, 0), "silver has never been built"
    assert outcome.notes == ()

    # A deleted object is found by a check of any window, names itself, and is forgiven when it is back.
    data = place.store.get(paths[0])
    place.store.delete(paths[0])
    now = datetime.now(UTC)
    outcome = check(place, now - HOUR, now)
    assert row(place, 1, FIRST) == ("red", 27, 17)
    assert any(paths[0] in problem and "0-9" in problem for problem in outcome.problems)
    assert "RED" in str(outcome)
    place.store.put_new(paths[0], data)
    assert check(place, now - HOUR, now).red == 0
    assert row(place, 1, FIRST) == ("green", 27, 27)

    # Watermarks of hours that are over stay as they were captured.
    send(bootstrap, 0, [FIRST])
    check(place)
    assert row(place, 1, FIRST) == ("green", 27, 27)

    # The running hour is measured by the broker's present end.
    where, hour = CHAINS["third"], hour_of(now)
    send(bootstrap, 2, [now] * 15)
    rows = [r | {"received_at": now} for r in trades(where, 0, 15, now, connection="c3")]
    land(place.store, where, rows[:10])
    load.run(place.settings, "trade", "upbit")
    check(place, hour, hour + HOUR, now=now)
    assert row(place, 1, hour) == ("open", 15, 10), "five records have not landed yet"
    land(place.store, where, rows[10:])
    load.run(place.settings, "trade", "upbit")
    check(place, hour, hour + HOUR, now=now)
    assert row(place, 1, hour) == ("green", 15, 15)

    cover = {(c.dataset, c.identity): c for c in summary.coverage(place.opened[0], "upbit", FIRST, FIRST + 2 * HOUR)}
    assert cover["trade", 1].share == 1.0
    assert cover["trade", 3].share == 0.0
    assert cover["system", 0].red == 0


def test_what_is_not_loaded_yet_is_no_silence(place: Place) -> None:
    """Ten minutes that no load has brought are no evidence that a connection is gone."""
    migrate.run(place.settings)
    zero, minute = CHAINS["first"], timedelta(minutes=1)
    connections(place, ("c1", "open", FIRST))
    loaded = trades(zero, 0, 3500, FIRST)
    later = trades(zero, 3500, 500, FIRST + HOUR + minute)
    send(place.settings.kafka.bootstrap_servers, 0, [row["received_at"] for row in (*loaded, *later)])
    land(place.store, zero, loaded)
    load.run(place.settings, "trade", "upbit")
    check(place, FIRST, FIRST + HOUR, now=FIRST + HOUR + 10 * minute)
    assert place.value("SELECT count(*) FROM ops.gap") == 0
    land(place.store, zero, later)
    load.run(place.settings, "trade", "upbit")
    check(place, FIRST, FIRST + HOUR, now=FIRST + HOUR + 11 * minute)
    assert place.value("SELECT count(*) FROM ops.gap") == 0
    check(place, FIRST, FIRST + HOUR, now=FIRST + 2 * HOUR)
    assert place.value("SELECT cause FROM ops.gap WHERE to_at IS NULL") == "killed", "now it is known to be silent"


def test_without_a_broker_hours_wait_and_the_rest_is_checked(
    fresh_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.completeness.watermarks._TIMEOUT_S", 0.5)
    place = make_place(fresh_database(), tmp_path)
    land(place.store, CHAINS["first"], trades(CHAINS["first"], 0, 10, FIRST))
    load.run(place.settings, "trade", "upbit")
    outcome = check(place)
    assert "doesn't answer" in outcome.notes[0]
    assert row(place, 1, FIRST) == ("open", 0, 0)
    assert row(place, 2, FIRST) == ("green", 10, 10)
    close(place)


def test_a_dropped_silver_table_makes_nothing_green(
    fresh_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.completeness.watermarks._TIMEOUT_S", 0.5)
    place = make_place(fresh_database(), tmp_path)
    land(place.store, CHAINS["first"], trades(CHAINS["first"], 0, 10, FIRST))
    load.run(place.settings, "trade", "upbit")
    mark = b"INSERT INTO ops.load_mark (load_id, consumer) SELECT load_id, 'silver.trade' FROM ops.load_ledger"
    place.connect("tidemark_dbt").execute(mark)
    frame = scope(place.opened[0], "upbit", FIRST, FIRST + HOUR, FIRST + 2 * HOUR)
    red = [Verdict("trade", FIRST, identity, "red", 10, 5) for identity in (3, 4)]
    write(place.opened[0], frame, red, FIRST)
    check(place)
    assert row(place, 3, FIRST) == ("red", 10, 0)
    assert row(place, 4, FIRST) == ("red", 0, 0)
    close(place)


def test_on_the_in_memory_broker(fresh_database: Callable[..., str], memory_bootstrap: str, tmp_path: Path) -> None:
    place = make_place(fresh_database(), tmp_path, memory_bootstrap, memory=True, cluster="test")
    where, now = CHAINS["first"], datetime.now(UTC)
    hour = hour_of(now)
    assert check(place, hour, hour + HOUR, now=now).table == "upbit\n" + summary.table([])
    send(memory_bootstrap, 0, [now] * 10)
    land(place.store, where, [r | {"received_at": now} for r in trades(where, 0, 8, now)])
    load.run(place.settings, "trade", "upbit")
    assert check(place, hour, hour + HOUR, now=now, dry_run=True).open > 0
    assert place.value("SELECT count(*) FROM ops.completeness") == 0
    check(place, hour, hour + HOUR, now=now)
    assert row(place, 1, hour) == ("open", 10, 8)
    check(place, hour, hour + 3 * HOUR, now=now + 2 * HOUR)
    assert row(place, 1, hour) == ("red", 10, 8), "what it looked like while it ran stays known"
    close(place)


def test_a_window_must_be_one() -> None:
    with pytest.raises(ValueError, match="two instants with a zone"):
        completeness.run(Settings(), FIRST, FIRST)
