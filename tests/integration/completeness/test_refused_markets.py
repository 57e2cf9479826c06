"""Gaps with a market that the exchange does not know (any more), or whose questions fail: each market by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.integration.warehouse.place import Place, close, make_place
from tests.integration.warehouse.scripted_rest import Reply, ScriptedRest
from tidemark.completeness import gaps
from tidemark.completeness.gaps import Gap
from tidemark.exchanges import registry
from tidemark.jobs import backfill, completeness, repair
from tidemark.jobs.completeness import CompletenessSummary
from tidemark.local.postgres import PostgresServer
from tidemark.settings import ExchangeSettings
from tidemark.transport import BannedError

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
END = NOW.replace(minute=0) - timedelta(hours=1)
START = END - timedelta(minutes=30)
HELD = START + timedelta(minutes=10)
MS = int(HELD.timestamp()) * 1000
MINUTES = timedelta(minutes=1)


def _upbit(path: str, params: dict[str, str], code: str) -> object:
    if "cursor" in params or ("candles" in path and params["to"] <= f"{HELD:%Y-%m-%dT%H:%M:%SZ}"):
        return []
    if "candles" in path:
        prices = dict.fromkeys(("opening_price", "high_price", "low_price", "trade_price"), 100.5)
        amounts = {"candle_acc_trade_price": 100.5, "candle_acc_trade_volume": 1.0, "unit": 1, "timestamp": MS}
        times = {"candle_date_time_utc": f"{HELD:%Y-%m-%dT%H:%M:%S}", "candle_date_time_kst": "2026-01-01T00:00:00"}
        return [{"market": code, **times, **prices, **amounts}]
    at = {"trade_date_utc": f"{HELD:%Y-%m-%d}", "trade_time_utc": f"{HELD:%H:%M:%S}", "timestamp": MS}
    trade = {"trade_price": 100.5, "trade_volume": 0.01, "prev_closing_price": 100, "change_price": 0.5}
    return [{"market": code, **at, **trade, "ask_bid": "BID", "sequential_id": MS * 10_000}]


def _okx(path: str, params: dict[str, str], code: str) -> object:
    older = params.get("type") == "1" or ("candles" in path and int(params["after"]) <= MS)
    row: object = {"instId": code, "side": "sell", "sz": "1", "px": "100.5", "tradeId": "77", "ts": str(MS)}
    if "candles" in path:
        row = [str(MS), "100.5", "100.5", "100.5", "100.5", "1", "1", "1", "1"]
    return {"code": "0", "msg": "", "data": [] if older else [row]}


def _binance(path: str, params: dict[str, str], code: str) -> object:
    if path.endswith("klines"):
        bar = [MS, "100.5", "100.5", "100.5", "100.5", "1", MS + 59_999, "100.5", 1, "1", "100.5", "0"]
        return [bar] if int(params["endTime"]) > MS else []
    trade = {"a": 77, "p": "100.5", "q": "0.01", "f": 77, "l": 77, "T": MS, "m": True}
    return [trade] if int(params["startTime"]) <= MS <= int(params["endTime"]) else []


@dataclass(frozen=True)
class Speech:
    """How one exchange names markets, answers for one, and says that it knows none such."""

    name: str
    codes: tuple[str, str, str]
    answer: Callable[[str, dict[str, str], str], object]
    unknown: Reply
    quiet: object


SPEECHES = {
    one.name: one
    for one in (
        Speech(
            "upbit", ("KRW-BTC", "KRW-LOOM", "KRW-ETH"), _upbit,
            (404, {}, {"error": {"name": 404, "message": "Code not found"}}), [],
        ),
        Speech(
            "okx", ("BTC-USDT-SWAP", "SOL-USDT-SWAP", "ETH-USDT-SWAP"), _okx,
            (200, {}, {"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []}),
            {"code": "0", "msg": "", "data": []},
        ),
        Speech(
            "binance", ("BTCUSDT", "SOLUSDT", "ETHUSDT"), _binance,
            (400, {}, {"code": -1121, "msg": "Invalid symbol."}), [],
        ),
    )
}  # fmt: skip


@dataclass
class Exchange:
    """An exchange that answers for the markets it knows, and what is wrong with it."""

    speech: Speech
    unknown: set[str] = field(default_factory=set)
    broken: dict[str, Reply] = field(default_factory=dict)
    quiet: set[str] = field(default_factory=set)

    def __call__(self, path: str, params: dict[str, str]) -> Reply:
        code = params.get("market") or params.get("instId") or params.get("symbol") or ""
        if code in self.broken:
            return self.broken[code]
        if code in self.unknown:
            return self.speech.unknown
        return 200, {}, self.speech.quiet if code in self.quiet else self.speech.answer(path, params, code)


class Stage:
    """A warehouse, an exchange, and repairs that are run one after another."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name = place, name
        self.codes = SPEECHES[name].codes
        self.exchange = Exchange(SPEECHES[name])
        self.rest = ScriptedRest(self.exchange)
        self.at = NOW

    @property
    def settings(self) -> Any:
        one = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=self.rest.url, codes=self.codes)
        platform = self.place.settings.platform.model_copy(update={"exchanges": (self.name,)})
        return self.place.settings.model_copy(update={self.name: one, "platform": platform})

    def gap(self, dataset: str, *codes: str, cause: str = "lost") -> None:
        detail: dict[str, Any] = {"codes": list(codes or self.codes)}
        if dataset == "candle":
            detail["interval"] = "1m"
        stream = f"{dataset}/{gaps.part(detail['codes'])}"
        gaps.write(self.place.opened[0], self.name, [Gap(stream, START, END, cause, detail)])

    def run(self, **more: Any) -> list[str]:
        """Repair; the codes that were asked for. Each pass is later than any pause."""
        before = len(self.rest.asked)
        repair.run(self.settings, self.name, now=self.at, **more)
        self.at += timedelta(minutes=1)
        return self.asked(before)

    def asked(self, before: int = 0) -> list[str]:
        named = [p.get("market") or p.get("instId") or p.get("symbol") or "list" for _, p in self.rest.asked[before:]]
        return sorted(set(named))

    def passes(self) -> Any:
        """Let enough time pass for the next pass."""
        self.at += timedelta(hours=7)

    def book(self) -> tuple[Any, ...]:
        query = b"SELECT state, attempts, answers, repaired_rows, said FROM ops.gap"
        [row] = self.place.opened[0].execute(query).fetchall()
        return row

    def noted(self) -> dict[str, str]:
        query = b"SELECT code, state FROM ops.gap_code ORDER BY code"
        return dict(self.place.opened[0].execute(query).fetchall())


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database that each test copies."""
    name = f"test_refused_{os.getpid()}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        close(make_place(postgres_server.url(name), tmp_path_factory.mktemp("template")))
        yield name
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    fresh_database: Callable[..., str],
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    name = getattr(request, "param", "upbit")
    rest = registry.get(name).rest
    monkeypatch.setattr(type(rest), "limits", dict.fromkeys(rest.limits, 1000.0))
    monkeypatch.setattr("tidemark.transport.Patience.__init__.__defaults__", (1, 0.0, 0.0, 1.0, 1.0))
    nothing = CompletenessSummary(START, END, 0, 0, 0, 0, (), (), (), "")
    monkeypatch.setattr(completeness, "run", lambda *_, **__: nothing)  # the check that follows has tests of its own
    place = make_place(fresh_database(template=template), tmp_path)
    made = Stage(place, name)
    with made.rest.listening():
        yield made
    close(place)


EVERY = pytest.mark.parametrize("stage", list(SPEECHES), indirect=True)


@EVERY
@pytest.mark.parametrize("dataset", ["trade", "candle"])
def test_a_market_that_is_not_known_settles_and_the_rest_is_repaired(stage: Stage, dataset: str) -> None:
    first, gone, last = stage.codes
    stage.exchange.unknown = {gone}
    stage.gap(dataset)
    assert stage.run() == sorted(stage.codes)
    state, attempts, answers, rows, said = stage.book()
    assert (state, attempts, answers, rows) == ("not_served", 1, 1, 2)
    assert f"{gone}: {stage.name} knows no such market" in said
    assert stage.noted() == {gone: "refused"}
    assert stage.rest.count(gone) == 1, "however many questions there are about it"
    for _ in range(3):
        stage.passes()
        assert stage.run() == []
    assert set(stage.asked()) == {first, gone, last}


@EVERY
def test_only_what_failed_is_asked_for_again(stage: Stage) -> None:
    first, gone, last = stage.codes
    stage.exchange.unknown = {gone}
    stage.exchange.broken = {last: (400, {}, {"error": {"name": "odd"}})}
    stage.gap("trade")
    assert stage.run() == sorted(stage.codes)
    state, attempts, answers, rows, said = stage.book()
    assert (state, attempts, answers, rows) == ("open", 1, 0, 1)
    assert f"1 of 3 markets failed, first {last}: " in said
    assert f"not served is {gone}: " in said
    assert stage.noted() == {first: "answered", gone: "refused", last: "failed"}
    assert stage.run() == [], "the pause"
    stage.passes()
    [line] = repair.run(stage.settings, stage.name, dry_run=True, now=stage.at).lines
    assert line.endswith("1 questions"), "a dry run knows what is settled"
    assert stage.run() == [last]
    assert stage.book()[:4] == ("open", 2, 0, 1)
    stage.exchange.broken = {}
    stage.passes()
    assert stage.run() == [last]
    assert stage.book()[:4] == ("not_served", 3, 1, 2)
    assert stage.noted() == {gone: "refused"}


def test_a_refusal_that_is_not_about_the_market_is_no_answer(stage: Stage) -> None:
    """A proxy's 404, a path that moved, a gateway's 400: the rows may well be there."""
    odd: list[Reply] = [
        (404, {}, b"<html>not found</html>"), (404, {}, b""), (404, {}, {"error": {"name": "not_found"}}),
        (400, {}, {"error": {"name": "invalid_parameter"}}), (503, {}, b""), (200, {}, b"<html>"),
    ]  # fmt: skip
    stage.gap("trade")
    for number, reply in enumerate(odd, 1):
        stage.exchange.broken = dict.fromkeys(stage.codes, reply)
        stage.run()
        assert stage.book()[:3] == ("open", number, 0)
        stage.passes()
    stage.exchange.broken = {}
    stage.run()
    assert stage.book()[:4] == ("repaired", len(odd) + 1, 1, 3)


def test_the_pause_grows_with_each_pass_up_to_six_hours(stage: Stage) -> None:
    stage.exchange.broken = dict.fromkeys(stage.codes, (400, {}, b""))
    stage.gap("trade")
    began = stage.at
    passes = []
    while stage.at < began + timedelta(hours=30):
        if stage.run():
            passes.append((stage.at - MINUTES - began) / MINUTES)
        stage.at += 9 * MINUTES
    pauses = [second - first for first, second in pairwise(passes)]
    assert pauses[:5] == [20, 40, 80, 160, 320]
    assert max(pauses) == 360


def test_an_exchange_that_is_away_is_not_asked_for_every_market(stage: Stage) -> None:
    codes = tuple(f"KRW-C{n:03}" for n in range(40))
    stage.exchange.broken = dict.fromkeys(codes, (503, {}, b""))
    stage.gap("trade", *codes)
    assert len(stage.run()) == 3
    assert stage.book()[0] == "open"
    stage.exchange.broken = {codes[7]: (503, {}, b"")}
    stage.passes()
    assert len(stage.run()) == 40
    assert "1 of 40 markets failed" in stage.book()[4]
    stage.exchange.broken = {}
    stage.passes()
    assert stage.run() == [codes[7]]
    assert stage.book()[0] == "repaired"


def test_an_identity_that_still_fails_has_all_but_the_refused_asked_again(stage: Stage) -> None:
    first, gone, last = stage.codes
    stage.exchange.unknown = {gone}
    stage.exchange.broken = {last: (400, {}, b"")}
    stage.gap("trade", cause="sequence")
    stage.run()
    stage.passes()
    stage.exchange.broken = {}
    stage.place.opened[0].execute(b"UPDATE ops.gap_code SET state = 'answered' WHERE state = 'failed'")
    assert stage.run() == sorted([first, last])


def test_answers_that_bring_nothing_count_only_when_all_came(stage: Stage) -> None:
    """Two outages and one answer are not three answers: a loss that may still be made good is not reported."""
    [code, *_] = stage.codes
    stage.exchange.quiet = {code}
    stage.gap("trade", code, cause="sequence")
    for reply in ((400, {}, b""), (400, {}, b""), None, None):
        stage.exchange.broken = {code: reply} if reply else {}
        stage.run()
        assert stage.book()[0] == "open"
        stage.passes()
    assert stage.run() == [code]
    assert stage.book()[:3] == ("not_served", 5, 3)


def test_a_gap_that_grows_asks_again_for_what_was_answered(stage: Stage) -> None:
    first, gone, last = stage.codes
    stage.exchange.unknown = {gone}
    stage.exchange.broken = {last: (400, {}, b"")}
    stage.gap("trade")
    stage.run()
    detail = {"codes": list(stage.codes)}
    grown = Gap(f"trade/{gaps.part(stage.codes)}", START, END + MINUTES, "lost", detail)
    gaps.write(stage.place.opened[0], stage.name, [grown])
    stage.passes()
    assert stage.run() == sorted([first, last])


def test_a_person_may_ask_for_a_refused_market_again(stage: Stage) -> None:
    _, gone, _ = stage.codes
    stage.exchange.unknown = {gone}
    window = {"window_start": START, "window_end": END, "dataset": "trade"}
    stage.run(**window)
    assert gone not in stage.run(**window), "a window alone does not"
    stage.exchange.unknown = set()
    assert gone in stage.run(**window, codes=[gone])


def test_a_market_that_nobody_ever_had_makes_no_gap(stage: Stage) -> None:
    """Else a misspelt market would be on record as a loss that no exchange serves."""
    _, gone, _ = stage.codes
    stage.exchange.unknown = {gone}
    for dry_run in (True, False):
        with pytest.raises(ValueError, match=f"upbit does not have the market asked for.*'{gone}'"):
            stage.run(window_start=START, window_end=END, codes=[gone], dry_run=dry_run)
    assert stage.place.value("SELECT count(*) FROM ops.gap") == 0
    with pytest.raises(ValueError, match="lies in the future"):
        stage.run(window_start=NOW + timedelta(days=1), window_end=NOW + timedelta(days=2))


def test_a_list_that_cannot_be_had_leaves_the_gap_open_and_counts(stage: Stage) -> None:
    stage.codes = ()
    stage.exchange.broken = {"": (500, {}, b"")}
    gaps.write(stage.place.opened[0], "upbit", [Gap("trade", START, END, "disconnected")])
    assert stage.run() == ["list"]
    assert stage.book()[:3] == ("open", 1, 0)
    assert "the list of markets: UnavailableError" in stage.book()[4]


@pytest.mark.parametrize("banned_at", [0, 1])
def test_a_ban_ends_the_pass_and_keeps_what_came(stage: Stage, banned_at: int) -> None:
    stage.exchange.broken = {stage.codes[banned_at]: (418, {"Retry-After": "600"}, b"")}
    stage.gap("trade")
    with pytest.raises(BannedError):
        stage.run()
    assert stage.book()[:4] == ("open", 1, 0, banned_at)
    assert "has banned this address until" in stage.book()[4]
    asked = len(stage.rest.asked)
    stage.passes()
    with pytest.raises(BannedError):
        stage.run()
    assert len(stage.rest.asked) == asked, "nothing is sent before its end"
    assert stage.book()[1] == 1, "and a pass without a request is none"


@EVERY
@pytest.mark.parametrize("dataset", ["trade", "candle"])
def test_a_backfill_of_all_markets_goes_on_without_the_unknown_one(stage: Stage, dataset: str) -> None:
    _, gone, _ = stage.codes
    stage.exchange.unknown = {gone}
    window = (NOW - timedelta(days=2), NOW - timedelta(hours=1))
    done = backfill.run(stage.settings, stage.name, dataset, *window, interval="1m", now=NOW)
    assert done.not_served
    assert done.failures == ()
    assert any("knows no such market" in one for one in done.not_served)
    assert stage.rest.count(gone) == 1
    again = backfill.run(stage.settings, stage.name, dataset, *window, interval="1m", now=NOW)
    assert stage.rest.count(gone) == 2, "once a run: nothing proves that it stays unknown"
    assert again.unserved == done.unserved
    with pytest.raises(ValueError, match=f"does not have the market asked for.*{gone}"):
        backfill.run(stage.settings, stage.name, dataset, NOW - timedelta(days=4), window[0], [gone], "1m", now=NOW)
