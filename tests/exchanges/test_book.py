"""Books built from numbered changes: the exchanges' rules to the letter, and always what a naive rebuild gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemark.exchanges.base import DepthNumbers, Row
from tidemark.exchanges.book import LinkedBook, Outcome, SpannedBook, numbered

AT = datetime(2026, 4, 13, tzinfo=UTC)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
Levels = dict[int, int]


def row(
    kind: str,
    last: int | None,
    first: int | None = None,
    before: int | None = None,
    asks: Levels | None = None,
    **more: Levels,
) -> Row:
    asks, bids = asks or {}, more.get("bids", {})
    return {
        "kind": kind,
        "event_at": AT,
        "changed_at": None,
        "first_update_id": first,
        "last_update_id": last,
        "prev_update_id": before,
        "ask_prices": [Decimal(p) for p in asks],
        "ask_sizes": [Decimal(s) for s in asks.values()],
        "bid_prices": [Decimal(p) for p in bids],
        "bid_sizes": [Decimal(s) for s in bids.values()],
    }


def snapshot(number: int, asks: Levels | None = None, bids: Levels | None = None) -> Row:
    return row("snapshot", number, asks=asks or {101: 1}, bids=bids or {99: 1})


def update(first: int, last: int, before: int, asks: Levels | None = None, bids: Levels | None = None) -> Row:
    return row("update", last, first, before, asks=asks or {}, bids=bids or {})


def link(last: int, before: int, asks: Levels | None = None) -> Row:
    return row("update", last, None, before, asks=asks or {})


def outcomes(book: SpannedBook | LinkedBook, *rows: Row) -> list[str]:
    return [book.take(one).outcome.value for one in rows]


# --- spans: buffering, the snapshot, the first change ---------------------------------------------------------


def test_changes_wait_for_the_snapshot_and_are_applied_after_it() -> None:
    book = SpannedBook()
    held = [update(1, 5, 0, asks={101: 7}), update(6, 10, 5, asks={102: 2}), update(11, 15, 10, bids={98: 3})]
    assert outcomes(book, *held) == ["waiting"] * 3
    assert book.needs_snapshot
    assert book.take(snapshot(8, asks={101: 5, 103: 1})).outcome is Outcome.APPLIED
    assert book.is_live
    assert book.book.asks.top(9) == [(101, 5), (102, 2), (103, 1)]
    assert book.book.bids.top(9) == [(99, 1), (98, 3)]
    assert book.book.update_id == 15


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (10, "stale"),  # 11 to 19 are neither in it nor held
        (19, "stale"),
        (20, "applied"),  # the first change covers its number: first, within, last
        (25, "applied"),
        (30, "applied"),
        (15, "applied"),  # the first change follows it directly, though numbers in between belong to other markets
        (34, "stale"),  # no change covers it: the rule asks for another, though nothing happened in between
        (99, "applied"),  # ahead of the stream
    ],
)
def test_a_snapshot_must_meet_the_changes_held(number: int, outcome: str) -> None:
    book = SpannedBook()
    outcomes(book, update(20, 30, 15), update(35, 40, 30))
    assert book.take(snapshot(number)).outcome.value == outcome
    assert book.needs_snapshot == (outcome == "stale")


def test_a_snapshot_that_is_too_old_leaves_the_changes_held() -> None:
    book = SpannedBook()
    outcomes(book, update(20, 30, 19, asks={101: 4}))
    verdict = book.take(snapshot(10))
    assert (verdict.outcome, "older than change 20" in verdict.reason) == (Outcome.STALE, True)
    assert book.take(snapshot(22)).outcome is Outcome.APPLIED
    assert book.book.asks.top(1) == [(101, 4)]


def test_a_snapshot_ahead_of_the_stream_waits_for_it() -> None:
    book = SpannedBook()
    assert outcomes(book, update(1, 5, 0), snapshot(12)) == ["waiting", "applied"]
    assert not book.is_live
    assert outcomes(book, update(6, 9, 5, asks={101: 9}), update(10, 15, 9, asks={102: 1})) == ["stale", "applied"]
    assert book.is_live
    assert book.book.asks.top(2) == [(101, 1), (102, 1)]


def test_a_snapshot_before_any_change_may_prove_too_old() -> None:
    book = SpannedBook()
    assert outcomes(book, snapshot(10), update(20, 30, 19)) == ["applied", "waiting"]
    assert book.needs_snapshot
    assert outcomes(book, snapshot(25), update(31, 32, 30)) == ["applied", "applied"]


def test_a_second_snapshot_is_not_needed() -> None:
    book = SpannedBook()
    assert outcomes(book, snapshot(10), update(9, 12, 8), snapshot(50)) == ["applied", "applied", "stale"]
    assert book.book.update_id == 12


# --- spans: what follows ----------------------------------------------------------------------------------------


def live(at: int = 10) -> SpannedBook:
    book = SpannedBook()
    assert outcomes(book, snapshot(at), update(at, at, at - 1)) == ["applied", "applied"]
    return book


def test_numbers_between_two_changes_belong_to_other_markets() -> None:
    assert outcomes(live(10), update(500, 510, 10), update(900, 905, 510)) == ["applied", "applied"]


def test_a_break_names_what_is_missing() -> None:
    book = live(10)
    verdict = book.take(update(31, 40, 30))
    assert (verdict.outcome, verdict.missing) == (Outcome.BROKEN, (11, 30))
    assert verdict.reason == "change 40 follows 30, and 10 came last"
    assert not book.is_live
    assert outcomes(book, update(41, 45, 40), snapshot(35), update(46, 46, 45)) == ["waiting", "applied", "applied"]
    assert book.is_live


def test_a_break_is_found_while_waiting() -> None:
    book = SpannedBook()
    assert book.take(update(1, 5, 0)).outcome is Outcome.WAITING
    assert book.take(update(9, 12, 8)).missing == (6, 8)
    assert book.take(snapshot(4)).outcome is Outcome.STALE  # what came before the break can't be used
    assert book.take(snapshot(10)).outcome is Outcome.APPLIED


def test_what_was_heard_before_is_stale() -> None:
    book = live(10)
    assert outcomes(book, update(11, 20, 10), update(11, 20, 10), update(5, 12, 4)) == ["applied", "stale", "stale"]
    assert book.book.update_id == 20


def test_a_change_that_overlaps_and_goes_on_is_applied() -> None:
    book = live(10)
    assert outcomes(book, update(5, 20, 4, asks={101: 8}), update(21, 22, 20)) == ["applied", "applied"]
    assert book.book.asks.top(1) == [(101, 8)]


def test_a_change_without_numbers_breaks_the_book() -> None:
    book = live(10)
    verdict = book.take(row("update", None, 11, 10))
    assert (verdict.outcome, verdict.missing) == (Outcome.BROKEN, None)
    assert book.needs_snapshot


def test_patience_is_bounded() -> None:
    book = SpannedBook(patience=3)
    outcomes(book, *[update(n, n, n - 1, asks={200 + n: 1}) for n in range(1, 10)])
    assert book.take(snapshot(3)).outcome is Outcome.STALE
    assert book.take(snapshot(6)).outcome is Outcome.APPLIED
    assert [int(p) for p, _ in book.book.asks.top(9)] == [101, 207, 208, 209]


# --- levels -------------------------------------------------------------------------------------------------------


def test_levels_beyond_the_snapshots_last_are_not_known() -> None:
    book = SpannedBook(most=2)
    outcomes(book, snapshot(10, asks={101: 1, 105: 1}, bids={99: 1, 95: 1}))
    book.take(update(10, 10, 9, asks={104: 1, 106: 1}, bids={96: 1, 94: 1}))
    assert [int(p) for p, _ in book.book.asks.top(9)] == [101, 104, 105]
    assert [int(p) for p, _ in book.book.bids.top(9)] == [99, 96, 95]
    assert not book.book.is_thin(3)
    book.take(update(11, 11, 10, asks={101: 0, 104: 0}))
    assert book.book.is_thin(3)


def test_a_snapshot_of_fewer_levels_is_the_whole_book() -> None:
    book = SpannedBook(most=3)
    outcomes(book, snapshot(10, asks={101: 1, 105: 1}), update(10, 10, 9, asks={200: 1}))
    assert [int(p) for p, _ in book.book.asks.top(9)] == [101, 105, 200]
    assert not book.book.is_thin(30)


def test_removing_what_is_not_there_is_in_order() -> None:
    book = live()
    assert outcomes(book, update(11, 11, 10, asks={500: 0}, bids={1: 0})) == ["applied"]


def test_measures() -> None:
    book = live()
    book.take(update(11, 12, 10, asks={101: 3, 102: 1}, bids={99: 1, 98: 4}))
    levels = book.book
    assert levels.spread == 2
    assert levels.weighted_mid == Decimal("99.5")  # thin bid: the price is nearer to it
    assert levels.total_sizes(2) == (4, 5)
    assert levels.imbalance(2) == Decimal("0.111111")
    assert levels.imbalance(1) == Decimal("-0.5")
    assert not levels.is_crossed


def test_an_empty_side_has_no_measures() -> None:
    book = live()
    book.take(update(11, 12, 10, asks={101: 0}))
    levels = book.book
    assert (levels.asks.best, levels.spread, levels.weighted_mid) == (None, None, None)
    assert (levels.imbalance(5), levels.is_crossed) == (1, False)
    book.take(update(13, 14, 12, bids={99: 0}))
    assert levels.imbalance(5) is None


def test_a_crossed_book_is_seen() -> None:
    book = live()
    book.take(update(11, 12, 10, bids={101: 1}))
    assert book.book.is_crossed


def test_sums_are_exact() -> None:
    book = SpannedBook()
    book.take(snapshot(10))
    wide = update(10, 10, 9, asks={101: 0})
    wide["ask_prices"] = [Decimal(101), Decimal(102)]
    wide["ask_sizes"] = [Decimal("99999999999999999999.999999999999999999"), Decimal("0.000000000000000001")]
    book.take(wide)
    assert book.book.total_sizes(2)[0] == Decimal("100000000000000000000")


# --- links --------------------------------------------------------------------------------------------------------


def test_links_begin_with_a_snapshot_that_comes_by_itself() -> None:
    book = LinkedBook()
    assert outcomes(book, link(5, 4), snapshot(10), link(15, 10, {101: 7})) == ["waiting", "applied", "applied"]
    assert (book.is_live, book.book.asks.top(1)) == (True, [(101, 7)])


def test_a_sign_of_life_changes_nothing() -> None:
    book = LinkedBook()
    assert outcomes(book, snapshot(10), link(10, 10), link(15, 10)) == ["applied"] * 3


def test_numbers_may_be_reset() -> None:
    book = LinkedBook()
    assert outcomes(book, snapshot(10), link(3, 10), link(7, 3), link(9, 7)) == ["applied"] * 4
    assert book.book.update_id == 9


def test_a_broken_link_names_what_is_missing_and_waits_for_a_snapshot() -> None:
    book = LinkedBook()
    book.take(snapshot(10))
    verdict = book.take(link(30, 20))
    assert (verdict.outcome, verdict.missing) == (Outcome.BROKEN, (11, 20))
    assert outcomes(book, link(40, 30), snapshot(50), link(51, 50)) == ["waiting", "applied", "applied"]


def test_old_links_are_stale_and_links_without_numbers_break() -> None:
    book = LinkedBook()
    assert outcomes(book, snapshot(10), link(8, 5), link(10, 8)) == ["applied", "stale", "stale"]
    assert book.take(row("update", 11)).outcome is Outcome.BROKEN
    assert not book.is_live


def test_a_snapshot_in_the_middle_replaces_the_book() -> None:
    book = LinkedBook()
    outcomes(book, snapshot(10), link(15, 10, {102: 4}), snapshot(15, asks={103: 1}))
    assert book.book.asks.top(9) == [(103, 1)]


# --- numbers that begin again -------------------------------------------------------------------------------------


def later(change: Row, seconds: float) -> Row:
    return {**change, "event_at": AT + timedelta(seconds=seconds)}


def chain(start: int, count: int, seconds: float = 0.0, step: int = 1, links: bool = False) -> list[Row]:
    """Changes that follow one another, a tenth of a second apart from ``seconds`` on."""
    numbers = [start + n * step for n in range(count + 1)]
    make = (lambda last, before: link(last, before)) if links else (lambda last, before: update(last, last, before))
    return [later(make(last, before), seconds + n / 10) for n, (before, last) in enumerate(pairwise(numbers))]


@pytest.mark.parametrize(
    ("start", "seconds", "step"),
    [(0, 0, 1), (0, 60, 1), (0, -60, 1), (9_000, 60, 1), (9_010, 60, 1), (9_018, 60, 1), (9_019, 60, 1), (0, 60, 500)],
)
def test_numbers_that_begin_again_break_the_book(start: int, seconds: float, step: int) -> None:
    """Far below or just below what was heard, whatever the exchange's clock says."""
    book = live(9_000)
    assert outcomes(book, *chain(9_000, 20)) == ["applied"] * 20
    verdicts = [book.take(one) for one in chain(start, 100, seconds, step)]
    (broken,) = [verdict for verdict in verdicts if verdict.outcome is Outcome.BROKEN]
    assert (broken.missing, broken.restarted) == (None, True)
    assert "the numbers were restarted: change " in broken.reason
    assert broken.reason.endswith("and 9020 came last")
    assert not any(verdict.outcome is Outcome.APPLIED for verdict in verdicts)
    assert book.needs_snapshot
    number = start + 100 * step
    assert book.take(later(snapshot(number), seconds + 10)).outcome is Outcome.APPLIED
    assert (book.is_live, book.book.update_id) == (True, number)
    assert outcomes(book, update(number + 1, number + 2, number)) == ["applied"]


