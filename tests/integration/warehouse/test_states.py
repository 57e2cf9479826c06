"""The states of all markets while some are delisted, or a page fails: the others land, and the run names the rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.warehouse.scripted_rest import Reply, ScriptedRest
from tidemark.exchanges import registry
from tidemark.jobs import fetch_candles, fetch_snapshots, fetch_tickers, states
from tidemark.jobs.fetching import FetchError, FetchSummary
from tidemark.lake.local import LocalStore
from tidemark.settings import ExchangeSettings, LakeSettings, Settings
from tidemark.transport import BannedError

AT = datetime(2026, 11, 21, tzinfo=UTC)
MS = 1_795_219_200_000
CODES = tuple(f"KRW-C{n:03}" for n in range(250))
UNKNOWN: Reply = (404, {}, {"error": {"name": 404, "message": "Code not found"}})


class Upbit:
    """Tickers and the market list as Upbit serves them: one unknown code refuses the whole page."""

    def __init__(self, known: tuple[str, ...] = CODES, listed: tuple[str, ...] | None = None) -> None:
        self.known = set(known)
        self.listed = list(known if listed is None else listed)
        self.broken: dict[str, Reply] = {}
        self.silent: set[str] = set()

    def __call__(self, path: str, params: dict[str, str]) -> Reply:
        if path == "/v1/market/all":
            listed = [{"market": c, "korean_name": c, "english_name": c} for c in self.listed]
            return (200, {}, listed) if listed else (500, {}, b"")
        codes = params["markets"].split(",")
        for code, reply in self.broken.items():
            if code in codes:
                return reply
        if not self.known.issuperset(codes):
            return UNKNOWN
        return 200, {}, [_upbit_ticker(code) for code in codes if code not in self.silent]


def _upbit_ticker(code: str) -> dict[str, Any]:
    numbers = ("opening_price", "high_price", "low_price", "trade_price", "prev_closing_price", "change_price")
    more = ("change_rate", "signed_change_price", "signed_change_rate", "trade_volume", "acc_trade_price")
    totals = ("acc_trade_price_24h", "acc_trade_volume", "acc_trade_volume_24h")
    weeks = {"highest_52_week_price": 2, "lowest_52_week_price": 1}
    days = {"highest_52_week_date": "2026-01-01", "lowest_52_week_date": "2026-06-01"}
    at = {"trade_date": "20261121", "trade_time": "000000", "trade_date_kst": "20261121", "trade_time_kst": "090000"}
    moments = {"trade_timestamp": MS, "timestamp": MS + 123, "change": "RISE"}
    return {"market": code, **dict.fromkeys((*numbers, *more, *totals), 1.5), **weeks, **days, **at, **moments}


class Place:
    """Settings of a lake of the test's own, and what landed in it."""

    def __init__(self, folder: Path, answer: Any, exchange: str) -> None:
        self.rest = ScriptedRest(answer)
        self.folder = folder
        self.exchange = exchange

    def settings(self, *codes: str) -> Settings:
        exchange = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=self.rest.url, codes=codes)
        lake = LakeSettings(url=f"file://{self.folder}/lake")
        return Settings(lake=lake, **{self.exchange: exchange})  # type: ignore[arg-type]

    def landed(self, dataset: str) -> list[str]:
        """The codes of all rows in the lake."""
        store = LocalStore(self.folder / "lake")
        paths = [one.path for one in store.list(f"landing/raw.{self.exchange}.{dataset}.v1/")]
        return sorted(code for path in paths for code in pq.read_table(store.root / path)["code"].to_pylist())


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for an exchange's limits, and a failure is final at once."""
    for name in ("upbit", "okx", "binance"):
        rest = registry.get(name).rest
        monkeypatch.setattr(type(rest), "limits", dict.fromkeys(rest.limits, 1000.0))
    monkeypatch.setattr("tidemark.transport.Patience.__init__.__defaults__", (1, 0.0, 0.0, 1.0, 1.0))


@pytest.fixture
def upbit(tmp_path: Path, fast: None) -> Iterator[Place]:
    place = Place(tmp_path, Upbit(), "upbit")
    with place.rest.listening():
        yield place


def fetch(place: Place, dataset: str, *codes: str, configured: tuple[str, ...] = ()) -> FetchSummary:
    if dataset == "snapshot":
        return fetch_snapshots.run(place.settings(*configured), place.exchange, AT, codes)
    return fetch_tickers.run(place.settings(*configured), place.exchange, codes)


@pytest.mark.parametrize("dataset", ["snapshot", "ticker"])
def test_a_market_that_left_the_list_is_left_out(upbit: Place, dataset: str) -> None:
    upbit.rest.answer = Upbit(("KRW-BTC", "KRW-ETH"))
    done = fetch(upbit, dataset, configured=("KRW-BTC", "KRW-ETH", "KRW-LOOM"))
    assert upbit.landed(dataset) == ["KRW-BTC", "KRW-ETH"]
    assert [(one.code, one.reason) for one in done.left_out] == [
        ("KRW-LOOM", "the list of markets does not hold it any more")
    ]
    assert "KRW-LOOM is left out" in str(done)
    assert len(upbit.rest.asked) == 3, "the page, the list, the page again"


