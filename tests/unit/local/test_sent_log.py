"""The simulator's memory is bounded, and what it still answers is right."""

from __future__ import annotations

from tidemark.local.simulator import ledger
from tidemark.local.simulator.ledger import E8, KEPT_MS, Sent, SentBook, SentLog

HOUR_MS = 3_600_000


def sent(number: int, ms: int) -> Sent:
    return Sent("KRW-BTC", number, ms, 100 * E8, E8, is_ask=False, first=number)


def test_old_trades_are_forgotten_and_the_others_are_not() -> None:
    log, step = SentLog(), 6_000  # a trade each six seconds: four days are 57,600
    for number in range(57_600):
        log.record("old" if number < 1_000 else "new", [sent(number, number * step)])
    kept = KEPT_MS // step
    newest = 57_599 * step
    assert kept <= len(list(log.trades())) <= kept + ledger._FORGET_FROM
    assert len(log._places) == len(list(log.trades()))
    assert len(log) == 57_600
    assert (log.sent_to("old"), log.sent_to("new")) == (1_000, 56_600)
    assert list(log.trades(connection="old")) == []
    assert [trade.id for trade in log.trades(connection="new")][-1] == 57_599
    day = log.candles("KRW-BTC", 3_600, newest - 48 * HOUR_MS, newest)
    assert {row["trades"] for row in day[1:-1]} == {600}

    log.record("late", [sent(57_599, newest)])  # known: not sent twice
    assert len(log) == 57_600
    assert [trade.id for trade in log.trades(connection="late")] == [57_599]


def test_changes_of_books_are_kept_by_number() -> None:
    log = SentLog()
    for number in range(25_000):
        log.record_book("BTCUSDT", SentBook(number, number, (1, 1), (2, 1)))
    books = log.books("BTCUSDT")
    assert (len(books), books[-1].number) == (20_000, 24_999)
