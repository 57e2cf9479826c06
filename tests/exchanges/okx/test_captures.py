"""What OKX really sent, read: the facts of the recordings' README. Skips where there are none."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges.okx.checksum import checksum
from tidemark.exchanges import registry
from tidemark.exchanges.base import Ignored, Parsed, Row, Unparsable
from tidemark.exchanges.book import Book

OKX = registry.get("okx")
_RECEIVED = re.compile(r"[0-9]+\.[0-9]+: (.*)")


def frames(path: Path) -> Iterator[bytes]:
    for line in path.read_text("utf-8").splitlines():
        if match := _RECEIVED.fullmatch(line):
            yield match[1].encode()


@pytest.fixture(scope="module")
def recording(captures: Path) -> list[bytes]:
    return list(frames(captures / "okx/cryptofeed-2022-02-27/OKX.ws.1.0"))


@pytest.fixture(scope="module")
def session(recording: list[bytes]) -> list[tuple[str, Row]]:
    """Every event of the recording with its dataset."""
    found = []
    for frame in recording:
        dataset, code = OKX.classify(frame)
        outcome = OKX.parse(dataset, frame)
        if isinstance(outcome, Parsed):
            (row,) = outcome.rows
            assert row["code"] == code
            found.append((dataset, row))
    return found


def literals(captures: Path) -> list[dict[str, Any]]:
    lines = (captures / "okx/crypto-msg-parser-literals/okx_rs_literals.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_frame_is_read_or_ignored_for_a_reason(recording: list[bytes], session: list[tuple[str, Row]]) -> None:
    assert len(recording) == 3_777
    assert Counter(dataset for dataset, _ in session) == {"depth": 3_679, "trade": 19, "ticker": 19}
    kinds = Counter(row["kind"] for dataset, row in session if dataset == "depth")
    assert kinds == {"snapshot": 20, "update": 3_659}
    said = [OKX.parse("system", frame) for frame in recording if OKX.classify(frame)[0] == "system"]
    assert said == [Ignored("acknowledgement")] * 60


def test_no_event_has_a_field_that_nobody_knows(session: list[tuple[str, Row]]) -> None:
    for dataset, row in session:
        left = set(json.loads(str(row["extra"]))) if row["extra"] is not None else set()
        assert left <= ({"sodUtc8", "vol24h"} if dataset == "ticker" else set())


def test_trade_ids_go_up_by_one(session: list[tuple[str, Row]]) -> None:
    ids: dict[object, list[int]] = {}
    for dataset, row in session:
        if dataset == "trade":
            ids.setdefault(row["market"], []).append(row["trade_id"])  # type: ignore[arg-type]
    assert {market: len(found) for market, found in ids.items()} == {
        "ZEN-USDT-SPOT": 11,
        "ELON-USDT-SPOT": 3,
        "UNI-USD": 2,
        "PROPS-ETH-SPOT": 1,
        "BTC-USD-220325-40000-C": 1,
        "ETH-USD-220228-3000-C": 1,
    }
    for found in ids.values():
        assert all(later == earlier + 1 for earlier, later in pairwise(found))


def test_the_volume_of_tickers_grows_by_the_trades(session: list[tuple[str, Row]]) -> None:
    """ZEN-USDT: what 24 hours grew by between the first and the last ticker is the trades between them."""
    zen = [(dataset, row) for dataset, row in session if row["market"] == "ZEN-USDT-SPOT" and dataset != "depth"]
    states = [n for n, (dataset, _) in enumerate(zen) if dataset == "ticker"]
    grown = zen[states[-1]][1]["acc_trade_volume_24h"] - zen[states[0]][1]["acc_trade_volume_24h"]  # type: ignore[operator]
    between = [row["size"] for dataset, row in zen[states[0] : states[-1]] if dataset == "trade"]
    assert sum(between) == grown == Decimal("39.213917")  # type: ignore[arg-type]


def test_an_inverse_contract_is_ten_dollars(session: list[tuple[str, Row]]) -> None:
    """UNI-USD-SWAP: ten contracts at 9.615 made the day's coins grow by 10.4004."""
    first, last = (row for dataset, row in session if dataset == "ticker" and row["market"] == "UNI-USD")
    trade = [row for dataset, row in session if dataset == "trade" and row["market"] == "UNI-USD"][-1]
    grown = last["acc_trade_volume_24h"] - first["acc_trade_volume_24h"]  # type: ignore[operator]
    assert round(trade["size"], 4) == grown == Decimal("10.4004")  # type: ignore[call-overload]


def test_an_option_was_of_a_tenth_of_a_coin(session: list[tuple[str, Row]]) -> None:
    """BTC-USD-220325-40000-C: its 100 contracts are the day's 10 coins."""
    (trade,) = (row for dataset, row in session if dataset == "trade" and row["code"] == "BTC-USD-220325-40000-C")
    (ticker,) = (row for dataset, row in session if dataset == "ticker" and row["code"] == "BTC-USD-220325-40000-C")
    assert trade["size"] == ticker["acc_trade_volume_24h"] == 10


def apply(book: dict[str, dict[Decimal, list[str]]], event: dict[str, Any]) -> None:
    """Put the levels of a message, as they were spelled, into a book; a size of 0 removes one."""
    for side in ("asks", "bids"):
        for level in event[side]:
            book[side][Decimal(level[0])] = level
            if Decimal(level[1]) == 0:
                del book[side][Decimal(level[0])]