def test_numbers_that_begin_again_at_one_moment_of_the_clock() -> None:
    book = live(9_000)
    found = outcomes(book, *[update(n, n, n - 1) for n in range(1, 100)])
    assert (found.count("broken"), found[:3]) == (1, ["stale", "stale", "broken"])
    assert set(found[3:]) == {"waiting"}


def test_numbers_may_begin_again_while_a_snapshot_is_awaited() -> None:
    book = SpannedBook()
    assert outcomes(book, *chain(9_000, 20)) == ["waiting"] * 20
    found = outcomes(book, *chain(0, 20, 60))
    assert found == ["stale", "stale", "broken"] + ["waiting"] * 17
    assert book.take(later(snapshot(9_010), 1)).outcome is Outcome.STALE, "of the numbers before"
    assert book.take(later(snapshot(5), 61)).outcome is Outcome.APPLIED
    assert (book.is_live, book.book.update_id) == (True, 20)


def test_a_snapshot_of_the_numbers_before_is_given_up() -> None:
    """Its own time may not tell: then the changes do, that are not older and never reach it."""
    book = live(9_000)
    outcomes(book, *chain(0, 3, 60))
    assert book.take(later(snapshot(9_020), 60.2)).outcome is Outcome.APPLIED
    found = outcomes(book, *chain(3, 10, 60.3))
    assert found == ["stale", "stale", "waiting"] + ["waiting"] * 7
    assert book.needs_snapshot
    assert book.take(later(snapshot(10), 62)).outcome is Outcome.APPLIED
    assert (book.is_live, book.book.update_id) == (True, 13)