@pytest.mark.parametrize("dataset", ["snapshot", "ticker"])
def test_one_of_many_pages_holds_a_delisted_market(upbit: Place, dataset: str) -> None:
    upbit.rest.answer = Upbit(tuple(c for c in CODES if c != CODES[150]))
    done = fetch(upbit, dataset, configured=CODES)
    assert upbit.landed(dataset) == sorted(set(CODES) - {CODES[150]})
    assert [one.code for one in done.left_out] == [CODES[150]]
    assert len(upbit.rest.asked) == 3 + 1 + 1


def test_the_list_still_holds_what_the_page_refuses(upbit: Place) -> None:
    dead = {CODES[7], CODES[93], CODES[249]}
    upbit.rest.answer = Upbit(tuple(c for c in CODES if c not in dead), listed=CODES)
    done = fetch(upbit, "ticker", configured=CODES)
    assert upbit.landed("ticker") == sorted(set(CODES) - dead)
    assert {one.code for one in done.left_out} == dead
    assert all("Code not found" in one.reason for one in done.left_out)
    assert len(upbit.rest.asked) <= 3 + 1 + 4 * 2 * 7
    assert upbit.rest.count("/v1/market/all") == 1


def test_the_list_cannot_be_had(upbit: Place) -> None:
    upbit.rest.answer = Upbit(("KRW-BTC", "KRW-ETH"), listed=())
    done = fetch(upbit, "snapshot", "KRW-BTC", "KRW-LOOM", "KRW-ETH")
    assert upbit.landed("snapshot") == ["KRW-BTC", "KRW-ETH"]
    assert [one.code for one in done.left_out] == ["KRW-LOOM"]


def test_finding_unknown_markets_takes_a_bounded_number_of_requests(upbit: Place) -> None:
    upbit.rest.answer = Upbit(CODES[::2], listed=CODES)
    with pytest.raises(FetchError, match=f"{states.SPLIT_REQUESTS} requests did not find it") as caught:
        fetch(upbit, "ticker", configured=CODES)
    summary = caught.value.summary
    assert len(upbit.rest.asked) <= 3 + 1 + states.SPLIT_REQUESTS
    assert len(summary.left_out) > 10
    assert upbit.landed("ticker"), "what was found lands all the same"
    assert not set(upbit.landed("ticker")) - set(CODES[::2])


@pytest.mark.parametrize("reply", [(500, {}, b""), (200, {}, b"<html>"), (400, {}, {"error": {"name": "x"}})])
def test_a_page_that_fails_costs_its_own_markets(upbit: Place, reply: Reply) -> None:
    answers = Upbit()
    answers.broken = {CODES[120]: reply}
    upbit.rest.answer = answers
    with pytest.raises(FetchError, match=r"KRW-C100, .* and 95 more: ") as caught:
        fetch(upbit, "snapshot", configured=CODES)
    assert upbit.landed("snapshot") == sorted({*CODES[:100], *CODES[200:]})
    assert (caught.value.summary.landed, caught.value.summary.rows) == (1, 150)
    assert caught.value.summary.left_out == ()


def test_an_exchange_that_is_away_is_not_asked_page_after_page(upbit: Place) -> None:
    codes = tuple(f"KRW-D{n:03}" for n in range(900))
    answers = Upbit(codes)
    answers.broken = {code: (503, {}, b"") for code in codes[100:]}
    upbit.rest.answer = answers
    with pytest.raises(FetchError, match="not asked: 2 pages in a row got no answer") as caught:
        fetch(upbit, "ticker", configured=codes)
    assert (len(upbit.rest.asked), caught.value.summary.rows) == (3, 100)


def test_a_ban_in_the_middle_keeps_the_pages_that_came(upbit: Place) -> None:
    answers = Upbit()
    answers.broken = {CODES[120]: (418, {"Retry-After": "600"}, b"")}
    upbit.rest.answer = answers
    with pytest.raises(FetchError, match="has banned this address until"):
        fetch(upbit, "ticker", configured=CODES)
    assert upbit.landed("ticker") == sorted(CODES[:100])
    asked = len(upbit.rest.asked)
    with pytest.raises(BannedError):
        fetch(upbit, "ticker", configured=CODES)
    assert len(upbit.rest.asked) == asked == 2, "and the next run sends nothing"


def test_what_the_answer_does_not_hold_is_named(upbit: Place) -> None:
    answers = Upbit(("KRW-BTC", "KRW-ETH"))
    answers.silent = {"KRW-ETH"}
    upbit.rest.answer = answers
    done = fetch(upbit, "ticker", configured=("KRW-BTC", "KRW-ETH"))
    assert [(one.code, one.reason) for one in done.left_out] == [("KRW-ETH", "the answer does not hold it")]


