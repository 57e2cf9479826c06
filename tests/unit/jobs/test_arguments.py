"""What a person asks of a job: windows and markets that make sense, in whatever spelling."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tidemark.jobs import arguments
from tidemark.jobs.arguments import check_codes, check_window, instant, own_codes

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
#: A code of Upbit reads as a market of it too: the list alone tells them apart.
UPBIT = {"KRW-BTC": "BTC-KRW", "KRW-ETH": "ETH-KRW", "BTC-ETH": "ETH-BTC"}
#: ``BTC-USDT`` is the code of the spot market, and our name of the swap.
OKX = {"BTC-USDT": "BTC-USDT-SPOT", "BTC-USDT-SWAP": "BTC-USDT"}


def test_an_instant_without_an_offset_is_meant_in_utc() -> None:
    assert instant("from", "2026-11-30T12:00") == NOW
    assert instant("from", "2026-11-30T21:00:00+09:00") == NOW
    with pytest.raises(ValueError, match=r"^from='yesterday' is no ISO 8601 time, such as 2026-04-13T00:00:00Z"):
        instant("from", "yesterday")
    with pytest.raises(ValueError, match="no ISO 8601 time"):
        instant("from", "0001-01-01T00:00:00+09:00")


def test_a_window_that_has_begun_is_taken_whatever_its_end() -> None:
    check_window(NOW - HOUR, NOW, NOW)
    check_window(NOW - HOUR, NOW + 24 * HOUR, NOW)


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        (NOW, NOW - HOUR, "^the window 2026-11-30 12:00 UTC to 2026-11-30 11:00 UTC ends before it starts"),
        (NOW - HOUR, NOW - HOUR, "is empty"),
        (NOW, NOW + HOUR, r"lies in the future \(now: 2026-11-30 12:00 UTC\)"),
        (NOW + 8760 * HOUR, NOW + 8761 * HOUR, "lies in the future"),
        (NOW.replace(tzinfo=None), NOW, "two instants with a zone"),
        (NOW.replace(year=1), NOW, "nobody traded before 2009"),
    ],
)
def test_a_senseless_window_says_what_is_wrong(start: datetime, end: datetime, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_window(start, end, NOW)


@pytest.mark.parametrize(
    ("listed", "asked", "codes"),
    [
        (UPBIT, ["KRW-BTC"], ("KRW-BTC",)),
        (UPBIT, ["BTC-KRW"], ("KRW-BTC",)),
        (UPBIT, ["BTC-KRW", "KRW-BTC", "ETH-KRW"], ("KRW-BTC", "KRW-ETH")),
        (UPBIT, ["ETH-BTC", "BTC-ETH"], ("BTC-ETH",)),
        (UPBIT, ["KRW-NOPE"], ("KRW-NOPE",)),
        (OKX, ["BTC-USDT"], ("BTC-USDT",)),
        (OKX, ["BTC-USDT-SPOT", "BTC-USDT-SWAP"], ("BTC-USDT", "BTC-USDT-SWAP")),
        ({}, ["BTC-KRW"], ("BTC-KRW",)),
    ],
)
def test_markets_in_either_spelling(listed: dict[str, str], asked: list[str], codes: tuple[str, ...]) -> None:
    assert own_codes(asked, listed) == codes


def test_an_unknown_market_is_named_with_those_that_look_like_it() -> None:
    said = str(arguments.unknown_markets("upbit", {"KRW-BTCC": "Code not found"}, UPBIT))
    assert said.startswith(
        "upbit does not have the market asked for, so nothing was started: 'KRW-BTCC': Code not found"
    )
    assert "Similar: KRW-BTC" in said
    both = {"XX": "bad_code", "KRW-NOPE": "Code not found"}
    assert "does not have 2 of the markets" in str(arguments.unknown_markets("upbit", both, {}))


def test_markets_need_their_exchange_where_there_are_several() -> None:
    check_codes(["KRW-BTC"], None, ["upbit"])
    check_codes(["KRW-BTC"], "upbit", ["okx", "upbit"])
    check_codes([], None, ["okx", "upbit"])
    with pytest.raises(ValueError, match=r"^the markets KRW-BTC belong to one exchange: choose it"):
        check_codes(["KRW-BTC"], None, ["okx", "upbit"])


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (0.0, "1 seconds"),
        (90, "90 seconds"),
        (720, "12 minutes"),
        (7200, "2 hours"),
        (9419, "2.6 hours"),
        (300_000, "3.5 days"),
    ],
)
def test_a_duration_for_a_person(seconds: float, says: str) -> None:
    assert arguments.duration(seconds) == says


def test_a_long_list_is_cut_and_says_so() -> None:
    assert arguments.first_lines(["a", "b"], 2) == ["a", "b"]
    assert arguments.first_lines([str(n) for n in range(4500)], 2) == ["0", "1", "and 4,498 more"]
