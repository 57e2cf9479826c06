"""A dropped range: red with the exact range, asked for at an exchange that really answers, green; or said plainly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.simulator.serving import past, request, served, whole_play
from tests.integration.completeness.silver import build
from tests.integration.warehouse.landed import chain, land, trades
from tests.integration.warehouse.place import Place, close, make_place
from tidemark.completeness import gaps
from tidemark.completeness.gaps import Gap
from tidemark.jobs import completeness, fetch_candles, fetch_trades, load, repair
from tidemark.local.simulator import Simulator
from tidemark.settings import ExchangeSettings

BTC, ETH = "KRW-BTC", "KRW-ETH"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
#: Trades are served by their age in days, so the played period lies in yesterday.
START = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - timedelta(days=1)
END = START + 3 * HOUR
NOW = END + 30 * MINUTE


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with served(past(from_at=START, to_at=END, trades_per_day=60_000)) as simulator:
        asyncio.run(whole_play(simulator, request("trade", codes=[BTC])))
        yield simulator


@pytest.fixture
def place(
    fresh_database: Callable[..., str], memory_bootstrap: str, exchange: Simulator, tmp_path: Path
) -> Iterator[Place]:
    made = make_place(fresh_database(), tmp_path, memory_bootstrap, memory=True, cluster="test")
    upbit = ExchangeSettings(ws_url=exchange.url, rest_url=exchange.url, codes=(BTC, ETH))
    made.settings = made.settings.model_copy(update={"upbit": upbit})
    yield made
    close(made)


def fetched(place: Place, *holes: tuple[datetime, datetime]) -> None:
    """All trades of the period but those in the holes, and all of the exchange's minutes."""
    edges = [START, *(edge for hole in holes for edge in hole), END]
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        fetch_trades.run(place.settings, "upbit", first, last, now=NOW)
    fetch_candles.run(place.settings, "upbit", "1m", START, END)
    loaded(place)


def loaded(place: Place) -> None:
    for dataset in ("trade", "candle"):
        load.run(place.settings, dataset, "upbit")
    build(place)


def verdicts(place: Place, now: datetime = NOW) -> dict[int, tuple[str, dict[str, Any]]]:
    """State and detail of the witness of trades, hour by hour."""
    completeness.run(place.settings, START, END, now)
    query = b"SELECT hour_at, status, detail FROM ops.completeness WHERE identity = 5 AND dataset = 'trade'"
    return {int((at - START) / HOUR): (status, detail) for at, status, detail in place.opened[0].execute(query)}


def book(place: Place) -> list[tuple[Any, ...]]:
    query = b"SELECT stream, from_at, to_at, cause, state, repaired_rows FROM ops.gap ORDER BY from_at, stream"
    return place.opened[0].execute(query).fetchall()


def test_without_a_hole_every_hour_is_green(place: Place) -> None:
    fetched(place)
    found = verdicts(place)
    assert {hour: status for hour, (status, _) in found.items()} == {0: "green", 1: "green", 2: "green"}
    assert place.value("SELECT sum(expected) = sum(actual) FROM ops.completeness WHERE identity = 5")
    assert book(place) == []


def test_a_dropped_range_is_red_repaired_and_green(place: Place) -> None:
    hole = (START + 80 * MINUTE, START + 87 * MINUTE)
    fetched(place, hole)
    before = place.value("SELECT count(*) FROM silver.trade")
    found = verdicts(place)
    assert {hour: status for hour, (status, _) in found.items()} == {0: "green", 1: "red", 2: "green"}
    problems = found[1][1]["problems"]
    assert {p["stream"] for p in problems} == {"trade/BTC-KRW", "trade/ETH-KRW"}
    for market in ("trade/BTC-KRW", "trade/ETH-KRW"):
        mine = [p for p in problems if p["stream"] == market]
        assert datetime.fromisoformat(mine[0]["from"]) >= hole[0]
        assert datetime.fromisoformat(mine[-1]["to"]) <= hole[1]
    gaps_found = book(place)
    assert len(gaps_found) == found[1][1]["problem_count"]
    assert {row[3:] for row in gaps_found} == {("witness", "open", None)}

    planned = repair.run(place.settings, "upbit", dry_run=True, now=NOW)
    assert (planned.dry_run, len(planned.lines)) == (True, len(gaps_found))
    assert book(place) == gaps_found, "a dry run changes nothing"

    done = repair.run(place.settings, "upbit", now=NOW)
    assert done.outcomes == {"repaired": len(gaps_found)}
    assert "open" in done.recheck, "silver has not taken the rows yet"
    assert {row[4] for row in book(place)} == {"repaired"}
    loads = """SELECT count(*) FROM ops.gap_repair JOIN ops.load_ledger USING (path) WHERE kind = 'rest'"""
    assert place.value(loads) == len(gaps_found)
    build(place)
    assert place.value("SELECT count(*) FROM silver.trade") == before + done.rows
    assert {hour: status for hour, (status, _) in verdicts(place).items()} == {0: "green", 1: "green", 2: "green"}

    settled = book(place)
    rows = place.value("SELECT count(*) FROM raw.trade_v1")
    assert repair.run(place.settings, "upbit", now=NOW + HOUR).lines == ()
    assert verdicts(place)[1][0] == "green"
    assert (book(place), place.value("SELECT count(*) FROM raw.trade_v1")) == (settled, rows)


