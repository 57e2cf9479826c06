"""Receive hours of the size that a platform has, landed as the sink lands them: its own decoder, buffer and footers.

Contains: trades, order books and REST answers of one exchange, hour by hour, from a seed. Does not contain: a broker;
frames of benchmarks of the stream (``tests.bench.frames``).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pyarrow as pa
import pyarrow.compute as pc

from streaming.consumer import records
from streaming.consumer.buffer import Buffer
from streaming.consumer.columns import Columns
from streaming.consumer.decode import Decoder
from streaming.consumer.records import Record
from tidemark import naming
from tidemark.contracts import CONTRACTS
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed
from tidemark.lake import parquet
from tidemark.lake.chain import Chain
from tidemark.lake.parquet import Footer
from tidemark.lake.store import ObjectStore

H0 = datetime(2026, 4, 13, 0, tzinfo=UTC)
EXCHANGE = "upbit"
_HOUR_MS = 3_600_000
_LEVELS = 30
_PARTITIONS = 4


@dataclass(frozen=True)
class Size:
    """What one hour holds: frames of a dataset, and the objects they land in."""

    dataset: str
    frames: int
    objects: int


#: An hour of the demo, rotated every minute as the released version did: 720 trades and 250 books an object.
USUAL = (Size("trade", 300_000, 416), Size("orderbook", 123_500, 494))


@dataclass
class Day:
    """Lands hours one after the other; chains and the walk of prices go on from hour to hour."""

    store: ObjectStore
    seed: int = 1
    markets: int = 200
    _dice: random.Random = field(init=False)
    _codes: list[str] = field(init=False)
    _weights: list[float] = field(init=False)
    _prices: dict[str, int] = field(init=False)
    _books: dict[str, list[str]] = field(default_factory=dict, init=False)
    _next: defaultdict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int), init=False)
    _answers: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._codes = [f"KRW-C{n:03d}" for n in range(self.markets)]
        self._weights = list(accumulate(1 / (n + 1) for n in range(self.markets)))
        self._prices = {code: self._dice.randint(1_000, 100_000) for code in self._codes}

    def land(self, at: datetime, sizes: Sequence[Size] = USUAL) -> int:
        """Land the hour that begins at ``at``; the number of rows."""
        return sum(self._land(at, size) for size in sizes)

    def land_alike(self, at: datetime, sizes: Sequence[Size] = USUAL) -> int:
        """The same in a fraction of the time: each object has the frames of the first, at its own times and offsets."""
        return sum(self._land_alike(at, size) for size in sizes)

    def land_rest(self, at: datetime, answers: int, trades: int = 200) -> int:
        """Land so many REST answers of ``trades`` trades each, received in the hour ``at``; the number of rows."""
        topic = naming.raw_topic(EXCHANGE, "trade")
        for number in range(answers):
            self._answers += 1
            received = at + timedelta(hours=1) * number / answers
            rows = [row for n in range(trades) for row in self._answered(topic, received, n)]
            ns = int(received.timestamp() * 1_000_000) * 1_000
            footer = Footer(
                topic, 0, naming.REST_CLUSTER, 0, self._answers, self._answers, rows=len(rows), parsed=1, kind="rest",
                received_min=ns, received_max=ns,
            )  # fmt: skip
            data = parquet.write(CONTRACTS["trade"], rows, footer)
            assert self.store.put_new(naming.rest_object(topic, f"{self._answers:032x}"), data)
        return answers * trades

    def _answered(self, topic: str, received: datetime, item: int) -> Iterator[dict[str, object]]:
        frame = self._trade(self._code(), int(received.timestamp() * 1_000) - item, item)
        outcome = registry.read(EXCHANGE, "trade", None, frame)
        assert isinstance(outcome, Parsed)
        for row in outcome.rows:
            yield {
                **row, "source": "rest", "received_at": received, "kafka_cluster": naming.REST_CLUSTER,
                "kafka_epoch": 0, "kafka_topic": topic, "kafka_partition": 0, "kafka_offset": self._answers,
                "item": item, "frame": frame if item == 0 else None,
            }  # fmt: skip

    def _land(self, at: datetime, size: Size) -> int:
        """Portions of the hour, one after the other; each of them is an object of each partition."""
        first_ms = int(at.timestamp() * 1_000)
        rows = 0
        turns = max(1, size.objects // _PARTITIONS)
        for turn in range(turns):
            portion = range(size.frames * turn // turns, size.frames * (turn + 1) // turns)
            gathered: dict[int, list[Record]] = defaultdict(list)
            for number in portion:
                self._add(gathered, size, first_ms + number * _HOUR_MS // size.frames, number)
            rows += sum(self._seal(size.dataset, partition, some) for partition, some in gathered.items())
        return rows

    def _land_alike(self, at: datetime, size: Size) -> int:
        turns = max(1, size.objects // _PARTITIONS)
        gathered: dict[int, list[Record]] = defaultdict(list)
        for number in range(size.frames // turns):
            self._add(gathered, size, int(at.timestamp() * 1_000) + number * _HOUR_MS // size.frames, number)
        rows = 0
        for partition, some in gathered.items():
            chain = Chain(naming.raw_topic(EXCHANGE, size.dataset), "cluster", 0, partition)
            batch = records.of_records(some)
            first = Columns(Decoder(chain)).decode(batch).rows
            for turn in range(turns):
                table = _later(pa.Table.from_batches([first]), len(some) * turn, _HOUR_MS * 1_000 * turn // turns)
                rows += _put(self.store, chain, batch.start + len(some) * turn, len(some), table)
            self._next[size.dataset, partition] = batch.start + len(some) * turns
        return rows

    def _add(self, gathered: dict[int, list[Record]], size: Size, ms: int, number: int) -> None:
        code = self._code()
        value = self._trade(code, ms, number) if size.dataset == "trade" else self._book(code, ms)
        partition = int(code[-3:]) % _PARTITIONS
        offset = self._next[size.dataset, partition]
        self._next[size.dataset, partition] += 1
        record = Record(
            offset, ms + 3, code.encode(), value, received_ns=ms * 1_000_000 + 250_000,
            connection="producer-1-a-1", frame_no=number + 1, size=len(value),
        )  # fmt: skip
        gathered[partition].append(record)

    def _seal(self, dataset: str, partition: int, some: Iterable[Record]) -> int:
        chain = Chain(naming.raw_topic(EXCHANGE, dataset), "cluster", 0, partition)
        batch = records.of_records(list(some))
        buffer = Buffer(chain, Columns(Decoder(chain)), batch.start, lambda: 0.0)
        buffer.extend(batch)
        footer, data = buffer.seal()
        assert footer.dead == footer.ignored == 0, footer
        assert self.store.put_new(chain.path(footer.start), data)
        return footer.rows

    def _code(self) -> str:
        return self._dice.choices(self._codes, cum_weights=self._weights)[0]

    def _trade(self, code: str, ms: int, number: int) -> bytes:
        dice = self._dice
        price = self._prices[code] = max(100, self._prices[code] + dice.randint(-3, 3))
        return (
            f'{{"type":"trade","code":"{code}","timestamp":{ms + 48},"trade_date":"2026-04-13",'
            f'"trade_time":"03:20:37","trade_timestamp":{ms - dice.randint(2, 90)},"trade_price":{price}.00000000,'
            f'"trade_volume":{dice.randint(1, 10**9) / 1e8:.8f},"ask_bid":"{dice.choice(("ASK", "BID"))}",'
            f'"prev_closing_price":{price + 1000}.00000000,"change":"FALL","change_price":1000.00000000,'
            f'"sequential_id":{ms * 10_000 + number % 10_000},"best_ask_price":{price + 1},'
            f'"best_ask_size":{dice.randint(1, 10**9) / 1e8:.8f},"best_bid_price":{price},"best_bid_size":12.5,'
            f'"stream_type":"REALTIME"}}'
        ).encode()

    def _book(self, code: str, ms: int) -> bytes:
        """A book of which a third of the levels has changed, and now and then all of them, when the price has."""
        dice = self._dice
        levels = self._books.get(code)
        moved = levels is None or dice.random() < 0.05
        if moved or levels is None:
            price = self._prices[code] = max(100, self._prices[code] + dice.randint(-3, 3))
            levels = self._books[code] = [self._level(price, n) for n in range(_LEVELS)]
        for n in dice.choices(range(_LEVELS), k=12):
            levels[n] = self._level(self._prices[code], n)
        totals = f'"total_ask_size":{dice.random() * 1e4:.8f},"total_bid_size":{dice.random() * 1e4:.8f}'
        return (
            f'{{"type":"orderbook","code":"{code}","timestamp":{ms - dice.randint(2, 90)},{totals},'
            f'"orderbook_units":[{",".join(levels)}],"level":0,"stream_type":"REALTIME"}}'
        ).encode()

    def _level(self, price: int, n: int) -> str:
        ask, bid = self._dice.random() * 1e3, self._dice.random() * 1e3
        prices = f'"ask_price":{price + 1 + n},"bid_price":{price - 1 - n}'
        return f'{{{prices},"ask_size":{ask:.8f},"bid_size":{bid:.8f}}}'


def _later(table: pa.Table, offsets: int, micros: int) -> pa.Table:
    """The same rows, so many offsets and microseconds later; ids of trades follow the offsets."""
    for name, more in (("kafka_offset", offsets), ("trade_id", offsets), ("event_at", micros), ("received_at", micros)):
        if name in table.column_names:
            column = table[name].combine_chunks()
            moved = pc.add(column.cast(pa.int64()), more).cast(column.type)
            table = table.set_column(table.schema.get_field_index(name), name, moved)
    return table


def _put(store: ObjectStore, chain: Chain, start: int, records: int, table: pa.Table) -> int:
    received = pc.min_max(table["received_at"].cast(pa.int64())).as_py()
    footer = Footer(
        chain.topic, chain.partition, chain.cluster, chain.epoch, start, start + records - 1, rows=table.num_rows,
        parsed=records, received_min=received["min"] * 1_000, received_max=received["max"] * 1_000,
    )  # fmt: skip
    contract = CONTRACTS[naming.parse_raw_topic(chain.topic).dataset]
    assert store.put_new(chain.path(start), parquet.encode(contract, table.to_batches(), footer))
    return table.num_rows