def test_numbers_may_begin_again_twice() -> None:
    book = live(9_000)
    for seconds in (60, 120):
        assert outcomes(book, *chain(0, 30, seconds)).count("broken") == 1
        assert book.take(later(snapshot(30), seconds + 3)).outcome is Outcome.APPLIED
        assert outcomes(book, *chain(30, 10, seconds + 4)) == ["applied"] * 10


def test_repeats_break_nothing() -> None:
    """The same changes again: at once, late, all of them, cut otherwise, by a connection that is caught up with."""
    book = live(9_000)
    heard = chain(9_000, 400)
    assert outcomes(book, *heard) == ["applied"] * 400
    for again in (heard[-1:] * 5, heard[-3:], heard[100:], heard, [heard[7], heard[300], heard[8], heard[9]]):
        assert set(outcomes(book, *again)) == {"stale"}
    cut = [later(update(n, n + 1, n - 1), (n + 1 - 9_000) / 10 - 0.1) for n in range(9_001, 9_040, 2)]
    assert set(outcomes(book, *cut)) == {"stale"}
    book.expect_repeats()
    old = [later(update(n, n + 1, n - 1), -60) for n in range(8_001, 9_000, 2)]
    assert set(outcomes(book, *old)) == {"stale"}, "older than what is remembered, and more than fifty"
    assert outcomes(book, *chain(9_400, 3, 41)) == ["applied"] * 3


