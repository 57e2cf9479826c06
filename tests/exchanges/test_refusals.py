"""What an error of each exchange means, and until when a ban goes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemark.exchanges import registry
from tidemark.exchanges.base import Refusal

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
UNKNOWN, LATER, BANNED, OTHER = Refusal.UNKNOWN_MARKET, Refusal.TRY_LATER, Refusal.BANNED, Refusal.OTHER


def upbit(name: object, message: str) -> dict[str, Any]:
    return {"error": {"name": name, "message": message}}


def binance(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "msg": message}


def okx(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "msg": message, "data": []}


@pytest.mark.parametrize(
    ("exchange", "status", "body", "means"),
    [
        ("upbit", 404, upbit(404, "Code not found"), UNKNOWN),
        ("upbit", 404, upbit("404", "code not found."), UNKNOWN),
        ("upbit", 404, upbit("not_found", "no such path"), OTHER),
        ("upbit", 404, b"<html>404 Code not found</html>", OTHER),
        ("upbit", 404, b"", OTHER),
        ("upbit", 404, {"error": "Code not found"}, OTHER),
        ("upbit", 400, upbit("invalid_parameter", "to is wrong"), OTHER),
        ("upbit", 429, upbit("too_many_requests", "Too many API requests."), LATER),
        ("upbit", 418, upbit("too_many_requests", "blocked"), BANNED),
        ("upbit", 503, b"", LATER),
        ("okx", 200, okx("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist."), UNKNOWN),
        ("okx", 400, okx("51001", "Instrument ID does not exist"), UNKNOWN),
        ("okx", 200, okx("51087", "Listing canceled for this crypto"), UNKNOWN),
        ("okx", 400, okx("51000", "Parameter instId error"), OTHER),
        ("okx", 429, okx("50011", "Too Many Requests"), LATER),
        ("okx", 200, okx("50013", "Systems are busy."), LATER),
        ("okx", 503, okx("51001", "a gateway's own idea"), LATER),
        ("okx", 404, b"<html>", OTHER),
        ("okx", 200, [], OTHER),
        ("binance", 400, binance(-1121, "Invalid symbol."), UNKNOWN),
        ("binance", 400, binance(-4141, "Symbol is closed."), UNKNOWN),
        ("binance", 400, binance(-1122, "Invalid symbol status."), OTHER),
        ("binance", 400, binance(-1102, "Mandatory parameter"), OTHER),
        ("binance", 400, binance(-1001, "Internal error"), LATER),
        ("binance", 429, binance(-1003, "Too many requests"), LATER),
        ("binance", 418, binance(-1003, "IP banned until 1790000000000"), BANNED),
        ("binance", 403, b"<html>WAF</html>", OTHER),
        ("binance", 451, b"", OTHER),
    ],
)
def test_what_an_error_means(exchange: str, status: int, body: object, means: Refusal) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert registry.get(exchange).rest.refusal(status, sent) is means


@pytest.mark.parametrize(
    ("exchange", "body", "ends"),
    [
        ("binance", binance(-1003, "Too many; IP(1.2.3.4) banned until 1795255200000. Please"), 1_795_255_200),
        ("binance", binance(-1003, "IP banned until 1795255200"), 1_795_255_200),
        ("binance", binance(-1003, "Too many requests; current limit is 2400 per 1 MINUTE."), None),
        ("binance", b"", None),
        ("upbit", upbit("too_many_requests", "Too many API requests. You are blocked for 30 seconds."), 30),
        ("upbit", upbit("too_many_requests", "Blocked for 1 hour 30 minutes"), 5_400),
        ("upbit", upbit("too_many_requests", "요청이 많아 10분 30초 동안 차단되었습니다."), 630),
        ("upbit", upbit("too_many_requests", "retry after 1500ms"), 1.5),
        ("upbit", upbit("too_many_requests", "Blocked for 2h"), 7_200),
        ("upbit", upbit("too_many_requests", "Blocked, you know why (10 markets)"), None),
        ("upbit", b"<html>back in 5 minutes", None),
        ("upbit", b"<html>your address is blocked for 5 minutes", 300),
        ("okx", okx("50011", "Too Many Requests"), None),
    ],
)  # fmt: skip
def test_until_when_a_ban_goes(exchange: str, body: object, ends: float | None) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    found = registry.get(exchange).rest.banned_until(sent, AT)
    if ends is None:
        assert found is None
    elif ends > 1e9:
        assert found == datetime.fromtimestamp(ends, UTC)
    else:
        assert found == AT + timedelta(seconds=ends)
