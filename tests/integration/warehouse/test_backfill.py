"""History of a market in chunks: all of it, once, and on from where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.exchanges.simulator.serving import past, request, served, whole_play
from tests.integration.warehouse.place import Place
from tidemark.jobs import backfill
from tidemark.jobs.backfill import BackfillError
from tidemark.local.simulator import Simulator
from tidemark.settings import ExchangeSettings

BTC, ETH = "KRW-BTC", "KRW-ETH"
DAY = timedelta(days=1)
START = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - DAY
END = START + timedelta(hours=1)
NOW = END + timedelta(minutes=30)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Simulator]:
    with served(past(from_at=START, to_at=END, trades_per_day=20_000)) as simulator:
        asyncio.run(whole_play(simulator, request("trade", codes=[BTC])))
        yield simulator


@pytest.fixture
def there(place: Place, exchange: Simulator) -> Place:
    upbit = ExchangeSettings(ws_url=exchange.url, rest_url=exchange.url, codes=(BTC,))
    place.settings = place.settings.model_copy(update={"upbit": upbit})
    return place


def test_candles_in_chunks_with_progress_and_once(there: Place) -> None:
    first = START - timedelta(days=2)
    seen: list[tuple[int, int]] = []
    planned = backfill.run(there.settings, "upbit", "candle", first, END, [BTC, ETH], "1m", dry_run=True, now=NOW)
    assert there.value("SELECT count(*) FROM raw.candle_v1") == 0
    done = backfill.run(
        there.settings, "upbit", "candle", first, END, [BTC, ETH], "1m", now=NOW,
        progress=lambda n, of, _: seen.append((n, of)),
    )  # fmt: skip
    assert (done.chunks, done.loaded, done.done_before) == (planned.chunks, planned.chunks, 0)
    assert done.chunks >= 4, "2,000 minutes a chunk, two markets"
    assert seen == [(n, done.chunks) for n in range(1, done.chunks + 1)]
    assert there.value("SELECT count(*) FROM raw.candle_v1") == done.rows > 4_000
    assert there.value("SELECT count(*) - count(DISTINCT (market, event_at)) FROM raw.candle_v1") == 0
    again = backfill.run(there.settings, "upbit", "candle", first, END, [BTC, ETH], "1m", now=NOW)
    assert (again.loaded, again.done_before, again.rows) == (0, done.chunks, 0)


def test_a_run_that_was_stopped_goes_on_behind_the_last_chunk(there: Place) -> None:
    first = START.replace(hour=0) - 3 * DAY

    def stop(number: int, *_: object) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill.run(there.settings, "upbit", "trade", first, END, now=NOW, progress=stop)
    before = there.value("SELECT count(*) FROM ops.load_ledger")
    done = backfill.run(there.settings, "upbit", "trade", first, END, now=NOW)
    assert (done.chunks, done.done_before, done.loaded) == (4, 2, 2)
    assert there.value("SELECT count(*) FROM ops.load_ledger") == before + 2
    assert there.value("SELECT count(*) - count(DISTINCT trade_id) FROM raw.trade_v1") == 0


def test_a_chunk_that_still_goes_on_is_asked_for_again(there: Place) -> None:
    for _ in range(2):
        done = backfill.run(there.settings, "upbit", "trade", START, END, now=END)
        assert (done.loaded, done.done_before) == (1, 0)
    assert there.value("SELECT count(*) FROM ops.load_ledger") == 1, "the same answer is the same object"


def test_what_is_not_served_is_said_and_the_rest_is_loaded(there: Place) -> None:
    done = backfill.run(there.settings, "upbit", "trade", START - 9 * DAY, START, now=NOW)
    assert len(done.not_served) == 2
    assert "trades since" in str(done)
    assert done.loaded == 8


def test_an_unknown_market_fails_and_the_others_are_loaded(there: Place) -> None:
    with pytest.raises(BackfillError, match="KRW-NOSUCH") as caught:
        backfill.run(there.settings, "upbit", "candle", START, END, ["KRW-NOSUCH", BTC], "1m", now=NOW)
    assert (caught.value.summary.loaded, len(caught.value.summary.failures)) == (1, 1)


@pytest.mark.parametrize(("dataset", "says"), [("orderbook", "no history of"), ("candle", "in order")])
def test_senseless_orders(there: Place, dataset: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        backfill.run(there.settings, "upbit", dataset, END, START if dataset == "candle" else NOW)