def test_one_odd_row_proves_nothing() -> None:
    book = live(9_000)
    for odd in (update(5, 5, 4), update(8_999, 9_000, 8_998)):
        assert outcomes(book, later(odd, 10**8)) == ["stale"]
        at = book.book.update_id
        assert at is not None
        assert outcomes(book, *chain(at, 2, 1)) == ["applied"] * 2
        assert outcomes(book, later(odd, 10**8), later(update(77, 78, 70), 10**8)) == ["stale"] * 2


@pytest.mark.parametrize(("start", "seconds"), [(0, 0), (0, 60), (480, 60), (497, 60), (498, 60), (499, 60)])
def test_links_that_begin_again_break_the_book(start: int, seconds: float) -> None:
    book = LinkedBook()
    assert outcomes(book, snapshot(490), *chain(490, 10, links=True)) == ["applied"] * 11
    verdicts = [book.take(one) for one in chain(start, 20, seconds, links=True)]
    broken = [verdict for verdict in verdicts if verdict.outcome is Outcome.BROKEN]
    assert [verdict.restarted for verdict in broken] == [True]
    assert not any(verdict.outcome is Outcome.APPLIED for verdict in verdicts)
    assert not book.is_live


def test_signs_of_life_and_repeats_break_no_links() -> None:
    book = LinkedBook()
    heard = chain(10, 100, links=True)
    assert set(outcomes(book, snapshot(10), *heard)) == {"applied"}
    signs = [later(link(105, 105), 60 * n) for n in range(1, 9)]
    assert set(outcomes(book, *signs)) == {"stale"}, "of a connection that lags"
    assert set(outcomes(book, *heard)) == {"stale"}
    assert outcomes(book, later(link(110, 109), 9.902)) == ["stale"], "the latest, by another server's clock"
    assert set(outcomes(book, *[later(link(110, 110), 60 * n) for n in range(1, 9)])) == {"applied"}
    assert outcomes(book, later(link(111, 110), 600)) == ["applied"]


