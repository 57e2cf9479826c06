"""What the report may say: facts, each with an id, a decimal value, a unit, a sign and the mart it came from.

Lives here: the two dataclasses and their JSON form. Doesn't: where facts come from (``collect``), how they are
written out (``wording``), how a text is held against them (``numbers``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal, get_args

KST: Final = timezone(timedelta(hours=9), "KST")

#: ``time`` and ``date`` are seconds since 1970 (UTC); ``asset`` is an amount of the asset named in ``of``.
Unit = Literal["percent", "krw", "asset", "count", "ratio", "hours", "minutes", "sigma", "rank", "time", "date"]
_ID = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
_PAIR = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{2,10}")
_MARKET = re.compile(rf"(?:[A-Z][A-Z0-9]{{1,15}}:)?{_PAIR.pattern}")
_WORD = re.compile(r"[A-Za-z0-9_.:+-]{0,60}")


class FactError(ValueError):
    """A fact that cannot be held: a malformed id, name, unit or value; or an id used twice."""


def is_market(name: str) -> bool:
    """Whether ``name`` is spelled as :func:`name_of` spells markets."""
    return _MARKET.fullmatch(name) is not None


def name_of(exchange: str, market: str) -> str:
    """What the report calls a market: ``BTC-KRW``; with its exchange where it isn't quoted in KRW, ``OKX:BTC-USDT``.

    Such a pair trades on several exchanges, at a price each. Empty where the market's name holds characters that we
    don't let through: then it is never named.
    """
    name = market if market.endswith("-KRW") else f"{exchange.upper()}:{market}"
    return name if _PAIR.fullmatch(market) and is_market(name) else ""


def pair_of(name: str) -> tuple[str, str]:
    """Base and quote of a market that :func:`name_of` named."""
    base, _, quote = name.rpartition(":")[2].partition("-")
    return base, quote


@dataclass(frozen=True, slots=True)
class Fact:
    """One number the report may state.

    ``subject`` is the market (or stream) it is about; ``of`` what a count counts (``markets``, ``trades``,
    ``anomalies``, ``gaps``, ``frames``, ``rows``), the asset of an amount, or ``price`` for a price
    (which is written in full).
    ``signed`` values carry their direction; ``direction`` is that of an unsigned count (1: of the risen, -1: of the
    fallen).
    """

    id: str
    value: Decimal
    unit: Unit
    mart: str
    subject: str = ""
    exchange: str = ""
    of: str = ""
    signed: bool = False
    direction: int = 0

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise FactError(f"fact id {self.id!r} must be lower-case words joined by dots")
        if self.unit not in get_args(Unit):
            raise FactError(f"fact {self.id}: no such unit {self.unit!r}")
        if not isinstance(self.value, Decimal) or not self.value.is_finite():
            raise FactError(f"fact {self.id}: {self.value!r} is not a finite decimal")
        for word in (self.subject, self.exchange, self.of):
            if not _WORD.fullmatch(word):
                raise FactError(f"fact {self.id}: {word!r} holds characters that no name may hold")

    @property
    def moves(self) -> int:
        """1 for up, -1 for down, 0 for neither or not applicable."""
        if not self.signed:
            return self.direction
        return (self.value > 0) - (self.value < 0)

    @property
    def when(self) -> datetime:
        """The moment of a ``time`` or ``date`` fact, in KST."""
        return datetime.fromtimestamp(int(self.value), KST)


@dataclass(frozen=True, slots=True)
class Series:
    """Hourly values for a chart (None: nothing in that hour). Never stated in words, so no facts."""

    id: str
    mart: str
    values: tuple[Decimal | None, ...]
    subject: str = ""


@dataclass(frozen=True)
class FactSet:
    """Everything one report rests on. Immutable; ``digest`` names the content."""

    report_date: date
    facts: tuple[Fact, ...]
    series: tuple[Series, ...] = ()

    def __post_init__(self) -> None:
        if len(self.by_id) != len(self.facts):
            ids = [f.id for f in self.facts]
            raise FactError(f"these fact ids are used twice: {sorted({i for i in ids if ids.count(i) > 1})}")

    @cached_property
    def by_id(self) -> Mapping[str, Fact]:
        """Facts by id."""
        return {fact.id: fact for fact in self.facts}

    @cached_property
    def markets(self) -> frozenset[str]:
        """Names (see :func:`name_of`) of every market that some fact is about."""
        return frozenset(f.subject for f in self.facts if is_market(f.subject))

    @cached_property
    def changes(self) -> Mapping[str, Fact]:
        """The day's change of each market that has one."""
        return {f.subject: f for f in self.facts if f.subject and f.id.endswith(".change")}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, hex: two sets are the same report exactly when their digests are."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def get(self, fact_id: str) -> Fact | None:
        """The fact of that id, or None."""
        return self.by_id.get(fact_id)

    def value(self, fact_id: str) -> Decimal:
        """The value of a fact, 0 when there is none of that id."""
        fact = self.by_id.get(fact_id)
        return fact.value if fact else Decimal(0)

    def ranked(self, prefix: str) -> list[Mapping[str, Fact]]:
        """The entries of a ranking (``krw.gainer``), best first, each as facts by the last word of their id.

        Ids number those that are named; the fact ``rank`` is the place among all, those included that are not named.
        """
        entries: list[Mapping[str, Fact]] = []
        while found := self._entry(f"{prefix}.{len(entries) + 1}."):
            entries.append(found)
        return entries

    def _entry(self, prefix: str) -> dict[str, Fact]:
        return {f.id.removeprefix(prefix): f for f in self.facts if f.id.startswith(prefix)}

    def chart(self, series_id: str) -> Series | None:
        """The series of that id, or None."""
        return next((s for s in self.series if s.id == series_id), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data, decimals as text; :meth:`from_json` gives an equal set back."""
        return {
            "report_date": self.report_date.isoformat(),
            "facts": [{**asdict(f), "value": plain(f.value)} for f in self.facts],
            "series": [
                {**asdict(s), "values": [None if v is None else plain(v) for v in s.values]} for s in self.series
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FactSet:
        """The set that :meth:`to_json` wrote.

        Raises:
            FactError: a fact is malformed.
        """
        facts = tuple(Fact(**{**f, "value": Decimal(f["value"])}) for f in data["facts"])
        series = tuple(
            Series(s["id"], s["mart"], tuple(None if v is None else Decimal(v) for v in s["values"]), s["subject"])
            for s in data["series"]
        )
        return cls(date.fromisoformat(data["report_date"]), facts, series)


def plain(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: equal values spell equally."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
