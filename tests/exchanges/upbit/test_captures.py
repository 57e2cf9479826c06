"""What Upbit really sent, read: the facts of the recordings' README. Skips where there are none."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed, Query, Row

UPBIT = registry.get("upbit")
REST = UPBIT.rest
ASKED = datetime(2026, 3, 11, 14, 40, 59, tzinfo=UTC)
_RECEIVED = re.compile(r"[0-9.]+: (b'.*')")


def read(frame: bytes) -> tuple[str, Row]:
    dataset, code = UPBIT.classify(frame)
    parsed = UPBIT.parse(dataset, frame)
    assert isinstance(parsed, Parsed)
    (row,) = parsed.rows
    assert row["code"] == code
    return dataset, row


def frames(path: Path) -> Iterator[bytes]:
    for line in path.read_text("utf-8").splitlines():
        if match := _RECEIVED.fullmatch(line):
            yield ast.literal_eval(match[1])


@pytest.fixture(scope="module")
def session(captures: Path) -> list[tuple[str, Row]]:
    return [read(frame) for frame in frames(captures / "upbit/cryptofeed-2021-04-17/UPBIT.ws.62.0")]


@pytest.fixture(scope="module")
def lamb(session: list[tuple[str, Row]]) -> list[Row]:
    return [row for dataset, row in session if dataset == "trade" and row["market"] == "LAMB-KRW"]


def single_frames(captures: Path) -> list[dict[str, Any]]:
    lines = (captures / "upbit/single-frames/frames.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def minute_bars(captures: Path) -> list[Row]:
    query = REST.candles("KRW-BTC", "1m")
    files = sorted((captures / "upbit/smtm-2020-02-20").glob("upbit_1m_*.json"))
    rows = [row for file in files for row in query.rows(file.read_bytes(), ASKED)]
    return sorted(rows, key=lambda row: row["event_at"])  # type: ignore[arg-type,return-value]


def recorded(captures: Path, name: str, query: Query) -> tuple[Row, dict[str, str]]:
    answer = yaml.safe_load((captures / f"upbit/upbeat-rest-2026-03-11/{name}.yaml").read_text("utf-8"))
    response = answer["interactions"][0]["response"]
    (row,) = query.rows(response["body"]["string"].encode(), ASKED)
    return row, {key: values[0] for key, values in response["headers"].items()}


def test_the_session_holds_304_trades_and_145_books(session: list[tuple[str, Row]]) -> None:
    assert Counter(dataset for dataset, _ in session) == {"trade": 304, "orderbook": 145}
    trades = Counter(row["market"] for dataset, row in session if dataset == "trade")
    assert trades == {"LAMB-KRW": 299, "WAVES-KRW": 3, "ITAM-BTC": 2}
    assert [row["extra"] for _, row in session if row["extra"] is not None] == []


def test_the_trades_add_up(lamb: list[Row]) -> None:
    assert sum(row["size"] for row in lamb) == Decimal("663504.02962134")  # type: ignore[misc]


def test_78_trades_come_after_a_higher_id_and_no_id_comes_twice(lamb: list[Row]) -> None:
    ids = [row["trade_id"] for row in lamb]
    late = [i for n, i in enumerate(ids) if n and i < max(ids[:n])]  # type: ignore[operator,type-var]
    assert (len(late), len(set(ids))) == (78, 299)


def test_execution_and_publication_are_told_apart(lamb: list[Row]) -> None:
    def total(column: str) -> Decimal:
        start = datetime(2021, 4, 17, 16, 51, 0, tzinfo=UTC)
        ours = [r for r in lamb if start <= r[column] < start + timedelta(seconds=10)]  # type: ignore[operator]
        return sum((row["size"] for row in ours), Decimal(0)).quantize(Decimal("0.01"))  # type: ignore[misc]

    assert (total("event_at"), total("published_at")) == (Decimal("45738.33"), Decimal("45698.50"))


def test_every_book_is_whole(session: list[tuple[str, Row]]) -> None:
    for _, book in (one for one in session if one[0] == "orderbook"):
        asks, bids = book["ask_prices"], book["bid_prices"]
        assert isinstance(asks, list)
        assert isinstance(bids, list)
        assert len(asks) == len(bids) == 15
        assert asks == sorted(asks)
        assert bids == sorted(bids, reverse=True)
        assert bids[0] < asks[0]
        assert sum(book["ask_sizes"]) == book["total_ask_size"]  # type: ignore[call-overload]
        assert sum(book["bid_sizes"]) == book["total_bid_size"]  # type: ignore[call-overload]


def test_the_market_list_of_that_day(captures: Path) -> None:
    line = (captures / "upbit/cryptofeed-2021-04-17/UPBIT.0").read_text("utf-8").splitlines()[0]
    rows = REST.markets().rows(line.split(": ", 1)[1].encode(), ASKED)
    assert (rows[0]["market"], rows[0]["korean_name"], rows[0]["warning"]) == ("BTC-KRW", "비트코인", None)
    codes = {row["code"] for row in rows}
    assert len(codes) == len(rows) > 200
    assert {"KRW-LAMB", "KRW-WAVES", "BTC-ITAM"} <= codes


def test_single_frames_are_read_without_a_rest(captures: Path) -> None:
    read_frames = [(one, *read(one["raw"].encode())) for one in single_frames(captures)]
    assert Counter(dataset for _, dataset, _ in read_frames) == {
        "candle": 8,
        "ticker": 4,
        "trade": 2,
        "orderbook": 2,
    }
    for one, _, row in read_frames:
        legacy = "legacy" in one["note"]
        assert (row["extra"] is not None) == legacy


def test_tickers_have_33_fields_and_keep_their_identities(captures: Path) -> None:
    for one in single_frames(captures):
        dataset, row = read(one["raw"].encode())
        if dataset != "ticker":
            continue
        message = json.loads(one["raw"])
        assert len(message.keys() - {"trade_status", "market_state_for_ios"}) == 33
        assert row["acc_ask_volume"] + row["acc_bid_volume"] == row["acc_trade_volume"]  # type: ignore[operator]
        at = row["trade_at"]
        assert isinstance(at, datetime)
        assert f"{at:%Y%m%d%H%M%S}" == f"{row['trade_date']}{row['trade_time']}"
        assert abs(row["signed_change_price"]) == row["change_price"]  # type: ignore[arg-type]


def test_microseconds_are_known_by_their_size(captures: Path) -> None:
    (book,) = [
        row for one in single_frames(captures) for _, row in [read(one["raw"].encode())] if row["code"] == "USDT-ETC"
    ]
    assert book["event_at"] == datetime(2023, 8, 8, 21, 40, 5, 62000, tzinfo=UTC)


def test_240_minute_bars_none_missing(captures: Path) -> None:
    rows = minute_bars(captures)
    start = datetime(2020, 2, 20, 8, tzinfo=UTC)
    assert [row["event_at"] for row in rows] == [start + timedelta(minutes=i) for i in range(240)]
    late = [r for r in rows if r["updated_at"] >= r["event_at"] + timedelta(minutes=1)]  # type: ignore[operator]
    assert len(late) == 35
    same = [one["close"] == other["open"] for one, other in pairwise(rows)]
    assert (sum(same), len(same)) == (137, 239)


def test_rest_answers_of_2026(captures: Path) -> None:
    day, headers = recorded(captures, "get_candles_days", REST.candles("KRW-BTC", "1d"))
    assert (day["close"], day["signed_change_rate"]) == (103460000, Decimal("0.0101838562"))
    assert REST.remaining(headers) == 7
    minute, _ = recorded(captures, "get_candles_minutes", REST.candles("KRW-BTC", "1m"))
    assert (minute["interval"], minute["volume_base"]) == ("1m", Decimal("1.5933512"))
    second, _ = recorded(captures, "get_candles_seconds", REST.candles("KRW-BTC", "1s"))
    assert second["event_at"] == datetime(2026, 3, 11, 14, 40, 58, tzinfo=UTC)
    trade, _ = recorded(captures, "get_trades", REST.ticks("KRW-BTC"))
    assert (trade["trade_id"], trade["change"]) == (17732400590950000, "RISE")
    ticker, _ = recorded(captures, "get_tickers", REST.tickers(["KRW-BTC"]))
    assert ticker["acc_trade_price"] == Decimal("104890185475.22821")
    for row in (day, minute, second, trade, ticker):
        assert (row["market"], row["extra"]) == ("BTC-KRW", None)