# --- any order ----------------------------------------------------------------------------------------------------


class History:
    """A market as it happened: single changes by number, some numbers belonging to other markets."""

    def __init__(self, steps: list[tuple[int, bool, int, int]]) -> None:
        self.changes: list[tuple[int, bool, int, int]] = []
        number = 100
        for skip, is_ask, offset, size in steps:
            number += skip
            self.changes.append((number, is_ask, 1000 + offset if is_ask else 999 - offset, size))

    def sides(self, upto: int) -> tuple[Levels, Levels]:
        """The naive rebuild: every change up to a number, one after another."""
        sides: tuple[Levels, Levels] = ({}, {})
        for number, is_ask, price, size in self.changes:
            if number <= upto:
                sides[0 if is_ask else 1][price] = size
        return {p: s for p, s in sides[0].items() if s}, {p: s for p, s in sides[1].items() if s}

    def update(self, begin: int, end: int) -> Row:
        """The changes at places begin to end as one event."""
        part = self.changes[begin:end]
        before = self.changes[begin - 1][0] if begin else 100
        asks = {p: s for _, is_ask, p, s in part if is_ask}
        bids = {p: s for _, is_ask, p, s in part if not is_ask}
        return self._dated(update(part[0][0], part[-1][0], before, asks, bids))

    def snapshot(self, place: int) -> Row:
        number = self.changes[place][0]
        asks, bids = self.sides(number)
        return self._dated(row("snapshot", number, asks=asks, bids=bids))

    def _dated(self, event: Row) -> Row:
        """With the time of its last change."""
        return {**event, "event_at": AT + timedelta(milliseconds=event["last_update_id"])}  # type: ignore[arg-type]


