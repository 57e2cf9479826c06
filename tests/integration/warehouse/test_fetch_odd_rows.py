"""REST answers with rows that cannot be read: all others land, and the run, the footer and the ledger name those."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.integration.warehouse.place import Place
from tidemark.jobs import fetch_candles, fetch_markets, fetch_snapshots, fetch_tickers, fetch_trades, load
from tidemark.jobs.fetching import FetchError
from tidemark.settings import ExchangeSettings, PlatformSettings

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


class Script:
    """Answers by path; what it was asked is kept."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.url = ""

    @contextmanager
    def listening(self) -> Iterator[Script]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                script.asked.append(self.path)
                name = next((n for n in script.answers if n in self.path), "")
                body = json.dumps(script.answers.get(name, [])).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def serve(place: Place, exchange: str, script: Script, codes: tuple[str, ...] = ()) -> None:
    settings = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=script.url, codes=codes)
    platform = PlatformSettings(exchanges=(exchange,))
    place.settings = place.settings.model_copy(update={exchange: settings, "platform": platform})


def rows(place: Place, query: str) -> list[tuple[Any, ...]]:
    return place.opened[0].execute(query.encode()).fetchall()


def test_a_placeholder_in_the_list_costs_itself(place: Place) -> None:
    def listed(code: str, kind: str, state: str = "live") -> dict[str, Any]:
        return {"instType": kind, "instId": code, "state": state, "tickSz": "0.1"}

    swaps = [listed("BTC-USDT-SWAP", "SWAP"), listed("", "SWAP", "preopen"), listed("ETH-USDT-SWAP", "SWAP", "suspend")]
    spots = [listed("LISTING-SPOT-SLX-USDT", "SPOT", "preopen"), listed("BTC-USDT", "SPOT")]
    lists: dict[str, list[dict[str, Any]]] = {"SWAP": swaps, "SPOT": spots, "FUTURES": []}
    answers = {f"instType={kind}": {"code": "0", "msg": "", "data": data} for kind, data in lists.items()}
    with Script(**answers).listening() as script:
        serve(place, "okx", script)
        done = fetch_markets.run(place.settings, "okx")
        assert (done.rows, done.set_aside, done.failures) == (3, 2, ())
        assert done.first_set_aside.startswith("row 1: bad_code: ")
        assert "2 set aside (first: row 1: bad_code: " in str(done)
        load.run(place.settings, "market", "okx")
    assert rows(place, "SELECT code, state FROM raw.market_v1 ORDER BY item") == [
        ("BTC-USDT-SWAP", "live"), ("ETH-USDT-SWAP", "suspend"), ("BTC-USDT", "live"),
    ]  # fmt: skip
    assert rows(place, "SELECT kind, rows, dead, dead_reasons FROM ops.load_ledger") == [
        ("rest", 3, 2, {"bad_code": 2})
    ]
    (path,) = [one.path for one in place.store.list("landing/raw.okx.market.v1/")]
    frames = pq.read_table(place.store.root / path)["frame"].to_pylist()
    assert b"LISTING-SPOT-SLX-USDT" in frames[2], "what was set aside can be looked up"


def test_a_list_of_nothing_readable_is_an_error(place: Place) -> None:
    with Script(**{"/v1/market/all": [{"market": 5}, None]}).listening() as script:
        serve(place, "upbit", script)
        with pytest.raises(FetchError, match="none of 2 rows can be read, first row 0: bad_code"):
            fetch_markets.run(place.settings, "upbit")


def test_states_land_without_rows_and_codes_that_cannot_be_read(place: Place) -> None:
    state = {"trade_price": 5, "timestamp": int(NOON.timestamp() * 1000)}
    answers = [{"market": "KRW-BTC", **state}, {"market": ["KRW-ETH"], **state}, 5, {"market": "KRW-XRP", **state}]
    listed = [{"market": "KRW-BTC"}, {"market": None}, {"market": "KRW-XRP"}, {"market": "KRW-BTC"}]
    with Script(**{"/v1/ticker": answers, "/v1/market/all": listed}).listening() as script:
        serve(place, "upbit", script)
        ticker = fetch_tickers.run(place.settings, "upbit")
        snapshot = fetch_snapshots.run(place.settings, "upbit", NOON)
        assert [(done.rows, done.set_aside, done.failures) for done in (ticker, snapshot)] == [(2, 4, ())] * 2
        assert ticker.first_set_aside == "row 1: missing_code: the message names no market"
        assert script.asked.count("/v1/ticker?markets=KRW-BTC%2CKRW-XRP") == 2
        serve(place, "upbit", script, codes=("bitcoin", "KRW-BTC"))
        done = fetch_tickers.run(place.settings, "upbit")
        assert (done.set_aside, done.first_set_aside.partition(": ")[0]) == (3, "bitcoin")
        with pytest.raises(FetchError) as caught:
            fetch_tickers.run(place.settings, "upbit", ["KRW-BTC", "bitcoin"])
        assert [failure.series for failure in caught.value.summary.failures] == ["bitcoin"]
        assert caught.value.summary.known + caught.value.summary.landed == 1


def test_a_page_of_history_lands_without_its_odd_row(place: Place) -> None:
    def trade(number: int, **more: Any) -> dict[str, Any]:
        at = int((NOON + timedelta(seconds=number)).timestamp() * 1000)
        return {"a": number, "p": "5", "q": "1", "f": number, "l": number, "T": at, "m": False, **more}

    page = [trade(1), trade(2, p={}), trade(3, T=0), trade(4)]
    start = int(NOON.timestamp() * 1000)
    bars = [[start, "5", "6", "4", "5", "1", start + 59_999, "5", 3, "1", "5", "0"], None]
    with Script(aggTrades=page, klines=bars).listening() as script:
        serve(place, "binance", script)
        done = fetch_trades.run(place.settings, "binance", NOON, NOON + timedelta(minutes=1), ["BTCUSDT"])
        assert (done.rows, done.set_aside) == (3, 1)
        load.run(place.settings, "trade", "binance")
        odd = datetime(1970, 1, 1, tzinfo=UTC)
        found = dict(rows(place, "SELECT trade_id, event_at FROM raw.trade_v1"))
        assert (sorted(found), found[3]) == ([1, 3, 4], odd), "a time that cannot be is judged, not passed over"
        done = fetch_candles.run(place.settings, "binance", "1m", NOON, NOON + timedelta(minutes=1), ["BTCUSDT"])
        assert (done.rows, done.set_aside) == (1, 1)
