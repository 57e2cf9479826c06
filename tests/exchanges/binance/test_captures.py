"""What Binance really sent, read and built into books: the facts of the recordings' README. Skips without them."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed, Row, Unparsable
from tidemark.exchanges.book import SpannedBook

BINANCE = registry.get("binance")
REST = BINANCE.rest
ASKED = datetime(2021, 7, 22, 22, 25, 41, tzinfo=UTC)
_RECEIVED = re.compile(r"([0-9.]+): (.*)")


@dataclass
class Session:
    """A recording in its order: rows by dataset, the tops that the exchange itself announced, and the books built."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    books: dict[str, SpannedBook] = field(default_factory=lambda: defaultdict(lambda: SpannedBook(most=1000)))
    outcomes: Counter[str] = field(default_factory=Counter)
    #: (code, update id) to (bid price, bid size, ask price, ask size): as announced, and as built.
    announced: dict[tuple[str, int], tuple[Decimal, ...]] = field(default_factory=dict)
    built: dict[tuple[str, int], tuple[Decimal, ...]] = field(default_factory=dict)

    def frame(self, text: str) -> None:
        frame = text.encode()
        dataset, code = BINANCE.classify(frame)
        message = json.loads(frame).get("data")
        if message["e"] == "bookTicker":
            top = tuple(Decimal(message[name]) for name in ("b", "B", "a", "A"))
            self.announced[message["s"], message["u"]] = top
        try:
            parsed = BINANCE.parse(dataset, frame)
        except Unparsable as error:
            self.refused[f"{error.reason} {message['e']}"] += 1
            return
        assert isinstance(parsed, Parsed)
        (row,) = parsed.rows
        assert row["code"] == code
        assert row["extra"] is None
        self.rows[dataset].append(row)
        if dataset == "depth":
            self.take(row)

    def snapshot(self, code: str, text: str) -> None:
        (row,) = REST.depth(code).rows(text.encode(), ASKED)
        self.rows["snapshot"].append(row)
        self.take(row)

    def take(self, row: Row) -> None:
        code = str(row["code"])
        book = self.books[code]
        self.outcomes[f"{row['kind']} {book.take(row).outcome}"] += 1
        ask, bid = book.book.asks.best, book.book.bids.best
        if book.is_live and book.book.update_id is not None and ask and bid:
            assert not book.book.is_crossed
            self.built[code, book.book.update_id] = (*bid, *ask)

    def agreement(self) -> tuple[int, int]:
        """How many announced tops stand at the number of a built one, and how many of these are equal."""
        common = self.announced.keys() & self.built.keys()
        return len(common), sum(self.announced[key] == self.built[key] for key in common)


def received(path: Path) -> list[tuple[float, str]]:
    matches = (_RECEIVED.fullmatch(line) for line in path.read_text("utf-8").splitlines())
    return [(float(m[1]), m[2]) for m in matches if m]


@pytest.fixture(scope="module")
def of_2021(captures: Path) -> Session:
    """The frames of 30 s and four snapshots, in the order in which they came."""
    folder, session = captures / "binance-usdm/cryptofeed-2021-07-22", Session()
    items = [(at, "", text) for at, text in received(folder / "BINANCE_FUTURES.ws.1.0")]
    for line in (folder / "BINANCE_FUTURES.http.0.0").read_text("utf-8").splitlines():
        if match := re.fullmatch(r"https://\S+symbol=(\w+)\S* -> ([0-9.]+): (.*)", line):
            items.append((float(match[2]), match[1], match[3]))
    for _, code, text in sorted(items, key=lambda item: item[0]):
        session.snapshot(code, text) if code else session.frame(text)
    return session


@pytest.fixture(scope="module")
def of_2024(captures: Path) -> Session:
    """BTCUSDT as of 2024, every change as it happens; the snapshot came in between."""
    session = Session()
    path = captures / "binance-usdm/hftbacktest-2024-08-08/btcusdt_20240808_first30s.gz"
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        _, text = line.split(" ", 1)
        session.frame(text) if '"stream"' in text[:12] else session.snapshot("BTCUSDT", text)
    return session


def test_2021_holds_1535_frames(of_2021: Session) -> None:
    counts = {dataset: len(rows) for dataset, rows in of_2021.rows.items()}
    assert counts == {"depth": 764, "trade": 91, "candle": 67, "snapshot": 4}
    assert of_2021.refused == {"no_dataset bookTicker": 613}


def test_2021_every_change_follows_the_one_before(of_2021: Session) -> None:
    by_code = defaultdict(list)
    for row in of_2021.rows["depth"]:
        by_code[row["code"]].append(row)
    assert len(by_code) == 4
    pairs = [(one, two) for rows in by_code.values() for one, two in pairwise(rows)]
    assert len(pairs) + len(by_code) == 764
    assert all(two["prev_update_id"] == one["last_update_id"] for one, two in pairs)
    assert any(two["first_update_id"] != one["last_update_id"] + 1 for one, two in pairs)  # type: ignore[operator]


def test_2021_every_snapshot_meets_the_stream(of_2021: Session) -> None:
    assert all(book.is_live for book in of_2021.books.values())
    assert of_2021.outcomes["snapshot applied"] == 4
    assert set(of_2021.outcomes) <= {"snapshot applied", "update applied", "update waiting", "update stale"}


def test_2021_the_top_of_the_book_is_the_one_announced(of_2021: Session) -> None:
    assert of_2021.agreement() == (50, 50)


