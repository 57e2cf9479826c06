"""What an exchange must never send, through the whole chain: set aside with its reason, counted, and the rest flows."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.integration.chain.conftest import PATIENCE_S, Chain

TRADE = {
    "ty": "trade",
    "cd": "KRW-BTC",
    "tp": 105000000.0,
    "tv": 0.01,
    "ab": "BID",
    "ttms": 1790000000123,
    "tms": 1790000000200,
    "sid": 17900000001230000,
    "st": "REALTIME",
}
#: A market whose code is well formed and which the exchange doesn't list.
UNKNOWN = {**TRADE, "cd": "KRW-NOSUCH", "sid": 17900000001230001}
NEGATIVE = {**TRADE, "tp": -105000000.0, "sid": 17900000001230002}
HOLED = {key: value for key, value in {**TRADE, "sid": 17900000001230003}.items() if key != "tv"}
BAD = {"text": "{this is no JSON"}, {"size": 5 * 1024 * 1024}, {"text": json.dumps({**TRADE, "ty": "dividend"})}


def send(chain: Chain, order: dict[str, Any]) -> None:
    """Have the exchange send these bytes to every connection."""
    url = f"{chain.settings.upbit.rest_url}/_sim/faults"
    request = urllib.request.Request(url, json.dumps({"kind": "raw", **order}).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["done"] == 1


def connected(chain: Chain) -> bool:
    with urllib.request.urlopen(f"{chain.settings.upbit.rest_url}/_sim/status", timeout=10) as answer:
        return bool(json.load(answer)["trades_sent"])


def test_bad_input_is_set_aside_with_its_reason_and_the_rest_flows(chain: Callable[..., Chain]) -> None:
    live = chain("--day", "", "--trades-per-day", "2000000")
    live.start("streaming.consumer")
    live.start("streaming.producer")
    give_up = time.monotonic() + PATIENCE_S
    while not connected(live):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    for order in (*BAD, *({"text": json.dumps(frame)} for frame in (NEGATIVE, HOLED, UNKNOWN, TRADE))):
        send(live, order)

    dead: dict[str, int] = {}
    while sum(dead.values()) < len(BAD):
        assert time.monotonic() < give_up, dead
        time.sleep(0.5)
        live.load("trade", "system")
        dead = dict(
            live.rows(
                "select key, sum(value::int)::int from ops.load_ledger, jsonb_each_text(dead_reasons) group by key"
            )
        )
    assert dead == {"not_json": 1, "truncated": 1, "unknown_type": 1}
    while live.one("select count(*) from raw.trade_v1 where trade_id = %s", [TRADE["sid"]]) == 0:
        assert time.monotonic() < give_up
        time.sleep(0.5)
        live.load("trade")

    live.build("market", "trade")
    quarantined = dict(live.rows("select reason, (payload ->> 'trade_id')::bigint from silver.quarantine"))
    assert quarantined == {
        "bad_price": NEGATIVE["sid"],
        "missing_size": HOLED["sid"],
        "unknown_market": UNKNOWN["sid"],
    }
    assert live.one("select count(*) from silver.trade where trade_id = %s", [TRADE["sid"]]) == 1
    assert live.one("select count(*) from silver.trade") > 20, "the rest flows"
