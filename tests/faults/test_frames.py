"""Frames that an exchange must not send, and does: twice, late, out of order, by a wrong clock, poisoned, of a new
schema. What can be used is used, the rest is set aside with its reason, and every one is accounted for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from tests.faults.feed import CODE, Feed, trade
from tests.faults.proof import prove
from tests.faults.stage import EXCHANGE, Stage, settings_of
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.lake import parquet
from tidemark.lake.parquet import Footer
from tidemark.local import dbt, process
from tidemark.local.kafka import KafkaServer
from tidemark.settings import LakeSettings, WarehouseSettings
from tidemark.warehouse.connection import dbt_environment

SECOND = 10**9
#: Poison, and what becomes of it: a reason of the dead letters, or None where it is a row like any other.
POISON: dict[str, tuple[bytes, str]] = {
    "garbage": (b"\x00\x01\x02 no JSON at all", "not_json"),
    "cut in its middle": (trade(0)[:60], "not_json"),
    "empty": (b"", "not_json"),
    "5 MB": (b'{"type":"trade","code":"KRW-BTC","x":"' + b"g" * 5_000_000 + b'"}', "truncated"),
    "100,000 arrays deep": (b"[" * 100_000, "not_json"),
    "100,000 deep in a field": (trade(0)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
    "bad UTF-8": (trade(0).replace(b"REALTIME", b"RE\xff\xfeTIME"), "not_json"),
    "NaN as a price": (trade(0).replace(b'"trade_volume": 0.5', b'"trade_volume": NaN'), "not_json"),
    "a number beyond all bounds": (trade(0).replace(b"0.5", b"1e999999999"), "bad_number"),
    "NUL in an unknown field": (trade(0)[:-1] + b',"x":"a\\u0000b"}', "bad_text"),
    "a price of words": (trade(0, trade_price="a lot"), "bad_type"),
    "a price that is an object": (trade(0, trade_price={"krw": 1}), "bad_type"),
    "an unknown type": (b'{"type":"liquidation","code":"KRW-BTC"}', "unknown_type"),
}


@dataclass
class Scene:
    """A stream that went to gold; ``value(query)`` asks the warehouse."""

    stage: Stage
    ids: dict[str, list[int]]

    def value(self, query: str, *arguments: Any) -> Any:
        with psycopg.connect(self.stage.settings.warehouse.admin_url.get_secret_value()) as connection:
            row = connection.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row[0]

    def in_silver(self, name: str) -> int:
        """How many of the trades called ``name`` are in silver."""
        return int(self.value("SELECT count(*) FROM silver.trade WHERE trade_id = ANY(%s)", self.ids[name]))


@pytest.fixture(scope="module")
def scene(
    broker: KafkaServer,
    migrated: str,
    postgres_server: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """Everything at once, over the real way: exchange, producer, Kafka, sink, load, dbt, check."""
    folder = tmp_path_factory.mktemp("frames")
    database = f"faults_frames_{time.time_ns()}"
    postgres_server.create_database(database, migrated)
    admin = postgres_server.url(database)
    loader = SecretStr(make_conninfo(admin, user=naming.ROLE_LOADER))
    warehouse = WarehouseSettings(url=loader, admin_url=SecretStr(admin))
    with Feed() as feed:
        settings = settings_of(broker.bootstrap, LakeSettings(url=f"file://{folder}/lake"), warehouse, feed)
        stage = Stage(settings, folder, feed)
        try:
            stage.make_topics()
            _list_market(stage)
            stage.producer()
            stage.sink()
            ids = _play(feed)
            _build(stage)
            yield Scene(stage, ids)
        finally:
            stage.close()
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {database} with (force)".encode())


def _play(feed: Feed) -> dict[str, list[int]]:
    """Send it all; the ids of the trades of each kind."""
    now = time.time_ns()
    kinds: dict[str, list[bytes]] = {
        "plain": [trade(n) for n in range(1, 101)],
        "twice": [trade(n, at_ns=now) for n in range(101, 151)] * 2,
        "late": [trade(n, at_ns=now - 3_600 * SECOND) for n in range(151, 201)],
        "backwards": [trade(n, at_ns=now - n * SECOND // 100) for n in range(300, 200, -1)],
        "five seconds ahead": [trade(n, at_ns=now + 5 * SECOND) for n in range(301, 351)],
        "five seconds behind": [trade(n, at_ns=now - 5 * SECOND) for n in range(351, 401)],
        "field added": [trade(n, liquidity="maker") for n in range(401, 451)],
        "field renamed": [_renamed(trade(n), "trade_volume", "volume") for n in range(451, 501)],
        "type changed, same meaning": [trade(n, trade_price="100000000.5") for n in range(501, 551)],
        "type changed, no meaning": [trade(n, trade_price=["100000000.5"]) for n in range(551, 601)],
        "negative price": [trade(n, trade_price=-1.0) for n in range(601, 611)],
    }
    for frames in kinds.values():
        feed.send(frames)
    feed.send([frame for frame, _ in POISON.values()])
    feed.send([trade(n) for n in range(701, 751)])
    feed.all_read(60)
    ids = {name: sorted({json.loads(frame)["sequential_id"] for frame in frames}) for name, frames in kinds.items()}
    return ids | {"behind the poison": list(range(701, 751))}


def _renamed(frame: bytes, old: str, new: str) -> bytes:
    message = json.loads(frame)
    message[new] = message.pop(old)
    return json.dumps(message).encode()


def _list_market(stage: Stage) -> None:
    """The market list as REST brings it: silver quarantines what the exchange doesn't list."""
    at = stage.began
    row = {
        "exchange": EXCHANGE, "market": "BTC-KRW", "code": CODE, "event_at": at, "received_at": at, "source": "rest",
        "kafka_cluster": "rest", "kafka_epoch": 0, "kafka_topic": naming.raw_topic(EXCHANGE, "market"),
        "kafka_partition": 0, "kafka_offset": 1, "item": 0,
    }  # fmt: skip
    topic = naming.raw_topic(EXCHANGE, "market")
    footer = Footer(topic, 0, "rest", 0, 1, 1, rows=1, parsed=1, kind="rest")
    stage.store.put_new(naming.rest_object(topic, "ab" * 16), parquet.write(CONTRACTS["market"], [row], footer))
    stage.load("market")


