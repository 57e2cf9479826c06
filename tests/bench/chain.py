"""``python -m tests.bench.chain``: what the chain of DAGs costs for ten minutes of all of Upbit, against those minutes.

Lives here: windows landed as the sink lands them, the real scheduler that loads, judges and builds them, the time from
the loads' trigger to the end of gold. Doesn't: the DAGs (``airflow/dags``). It takes minutes, so it is no stage of
``make bench``.

790 frames a second: 50 trades, 50 tickers, 100 states of candles, 590 books of 30 levels, of 200 markets.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg
from pydantic import SecretStr

from tests.dags.project import DAG_IDS
from tests.integration.airflow.stage import wait_for_dags
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.local import LocalStore
from tidemark.lake.parquet import Footer
from tidemark.local import process
from tidemark.local.airflow import AirflowServer
from tidemark.local.postgres import PostgresServer
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.migrate import migrate

_MINUTES: Final = 10
_RATES: Final = {"trade": 50, "ticker": 50, "candle": 100, "orderbook": 590}  # frames a second
_OBJECT: Final = 20_000
_MARKETS: Final = [f"C{n}-KRW" for n in range(200)]
_CHAIN: Final = (*(f"raw__{dataset}__load" for dataset in _RATES), "silver__build", "gold__build")
#: Loads of trades that silver has not judged, and builds of them that gold has not followed. Books that land while
#: silver is at work are taken with the next window, as live.
_LEFT: Final = """
select (select count(*) from ops.load_ledger as l where dataset = 'trade' and kind = 'data' and not exists (
        select from ops.load_mark as m where m.load_id = l.load_id and m.consumer = 'silver.trade'))
    + (select count(*) from ops.build as b where dataset = 'trade' and not exists (
        select from ops.build_mark as m where m.build_id = b.build_id and m.consumer = 'gold.price_anomaly_1m'))
