"""History of a market in chunks: all of it, once, and on from where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from tests.exchanges.simulator.serving import past, request, served, whole_play
from tests.integration.warehouse.place import Place
from tests.integration.warehouse.scripted_rest import Reply, ScriptedRest
from tidemark import cli
from tidemark.jobs import backfill
from tidemark.jobs.backfill import BackfillError, BackfillRefusedError, NothingServedError
from tidemark.local.simulator import Simulator
from tidemark.settings import ExchangeSettings

BTC, ETH = "KRW-BTC", "KRW-ETH"
DAY = timedelta(days=1)
START = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0) - DAY
END = START + timedelta(hours=1)
NOW = END + timedelta(minutes=30)
LISTED = [{"market": BTC, "korean_name": "비트코인", "english_name": "Bitcoin"}]


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


def test_what_is_not_served_is_reported_each_time_and_the_rest_is_loaded(there: Place) -> None:
    for loaded, before in ((8, 0), (0, 8)):
        done = backfill.run(there.settings, "upbit", "trade", START - 9 * DAY, START, now=NOW)
        assert (done.loaded, done.done_before, done.unserved) == (loaded, before, 2)
        assert len(done.not_served) == 2
        assert "2 not served" in str(done)
        assert "trades since" in str(done)


def test_history_that_nobody_has_is_no_success_and_is_asked_for_again(there: Place) -> None:
    """The exchange knows the market and answers with an empty list: it has no bars of that time."""
    rest = ScriptedRest(lambda path, _: (200, {}, LISTED if path == "/v1/market/all" else []))
    with rest.listening():
        upbit = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=rest.url)
        settings = there.settings.model_copy(update={"upbit": upbit})
        for asked in (1, 2):
            with pytest.raises(
                NothingServedError, match=r"not served\n  KRW-BTC 1h .*: the answer holds no rows: \[\]"
            ):
                backfill.run(settings, "upbit", "candle", START - 9 * DAY, START, [BTC], "1h", now=NOW)
            assert rest.count("/v1/candles/minutes/60") == asked
    assert there.value("SELECT rows || ' ' || said FROM ops.backfill_chunk") == "0 the answer holds no rows: []"
    done = backfill.run(there.settings, "upbit", "candle", START - 9 * DAY, START, [BTC], "1h", now=NOW)
    assert (done.loaded, done.done_before) == (1, 0)
    assert there.value("SELECT rows > 100 AND said = '' FROM ops.backfill_chunk")


def test_what_an_exchange_refuses_is_not_worth_another_try(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.transport.Patience.__init__.__defaults__", (1, 0.0, 0.0, 1.0, 1.0))
    refusal: Reply = (400, {}, {"error": {"name": "odd", "message": "no"}})
    broken: Reply = (500, {}, {})
    for reply, kind in ((refusal, BackfillRefusedError), (broken, BackfillError)):
        rest = ScriptedRest(lambda path, _, r=reply: (200, {}, LISTED) if path == "/v1/market/all" else r)  # type: ignore[misc]
        with rest.listening():
            upbit = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=rest.url)
            settings = there.settings.model_copy(update={"upbit": upbit})
            with pytest.raises(BackfillError, match="1 FAILED") as caught:
                backfill.run(settings, "upbit", "candle", START, END, [BTC], "1m", now=NOW)
        assert type(caught.value) is kind
        assert ("Run it again" in str(caught.value)) == (kind is BackfillError)


def test_a_market_in_either_spelling(there: Place) -> None:
    done = backfill.run(there.settings, "upbit", "candle", START, END, ["BTC-KRW", BTC], "1m", now=NOW)
    assert (done.chunks, done.loaded) == (1, 1)
    assert there.value("SELECT min(code) FROM raw.candle_v1") == BTC


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_unknown_market_is_refused_before_anything_is_asked(there: Place, dry_run: bool) -> None:
    with pytest.raises(ValueError, match=r"^upbit does not have the market asked for.*'KRW-NOSUCH'.*Code not found"):
        backfill.run(there.settings, "upbit", "candle", START, END, ["KRW-NOSUCH", BTC], "1m", dry_run=dry_run, now=NOW)
    assert there.value("SELECT count(*) FROM ops.load_ledger") == 0


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("dataset", "window", "interval", "says"),
    [
        ("orderbook", (START, END), None, "no history of"),
        ("candle", (END, START), "1m", "ends before it starts"),
        ("candle", (NOW + DAY, NOW + 2 * DAY), "1m", "lies in the future"),
        ("candle", (START, END), "7m", "upbit serves no candles of '7m'; it serves 1s, 1m"),
    ],
)
def test_senseless_orders(
    there: Place, dataset: str, window: tuple[datetime, datetime], interval: str | None, says: str, dry_run: bool
) -> None:
    with pytest.raises(ValueError, match=says):
        backfill.run(there.settings, "upbit", dataset, *window, [BTC], interval, dry_run=dry_run, now=NOW)


def test_a_dry_run_estimates_requests_and_time_in_a_few_lines(there: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    years = datetime(2009, 1, 1, tzinfo=UTC)
    plan = backfill.run(there.settings, "upbit", "candle", years, END, [BTC, ETH], "1m", dry_run=True, now=NOW)
    bars = (END - years) / timedelta(minutes=1)
    assert plan.chunks > 8_000
    assert plan.estimate is not None
    assert plan.estimate.requests == pytest.approx(2 * bars / 200, rel=0.01), "200 bars a page, two markets"
    assert plan.estimate.seconds == pytest.approx(plan.estimate.requests / 10), "ten requests a second"
    assert "requests, 2.6 hours at the exchange's rate limit" in str(plan).splitlines()[0]
    assert len(str(plan).splitlines()) <= 12
    assert len(caplog.text.splitlines()) < 30
    assert there.value("SELECT count(*) FROM ops.backfill_chunk") == 0


def test_an_estimate_of_trades_rests_on_what_gold_has_seen(there: Place) -> None:
    window = (START.replace(hour=0) - 2 * DAY, START.replace(hour=0))
    blind = backfill.run(there.settings, "upbit", "trade", *window, [BTC], dry_run=True, now=NOW)
    assert "at least 2 requests" in str(blind)
    assert "the number of trades a day is unknown for KRW-BTC" in str(blind)
    there.opened[0].execute(
        b"CREATE TABLE gold.ohlcv_1d (exchange text, market text, bucket_at timestamptz, trade_count bigint)"
    )
    there.opened[0].execute(b"GRANT SELECT ON gold.ohlcv_1d TO tidemark_loader")
    there.opened[0].execute(
        b"INSERT INTO gold.ohlcv_1d VALUES ('upbit', 'BTC-KRW', now() - interval '1 day', 9000),"
        b"('upbit', 'BTC-KRW', now() - interval '2 days', 11000)"
    )
    plan = backfill.run(there.settings, "upbit", "trade", *window, [BTC], dry_run=True, now=NOW)
    assert plan.estimate is not None
    assert (plan.estimate.requests, plan.estimate.unknown) == (2 * 10_000 // 500, ())


def test_the_command_line_checks_the_same(there: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.cli._settings", lambda: there.settings)
    window = ["--from", f"{START:%Y-%m-%dT%H:%M}", "--to", f"{END:%Y-%m-%dT%H:%M}", "--dry-run"]

    def said(*more: str) -> tuple[int, str]:
        found = CliRunner().invoke(cli.app, ["backfill", "upbit", "candle", *window, *more], env={"COLUMNS": "400"})
        return found.exit_code, found.output

    code, output = said("--code", "BTC-KRW", "--interval", "1m")
    assert code == 0, output
    assert "would ask for 1 of 1 chunks" in output
    for more, says in ((("--interval", "7m"), "serves no candles of '7m'"), (("--code", "KRW-NOPE"), "KRW-NOPE")):
        code, output = said(*more)
        assert code == 2
        assert says in output
