"""Dead letters after a parser fix: a real sink buries them, the fixed parser reads them, the account stays exact."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from streaming.consumer.worker import Sink
from tests.integration.warehouse.place import Place, close, make_place
from tidemark.completeness.verdicts import HOUR, hour_of
from tidemark.exchanges.upbit import frames
from tidemark.jobs import compact, completeness, load, reprocess
from tidemark.naming import raw_topic
from tidemark.settings import SinkSettings

NOW = datetime.now(UTC)
TRADE, SYSTEM = raw_topic("upbit", "trade"), raw_topic("upbit", "system")


def frame(number: int, kind: str = "trade", **changes: Any) -> bytes:
    at = int(NOW.timestamp() * 1000)
    message = {
        "type": kind, "code": "KRW-BTC", "timestamp": at, "trade_timestamp": at, "trade_price": 100 + number,
        "trade_volume": 0.5, "ask_bid": "BID", "sequential_id": number, "stream_type": "REALTIME", **changes,
    }  # fmt: skip
    return json.dumps(message).encode()


@pytest.fixture
def place(fresh_database: Callable[..., str], memory_bootstrap: str, tmp_path: Path) -> Iterator[Place]:
    made = make_place(fresh_database(), tmp_path, memory_bootstrap, memory=True, cluster="test", epoch=3)
    made.settings = made.settings.model_copy(update={"sink": SinkSettings(rotate_seconds=0.3)})
    yield made
    close(made)


@pytest.fixture
def buried(place: Place) -> Place:
    """Ten trades, two of them of a type that nobody knew, one of them no JSON; two such frames among the system's."""
    send(place, TRADE, [*(frame(n, "trade2" if n in (3, 6) else "trade") for n in range(9)), b"not JSON"])
    send(place, SYSTEM, [frame(20, "trade2"), frame(21, "trade2"), b'{"status":"UP"}'], connection="c2")
    sink(place, 13)
    for dataset in ("trade", "system"):
        load.run(place.settings, dataset, "upbit")
    assert account(place) == {"trade": (7, 3, 0), "system": (0, 2, 1)}
    return place


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser knows the type by now."""
    monkeypatch.setitem(frames.TYPES, "trade2", ("trade", None))


def send(place: Place, topic: str, values: list[bytes], connection: str = "c1") -> None:
    producer = Producer({"bootstrap.servers": place.settings.kafka.bootstrap_servers})
    for number, value in enumerate(values, 1):
        received = int(NOW.timestamp() * 1e6) * 1000 + number * 1000
        named = {"received_ns": b"%d" % received, "connection": connection.encode(), "frame": b"%d" % number}
        producer.produce(topic, value, b"KRW-BTC", 0, headers=list(named.items()))
    assert producer.flush(20) == 0


def sink(place: Place, offsets: int) -> None:
    """Run a sink until it has written so many offsets."""
    worker = Sink(place.settings, places=[(TRADE, 0), (SYSTEM, 0)])
    thread = threading.Thread(target=worker.run)
    thread.start()
    deadline = time.monotonic() + 30
    while worker.totals.parsed + worker.totals.dead + worker.totals.ignored < offsets:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.stop()
    thread.join(20)


def account(place: Place) -> dict[str, tuple[int, int, int]]:
    """Parsed, dead and ignored offsets by identity 2, which is green."""
    completeness.run(place.settings, hour_of(NOW), hour_of(NOW) + HOUR, exchange="upbit")
    query = b"SELECT dataset, status, detail FROM ops.completeness WHERE identity = 2"
    found = place.opened[0].execute(query).fetchall()
    assert {status for _, status, _ in found} == {"green"}, found
    return {dataset: (d["parsed"], d["dead"], d["ignored"]) for dataset, _, d in found}


def rows(place: Place) -> list[tuple[Any, ...]]:
    query = b"""SELECT trade_id, price, kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item,
        connection_id, frame_no, source FROM raw.trade_v1 ORDER BY trade_id"""
    return place.opened[0].execute(query).fetchall()


def test_what_can_be_read_by_now_lands_with_its_own_identity(buried: Place, fixed: None) -> None:
    before = rows(buried)
    planned = reprocess.run(buried.settings, "upbit", dry_run=True)
    assert (planned.rows, planned.objects, planned.still_dead) == (4, 2, {"not_json": 1})
    assert rows(buried) == before, "a dry run changes nothing"

    done = reprocess.run(buried.settings, "upbit")
    assert (done.rows, done.objects, done.outcomes["parsed"], done.still_dead) == (4, 2, 4, {"not_json": 1})
    after = {row[0]: row[1:] for row in rows(buried)}
    assert sorted(after) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21]
    assert after[3] == (103, "test", 3, TRADE, 0, 3, 0, "c1", 4, "ws")
    assert after[21] == (121, "test", 3, SYSTEM, 0, 1, 0, "c2", 2, "ws")
    assert account(buried) == {"trade": (9, 1, 0), "system": (2, 0, 1)}
    detail = buried.value("SELECT detail FROM ops.completeness WHERE identity = 2 AND dataset = 'trade'")
    assert (detail["revived"], detail["dead_reasons"]) == (2, {"not_json": 1})


def test_done_twice_and_by_two_at_once_nothing_doubles(buried: Place, fixed: None) -> None:
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: reprocess.run(buried.settings, "upbit"), range(2)))
    assert sum(one.rows for one in done) == 4
    first = rows(buried)
    again = reprocess.run(buried.settings, "upbit")
    assert (again.rows, again.outcomes) == (0, {"revived before": 4})
    assert rows(buried) == first
    assert buried.value("SELECT count(*) FROM ops.revived") == 4
    assert account(buried) == {"trade": (9, 1, 0), "system": (2, 0, 1)}


def test_a_run_that_another_one_overtakes_leaves_it_what_it_has_done(
    buried: Place, fixed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = reprocess._unrevived
    others: list[reprocess.ReprocessSummary] = []

    def overtaken(*arguments: Any) -> Any:
        found = looked(*arguments)
        if not others:  # between its look and its write
            monkeypatch.undo()
            monkeypatch.setitem(frames.TYPES, "trade2", ("trade", None))
            others.append(reprocess.run(buried.settings, "upbit"))
        return found

    monkeypatch.setattr(reprocess, "_unrevived", overtaken)
    assert reprocess.run(buried.settings, "upbit").rows == 0
    assert others[0].rows == 4
    assert buried.value("SELECT count(*) FROM ops.revived") == 4
    assert load.run(buried.settings, "trade", "upbit").objects == 0
    assert account(buried) == {"trade": (9, 1, 0), "system": (2, 0, 1)}


def test_what_landed_and_was_not_loaded_is_loaded_by_the_next_load(
    buried: Place, fixed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reprocess, "load_path", killed)
    with pytest.raises(KeyboardInterrupt):
        reprocess.run(buried.settings, "upbit", dataset="trade")
    monkeypatch.undo()
    monkeypatch.setitem(frames.TYPES, "trade2", ("trade", None))
    assert load.run(buried.settings, "trade", "upbit").rows == 2
    assert reprocess.run(buried.settings, "upbit", dataset="trade").rows == 0
    assert account(buried)["trade"] == (9, 1, 0)


def test_a_second_fix_is_a_second_generation(buried: Place, fixed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    reprocess.run(buried.settings, "upbit")
    real = reprocess.registry.read

    def mended(exchange: str, dataset: str, kind: str | None, value: bytes) -> Any:
        return real(exchange, dataset, kind, frame(9) if value == b"not JSON" else value)

    monkeypatch.setattr(reprocess.registry, "read", mended)
    assert reprocess.run(buried.settings, "upbit").rows == 1
    paths = [one.path for one in buried.store.list(f"landing/{TRADE}/revived/{TRADE}/")]
    assert [path[-9:] for path in paths] == ["1.parquet", "2.parquet"]
    assert account(buried)["trade"] == (10, 0, 0)


def test_compaction_takes_what_was_revived(buried: Place, fixed: None) -> None:
    reprocess.run(buried.settings, "upbit")
    done = compact.run(buried.settings, hour_of(NOW), hour_of(NOW) + HOUR, "trade")
    assert done.rows == 11
    assert compact.run(buried.settings, hour_of(NOW), hour_of(NOW) + HOUR, "trade").rows == 0


def test_a_record_that_another_writer_could_read_is_not_revived(buried: Place, fixed: None) -> None:
    """A letter may be sent by a writer that then loses the race to one whose parser knew the frame."""
    [path] = [one.path for one in buried.store.list(f"landing/{TRADE}/test-3/p0000/")]
    letter = next(one for one in reprocess.letters(buried.settings.kafka, TRADE) if one.offset == 3)
    producer = Producer({"bootstrap.servers": buried.settings.kafka.bootstrap_servers})
    value = frame(4)
    named = {
        "reason": "x", "cluster": "test", "epoch": "3", "topic": TRADE, "partition": "0", "offset": "4",
        "length": str(len(value)), "sha256": hashlib.sha256(value).hexdigest(), "received_ns": str(letter.received_ns),
    }  # fmt: skip
    producer.produce(f"{TRADE}.dlq", value, headers=[(name, text.encode()) for name, text in named.items()])
    assert producer.flush(10) == 0
    assert buried.store.exists(path)
    assert reprocess.run(buried.settings, "upbit", dataset="trade").rows == 2
    assert len({row[6] for row in rows(buried)}) == len(rows(buried)) == 9