"""


class Exchange:
    """Rows as the parser makes them, numbered on from window to window."""

    def __init__(self, lake: LocalStore) -> None:
        self._lake = lake
        self._offsets = dict.fromkeys(_RATES, 0)

    def land(self, start: datetime) -> int:
        """Ten minutes from ``start`` in the lake; how many rows."""
        return sum(self._land(dataset, rate, start) for dataset, rate in _RATES.items())

    def _land(self, dataset: str, rate: int, start: datetime) -> int:
        count, topic = rate * _MINUTES * 60, naming.raw_topic("upbit", dataset)
        for begin in range(0, count, _OBJECT):
            first = self._offsets[dataset]
            size = min(_OBJECT, count - begin)
            rows = [
                self._row(dataset, topic, first + n, start + timedelta(seconds=(begin + n) / rate)) for n in range(size)
            ]
            received = [int(row["received_at"].timestamp()) * 10**9 for row in (rows[0], rows[-1])]
            footer = Footer(
                topic, 0, "bench", 0, first, first + size - 1, rows=size, parsed=size,
                received_min=min(received), received_max=max(received), fingerprint=f"{first:032x}",
            )  # fmt: skip
            path = naming.chain_object(topic, "bench", 0, 0, first)
            assert self._lake.put_new(path, parquet.write(CONTRACTS[dataset], rows, footer))
            self._offsets[dataset] = first + size
        return count

    def _row(self, dataset: str, topic: str, offset: int, at: datetime) -> dict[str, Any]:
        market = _MARKETS[offset % len(_MARKETS)]
        base, _, quote = market.partition("-")
        row = {"exchange": "upbit", "market": market, "code": f"{quote}-{base}", "event_at": at, "source": "ws"}
        row |= {"received_at": at + timedelta(milliseconds=40), "connection_id": "bench-1", "frame_no": offset + 1}
        row |= {"kafka_cluster": "bench", "kafka_epoch": 0, "kafka_topic": topic, "kafka_partition": 0}
        return row | {"kafka_offset": offset, "item": 0, "frame": b"{}"} | _CONTENT[dataset](offset, at)


def _trade(offset: int, at: datetime) -> dict[str, Any]:
    price, size = Decimal(1_000 + offset * 7919 % 97), Decimal(1 + offset * 31 % 1000) / 10_000
    return {"trade_id": 17 * 10**15 + offset, "price": price, "size": size, "side": ("buy", "sell")[offset % 2]}


def _ticker(offset: int, at: datetime) -> dict[str, Any]:
    price = Decimal(1_000 + offset * 7919 % 97)
    same = dict.fromkeys(("opening_price", "high_price", "low_price", "prev_closing_price"), Decimal(1_000))
    sums = dict.fromkeys(("acc_trade_price", "acc_trade_price_24h", "acc_trade_volume", "acc_trade_volume_24h"), price)
    return {"trade_price": price, "trade_at": at, "side": "buy", "trade_volume": Decimal("0.5"), **same, **sums}


def _candle(offset: int, at: datetime) -> dict[str, Any]:
    price = dict.fromkeys(("open", "high", "low", "close"), Decimal(1_000 + offset // 20_000 % 97))
    minute = at.replace(second=0, microsecond=0)
    sums = {"volume_base": Decimal(at.second + 1), "volume_quote": Decimal(1_000 * (at.second + 1))}
    return {"interval": "1m", "event_at": minute, "updated_at": at, **price, **sums}


_LEVELS: Final = [[Decimal(1_000 + seed + n) for n in range(30)] for seed in range(500)]


def _orderbook(offset: int, at: datetime) -> dict[str, Any]:
    asks, sizes = _LEVELS[offset * 7919 % 500], _LEVELS[offset * 31 % 500]
    bids = [Decimal(999) - n for n in range(30)]
    return {"ask_prices": asks, "ask_sizes": sizes, "bid_prices": bids, "bid_sizes": sizes, "level": Decimal(0)}


_CONTENT: Final = {"trade": _trade, "ticker": _ticker, "candle": _candle, "orderbook": _orderbook}


@contextmanager
def _platform(folder: Path) -> Iterator[tuple[AirflowServer, LocalStore, str]]:
    """Airflow with the project's DAGs, the lake, the warehouse's URL."""
    server = PostgresServer(folder / "postgres", process.free_port(), folder / "postgres.log")
    server.start()
    server.create_database("bench_airflow")
    migrate(WarehouseSettings(admin_url=SecretStr(server.url())))
    settings = {
        "AIRFLOW__COSMOS__CACHE_DIR": str(folder / "cosmos"),
        "TIDEMARK_LAKE__URL": f"file://{folder / 'lake'}",
        "TIDEMARK_WAREHOUSE__URL": server.url(user="tidemark_loader"),
    }
    metadata = server.url("bench_airflow")
    airflow = AirflowServer(folder / "airflow", process.free_port(), folder / "logs", metadata, settings)
    try:
        airflow.start()
        wait_for_dags(airflow, DAG_IDS)
        yield airflow, LocalStore(folder / "lake"), server.url()
    finally:
        airflow.stop()
        server.remove()


def _quiet(airflow: AirflowServer, left: Callable[[], int]) -> bool:
    states = {run["state"] for run in airflow.client.runs()}
    if "failed" in states:
        raise SystemExit(f"a run has failed: see {airflow.home / 'logs'}")
    return not states & {"queued", "running"} and not left()


def measure(windows: int, folder: Path) -> list[float]:
    """Seconds from the loads' trigger until gold has followed, of each window."""
    took = []
    with _platform(folder) as (airflow, lake, url), psycopg.connect(url, autocommit=True) as connection:

        def left() -> int:
            (count,) = connection.execute(_LEFT).fetchone() or (0,)
            return int(count)

        exchange, start = Exchange(lake), datetime.now(UTC) - timedelta(minutes=_MINUTES * (windows + 1))
        for dag_id in _CHAIN:
            airflow.client.unpause(dag_id)
        for window in range(windows + 1):
            rows = exchange.land(start + window * timedelta(minutes=_MINUTES))
            began = time.perf_counter()
            for dag_id in _CHAIN[:-2]:
                airflow.client.trigger(dag_id)
            process.wait_until("the chain", lambda: _quiet(airflow, left), timeout_s=900)
            seconds = time.perf_counter() - began
            print(f"  window {window}: {rows:,} rows, {seconds:.0f} s", file=sys.stderr)
            print("\n".join(_steps(airflow)), file=sys.stderr)
            took.append(seconds)
    return took[1:]


def _steps(airflow: AirflowServer) -> list[str]:
    """How long the newest run of each DAG took."""
    lines = []
    for dag_id in _CHAIN:
        run = airflow.client.runs(dag_id, 1)[0]
        begun, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
        lines.append(f"    {dag_id}: {(ended - begun).total_seconds():.0f} s ({run['run_type']})")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.chain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=3, help="how many are timed, after one that makes the tables")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chain-") as folder:
        took = measure(options.windows, Path(folder))
    median = statistics.median(took)
    print(f"ten minutes of all of Upbit: {median:.0f} s, {median / (_MINUTES * 60):.0%} of the interval ({took})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
