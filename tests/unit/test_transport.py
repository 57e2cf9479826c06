"""HTTP against a real local server that refuses, fails, stalls and counts; time is ours, so nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tidemark.bans import Ban
from tidemark.exchanges import registry
from tidemark.transport import (
    BannedError,
    Limit,
    Patience,
    RefusedError,
    Transport,
    TransportError,
    UnavailableError,
    retry_after_s,
)

Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Gives the replies it was told to, in order, the last one for ever; remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply] = [(200, {}, b"[]")]
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append((self.path, dict(self.headers)))
        status, headers, body = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        if status == 0:  # hang up without an answer
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport(server: Server, clock: Clock) -> Iterator[Transport]:
    def remaining(headers: object) -> int | None:
        value = headers.get("Left")  # type: ignore[attr-defined]
        return int(value) if value else None

    with Transport(
        server.url, {"a": 10.0, "b": 10.0}, remaining, Patience(attempts=3), clock=clock, sleep=clock.sleep
    ) as made:
        yield made


def test_an_answer(server: Server, transport: Transport) -> None:
    server.replies = [(200, {"X": "1"}, b"[1]")]
    before = datetime.now(UTC)
    answer = transport.get("/v1/x", (("to", "2026-04-12T00:00:00+09:00"), ("n", "1,2")), "a")
    assert (answer.body, answer.headers["x"]) == (b"[1]", "1")
    assert before <= answer.asked_at <= datetime.now(UTC)
    path, headers = server.asked[0]
    assert path == "/v1/x?to=2026-04-12T00%3A00%3A00%2B09%3A00&n=1%2C2"
    assert "origin" not in {name.lower() for name in headers}
    assert "gzip" in headers["Accept-Encoding"]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_a_refusal_is_final(server: Server, transport: Transport, status: int) -> None:
    server.replies = [(status, {}, b'{"error":{"name":404,"message":"Code not found"}}')]
    with pytest.raises(RefusedError, match=rf"/v1/x.* was refused with {status}: .*Code not found") as caught:
        transport.get("/v1/x", (), "a")
    assert caught.value.status == status
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_what_may_pass_is_tried_again(server: Server, transport: Transport, status: int) -> None:
    server.replies = [(status, {}, b""), (status, {}, b""), (200, {}, b"[2]")]
    assert transport.get("/v1/x", (), "a").body == b"[2]"
    assert len(server.asked) == 3


def test_patience_ends(server: Server, transport: Transport) -> None:
    server.replies = [(503, {}, b"")]
    with pytest.raises(UnavailableError, match=r"/v1/x: answered with 503 \(3 attempts\)"):
        transport.get("/v1/x", (), "a")
    assert len(server.asked) == 3


def test_nobody_there(clock: Clock) -> None:
    with Server() as gone:
        url = gone.url
    patience = Patience(attempts=2)
    transport = Transport(url, {"a": 10.0}, patience=patience, clock=clock, sleep=clock.sleep)
    with transport, pytest.raises(UnavailableError, match="ConnectionError"):
        transport.get("/", (), "a")


def test_a_server_that_never_answers(clock: Clock) -> None:
    with Server() as silent:  # accepts, and nobody serves
        patience = Patience(attempts=1, read_timeout_s=0.05)
        transport = Transport(silent.url, {"a": 10.0}, patience=patience, clock=clock, sleep=clock.sleep)
        with transport, pytest.raises(UnavailableError, match="ReadTimeout"):
            transport.get("/", (), "a")


def banned_by(server: Server, clock: Clock, folder: Path, **more: Any) -> Transport:
    """Another process's transport to the same server, with the machine's notes in ``folder``."""
    ban = Ban("binance", server.url, folder)
    return Transport(
        server.url,
        {"a": 10.0, "b": 10.0},
        patience=Patience(attempts=3),
        clock=clock,
        sleep=clock.sleep,
        ban=ban,
        banned_until=registry.get("binance").rest.banned_until,
        **more,
    )


TOMORROW = int((datetime.now(UTC) + timedelta(days=1)).timestamp())


@pytest.mark.parametrize(
    ("headers", "body", "least", "most"),
    [
        ({"Retry-After": "720"}, b"", 600, 721),
        ({"retry-after": "720"}, b"IP banned until 1600000000000", 600, 721),
        ({"Retry-After": formatdate(TOMORROW, usegmt=True)}, b"", 80_000, 86_401),
        ({}, b'{"code":-1003,"msg":"IP(1.2.3.4) banned until %d000. Please"}' % TOMORROW, 80_000, 86_401),
        ({"Retry-After": "100"}, b"IP banned until %d000" % TOMORROW, 80_000, 86_401),
        ({"Retry-After": "99999999"}, b"", 3 * 86_400 - 600, 3 * 86_400 + 1),
        ({"Retry-After": "soon"}, b"no", 1, 151),
        ({"Retry-After": "0"}, b"", 1, 151),
    ],
    ids=["seconds", "seconds-and-text", "date", "text", "seconds-or-text", "too-long", "no-number", "none"],
)
def test_nobody_asks_before_the_end_of_a_ban(
    server: Server, clock: Clock, tmp_path: Path, headers: dict[str, str], body: bytes, least: float, most: float
) -> None:
    server.replies = [(418, headers, body), (200, {}, b"[]")]
    for _ in range(3):
        with (
            banned_by(server, clock, tmp_path) as transport,
            pytest.raises(
                BannedError, match=r"binance .* has banned this address until .* UTC; nothing is sent"
            ) as caught,
        ):
            transport.get("/v1/x", (), "a")
        assert caught.value.until is not None
        assert least <= (caught.value.until - datetime.now(UTC)).total_seconds() <= most
    assert len(server.asked) == 1


def test_a_date_is_measured_by_the_servers_own_clock(server: Server, clock: Clock, tmp_path: Path) -> None:
    there = TOMORROW + 86_400  # a day ahead of us
    named = {"Date": formatdate(there, usegmt=True), "Retry-After": formatdate(there + 300, usegmt=True)}
    assert retry_after_s(named) == 300
    assert retry_after_s({"Retry-After": "1.5"}) == 1.5
    assert retry_after_s({"Retry-After": formatdate(0, usegmt=True)}) == 0
    assert retry_after_s({}) == 0


def test_a_short_ban_is_waited_out(server: Server, clock: Clock, tmp_path: Path) -> None:
    server.replies = [(418, {"Retry-After": "30"}, b""), (200, {}, b"[3]")]
    with banned_by(server, clock, tmp_path) as transport:
        assert transport.get("/v1/x", (), "a").body == b"[3]"
    assert clock.slept == [pytest.approx(30, abs=0.2)]


def test_a_wait_that_is_named_is_neither_cut_nor_doubled(server: Server, clock: Clock, tmp_path: Path) -> None:
    server.replies = [(429, {"Retry-After": "45"}, b""), (200, {}, b"[]")]
    with banned_by(server, clock, tmp_path) as transport:
        transport.get("/v1/x", (), "a")
    assert clock.slept == [pytest.approx(45, abs=0.2)]


def test_a_wait_that_is_too_long_is_told_and_nothing_is_sent_in_it(
    server: Server, clock: Clock, tmp_path: Path
) -> None:
    server.replies = [(429, {"Retry-After": "120"}, b"slow down"), (200, {}, b"[]")]
    for group in ("a", "b"):
        with banned_by(server, clock, tmp_path) as transport, pytest.raises(BannedError, match="429 slow down"):
            transport.get("/v1/x", (), group)
    assert (len(server.asked), clock.slept) == (1, [])


def test_an_outage_that_names_its_end_is_not_asked_into(server: Server, clock: Clock, tmp_path: Path) -> None:
    server.replies = [(503, {"Retry-After": "600"}, b""), (200, {}, b"[]")]
    with banned_by(server, clock, tmp_path) as transport:
        with pytest.raises(UnavailableError, match="come again in 600 s"):
            transport.get("/v1/x", (), "a")
        assert transport.get("/v1/x", (), "a").body == b"[]", "it is no ban"


def test_a_page_that_forbids_is_no_ban_unless_it_names_an_end(server: Server, clock: Clock, tmp_path: Path) -> None:
    server.replies = [(403, {"Retry-After": "5"}, b"<html>Forbidden"), (403, {}, b"IP banned until %d" % TOMORROW)]
    with banned_by(server, clock, tmp_path) as transport:
        with pytest.raises(RefusedError) as caught:
            transport.get("/v1/x", (), "a")
        assert caught.value.body == b"<html>Forbidden"
        with pytest.raises(BannedError):
            transport.get("/v1/x", (), "a")


def test_an_answer_after_a_ban_ends_its_growth(server: Server, clock: Clock, tmp_path: Path) -> None:
    server.replies = [(418, {}, b""), (200, {}, b"[]")]
    wall = Clock()
    ban = Ban("x", server.url, tmp_path, clock=wall)
    with Transport(server.url, {"a": 10.0}, clock=clock, sleep=clock.sleep, ban=ban) as transport:
        with pytest.raises(BannedError):
            transport.get("/v1/x", (), "a")
        wall.now += 151
        transport.get("/v1/x", (), "a")
    assert (ban.note(), transport.sent) == (None, 2)


def test_a_ban_stops_everything(server: Server, transport: Transport) -> None:
    server.replies = [(418, {}, b"blocked until 10:00"), (200, {}, b"[]")]
    for _ in range(3):
        with pytest.raises(BannedError, match="blocked until 10:00"):
            transport.get("/v1/x", (), "b")
    assert len(server.asked) == 1


def test_the_server_says_how_long_to_wait(server: Server, transport: Transport, clock: Clock) -> None:
    server.replies = [(429, {"Retry-After": "7"}, b""), (200, {}, b"[]")]
    transport.get("/v1/x", (), "a")
    assert clock.now >= 107


def test_nothing_left_of_this_second(server: Server, transport: Transport, clock: Clock) -> None:
    server.replies = [(200, {"Left": "0"}, b"[]"), (200, {"Left": "5"}, b"[]")]
    transport.get("/v1/x", (), "a")
    transport.get("/v1/x", (), "b")
    assert clock.now == 100, "another group has its own limit"
    transport.get("/v1/x", (), "a")
    assert clock.now == 101
    transport.get("/v1/x", (), "a")
    assert clock.now == pytest.approx(101.1)


def test_a_limit_spaces_its_turns(clock: Clock) -> None:
    limit = Limit(10.0, clock, clock.sleep)
    times: list[float] = []
    for _ in range(25):
        limit.take()
        times.append(clock.now)
    assert all(sum(t <= other < t + 0.999 for other in times) <= 10 for t in times)
    assert times[-1] == pytest.approx(102.4)
    clock.now += 60
    limit.take()
    limit.take()
    assert clock.slept[-1] == pytest.approx(0.1), "a rest saves up nothing"


def test_pauses_grow_and_are_spread() -> None:
    patience = Patience(backoff_min_s=0.5, backoff_max_s=8)
    for failures, ceiling in ((1, 0.5), (2, 1), (4, 4), (5, 8), (100, 8)):
        pauses = [patience.pause(failures) for _ in range(200)]
        assert 0 <= min(pauses) < ceiling / 4
        assert ceiling * 3 / 4 < max(pauses) <= ceiling


def test_a_group_without_a_limit_is_a_mistake(transport: Transport) -> None:
    with pytest.raises(KeyError):
        transport.get("/v1/x", (), "c")


def test_all_errors_are_of_one_kind() -> None:
    kinds: list[Callable[..., Exception]] = [RefusedError, BannedError, UnavailableError]
    assert all(issubclass(kind, TransportError) for kind in kinds)  # type: ignore[arg-type]