def test_2021_ids_of_aggregate_trades_have_no_hole(of_2021: Session) -> None:
    by_code = defaultdict(list)
    for row in of_2021.rows["trade"]:
        by_code[row["code"]].append(row)
    assert sum(map(len, by_code.values())) == 91
    for rows in by_code.values():
        for one, two in pairwise(rows):
            assert two["trade_id"] == one["trade_id"] + 1  # type: ignore[operator]


def test_2021_aggregate_trades_add_up_to_the_bars(of_2021: Session) -> None:
    """Every state of a bar all of whose trades were recorded, from nothing but these trades."""
    trades, equal, compared = of_2021.rows["trade"], 0, 0
    for bar in of_2021.rows["candle"]:
        ours = [
            t
            for t in trades
            if t["code"] == bar["code"]
            and bar["first_trade_id"] <= t["first_trade_id"]  # type: ignore[operator]
            and t["last_trade_id"] <= bar["last_trade_id"]  # type: ignore[operator]
        ]
        if not ours or sum(t["last_trade_id"] - t["first_trade_id"] + 1 for t in ours) != bar["trade_count"]:  # type: ignore[operator,misc]
            continue
        compared += 1
        prices = [t["price"] for t in ours]
        sums = (
            sum(t["size"] for t in ours),  # type: ignore[misc]
            sum(t["price"] * t["size"] for t in ours),  # type: ignore[operator,misc]
            sum((t["size"] for t in ours if t["side"] == "buy"), Decimal(0)),  # type: ignore[misc]
        )
        equal += (
            (prices[0], max(prices), min(prices), prices[-1])  # type: ignore[type-var]
            == (bar["open"], bar["high"], bar["low"], bar["close"])
            and sums == (bar["volume_base"], bar["volume_quote"], bar["buy_volume_base"])
        )
    assert (equal, compared) == (15, 15)


def test_2021_the_list_of_contracts(captures: Path) -> None:
    text = (captures / "binance-usdm/cryptofeed-2021-07-22/BINANCE_FUTURES.0").read_text("utf-8")
    body = next(m[1] for m in re.finditer(r"^https://\S+exchangeInfo -> [0-9.]+: (.*)$", text, re.MULTILINE))
    rows = REST.markets().rows(body.encode(), ASKED)
    assert len(rows) == len({row["market"] for row in rows}) > 100
    assert all(row["market"] and row["tick_size"] and row["state"] for row in rows)
    for row, symbol in zip(rows, json.loads(body)["symbols"], strict=True):
        parts = [symbol["baseAsset"], symbol["quoteAsset"], *symbol["symbol"].split("_")[1:]]
        assert row["market"] == "-".join(parts)
        assert (row["instrument"] == "swap") == (symbol["contractType"] in ("PERPETUAL", ""))


def test_2024_holds_7271_frames(of_2024: Session) -> None:
    counts = {dataset: len(rows) for dataset, rows in of_2024.rows.items()}
    assert counts == {"depth": 575, "snapshot": 1}
    assert of_2024.refused == {"no_dataset bookTicker": 5534, "no_dataset trade": 1161}


def test_2024_the_top_of_the_book_is_the_one_announced(of_2024: Session) -> None:
    assert of_2024.books["BTCUSDT"].is_live
    assert "update broken" not in of_2024.outcomes
    assert of_2024.agreement() == (56, 56)


def test_2024_the_exchanges_clock_may_be_ahead_of_ours(captures: Path) -> None:
    path = captures / "binance-usdm/hftbacktest-2024-08-08/btcusdt_20240808_first30s.gz"
    ahead = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        ns, text = line.split(" ", 1)
        if "depthUpdate" in text:
            parsed = BINANCE.parse("depth", text.encode())
            assert isinstance(parsed, Parsed)
            at = parsed.rows[0]["event_at"]
            assert isinstance(at, datetime)
            ahead.append(at - datetime.fromtimestamp(int(ns) / 1e9, UTC))
    assert timedelta(seconds=1) < min(ahead) < max(ahead) < timedelta(seconds=2)


def literals(captures: Path) -> list[dict[str, Any]]:
    path = captures / "binance-usdm/crypto-msg-parser-literals/binance_rs_literals.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_single_frames(captures: Path) -> None:
    found: Counter[str] = Counter()
    for one in literals(captures):
        frame = one["raw"].encode()
        dataset, code = BINANCE.classify(frame)
        try:
            parsed = BINANCE.parse(dataset, frame)
        except Unparsable as error:
            found[f"{one['module']} {error.reason}"] += 1
            continue
        assert isinstance(parsed, Parsed)
        assert parsed.rows[0]["code"] == code
        found[f"{one['module']} {dataset}"] += 1
    assert found == {
        "trade trade": 2,
        "funding_rate no_dataset": 2,
        "l2_event depth": 2,
        "l2_topk no_dataset": 2,
        "bbo no_dataset": 2,
        "ticker ticker": 4,
        "candlestick candle": 2,
        "l2_snapshot unknown_type": 2,  # answers by REST, not frames
        "open_interest unknown_type": 2,
    }
    for one in literals(captures):
        if one["module"] == "l2_snapshot":
            (row,) = REST.depth("BTCUSDT").rows(one["raw"].encode(), ASKED)
            assert len(row["ask_prices"]) == 3  # type: ignore[arg-type]
