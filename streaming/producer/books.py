"""The books of one exchange: built from changes, checked change by change, begun anew on a break.

Lives here: the keeper that hears the frames of all sockets and sends snapshots, whole books and breaks as records.
Doesn't: the rules (``tidemark.exchanges.book``), the form of the records (``book_records``, ``connection``), asking
(``snapshots``), sockets (``link``).

The frames themselves are recorded by the link, whatever becomes of the books: a keeper that fails loses no change.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from streaming.producer.contracts import ContractSizes
from streaming.producer.records import SYSTEM, Headers, Record
from streaming.producer.snapshots import Snapshot, Snapshots
from streaming.producer.waiting import Backoff
from tidemark import naming
from tidemark.contracts import plausible
from tidemark.exchanges import book_records, connection
from tidemark.exchanges.base import Exchange, NotServedError, Parsed, Row, Unparsable
from tidemark.exchanges.book import Level, Numbered, Outcome, Verdict, impossible_level, numbered
from tidemark.exchanges.book_records import BookRecord
from tidemark.exchanges.connection import BreakRecord
from tidemark.transport import TransportError

log = structlog.get_logger()

DEPTH: Final = "depth"
ORDERBOOK: Final = "orderbook"
#: Levels a side of a book that is sent.
TOP: Final = 30
#: Frames of a market on a socket that stands by; more than any planned overlap brings.
_STANDBY_FRAMES: Final = 5_000
_SNAPSHOT_AGAIN_S: Final = (1.0, 60.0)

#: Puts another socket in the place of this one; it is told why.
Renew = Callable[[str], None]


@dataclass
class BookCounts:
    """What the keepers of a worker have done since its start."""

    changes: int = 0
    unreadable: int = 0
    breaks: int = 0
    snapshots: int = 0
    snapshots_failed: int = 0
    snapshots_too_old: int = 0
    books: int = 0


@dataclass
class _Market:
    code: str
    book: Numbered
    backoff: Backoff
    #: The socket whose changes are applied, and what others have brought since they were opened.
    followed: str | None = None
    standby: dict[str, deque[tuple[bytes, int]]] = field(default_factory=dict)
    #: The exchange's time of the latest change heard.
    heard_at: datetime | None = None
    received_ns: int = 0
    sent_ns: int = 0
    sent: tuple[list[Level], list[Level]] = field(default_factory=lambda: ([], []))
    is_due: bool = False
    #: Whether changes were left out, since nothing says what a contract is.
    is_unsized: bool = False


class BookKeeper:
    """The books of one exchange, over as many sockets as it takes.

    Of each market one socket is followed at a time. What another brings that is open too (a planned change of sockets)
    is held, and followed from its first when the one before it is closed: what both brought is known by its numbers and
    left out.

    A book is sent when its best 30 levels have changed, at most once in ``interval_s`` a market.
    """

    def __init__(
        self,
        exchange: Exchange,
        worker: str,
        send: Callable[[Record], None],
        snapshots: Snapshots,
        counts: BookCounts,
        *,
        sizes: ContractSizes | None = None,
        interval_s: float = 1.0,
    ) -> None:
        self._exchange = exchange
        self._worker = worker
        self._send = send
        self._snapshots = snapshots
        self._counts = counts
        self._sizes = sizes or ContractSizes(exchange)
        self._interval_ns = int(interval_s * 1e9)
        self._markets: dict[str, _Market] = {}
        self._renew: dict[str, Renew] = {}
        self._wanted: dict[str, float] = {}
        self._unreadable: set[str] = set()
        self._wake = asyncio.Event()

    # --- what the sockets say ---

    def opened(self, name: str, codes: Sequence[str], renew: Renew = lambda because: None) -> None:
        """A socket is open and brings these markets; ``renew`` puts another in its place.

        A market whose code cannot be read has no book, and costs no other market its own.
        """
        self._renew[name] = renew
        for code in codes:
            market = self._market(code)
            if market is None:
                continue
            if market.followed is None:
                market.followed = name
            else:
                market.standby[name] = deque(maxlen=_STANDBY_FRAMES)

    def feed(self, name: str, code: str, payload: bytes, received_ns: int) -> None:
        """A frame of the dataset ``depth`` has come over a socket. Never raises."""
        market = self._markets.get(code)
        if market is None:
            return
        if name == market.followed:
            self._follow(market, payload, received_ns)
        elif name in market.standby:
            market.standby[name].append((payload, received_ns))

    def closed(self, name: str) -> None:
        """A socket is no more; of each of its markets the one that was opened next is followed from its first frame."""
        self._renew.pop(name, None)
        for market in self._markets.values():
            market.standby.pop(name, None)
            if name != market.followed:
                continue
            market.followed = next(iter(market.standby), None)
            if market.followed is not None:
                market.book.expect_repeats()
                for payload, received_ns in market.standby.pop(market.followed):
                    self._follow(market, payload, received_ns)

    async def run(self) -> None:
        """Get the snapshots that are wanted, and send what is due, until cancelled."""
        sending = asyncio.create_task(self._send_what_is_due())
        sizes = asyncio.create_task(self._sizes.follow(lambda: list(self._markets), self._resized))
        try:
            while True:
                await self._resync(await self._next_wanted())
        finally:
            sending.cancel()
            sizes.cancel()

    @property
    def live(self) -> int:
        """How many markets have a book."""
        return sum(market.book.is_live for market in self._markets.values())

    # --- changes ---

    def _follow(self, market: _Market, payload: bytes, received_ns: int) -> None:
        try:
            parsed = self._exchange.parse(DEPTH, payload)
            for row in parsed.rows if isinstance(parsed, Parsed) else ():
                sized = self._sizes.in_coins(row)
                if sized is None:
                    market.is_unsized = True
                else:
                    self._change(market, sized, received_ns)
        except Unparsable as error:  # the sink buries the frame; what it held is missing here
            self._counts.unreadable += 1
            log.warning("unreadable change", exchange=self._exchange.name, code=market.code, reason=error.reason)
        except Exception:  # a fault of ours must not stop the socket
            log.exception("a book could not be kept", exchange=self._exchange.name, code=market.code)

    def _change(self, market: _Market, row: Row, received_ns: int) -> None:
        impossible = impossible_level(row)
        if impossible:
            market.book.drop()
        verdict = Verdict(Outcome.BROKEN, None, impossible) if impossible else market.book.take(row)
        if verdict.outcome is Outcome.STALE:
            return
        self._counts.changes += 1
        at = row["changed_at"] or row["event_at"]
        # A gap is told by it, which must not reach from 1970 to now.
        received_at = datetime.fromtimestamp(received_ns / 1e9, UTC)
        before, market.heard_at = market.heard_at, received_at
        if isinstance(at, datetime) and plausible.holds(at, received_at):
            market.heard_at = at
        market.received_ns = received_ns
        if verdict.outcome is Outcome.BROKEN:
            self._broken(market, verdict, before, received_ns)
            self._begin_anew(market, "the numbers were restarted" if verdict.restarted else "changes are missing")
        elif market.book.needs_snapshot:
            self._want(market.code)
        elif market.book.is_live:
            self._changed(market, received_ns)

    def _resized(self, codes: set[str]) -> None:
        """The contracts of these codes are of another size from now on: a book must not hold both."""
        sockets = dict[str, str]()
        for code in sorted(codes & self._markets.keys()):
            market = self._markets[code]
            if market.followed is None or not (market.is_unsized or market.book.is_live):
                continue
            market.is_unsized = False
            market.book.drop()
            if market.book.needs_snapshot:
                self._want(code)
            else:
                sockets.setdefault(market.followed, code)
        for name, code in sockets.items():
            if name in self._renew:
                self._renew[name](f"{code}: the size of its contract is known")

    def _broken(self, market: _Market, verdict: Verdict, from_at: datetime | None, received_ns: int) -> None:
        self._counts.breaks += 1
        first, last = verdict.missing or (None, None)
        event = "numbers_restarted" if verdict.restarted else "changes missing"
        name, reason = self._exchange.name, verdict.reason
        log.warning(event, exchange=name, code=market.code, first=first, last=last, reason=reason)
        record = BreakRecord(
            exchange=self._exchange.name,
            connection=market.followed or "",
            worker=self._worker,
            found_at=datetime.now(UTC),
            dataset=DEPTH,
            code=market.code,
            reason=verdict.reason,
            first_missing=first,
            last_missing=last,
            from_at=from_at,
            to_at=market.heard_at,
        )
        self._send(self._record(market, SYSTEM, connection.BREAK, record.encode(), received_ns))

    def _begin_anew(self, market: _Market, because: str) -> None:
        """Get the book that changes from now on build on: by asking for it, or with a new socket."""
        log.info("book begun anew", exchange=self._exchange.name, code=market.code, because=because)
        if market.book.needs_snapshot:
            self._want(market.code)
        elif market.followed in self._renew:
            self._renew[market.followed](f"{market.code}: {because}")

    def _changed(self, market: _Market, now_ns: int) -> None:
        """A live book has changed: begin it anew when it can't be shown, else send it when its time has come."""
        book = market.book.book
        if book.is_crossed or book.is_thin(TOP):
            market.book.drop()
            why = "bids reach asks" if book.is_crossed else "the market left the levels of the snapshot"
            self._begin_anew(market, why)
            return
        market.is_due = True
        if now_ns - market.sent_ns >= self._interval_ns:
            self._send_book(market, now_ns)

    # --- whole books ---

    def _send_book(self, market: _Market, now_ns: int) -> None:
        book = market.book.book
        market.is_due = False
        top = book.asks.top(TOP), book.bids.top(TOP)
        if top == market.sent or book.changed_at is None or book.update_id is None:
            return
        market.sent, market.sent_ns = top, now_ns
        value = BookRecord(market.code, book.changed_at, book.update_id, *top).encode()
        self._send(self._record(market, ORDERBOOK, book_records.BOOK, value, market.received_ns))
        self._counts.books += 1

    async def _send_what_is_due(self) -> None:
        """Books whose latest change came too soon after the one sent, and was the last for now."""
        while True:
            await asyncio.sleep(self._interval_ns / 4e9)
            now_ns = time.time_ns()
            for market in list(self._markets.values()):
                if market.is_due and market.book.is_live and now_ns - market.sent_ns >= self._interval_ns:
                    self._send_book(market, now_ns)

    # --- snapshots ---

    def _want(self, code: str, in_s: float = 0.0) -> None:
        if code not in self._wanted:
            self._wanted[code] = time.monotonic() + in_s
            self._wake.set()

    async def _next_wanted(self) -> str:
        while True:
            self._wake.clear()
            code = min(self._wanted, key=self._wanted.__getitem__, default=None)
            wait = None if code is None else self._wanted[code] - time.monotonic()
            if code is not None and wait is not None and wait <= 0:
                return code
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    async def _resync(self, code: str) -> None:
        market = self._markets[code]
        snapshot = await self._ask(market) if market.followed and market.book.needs_snapshot else None
        if snapshot is not None and (impossible := impossible_level(snapshot.row)):
            log.warning("impossible_level", exchange=self._exchange.name, code=code, level=impossible)
            self._counts.snapshots_failed += 1
            snapshot = None
        del self._wanted[code]
        if snapshot is not None:
            self._counts.snapshots += 1
            value = snapshot.record.encode()
            self._send(self._record(market, DEPTH, book_records.SNAPSHOT, value, snapshot.received_ns))
            verdict = market.book.take(snapshot.row)
            if verdict.outcome is Outcome.APPLIED:
                market.backoff.reset()
                log.info("book stands", exchange=self._exchange.name, code=code, number=snapshot.row["last_update_id"])
                if market.book.is_live:
                    self._changed(market, snapshot.received_ns)
            else:
                self._counts.snapshots_too_old += 1
                log.info("snapshot of no use", exchange=self._exchange.name, code=code, because=verdict.reason)
        if market.followed and market.book.needs_snapshot:
            self._want(code, max(_SNAPSHOT_AGAIN_S[0], market.backoff.next()))

    async def _ask(self, market: _Market) -> Snapshot | None:
        try:
            return await self._snapshots.ask(market.code)
        except (TransportError, Unparsable) as error:
            log.warning("no snapshot", exchange=self._exchange.name, code=market.code, error=str(error))
        except Exception:  # a fault of ours: the other books go on
            log.exception("a snapshot could not be taken", exchange=self._exchange.name, code=market.code)
        self._counts.snapshots_failed += 1
        return None

    # --- inside ---

    def _market(self, code: str) -> _Market | None:
        """The market's book, made when it is first asked for; None: its code cannot be read, which is said once."""
        if code in self._markets or code in self._unreadable:
            return self._markets.get(code)
        try:
            self._exchange.market(code)
            numbers, levels = self._exchange.depth_numbers, self._exchange.rest.depth(code).levels
        except (Unparsable, NotServedError) as error:
            self._unreadable.add(code)
            log.warning("book_left_out", exchange=self._exchange.name, code=code, because=str(error))
            return None
        self._markets[code] = _Market(code, numbered(numbers, levels), Backoff(*_SNAPSHOT_AGAIN_S))
        return self._markets[code]

    def _record(self, market: _Market, dataset: str, kind: str, value: bytes, received_ns: int) -> Record:
        name = (market.followed or "").encode()
        headers: Headers = {"received_ns": b"%d" % received_ns, "connection": name, "kind": kind.encode()}
        key = name if dataset == SYSTEM else market.code.encode()
        return Record(naming.raw_topic(self._exchange.name, dataset), key, value, received_ns // 1_000_000, headers)