def _build(stage: Stage) -> None:
    """Land, load, and build silver and gold of trades."""
    stage.rest()
    stage.load()
    folders = ["--target-path", stage.folder / "target", "--log-path", stage.folder]
    project = ["--project-dir", dbt.PROJECT, "--profiles-dir", dbt.PROJECT]
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--quiet", "run", *folders, *project],
        cwd=stage.folder,
        env=process.environment(dbt_environment(stage.settings.warehouse)),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-2_000:]


def test_every_frame_is_accounted_for(scene: Scene) -> None:
    """All of the stream below in one go → identities 0 to 4 are green, and each frame lies in the lake or the dead
    letters, once."""
    dead = {frame for frame, _ in POISON.values()}
    dead |= {s.frame for s in scene.stage.feed.sent if b'["100000000.5"]' in s.frame}
    book = scene.stage.feed.sent
    scene.stage.feed.sent = [s for s in book if s.frame not in dead]
    try:
        proof = prove(scene.stage, rest=False)
    finally:
        scene.stage.feed.sent = book
    assert proof.missing == ()
    counts = scene.value("SELECT count(*) FROM ops.completeness WHERE identity IN (3, 4) AND status = 'green'")
    assert counts >= 2
    accounted = scene.value("SELECT sum(frame_count) FROM ops.frame_ledger")
    assert accounted == len(book)


def test_frames_sent_twice(scene: Scene) -> None:
    """The exchange sends fifty trades twice → silver has each once, the others are duplicates on record."""
    assert scene.in_silver("twice") == 50
    assert scene.value("SELECT count(*) FROM silver.duplicate WHERE dataset = 'trade'") == 50


@pytest.mark.parametrize("name", ["late", "backwards", "five seconds ahead", "five seconds behind"])
def test_frames_late_out_of_order_or_by_a_wrong_clock(scene: Scene, name: str) -> None:
    """Trades an hour late, in reverse order, or five seconds off → each is in silver, in the minute of its own time."""
    assert scene.in_silver(name) == len(scene.ids[name])
    bars = scene.value(
        """SELECT count(*) FROM silver.trade AS t JOIN gold.ohlcv_1m AS b
        ON b.exchange = t.exchange AND b.market = t.market AND b.bucket_at = date_trunc('minute', t.event_at)
        WHERE t.trade_id = ANY(%s)""",
        scene.ids[name],
    )
    assert bars == len(scene.ids[name])


@pytest.mark.parametrize("name", POISON)
def test_poison(scene: Scene, name: str) -> None:
    """A frame that nobody can read → it is a dead letter with this reason, and what comes behind it flows."""
    frame, reason = POISON[name]
    (sent,) = [s for s in scene.stage.feed.sent if s.frame == frame]
    letters = dead_letters(scene.stage)
    assert letters[sent.connection, sent.number] == reason
    assert scene.in_silver("behind the poison") == 50


def test_field_added(scene: Scene) -> None:
    """The exchange adds a field → it is kept under ``extra``, the trades flow."""
    assert scene.in_silver("field added") == 50
    kept = "SELECT count(*) FROM raw.trade_v1 WHERE trade_id = ANY(%s) AND extra ->> 'liquidity' = 'maker'"
    assert scene.value(kept, scene.ids["field added"]) == 50


def test_field_renamed(scene: Scene) -> None:
    """The exchange renames a field that trades can't do without → they are quarantined as lacking it, its new name is
    kept, the rest flows."""
    assert scene.in_silver("field renamed") == 0
    query = """SELECT count(*) FROM silver.quarantine
        WHERE reason = 'missing_size' AND (payload ->> 'trade_id')::bigint = ANY(%s)"""
    assert scene.value(query, scene.ids["field renamed"]) == 50
    kept = "SELECT count(*) FROM raw.trade_v1 WHERE trade_id = ANY(%s) AND extra ->> 'volume' = '0.5'"
    assert scene.value(kept, scene.ids["field renamed"]) == 50


def test_type_changed(scene: Scene) -> None:
    """A price comes as text, then as a list → a number in text is that number; the list is a dead letter."""
    assert scene.in_silver("type changed, same meaning") == 50
    assert scene.in_silver("type changed, no meaning") == 0
    reasons = Counter(dead_letters(scene.stage).values())
    assert reasons["bad_type"] == 50 + sum(reason == "bad_type" for _, reason in POISON.values())


def test_negative_price(scene: Scene) -> None:
    """Prices below zero → quarantined with that reason."""
    assert scene.in_silver("negative price") == 0
    query = """SELECT count(*) FROM silver.quarantine
        WHERE reason = 'bad_price' AND (payload ->> 'trade_id')::bigint = ANY(%s)"""
    assert scene.value(query, scene.ids["negative price"]) == 10


def dead_letters(stage: Stage) -> dict[tuple[str, int], str]:
    """The reason of every dead letter, by connection and frame number."""
    found: dict[tuple[str, int], str] = {}
    for dataset in ("trade", "system"):
        for headers in stage.headers(naming.dead_letter_topic(naming.raw_topic(EXCHANGE, dataset))):
            found[headers["connection"], int(headers["frame"])] = headers["reason"]
    return found