def test_every_book_frame_ends_in_a_book_of_its_checksum(recording: list[bytes]) -> None:
    kept: dict[str, dict[str, dict[Decimal, list[str]]]] = {}
    proved = 0
    for frame in recording:
        if OKX.classify(frame)[0] != "depth":
            continue
        message = json.loads(frame)
        code, (event,) = message["arg"]["instId"], message["data"]
        if message["action"] == "snapshot":
            kept[code] = {"asks": {}, "bids": {}}
        apply(kept[code], event)
        asks = [level for _, level in sorted(kept[code]["asks"].items())]
        bids = [level for _, level in sorted(kept[code]["bids"].items(), reverse=True)]
        assert checksum(asks, bids) == event["checksum"]
        proved += 1
    assert proved == 3_679


def test_a_changed_digit_breaks_the_checksum(recording: list[bytes]) -> None:
    (event,) = next(json.loads(f) for f in recording if b'"snapshot"' in f and b"PROPS" in f)["data"]
    assert checksum(event["asks"], event["bids"]) == event["checksum"]
    event["bids"][0][1] += "0"
    assert checksum(event["asks"], event["bids"]) != event["checksum"]


def test_single_frames_of_the_channels_we_take_are_read(captures: Path) -> None:
    found: Counter[str] = Counter()
    for one in literals(captures):
        frame = one["raw"].encode()
        dataset, _ = OKX.classify(frame)
        try:
            outcome = OKX.parse(dataset, frame)
        except Unparsable as error:
            found[error.reason] += 1
        else:
            assert isinstance(outcome, Parsed)
            found[dataset] += len(outcome.rows)
    others = {"unknown_channel": 14, "unknown_type": 13}
    assert found == {"trade": 6, "candle": 6, "ticker": 6, "depth": 5, **others}


def test_a_contract_of_1m_candles_is_what_the_table_says(captures: Path) -> None:
    for one in literals(captures):
        if one["module"] == "candlestick" and one["test"] in ("linear_swap", "linear_future"):
            parsed = OKX.parse("candle", one["raw"].encode())
            assert isinstance(parsed, Parsed)
            (row,) = parsed.rows
            assert row["volume_contracts"] / 100 == row["volume_base"]  # type: ignore[operator]


def test_the_documentations_examples_are_read(captures: Path) -> None:
    folder = captures / "okx/okx-net-examples"
    expected = {"OrderBook": "depth", "Ticker": "ticker", "Trades": "trade"}
    for name, dataset in expected.items():
        text = (folder / f"Subscriptions_Unified_ExchangeData_{name}.txt").read_text("utf-8")
        ack = next(line[2:] for line in text.splitlines() if line.startswith("< ")).encode()
        assert OKX.parse("system", ack) == Ignored("acknowledgement")
        frame = text[text.index("= ") + 2 :].encode()
        if dataset == "depth":  # the example leaves the action out that every real book has
            frame = frame.replace(b'"data"', b'"action":"snapshot","data"')
        parsed = OKX.parse(dataset, frame)
        assert isinstance(parsed, Parsed)
        assert len(parsed.rows) == 1


def test_the_documentations_rest_answers_are_read(captures: Path) -> None:
    asked = datetime(2026, 9, 20, tzinfo=UTC)
    rest = OKX.rest
    (trades,) = rest.history("trade", "BTC-USDT", asked.replace(day=1), asked, asked)
    queries = {
        "GetKlines": rest.candles("LTC-USDT-SWAP", "1m"),
        "GetKlineHistory": rest.candles("LTC-USDT-SWAP", "1m"),
        "GetTradeHistory": trades,
        "GetOrderBook": rest.depth("BTC-USDT"),
        "GetTickers": rest.tickers(["BTC-USD-SWAP", "LTC-USDT-SWAP"]),
    }
    counted = {}
    for name, query in queries.items():
        text = (captures / f"okx/okx-net-examples/Endpoints_UnifiedApi_ExchangeData_{name}.txt").read_text("utf-8")
        counted[name] = len(query.rows(text[text.index("{") :].encode(), asked))
    assert counted == {"GetKlines": 2, "GetKlineHistory": 2, "GetTradeHistory": 2, "GetOrderBook": 1, "GetTickers": 1}


def test_the_books_that_rows_build_are_the_recordings(recording: list[bytes]) -> None:
    """The book kept from rows (numbers, sizes in coins) has the prices that the checksum proves, in their order."""
    kept: dict[object, tuple[Book, dict[str, dict[Decimal, list[str]]]]] = {}
    for frame in recording:
        if OKX.classify(frame)[0] != "depth":
            continue
        parsed = OKX.parse("depth", frame)
        assert isinstance(parsed, Parsed)
        (row,) = parsed.rows
        (event,) = json.loads(frame)["data"]
        if row["kind"] == "snapshot":
            kept[row["code"]] = (Book(), {"asks": {}, "bids": {}})
        book, naive = kept[row["code"]]
        (book.replace if row["kind"] == "snapshot" else book.change)(row)
        apply(naive, event)
        assert [price for price, _ in book.asks.top(25)] == sorted(naive["asks"])[:25]
        assert [price for price, _ in book.bids.top(25)] == sorted(naive["bids"], reverse=True)[:25]
    assert len(kept) == 10
    assert not any(book.is_crossed for book, _ in kept.values())
