"""Answers kept as documents: the state of each market as an exchange states it, whole, for SQL to take apart.

Lives here: the query that turns an answer into rows of the dataset ``snapshot``, the same for every exchange. Doesn't:
where to ask and how an answer is laid out (``exchanges/<name>``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from tidemark.exchanges import answers, messages, values
from tidemark.exchanges.base import Request, Row, Rows, StatesQuery, Unparsable


@dataclass(frozen=True, slots=True)
class SnapshotQuery:
    """The question for tickers, its answer kept as documents of the markets ``codes``; others are left out.

    ``elements`` splits an answer into its rows, ``code_field`` names the field with the market's code, ``market`` makes
    the canonical symbol of it.
    """

    exchange: str
    tickers: StatesQuery
    codes: frozenset[str]
    code_field: str
    elements: Callable[[bytes], Sequence[bytes]]
    market: Callable[[str], str]
    dataset: ClassVar[str] = "snapshot"

    @property
    def request(self) -> Request:
        """The request of this page."""
        return self.tickers.request

    @property
    def asked(self) -> tuple[str, ...]:
        """The codes that this page is about."""
        return self.tickers.asked or tuple(sorted(self.codes))

    def rows(self, body: bytes, asked_at: datetime) -> Rows:
        """One row a market."""

        def read(item: int, element: bytes, document: dict[str, Any]) -> Row:
            code = document.get(self.code_field)
            if code is None or code == "":
                raise Unparsable("missing_code", "the row names no market")
            return self._row(values.text(code, self.code_field), document, asked_at)

        return answers.read(self.elements(body), self.code_field, read, codes=self.codes, unique=True)

    def following(self, rows: Sequence[Row]) -> SnapshotQuery | None:
        """The next markets."""
        later = self.tickers.following(rows)
        return replace(self, tickers=later) if later else None

    def _row(self, code: str, document: Mapping[str, Any], asked_at: datetime) -> Row:
        try:
            market: str | None = self.market(code)
        except Unparsable:
            market = None  # silver says so of the row
        return {
            "exchange": self.exchange,
            "market": market,
            "code": code,
            "event_at": asked_at,
            "document": messages.text(dict(document)),
        }