def test_a_market_that_left_after_the_list_was_read(upbit: Place) -> None:
    answers = Upbit(CODES)

    def leaves_after_the_list(path: str, params: dict[str, str]) -> Reply:
        reply = answers(path, params)
        if path == "/v1/market/all":
            answers.known.discard(CODES[5])
            answers.listed = sorted(answers.known)
        return reply

    upbit.rest.answer = leaves_after_the_list
    done = fetch(upbit, "snapshot")
    assert [one.code for one in done.left_out] == [CODES[5]]
    assert done.rows == 249
    assert len(upbit.rest.asked) == 1 + 3 + 1 + 1, "the list is read again: halves are not needed"


def test_a_row_of_the_list_that_cannot_be_read_delists_nothing(upbit: Place) -> None:
    answers = Upbit(("KRW-BTC", "KRW-ETH"))

    def odd_list(path: str, params: dict[str, str]) -> Reply:
        status, headers, body = answers(path, params)
        if path == "/v1/market/all":
            body = [{"market": "KRW-BTC", "korean_name": 5, "english_name": []}, {"market": "KRW-ETH"}, 7]
        return status, headers, body

    upbit.rest.answer = odd_list
    done = fetch(upbit, "ticker", configured=("KRW-BTC", "KRW-LOOM", "KRW-ETH"))
    assert [one.code for one in done.left_out] == ["KRW-LOOM"]
    assert upbit.landed("ticker") == ["KRW-BTC", "KRW-ETH"]


def test_a_chosen_code_that_cannot_be_read_is_a_failure(tmp_path: Path, fast: None) -> None:
    place = Place(tmp_path, _okx, "okx")
    with place.rest.listening(), pytest.raises(FetchError, match="nonsense") as caught:
        fetch(place, "ticker", "BTC-USDT-SWAP", "nonsense")
    assert caught.value.summary.rows == 1


def test_nothing_at_all_is_a_failure(upbit: Place) -> None:
    upbit.rest.answer = Upbit(("KRW-BTC",))
    with pytest.raises(FetchError, match="no state of any of the 1 markets came") as caught:
        fetch(upbit, "ticker", "KRW-NOSUCH")
    assert [one.code for one in caught.value.summary.left_out] == ["KRW-NOSUCH"]


def _binance(path: str, params: dict[str, str]) -> Reply:
    known = {"BTCUSDT", "ETHUSDT"}
    one = {"priceChange": "1", "lastPrice": "100.5", "volume": "5", "openTime": MS, "closeTime": MS, "count": 3}
    if "symbol" not in params:
        return 200, {}, [{"symbol": code, **one} for code in sorted(known)]
    if params["symbol"] not in known:
        return 400, {}, {"code": -1121, "msg": "Invalid symbol."}
    return 200, {}, {"symbol": params["symbol"], **one}


def _okx(path: str, params: dict[str, str]) -> Reply:
    if path == "/api/v5/market/tickers":
        rows = [
            {"instType": params["instType"], "instId": code, "last": "100.5", "ts": str(MS)}
            for code in ("BTC-USDT-SWAP", "ETH-USDT-SWAP")
        ]
        return 200, {}, {"code": "0", "msg": "", "data": rows if params["instType"] == "SWAP" else []}
    return 200, {}, {"code": "51001", "msg": "Instrument ID doesn't exist.", "data": []}


OTHERS = [
    ("binance", _binance, ("BTCUSDT", "OLDUSDT", "ETHUSDT")),
    ("okx", _okx, ("BTC-USDT-SWAP", "OLD-USDT-SWAP", "ETH-USDT-SWAP", "nonsense")),
]


@pytest.mark.parametrize("dataset", ["snapshot", "ticker"])
@pytest.mark.parametrize(("exchange", "answer", "codes"), OTHERS)
def test_other_exchanges_say_it_in_other_ways(
    tmp_path: Path, fast: None, exchange: str, answer: Any, codes: tuple[str, ...], dataset: str
) -> None:
    place = Place(tmp_path, answer, exchange)
    with place.rest.listening():
        done = fetch(place, dataset, configured=codes)
    assert len(place.landed(dataset)) == 2
    assert {one.code for one in done.left_out} == set(codes) - set(place.landed(dataset)) - {"nonsense"}
    assert done.set_aside == codes.count("nonsense"), "a code that cannot be read is named as that"


def test_a_delisted_market_of_the_settings_is_left_out_of_the_bars(tmp_path: Path, fast: None) -> None:
    def answer(path: str, params: dict[str, str]) -> Reply:
        return (400, {}, {"code": -1121, "msg": "Invalid symbol."}) if params["symbol"] == "OLDUSDT" else (200, {}, [])

    place = Place(tmp_path, answer, "binance")
    with place.rest.listening():
        done = fetch_candles.run(place.settings("OLDUSDT", "BTCUSDT"), "binance", None, AT, AT.replace(day=22))
        assert [one.code for one in done.left_out] == ["OLDUSDT"]
        assert place.rest.count("OLDUSDT") == 1, "daily bars were refused, hourly ones are not asked for"
        with pytest.raises(ValueError, match=r"binance does not have the market asked for.*'OLDUSDT'"):
            fetch_candles.run(place.settings(), "binance", None, AT, AT.replace(day=22), ["OLDUSDT", "BTCUSDT"])
