"""``python -m tests.bench.anomalies --seeds 101 102 103``: how well gold finds what the simulator planted.

Lives here: days of unseen seeds through the real transforms, and what was found of what was planted, by amplitude. Not
here: the marts (``dbt``), the plan of a day (``tidemark.local.simulator.market.plan``). It takes minutes a seed, so it
is no stage of ``make bench``.

Each seed is played twice: with the amplitudes that the simulator always plants, and with low ones, most of them below
the marts' thresholds. Price: an anomaly within seven minutes of the spike's begin; what lies in no spike is false.
Volume: an anomalous hour that the surge reaches into; what lies in no surge and no spike (they are busy too) is false.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tests.bench.transformed import transformed
from tidemark.local.simulator.market import plan
from tidemark.local.simulator.market.hidden import drawn
from tidemark.local.simulator.market.instruments import E8, MARKETS

#: 2026-11-12 00:00 KST, and so many days from there. The first is history for the prices, the first four for volumes.
_START_MS = 1_794_409_200_000
_DAYS, _WARM_UP = 7, 4
_DAY_MS, _MINUTE_MS, _HOUR_MS = 86_400_000, 60_000, 3_600_000
_WON = {code: market for code, market in MARKETS.items() if code.startswith("KRW-")}
_USUAL = (plan._PRICE, plan._VOLUME)
_LOW = ((0.002, -0.004, 0.006, -0.009, 0.015), (1.5, 2.0, 2.5, 3.0))
_LEDGER = """
insert into ops.load_ledger (path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset,
    rows, parsed, dead, ignored, hour_at, byte_size, checksum, version)
values ('p', 'data', 'upbit', 'trade', 't', 'bench', 0, 0, 0, 1, 1, 1, 0, 0, now(), 1, '', '') returning load_id
"""
_COPY = """
copy raw.trade_v1 (load_id, exchange, market, code, trade_id, event_at, price, size, side, source, received_at,
    kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item) from stdin
"""


def trades(seed: int) -> Iterator[tuple[object, ...]]:
    """Every trade of the won markets, as a row of raw."""
    _, _, tape = drawn(seed, 150_000)
    offset = 0
    for code, market in _WON.items():
        symbol = code.removeprefix("KRW-") + "-KRW"
        for trade in tape.between(market, _START_MS, _START_MS + _DAYS * _DAY_MS):
            offset += 1
            at = datetime.fromtimestamp(trade.ms / 1000, UTC)
            price, size = Decimal(trade.price) / E8, Decimal(trade.size) / E8
            side = "sell" if trade.is_ask else "buy"
            where = ("bench", 0, "t", 0, offset, 0)
            yield (1, "upbit", symbol, code, trade.id, at, price, size, side, "ws", at, *where)


def found(seed: int, folder: Path) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Market code and start (ms) of every price and volume anomaly that gold has of this seed."""
    with transformed(folder, durable=False) as made:
        made.connection.execute(_LEDGER)
        with made.connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in trades(seed):
                copy.write_row(row)
        made.build()
        query = """select 'KRW-' || split_part(market, '-', 1), (extract(epoch from bucket_at) * 1000)::bigint
            from gold.{} order by 2"""
        price, volume = (
            made.connection.execute(query.format(mart).encode()).fetchall()
            for mart in ("price_anomaly_1m", "volume_anomaly_1h")
        )
    return price, volume


def judge(seed: int, folder: Path, tally: Counter[tuple[str, float, str]]) -> None:
    """Add what was found of one seed, and what was not, to the tally: (kind, amplitude, outcome)."""
    price, volume = found(seed, folder)
    planted = plan.Plan(seed).anomalies(_START_MS, _START_MS + _DAYS * _DAY_MS, _WON)
    spikes = [a for a in planted if a.kind == "price" and a.at_ms >= _START_MS + _DAY_MS]
    surges = [a for a in planted if a.kind == "volume" and a.at_ms >= _START_MS + _WARM_UP * _DAY_MS]
    for spike in spikes:
        hit = any(code == spike.market and 0 <= at - spike.at_ms <= 7 * _MINUTE_MS for code, at in price)
        tally["price", abs(spike.amplitude), "found" if hit else "missed"] += 1
    for surge in surges:
        hit = any(code == surge.market and at < surge.until_ms and at + _HOUR_MS > surge.at_ms for code, at in volume)
        tally["volume", surge.amplitude, "found" if hit else "missed"] += 1
    for kind, rows, since in (("price", price, 1), ("volume", volume, _WARM_UP)):
        for code, at in rows:
            if at < _START_MS + since * _DAY_MS:
                continue
            inside = any(
                a.market == code and at < a.until_ms + _MINUTE_MS and at + _HOUR_MS * (kind == "volume") >= a.at_ms
                for a in planted
                if a.kind == kind or kind == "volume"
            )
            tally[kind, 0.0, "true" if inside else "false"] += 1


def table(name: str, tally: Counter[tuple[str, float, str]]) -> list[str]:
    """Lines of the table for one set of amplitudes."""
    lines = []
    for kind in ("price", "volume"):
        for amplitude in sorted({a for k, a, _ in tally if k == kind and a}):
            hit, missed = tally[kind, amplitude, "found"], tally[kind, amplitude, "missed"]
            shown = f"{amplitude:.1%}" if kind == "price" else f"{amplitude:g}×"
            lines.append(f"| {name} | {kind} | {shown} | {hit + missed} | {hit / (hit + missed):.0%} | |")
        true, false = tally[kind, 0.0, "true"], tally[kind, 0.0, "false"]
        share = f"{true / (true + false):.0%} of {true + false}" if true + false else "nothing was found"
        lines.append(f"| {name} | {kind} | all | | | {share} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.anomalies", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    options = parser.parse_args(arguments)
    lines = ["| amplitudes | kind | planted | times | recall | precision |", "|---|---|---|---|---|---|"]
    for name, (prices, volumes) in (("usual", _USUAL), ("low", _LOW)):
        plan._PRICE, plan._VOLUME = prices, volumes  # type: ignore[misc, assignment]
        drawn.cache_clear()
        tally: Counter[tuple[str, float, str]] = Counter()
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="anomalies-") as folder:
                judge(seed, Path(folder), tally)
            print(f"  {name} amplitudes, seed {seed}: {sum(tally.values())} judged", file=sys.stderr)
        lines += table(name, tally)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
