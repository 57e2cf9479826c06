"""Books kept against a scripted exchange over real HTTP: every book that is sent is the market's, whatever happens."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from streaming.producer import books
from streaming.producer.books import BookCounts, BookKeeper
from streaming.producer.contracts import ContractSizes
from streaming.producer.records import Record
from streaming.producer.snapshots import Snapshots
from tests.integration.producer.scripted_book import Market, Server
from tidemark.exchanges import registry
from tidemark.exchanges.base import Parsed, Row
from tidemark.settings import ExchangeSettings

BINANCE = registry.get("binance")
UNLIMITED = dict.fromkeys(("depth", "trades", "candles", "ticker", "market"), 1000.0)


@dataclass
class Stage:
    """A keeper at work: what it is fed with and what it sent, read as the sink reads it."""

    market: Market
    server: Server
    keeper: BookKeeper
    counts: BookCounts
    sent: list[Record] = field(default_factory=list)

    def feed(self, frame: bytes, name: str = "c-1") -> None:
        self.keeper.feed(name, "BTCUSDT", frame, time.time_ns())

    def rows(self, kind: str) -> list[Row]:
        found = []
        for record in self.sent:
            headers: dict[str, Any] = dict(record.headers)
            assert "frame" not in headers
            if headers["kind"] != kind.encode():
                continue
            _, exchange, dataset, _ = record.topic.split(".")
            parsed = registry.read(exchange, dataset, kind, record.value)
            assert isinstance(parsed, Parsed)
            found += parsed.rows
        return found

    def check(self) -> list[int]:
        """The numbers of the books sent, each of which is the market's at that number."""
        numbers = []
        for row in self.rows("book"):
            number: Any = row["update_id"]
            sides: Any = [list(zip(row[f"{s}_prices"], row[f"{s}_sizes"], strict=True)) for s in ("ask", "bid")]  # type: ignore[call-overload]
            assert tuple(sides) == self.market.at[number]
            numbers.append(number)
        assert numbers == sorted(set(numbers))
        return numbers

    async def until(self, true: Callable[[], object], timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < end, f"it never came about; {self.counts}"
            await asyncio.sleep(0.01)

    async def stands(self) -> None:
        """Changes flow until there is a book."""
        end = time.monotonic() + 10.0
        while not self.keeper.live:
            assert time.monotonic() < end, f"no book; {self.counts}"
            self.feed(self.market.tick())
            await asyncio.sleep(0.02)


Play = Callable[[Stage], Awaitable[None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Play], Stage]:
    """Run a script against a keeper with a socket open."""
    monkeypatch.setattr(type(BINANCE.rest), "limits", UNLIMITED)
    monkeypatch.setattr(books, "_SNAPSHOT_AGAIN_S", (0.05, 0.2))

    async def run(script: Play) -> Stage:
        market = Market()
        with Server(market).listening() as server:
            settings = ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=server.url)
            snapshots, counts, sent = Snapshots(BINANCE, settings, ban_s=0.2), BookCounts(), list[Record]()
            keeper = BookKeeper(BINANCE, "w-1", sent.append, snapshots, counts, interval_s=0.1)
            stage = Stage(market, server, keeper, counts, sent)
            keeper.opened("c-1", ["BTCUSDT"])
            running = asyncio.create_task(keeper.run())
            try:
                await script(stage)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                snapshots.close()
        assert stage.counts.books == len(stage.check())
        assert stage.counts.snapshots == len(stage.rows("snapshot"))
        assert stage.counts.breaks == len(stage.rows("break"))
        return stage

    return lambda script: asyncio.run(run(script))


def test_books_are_sent_once_a_while_and_are_the_markets(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        began = time.monotonic()
        while stage.counts.books < 4:
            assert time.monotonic() < began + 10, "books don't come"
            stage.feed(stage.market.tick())
            await asyncio.sleep(0.005)
        assert time.monotonic() - began > 0.2  # a tenth of a second between them, many changes in each

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots_failed) == (0, 0)
    record = next(r for r in stage.sent if r.topic == "raw.binance.orderbook.v1")
    assert record.key == b"BTCUSDT"
    assert dict(record.headers)["connection"] == b"c-1"


def test_a_snapshot_is_recorded_as_it_came(play: Callable[[Play], Stage]) -> None:
    stage = play(lambda stage: stage.stands())
    record = next(r for r in stage.sent if r.topic == "raw.binance.depth.v1")
    answer = json.loads(record.value)["answer"]
    assert answer["lastUpdateId"] in stage.market.at
    assert json.dumps(answer).encode() in record.value