STEPS = st.lists(
    st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=60
)


#: A snapshot of which age comes before it (if any), where the event begins against the last one's end, how long it is.
MOVES = st.lists(
    st.tuples(st.none() | st.integers(0, 59), st.sampled_from((0, 0, 0, 0, -4, -2, -1, 1, 3)), st.integers(1, 8)),
    max_size=40,
)


@unhurried
@given(STEPS, MOVES)
def test_whatever_comes_a_live_book_is_the_naive_rebuild(
    steps: list[tuple[int, bool, int, int]], moves: list[tuple[int | None, int, int]]
) -> None:
    """Events cut anywhere, repeated, overlapping, lost; snapshots of any age at any time."""
    history, book = History(steps), SpannedBook()
    many = len(history.changes)
    place, heard = 0, None
    for age, shift, length in moves:
        if age is not None:
            book.take(history.snapshot(min(age, many - 1)))
        begin = min(max(0, place + shift), many - 1)
        place = min(many, begin + length)
        event = history.update(begin, place)
        last, before = event["last_update_id"], event["prev_update_id"]
        assert isinstance(last, int)
        assert isinstance(before, int)
        verdict = book.take(event)
        if heard is not None and last > heard and before > heard:
            assert (verdict.outcome, verdict.missing) == (Outcome.BROKEN, (heard + 1, before))
        else:
            assert verdict.outcome is not Outcome.BROKEN
        heard = last if heard is None else max(heard, last)
        if book.is_live:
            assert book.book.update_id == heard
            asks, bids = history.sides(heard)
            assert book.book.asks.top(99) == sorted(asks.items())
            assert book.book.bids.top(99) == sorted(bids.items(), reverse=True)


@unhurried
@given(STEPS, st.data())
def test_an_unbroken_stream_and_one_snapshot_always_make_a_book(
    steps: list[tuple[int, bool, int, int]], data: st.DataObject
) -> None:
    history, book = History(steps), SpannedBook()
    many = len(history.changes)
    asked = data.draw(st.integers(0, many - 1))
    taken, place, came = data.draw(st.integers(asked, many - 1)), 0, False
    while place < many:
        end = data.draw(st.integers(place + 1, many))
        verdict = book.take(history.update(place, end))
        assert verdict.outcome is not Outcome.BROKEN
        place = end
        if place > asked and not came:
            came = True
            assert book.take(history.snapshot(taken)).outcome is Outcome.APPLIED
    assert book.is_live
    assert book.book.asks.top(99) == sorted(history.sides(10**9)[0].items())


@unhurried
@given(STEPS, st.integers(1, 6))
def test_a_cut_snapshot_never_shows_a_level_that_is_wrong(steps: list[tuple[int, bool, int, int]], most: int) -> None:
    """What is shown are the best levels of the true book, without a hole: a shorter list, never another one."""
    history, book = History(steps), SpannedBook(most=most)
    start = history.snapshot(0)
    for side in ("ask", "bid"):
        ordered = sorted(zip(start[f"{side}_prices"], start[f"{side}_sizes"], strict=True), reverse=side == "bid")[
            :most
        ]  # type: ignore[call-overload]
        start[f"{side}_prices"], start[f"{side}_sizes"] = [p for p, _ in ordered], [s for _, s in ordered]
    book.take(start)
    for place in range(1, len(history.changes)):
        book.take(history.update(place, place + 1))
        asks, bids = history.sides(history.changes[place][0])
        shown = book.book.asks.top(99), book.book.bids.top(99)
        true = sorted(asks.items()), sorted(bids.items(), reverse=True)
        for ours, theirs in zip(shown, true, strict=True):
            assert ours == theirs[: len(ours)]


def test_the_numbers_say_which_book_it_is() -> None:
    assert isinstance(numbered(DepthNumbers.SPANS, 1000), SpannedBook)
    assert isinstance(numbered(DepthNumbers.LINKS, None), LinkedBook)
    with pytest.raises(ValueError, match="no changes"):
        numbered(DepthNumbers.NONE, None)
