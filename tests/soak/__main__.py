"""``python -m tests.soak --minutes 20 --rate 10000``: a table of memory, minute by minute; 1 when it grows or is too
much, or when a message is missing in the end.

Lives here: an exchange that sends at that rate, Kafka, one producer and one sink as processes, samples of both.
Doesn't: judging a trend (``trend``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from picows import WSMsgType

from tests.faults.feed import Feed, trade
from tests.faults.stage import TRADES, Stage, settings_of
from tests.faults.worker import Worker
from tests.soak.trend import Trend, trend
from tidemark.local import process
from tidemark.local.kafka import KafkaServer
from tidemark.settings import PROJECT_ROOT, LakeSettings, ProducerSettings, Settings, SinkSettings, WarehouseSettings

MIB = 1024 * 1024
MOST_BYTES = 300 * 10**6
CODES = tuple(f"KRW-C{n:02d}" for n in range(20))
_SAMPLE_S = 3.0
_TURN_S = 0.02


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=10_000, help="messages a second")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="tidemark-soak-"))
    try:
        return run(folder, options.minutes * 60, options.rate)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(folder: Path, seconds: float, rate: int) -> int:
    """Stream for so long, drain, and judge."""
    with _stage(folder) as stage, Flow(stage.feed, rate) as flow:
        workers = {"producer": stage.producer(), "sink": stage.sink()}
        stage.feed.client()
        print(f"{rate} messages a second for {seconds / 60:g} minutes")
        print(f"{'minute':>6}  {'sent':>11}  {'producer MiB':>12}  {'sink MiB':>8}  {'waiting':>9}")
        samples = _sample(stage, flow, workers, seconds)
        flow.stop()
        stage.feed.all_read(120)
        missing = _missing(stage, flow.sent)
    trends = {name: trend(taken) for name, taken in samples.items()}
    return _judged(trends, flow.sent, missing, seconds, rate)


def _sample(stage: Stage, flow: Flow, workers: dict[str, Worker], seconds: float) -> dict[str, list[tuple[float, int]]]:
    """Resident bytes of each worker every few seconds; a line a minute."""
    samples: dict[str, list[tuple[float, int]]] = {name: [] for name in workers}
    begin = time.monotonic()
    minutes = itertools.count(1)
    line_at = begin + 60
    flow.start()
    while (now := time.monotonic()) < begin + seconds:
        for name, worker in workers.items():
            assert worker.alive, worker.tail()
            samples[name].append((now - begin, worker.rss()))
        if now >= line_at:
            line_at += 60
            sizes = [samples[name][-1][1] / MIB for name in ("producer", "sink")]
            print(f"{next(minutes):>6}  {flow.sent:>11}  {sizes[0]:>12.1f}  {sizes[1]:>8.1f}  {_waiting(stage):>9}")
            sys.stdout.flush()
        time.sleep(_SAMPLE_S)
    return samples


def _waiting(stage: Stage) -> int:
    """Trades in the broker that have not landed."""
    places = [place for place in stage.places() if place[0] == TRADES]
    highs = stage.marks(places)
    return sum(high - 1 - stage.end(*place) for place, (_, high) in highs.items())


def _missing(stage: Stage, sent: int) -> int:
    """How many of the messages are not in the lake once all workers have drained."""
    stage.rest(600)
    reports = {place: stage.report(*place) for place in stage.places() if place[0] == TRADES}
    assert all(report.whole for report in reports.values()), reports
    footers = [link.footer for place in reports for link in stage.links(*place)]
    return sent - sum(footer.rows for footer in footers)


def _judged(trends: dict[str, Trend], sent: int, missing: int, seconds: float, rate: int) -> int:
    print(f"\n{'':>10}  {'highest':>8}  {'mean':>8}  {'growth':>8}  {'noise':>8}   MiB; growth over the last 3/4")
    for name, one in trends.items():
        sizes = [one.highest, one.mean, one.growth, one.noise]
        print(f"{name:>10}  " + "  ".join(f"{size / MIB:>8.1f}" for size in sizes))
    problems = [f"the {name} grows" for name, one in trends.items() if one.grows]
    problems += [f"the {name} took more than 300 MB" for name, one in trends.items() if one.highest > MOST_BYTES]
    problems += [f"{missing} of {sent} messages are not in the lake"] if missing else []
    if sent < 0.95 * rate * seconds:
        problems.append(f"only {sent / seconds:.0f} messages a second came through")
    print(f"\n{sent} messages, all in the lake once" if not missing else "")
    print("FAILED: " + "; ".join(problems) if problems else "passed")
    return 1 if problems else 0


class Flow:
    """Trades of many markets at a steady rate, until stopped; as slow as the other side reads, if it must be."""

    def __init__(self, feed: Feed, rate: int) -> None:
        self.sent = 0
        self._feed = feed
        self._rate = rate
        self._running = False

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._task = self._feed.start(self._flow())

    def stop(self) -> None:
        """End, once what was begun is sent."""
        self._running = False
        self._task.result(60)

    async def _flow(self) -> None:
        client = await self._feed.subscribed()
        begin = time.monotonic()
        frames = [trade(n, code=CODES[n % len(CODES)])[:-1] + b"," for n in range(1_000)]
        while self._running:
            due = int((time.monotonic() - begin) * self._rate) - self.sent
            for _ in range(due):
                number = self.sent
                # Each is another one: nothing may be won by compressing the same bytes again and again.
                client.transport.send(WSMsgType.BINARY, frames[number % 1_000] + b'"n":%d}' % number)
                self.sent += 1
            await client.writable.wait()
            await asyncio.sleep(_TURN_S)


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[Stage]:
    """Exchange, broker and lake of this run; the workers with the settings they have by default."""
    cache = PROJECT_ROOT / ".tidemark/cache"
    kafka = KafkaServer(folder / "kafka", process.free_port(), folder / "kafka.log", cache, optimised=True)
    lake = LakeSettings(url=f"file://{folder}/lake")
    with Feed() as feed:
        settings: Settings = settings_of(kafka.bootstrap, lake, WarehouseSettings(), feed)
        upbit = settings.upbit.model_copy(update={"codes": CODES})
        settings = settings.model_copy(
            update={
                "upbit": upbit,
                "producer": ProducerSettings(),
                "sink": SinkSettings(group=settings.sink.group),
            }
        )
        kafka.start()
        stage = Stage(settings, folder, feed)
        try:
            stage.make_topics()
            yield stage
        finally:
            stage.close()
            kafka.stop()


if __name__ == "__main__":
    sys.exit(main())