def test_nothing_is_sent_while_the_top_stays(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        await asyncio.sleep(0.3)
        before = stage.counts.books
        for _ in range(30):
            stage.feed(stage.market.change({10_055: stage.market.number}))  # below the 30 best
            await asyncio.sleep(0.01)
        assert stage.counts.books == before

    play(script)


def test_the_last_change_is_sent_though_none_follows(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        for _ in range(3):
            stage.feed(stage.market.tick())
        last = stage.market.number
        await stage.until(lambda: stage.check()[-1:] == [last])

    play(script)


def test_a_break_is_on_record_and_the_book_begins_anew(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        heard = stage.market.number
        lost = [stage.market.tick() for _ in range(3)]
        stage.feed(stage.market.tick())
        assert not stage.keeper.live
        (found,) = stage.rows("break")
        extra = json.loads(str(found["extra"]))
        assert (extra["code"], extra["dataset"]) == ("BTCUSDT", "depth")
        last = json.loads(lost[-1])["data"]["u"]
        assert (extra["first_missing"], extra["last_missing"]) == (heard + 1, last)
        assert extra["from_at"] < extra["to_at"]
        await stage.stands()
        await stage.until(lambda: stage.check()[-1] > last)

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots) == (1, 2)


def test_numbers_that_begin_again_are_a_break_and_a_new_book(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        for _ in range(5):
            stage.feed(stage.market.tick())
        heard = stage.market.number
        stage.server.answers.append((200, stage.market.snapshot()))  # still of the numbers before
        stage.market.restart()
        for _ in range(10):
            stage.feed(stage.market.tick())
            assert stage.market.number < heard
        assert not stage.keeper.live
        await stage.stands()
        (found,) = stage.rows("break")
        extra = json.loads(str(found["extra"]))
        assert "first_missing" not in extra
        assert extra["from_at"] < extra["to_at"]
        assert str(found["reason"]).startswith("the numbers were restarted: change ")
        stage.sent[:] = [r for r in stage.sent if dict(r.headers)["kind"] != b"book"]  # their numbers begin again
        stage.counts.books = 0
        await asyncio.sleep(0.2)
        stage.feed(stage.market.tick())
        await stage.until(lambda: stage.check()[-1:] == [stage.market.number])

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots) == (1, 3)


def test_a_connection_that_lags_behind_the_one_before_it_breaks_nothing(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        frames = [stage.market.tick() for _ in range(400)]
        stage.keeper.opened("c-2", ["BTCUSDT"])
        for n, frame in enumerate(frames):
            stage.feed(frame, "c-1")
            if n >= 250:
                stage.feed(frames[n - 250], "c-2")
        stage.keeper.closed("c-1")
        for frame in frames[150:]:
            stage.feed(frame, "c-2")
        assert stage.keeper.live
        stage.feed(stage.market.tick(), "c-2")
        last = stage.market.number
        await stage.until(lambda: stage.check()[-1:] == [last])

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots) == (0, 1)


def test_a_code_that_cannot_be_read_costs_no_other_book(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.keeper.opened("c-2", ["BTCUSD_PERP", "BTCUSDT", "bitcoin"])
        stage.keeper.feed("c-2", "BTCUSD_PERP", stage.market.tick(), time.time_ns())
        stage.keeper.closed("c-1")
        stage.keeper.opened("c-3", ["bitcoin"])
        stage.keeper.closed("c-3")
        while not stage.keeper.live:
            stage.feed(stage.market.tick(), "c-2")
            await asyncio.sleep(0.02)

    play(script)


def test_a_snapshot_that_is_too_old_is_asked_for_again(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        old = stage.market.snapshot()
        stage.market.tick()
        stage.server.answers.extend([(200, old), (200, old)])
        await stage.stands()

    stage = play(script)
    assert (stage.counts.snapshots, stage.counts.snapshots_too_old, stage.counts.breaks) == (3, 2, 0)


@pytest.mark.parametrize(
    "answer",
    [(500, b""), (429, b""), (400, b'{"code":-1121,"msg":"Invalid symbol."}'), (200, b"<html>"), (200, b"{}")],
)
def test_answers_of_no_use_are_asked_for_again(play: Callable[[Play], Stage], answer: tuple[int, bytes]) -> None:
    async def script(stage: Stage) -> None:
        stage.server.answers.append(answer)
        await stage.stands()

    stage = play(script)
    assert (stage.counts.snapshots_failed, stage.counts.snapshots) == (1, 1)


def test_a_ban_is_waited_out(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.server.answers.append((418, b'{"code":-1003,"msg":"Way too many requests; banned"}'))
        began = time.monotonic()
        await stage.stands()
        assert time.monotonic() - began >= 0.2

    stage = play(script)
    assert stage.server.asked == ["BTCUSDT"] * 2


@pytest.mark.parametrize(("status", "least"), [(418, 1.0), (429, 1.0)])
def test_a_ban_is_waited_out_to_the_time_that_the_exchange_names(
    play: Callable[[Play], Stage], status: int, least: float
) -> None:
    async def script(stage: Stage) -> None:
        until_ms = int(time.time() * 1000) + 1500
        stage.server.answers.append((status, b'{"code":-1003,"msg":"IP banned until %d."}' % until_ms))
        began = time.monotonic()
        await stage.stands()
        assert least <= time.monotonic() - began < 5, "not 0.2 s, which is for ends that are not named"

    assert play(script).server.asked == ["BTCUSDT"] * 2


def test_changes_during_an_outage_of_rest_are_held_for_the_book(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.server.answers.extend([(503, b"")] * 4)
        await stage.stands()

    stage = play(script)
    assert (stage.counts.snapshots_failed, stage.counts.breaks) == (4, 0)


def test_two_sockets_that_overlap_are_one_stream(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        frames = [stage.market.tick() for _ in range(20)]
        stage.keeper.opened("c-2", ["BTCUSDT"])
        for n, frame in enumerate(frames):
            if n >= 5:
                stage.feed(frame, "c-2")  # the new one is ahead of the old one
            if 3 <= n < 12:
                stage.feed(frames[n - 3], "c-1")
        stage.keeper.closed("c-1")
        assert stage.keeper.live
        stage.feed(stage.market.tick(), "c-2")
        last = stage.market.number
        await stage.until(lambda: stage.check()[-1:] == [last])

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots) == (0, 1)
    assert dict(stage.sent[-1].headers)["connection"] == b"c-2"


def test_a_standby_that_ends_first_changes_nothing(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        stage.keeper.opened("c-2", ["BTCUSDT"])
        stage.feed(b"garbage", "c-2")
        stage.keeper.closed("c-2")
        stage.feed(stage.market.tick())
        assert stage.keeper.live

    assert play(script).counts.unreadable == 0


@pytest.mark.parametrize("lost", [0, 2])
def test_after_a_reconnect_the_numbers_say_whether_anything_was_missed(
    play: Callable[[Play], Stage], lost: int
) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        stage.keeper.closed("c-1")
        for _ in range(lost):
            stage.market.tick()
        stage.keeper.opened("c-2", ["BTCUSDT"])
        stage.feed(stage.market.tick(), "c-2")
        assert stage.keeper.live == (lost == 0)

    assert play(script).counts.breaks == (1 if lost else 0)


def test_a_book_begins_anew_when_the_market_leaves_the_levels_known(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.server.markets["BTCUSDT"] = stage.market = Market(depth=1_500)
        await stage.stands()
        stage.feed(stage.market.change({10_001 + n: 0 for n in range(980)}))
        assert not stage.keeper.live
        await stage.stands()

    stage = play(script)
    assert (stage.counts.breaks, stage.counts.snapshots) == (0, 2)


@pytest.mark.parametrize("level", [["10001", "-5"], ["0", "5"], ["-10001", "5"], ["0", "0"]])
def test_a_level_that_cannot_be_is_a_break_and_in_no_book(play: Callable[[Play], Stage], level: list[str]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        frame = json.loads(stage.market.tick())
        frame["data"]["a"] = [level]
        stage.feed(json.dumps(frame).encode())
        assert stage.counts.breaks == 1
        await stage.stands()
        before = stage.counts.books
        stage.feed(stage.market.tick())
        await stage.until(lambda: stage.counts.books > before)

    stage = play(script)
    assert stage.rows("break")[0]["reason"] == f"a level that can't be: ask of {level[1]} at {level[0]}"
    for row in stage.rows("book"):
        assert all(size > 0 for side in ("ask", "bid") for size in row[f"{side}_sizes"])  # type: ignore[attr-defined]


def test_an_unreadable_change_is_a_break(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        await stage.stands()
        stage.feed(stage.market.tick().replace(b'.00"', b'.x"'))
        assert stage.keeper.live
        stage.feed(stage.market.tick())
        assert not stage.keeper.live
        await stage.stands()

    stage = play(script)
    assert (stage.counts.unreadable, stage.counts.breaks) == (1, 1)


def test_a_frame_of_an_unknown_socket_is_left_alone(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.feed(stage.market.tick(), "c-9")
        await asyncio.sleep(0.05)

    assert play(script).sent == []


def test_a_market_that_no_socket_brings_any_more_is_not_asked_for(play: Callable[[Play], Stage]) -> None:
    async def script(stage: Stage) -> None:
        stage.server.answers.extend([(503, b"")] * 3)
        stage.feed(stage.market.tick())
        await stage.until(lambda: stage.counts.snapshots_failed)
        stage.keeper.closed("c-1")
        await asyncio.sleep(0.5)
        asked = len(stage.server.asked)
        await asyncio.sleep(0.3)
        assert len(stage.server.asked) == asked

    play(script)


OKX = registry.get("okx")


def okx_frame(action: str, number: int, before: int, ask: str, code: str = "BTC-USDT-SWAP") -> bytes:
    book = {"asks": [[ask, "10", "0", "1"]], "bids": [["9", "10", "0", "1"]], "ts": str(1_774_000_000_000 + number)}
    data = {**book, "checksum": 0, "seqId": number, "prevSeqId": before}
    arg = {"channel": "books", "instId": code}
    return json.dumps({"arg": arg, "action": action, "data": [data]}).encode()


def test_where_books_come_first_numbers_that_begin_again_ask_for_a_new_socket() -> None:
    async def script() -> None:
        sent, renewed, counts = list[Record](), list[str](), BookCounts()
        snapshots = Snapshots(OKX, ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1"))
        keeper = BookKeeper(OKX, "w-1", sent.append, snapshots, counts, interval_s=0.0)
        codes = ["LISTING-SWAP-X-Y", "BTC-USDT-SWAP"]
        keeper.opened("c-1", codes, renewed.append)
        frames = [okx_frame("snapshot", 5_000, -1, "11"), okx_frame("update", 5_001, 5_000, "12")]
        frames += [okx_frame("update", 10 + n, 9 + n, "13") for n in range(60)]
        for frame in frames:
            keeper.feed("c-1", "BTC-USDT-SWAP", frame, time.time_ns())
        assert renewed == ["BTC-USDT-SWAP: the numbers were restarted"]
        assert (keeper.live, counts.breaks) == (0, 1)
        keeper.opened("c-2", codes, renewed.append)
        keeper.feed("c-2", "BTC-USDT-SWAP", okx_frame("snapshot", 80, -1, "14"), time.time_ns())
        keeper.closed("c-1")
        assert keeper.live == 1
        snapshots.close()

    asyncio.run(script())


def test_where_books_come_first_on_a_socket_a_break_asks_for_a_new_socket() -> None:
    async def script() -> None:
        sent, renewed, counts = list[Record](), list[str](), BookCounts()
        snapshots = Snapshots(OKX, ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1"))
        keeper = BookKeeper(OKX, "w-1", sent.append, snapshots, counts, interval_s=0.0)
        code = "BTC-USDT-SWAP"
        keeper.opened("c-1", [code], renewed.append)
        frames = [
            okx_frame("snapshot", 10, -1, "11"),
            okx_frame("update", 15, 10, "12"),
            okx_frame("update", 30, 20, "13"),
        ]
        for frame in frames:
            keeper.feed("c-1", code, frame, time.time_ns())
        assert renewed == [f"{code}: changes are missing"]
        keeper.opened("c-2", [code], renewed.append)
        keeper.feed("c-2", code, okx_frame("snapshot", 40, -1, "14"), time.time_ns())
        assert not keeper.live
        keeper.closed("c-1")
        assert (keeper.live, counts.breaks) == (1, 1)
        kinds = [dict(record.headers)["kind"] for record in sent]
        assert kinds == [b"book", b"book", b"break", b"book"]
        snapshots.close()

    asyncio.run(script())


XPERP = "ETH-USD_UM_XPERP-310404"


def market_row(code: str, value: str, *, is_inverse: bool = False) -> Row:
    return {"code": code, "contract_value": Decimal(value), "is_inverse": is_inverse}


def test_a_code_that_nobody_can_read_costs_its_own_book_only() -> None:
    sent, counts = list[Record](), BookCounts()
    snapshots = Snapshots(OKX, ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1"))
    keeper = BookKeeper(OKX, "w-1", sent.append, snapshots, counts, interval_s=0.0)
    keeper.opened("c-1", ["LISTING-SWAP-SLX-USDT", "", "BTC-USDT-SWAP"])
    keeper.feed("c-1", "BTC-USDT-SWAP", okx_frame("snapshot", 10, -1, "11"), time.time_ns())
    assert (keeper.live, counts.books) == (1, 1)
    snapshots.close()


def test_a_book_of_a_contract_is_built_once_its_size_is_known_and_in_coins() -> None:
    """Without a size there is no book; once the list is there a new socket brings the snapshot."""
    sent, renewed, counts = list[Record](), list[str](), BookCounts()
    snapshots = Snapshots(OKX, ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1"))
    sizes = ContractSizes(OKX)
    keeper = BookKeeper(OKX, "w-1", sent.append, snapshots, counts, sizes=sizes, interval_s=0.0)
    keeper.opened("c-1", [XPERP, "BTC-USDT-SWAP"], renewed.append)
    keeper.feed("c-1", XPERP, okx_frame("snapshot", 10, -1, "11", XPERP), time.time_ns())
    keeper.feed("c-1", XPERP, okx_frame("update", 15, 10, "12", XPERP), time.time_ns())
    assert (keeper.live, counts.books, counts.breaks, sent) == (0, 0, 0, [])

    changed = sizes.learn([market_row(XPERP, "0.1"), market_row("BTC-USDT-SWAP", "0.01")])
    assert changed == {XPERP}
    keeper._resized(changed)
    assert renewed == [f"{XPERP}: the size of its contract is known"]
    keeper.opened("c-2", [XPERP, "BTC-USDT-SWAP"], renewed.append)
    keeper.feed("c-2", XPERP, okx_frame("snapshot", 40, -1, "11", XPERP), time.time_ns())
    keeper.closed("c-1")
    assert (keeper.live, counts.books, counts.breaks) == (1, 1, 0)
    parsed = registry.read("okx", "orderbook", "book", sent[-1].value)
    assert isinstance(parsed, Parsed)
    assert (parsed.rows[0]["ask_sizes"], parsed.rows[0]["market"]) == ([1], XPERP)
    snapshots.close()


def test_the_list_wins_over_what_is_shipped() -> None:
    sizes = ContractSizes(OKX)
    assert sizes.learn([market_row("BTC-USDT-SWAP", "0.1"), market_row("BTC-USD-SWAP", "10", is_inverse=True)]) == {
        "BTC-USDT-SWAP",
        "BTC-USD-SWAP",
    }
    for code, size in (("BTC-USDT-SWAP", Decimal(1)), ("BTC-USD-SWAP", Decimal(100) / Decimal(16))):
        parsed = OKX.parse("depth", okx_frame("snapshot", 10, -1, "16", code))
        assert isinstance(parsed, Parsed)
        row = sizes.in_coins(parsed.rows[0])
        assert row is not None
        assert row["ask_sizes"] == [size]


def test_the_list_is_asked_for_over_rest_and_again_while_it_lacks_a_code() -> None:
    async def script() -> None:
        server = Instruments()
        async with server.listening() as url:
            sizes = ContractSizes(OKX, ExchangeSettings(ws_url="ws://127.0.0.1:1", rest_url=url))
            found: list[set[str]] = []
            task = asyncio.create_task(sizes.follow(lambda: [XPERP], found.append))
            while not found:
                await asyncio.sleep(0.02)
            task.cancel()
            assert found == [{XPERP}]
            assert [one for one in server.asked if "SWAP" in one]

    asyncio.run(script())


@dataclass
class Instruments:
    """The list of instruments over real HTTP: one X-Perp among the futures."""

    asked: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/api/v5/public/instruments", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[union-attr]
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        kind = request.query["instType"]
        self.asked.append(kind)
        one = {"instType": kind, "instId": XPERP, "ctVal": "0.1", "ctMult": "1", "ctType": "linear", "state": "live"}
        return web.json_response({"code": "0", "msg": "", "data": [one] if kind == "FUTURES" else []})
