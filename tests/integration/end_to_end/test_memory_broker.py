"""`BROKER=memory make up` of one exchange: the same promises without Java, on a smaller day."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.integration.alerts.doubles import FakeSlack
from tests.integration.end_to_end.conftest import Platform, platform
from tidemark.local import process
from tidemark.local.day import yesterday

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def up(state: Path, slack: FakeSlack) -> Iterator[Platform]:
    yield from platform(state, slack, memory=True, trades_per_day=15_000, exchanges=("upbit",))


def test_the_day_is_complete_on_the_in_memory_broker(up: Platform) -> None:
    done = up.tidemark("up")
    assert done.returncode == 0
    assert "survives a stop" in done.stdout
    day = yesterday(datetime.now(UTC))
    begin_ms, end_ms = (day.begin.timestamp() * 1000, day.end.timestamp() * 1000)
    query = (
        "select code, count(*) from silver.trade where exchange = %s and event_at >= %s and event_at < %s group by 1"
    )
    for exchange in up.settings.exchanges:
        sent = Counter(t["market"] for t in up.oracle("trades", exchange) if begin_ms <= t["ms"] < end_ms)
        assert len(sent) >= 5
        assert dict(up.rows(query, exchange, day.begin, day.end)) == sent
    assert up.rows("select * from ops.completeness where status = 'red'") == []


def test_services_that_are_killed_come_back_by_themselves(up: Platform) -> None:
    """The in-memory broker's clients with it: its address is another one then."""
    before = up.services()
    killed = [file for file in before if file.stem in ("memory", "sink", "valkey", "scheduler", "pages")]
    assert len(killed) == 5
    for file in killed:
        os.kill(before[file], signal.SIGKILL)
    epoch = up.layout.epoch(memory=True)

    def whole() -> bool:
        now = up.services()
        return now.keys() == before.keys() and all(now[file] != before[file] for file in killed)

    process.wait_until("every service", whole, timeout_s=240, every_s=1)
    assert up.layout.epoch(memory=True) == epoch + 1
    done = up.tidemark("up")
    assert done.returncode == 0
    assert "identities" in done.stdout  # checked again after an unclean stop
    assert "services_restarted" in (up.layout.logs / "watcher.log").read_text()


def test_down_after_a_killed_scheduler_leaves_nothing(up: Platform) -> None:
    services = {file.stem: pid for file, pid in up.services().items()}
    for name in ("watcher", "scheduler"):
        os.kill(services[name], signal.SIGKILL)
    assert up.tidemark("down").returncode == 0
    assert up.processes() == []
