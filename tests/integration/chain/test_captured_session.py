"""A real session of the exchange, byte for byte as it was recorded, through the whole chain."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from tests.integration.chain.conftest import Chain

FRAMES = {"trade": 304, "orderbook": 145}


def test_every_recorded_frame_reaches_silver(chain: Callable[..., Chain], captures: Path) -> None:
    session = chain("--replay", str(captures / "upbit" / "cryptofeed-2021-04-17" / "UPBIT.ws.62.0"))
    session.start("streaming.consumer")
    session.start("streaming.producer")
    session.load_until(sum(FRAMES.values()), *FRAMES)
    session.load("system")
    session.build()

    assert session.one("select count(*) from silver.trade") == FRAMES["trade"]
    assert session.one("select count(*) from silver.orderbook") == FRAMES["orderbook"]
    lamb = session.rows("select count(*), sum(size) from silver.trade where code = 'KRW-LAMB'")
    assert lamb == [(299, Decimal("663504.02962134"))]
    assert session.one("select count(*) from silver.duplicate") == 0
    assert session.one("select count(*) from silver.quarantine") == 0
    # Ids don't come in order: whoever keeps only what is above the highest id seen would lose 78 of the 299.
    late = session.one("""
        select count(*) from (
            select trade_id < max(trade_id) over (
                order by frame_no rows between unbounded preceding and 1 preceding
            ) as is_below
            from silver.trade where code = 'KRW-LAMB'
        ) as arrival where is_below
    """)
    assert late == 78
    bars = session.rows("select sum(trade_count), sum(volume_base) from gold.ohlcv_1m where market = 'LAMB-KRW'")
    assert bars == [(299, Decimal("663504.02962134"))]


def test_a_recorded_session_of_many_kinds_of_instruments_reaches_silver_in_coins(
    chain: Callable[..., Chain], captures: Path
) -> None:
    recording = captures / "okx" / "cryptofeed-2022-02-27" / "OKX.ws.1.0"
    codes = ("ZEN-USDT", "UNI-USD-SWAP", "ELON-USDT")
    session = chain("--replay", str(recording), exchange="okx", codes=codes, datasets=("trade", "ticker"))
    session.start("streaming.consumer")
    session.start("streaming.producer")
    session.load_until(19 + 19, "trade", "ticker")
    session.load("system")
    session.build("path:models/silver")

    raw = session.rows("select sum(parsed), sum(dead) from ops.load_ledger where dataset in ('trade', 'ticker')")
    assert raw == [(38, 0)]
    # Options are not among the markets that are listed: set aside with that reason, and with nothing lost.
    aside = session.rows("select dataset, reason, count(*) from silver.quarantine group by 1, 2 order by 1")
    assert aside == [("ticker", "unknown_market", 5), ("trade", "unknown_market", 2)]
    assert session.one("select count(*) from silver.trade") == 19 - 2
    assert session.one("select count(*) from silver.ticker") == 19 - 5
    told = dict(
        session.rows("select code, sum(size) from silver.trade where code in ('ZEN-USDT', 'ELON-USDT') group by 1")
    )
    assert told == {"ZEN-USDT": Decimal("39.589597"), "ELON-USDT": Decimal(52140188)}
