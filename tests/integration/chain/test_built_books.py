"""Books that the producer builds, through the whole chain: a recorded session byte for byte, and a live market whose
frames are lost on the way.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.chain.conftest import Chain

CODES = ("SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT")


def test_a_recorded_session_reaches_silver_with_its_books(chain: Callable[..., Chain], captures: Path) -> None:
    recording = captures / "binance-usdm" / "cryptofeed-2021-07-22" / "BINANCE_FUTURES.ws.1.0"
    session = chain("--replay", str(recording), exchange="binance", codes=CODES)
    session.start("streaming.consumer")
    session.start("streaming.producer")
    session.load_until(764 + len(CODES), "depth")
    session.load_until(91, "trade")
    session.load_until(67, "candle")
    session.load_until(len(CODES), "orderbook")
    session.load("system")
    session.build("path:models/silver")

    kinds = session.rows("select kind, count(*), count(frame_no) from raw.depth_v1 group by 1 order by 1")
    assert kinds == [("snapshot", 4, 0), ("update", 764, 764)]
    assert session.one("select count(*) from silver.trade") == 91
    assert session.one("select sum(last_trade_id - first_trade_id + 1) from silver.trade") >= 91
    assert session.one("select count(*) from raw.candle_v1") == 67
    assert session.one("select count(*) from silver.quarantine") == 0
    assert session.one("select count(*) from raw.system_v1 where kind = 'break'") == 0
    books = session.rows("""
        select market, update_id, ask_levels, bid_levels, spread > 0, total_ask_size > 0, imbalance between -1 and 1
        from silver.orderbook
    """)
    assert {book[0] for book in books} == {"SUSHI-USDT", "AKRO-USDT", "KEEP-USDT", "CTK-USDT"}
    assert {book[2:] for book in books} == {(30, 30, True, True, True)}
    last = dict(session.rows("select market, max(last_update_id) from raw.depth_v1 group by 1"))
    assert {market: max(b[1] for b in books if b[0] == market) for market in last} == last


def _load_changes_after_the_break(live: Chain) -> None:
    """Load until changes of the book are in raw that came after the missing ones."""
    give_up = time.monotonic() + 120
    query = """
        select count(*) from raw.depth_v1 as change join raw.system_v1 as broken
            on broken.kind = 'break' and change.code = broken.extra->>'code'
        where change.kind = 'update' and change.last_update_id > (broken.extra->>'last_missing')::bigint
    """
    while not live.one(query):
        assert time.monotonic() < give_up, live.log("streaming.consumer")[-3000:]
        time.sleep(0.5)
        live.load("depth", "system")


@pytest.mark.fault
def test_frames_lost_on_the_way_are_named_and_every_book_is_the_markets(chain: Callable[..., Chain]) -> None:
    live = chain("--day", "", exchange="binance", codes=("BTCUSDT", "ETHUSDT"), datasets=("depth",))
    live.start("streaming.consumer")
    live.start("streaming.producer")
    live.load_until(6, "orderbook")
    order(live, {"kind": "drop", "exchange": "binance", "frames": 5, "market": "BTCUSDT"})
    give_up = time.monotonic() + 60
    while live.log("streaming.producer").count("book stands") < 3:
        assert time.monotonic() < give_up, live.log("streaming.producer")[-3000:]
        time.sleep(0.5)
    seen = live.one("select count(*) from raw.orderbook_v1")
    live.load_until(seen + 6, "orderbook")
    _load_changes_after_the_break(live)
    live.build("path:models/silver")

    ((code, first, last),) = live.rows("""
        select extra->>'code', (extra->>'first_missing')::bigint, (extra->>'last_missing')::bigint
        from raw.system_v1 where kind = 'break'
    """)
    around = live.rows(
        """
        select max(last_update_id) filter (where last_update_id <= %(last)s),
            min(prev_update_id) filter (where last_update_id > %(last)s)
        from raw.depth_v1 where code = %(code)s and kind = 'update'
        """,
        {"code": code, "last": last},
    )
    assert (code, around) == ("BTCUSDT", [(first - 1, last)])
    truth = {
        (code, book["id"]): tuple(Decimal(book[side][what]) for side in ("ask", "bid") for what in ("price", "size"))
        for code in ("BTCUSDT", "ETHUSDT")
        for book in asked(live, f"books?exchange=binance&market={code}")
    }
    silver = live.rows("""
        select code, update_id, best_ask_price, best_ask_size, best_bid_price, best_bid_size from silver.orderbook
    """)
    assert len(silver) >= 12
    assert {(code, number): top for code, number, *top in silver}.keys() <= truth.keys()
    assert [tuple(top) for _, _, *top in silver] == [truth[code, number] for code, number, *_ in silver]


def asked(chain: Chain, path: str) -> Any:
    origin = chain.settings.exchanges[chain.exchange].rest_url
    with urllib.request.urlopen(f"{origin}/_sim/{path}", timeout=10) as answer:
        return json.load(answer)


def order(chain: Chain, fault: dict[str, Any]) -> None:
    origin = chain.settings.exchanges[chain.exchange].rest_url
    request = urllib.request.Request(f"{origin}/_sim/faults", json.dumps(fault).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["done"]
