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
