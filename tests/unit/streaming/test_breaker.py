"""The breaker and a ban: nobody connects before its end, whatever the breaker's own state."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from streaming.producer.breaker import Breaker
from streaming.producer.counts import ExchangeCounts
from tidemark.bans import Ban


def test_nobody_connects_before_the_end_of_a_ban_that_another_process_earned(tmp_path: Path) -> None:
    end = time.time() + 0.5

    async def scene() -> float:
        mine = Ban("somewhere", "wss://exchange.example", tmp_path)
        breaker = Breaker("somewhere", ExchangeCounts(), 10, 0.01, mine)
        assert await breaker.admitted(asyncio.Event())
        Ban("somewhere", "https://exchange.example", tmp_path).begin(end, "418")
        assert await breaker.admitted(asyncio.Event())
        return time.time()

    assert asyncio.run(scene()) >= end


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    async def scene() -> bool:
        ban = Ban("somewhere", "wss://exchange.example")
        ban.begin(time.time() + 3600, "418")
        stop = asyncio.Event()
        waiting = asyncio.create_task(Breaker("somewhere", ExchangeCounts(), 10, 0.01, ban).admitted(stop))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        stop.set()
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(scene()) is False