def test_two_at_once_ask_for_each_gap_once(place: Place) -> None:
    fetched(place, (START + 80 * MINUTE, START + 87 * MINUTE), (START + 100 * MINUTE, START + 103 * MINUTE))
    verdicts(place)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: repair.run(place.settings, "upbit", now=NOW), range(2)))
    total = len(book(place))
    assert sum(one.outcomes.get("repaired", 0) for one in done) == total
    assert place.value("SELECT count(*) FROM ops.gap_repair") == total
    build(place)
    assert verdicts(place)[1][0] == "green"
    twice = "SELECT count(*) - count(DISTINCT trade_id) FROM raw.trade_v1"
    assert place.value(twice) == 0, "no row came twice"


def test_the_socket_stays_where_rest_says_the_same(place: Place) -> None:
    """A gap without a loss: what comes again is a duplicate, and the gap says that nothing was missing."""
    fetched(place)
    gaps.write(place.opened[0], "upbit", [Gap("trade", START + HOUR, START + HOUR + MINUTE, "disconnected")])
    assert verdicts(place)[1] == ("open", {"waits_for": ["the repair of trade"]})
    done = repair.run(place.settings, "upbit", now=NOW)
    assert (done.outcomes, done.rows) == ({"nothing_missing": 1}, 0)
    build(place)
    assert verdicts(place)[1][0] == "green"


def test_a_repair_by_hand_of_one_market(place: Place) -> None:
    fetched(place, (START + 80 * MINUTE, START + 87 * MINUTE))
    window = {"window_start": START + HOUR, "window_end": START + 2 * HOUR, "now": NOW}
    for _ in range(2):
        done = repair.run(place.settings, "upbit", dataset="trade", codes=[BTC], **window)
        assert set(done.outcomes) == {"repaired"}
    [(stream, first, last, cause, state, rows)] = book(place)
    assert (stream, first, last, cause, state) == (
        "trade/BTC-KRW", START + HOUR, START + 2 * HOUR, "asked", "repaired",
    )  # fmt: skip
    assert rows > 0
    with pytest.raises(ValueError, match="both its ends"):
        repair.run(place.settings, "upbit", window_start=START)


def test_what_is_no_longer_served_stays_red_and_says_so(place: Place) -> None:
    """Nine days ago: candles are still served, trades are not."""
    old = START - timedelta(days=9)
    rows = [row | {"code": BTC, "market": "BTC-KRW"} for row in trades(chain(), 0, 10, old)]
    land(place.store, chain(), rows)
    fetch_candles.run(place.settings, "upbit", "1m", old, old + HOUR, [BTC])
    loaded(place)
    completeness.run(place.settings, old, old + HOUR, NOW)
    done = repair.run(place.settings, "upbit", now=NOW)
    assert set(done.outcomes) == {"not_served"}
    assert "trades since" in done.lines[0]
    completeness.run(place.settings, old, old + HOUR, NOW)
    said = place.value("SELECT status || ': ' || detail::text FROM ops.completeness WHERE identity = 5")
    assert said.startswith("red: ")
    assert "not served: upbit serves candles, and trades since" in said
    assert {row[4] for row in book(place)} == {"not_served"}


def test_streams_whose_past_nobody_serves(place: Place) -> None:
    for dataset in ("orderbook", "ticker", "system"):
        gaps.write(place.opened[0], "upbit", [Gap(dataset, START, START + MINUTE, "disconnected")])
    done = repair.run(place.settings, "upbit", now=NOW)
    assert done.outcomes == {"not_served": 3}
    assert any("no orderbook of KRW-BTC" in line for line in done.lines)


def test_bars_that_are_missing_are_asked_for_and_witness_then(place: Place) -> None:
    fetch_trades.run(place.settings, "upbit", START, END, now=NOW)
    fetch_candles.run(place.settings, "upbit", "1m", START + HOUR, END)
    loaded(place)
    found = verdicts(place)
    assert found[0][0] == "open"
    assert "the exchange's bars of 2 markets" in found[0][1]["waits_for"]
    done = repair.run(place.settings, "upbit", now=NOW)
    assert set(done.outcomes) == {"repaired"}
    build(place)
    assert {hour: status for hour, (status, _) in verdicts(place).items()} == {0: "green", 1: "green", 2: "green"}
    assert {row[4] for row in book(place)} == {"repaired"}


def test_what_a_new_subscriber_is_told_of_the_past_makes_no_hour_one_that_was_heard(place: Place) -> None:
    """The latest trade before the subscription lies in an hour that nobody listened to."""
    rows = trades(chain(), 0, 1, START + 10 * MINUTE, code=BTC, stream_type="SNAPSHOT")
    rows += trades(chain(), 1, 1, START + 2 * HOUR, code=BTC, stream_type="REALTIME")
    land(place.store, chain(), rows)
    fetch_candles.run(place.settings, "upbit", "1m", START, END)
    loaded(place)
    assert {hour: status for hour, (status, _) in verdicts(place).items()} == {2: "red"}


def test_an_exchange_that_does_not_answer_leaves_the_gap_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.transport.Patience.__init__.__defaults__", (1, 0.0, 0.0, 1.0, 1.0))
    gaps.write(place.opened[0], "upbit", [Gap("trade", START, START + MINUTE, "disconnected", {"codes": [BTC]})])
    nobody = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")
    settings = place.settings.model_copy(update={"upbit": nobody})
    done = repair.run(settings, "upbit", now=NOW)
    assert done.outcomes == {"open": 1}
    assert "UnavailableError" in done.lines[0]
    assert place.value("SELECT (attempts, answers)::text FROM ops.gap") == "(1,0)"
    assert repair.run(settings, "upbit", now=NOW + MINUTE).lines == (), "it is left in peace for a while"
    assert repair.run(place.settings, "upbit", now=NOW + HOUR).outcomes == {"repaired": 1}
