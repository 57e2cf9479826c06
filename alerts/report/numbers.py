"""The number gate: every number in a text is proven by a fact, or the text is refused.

Lives here: the judgement. A number is proven by a fact when

* rounding the fact to the last digit stated gives the number (halves away from zero; nothing looser), and where the
  text says "over" or "under", the fact itself is;
* the units agree: percent, won, an asset's amount, a count (of the noun beside it), a ratio, hours, minutes, sigma;
* the direction agrees: a sign, or a word such as *rose* or *하락* in the same clause, against the fact's sign; a
  change that is negative must be said to be so; a market said to rise or fall without a number did so;
* it is a fact of the market it stands with, where the sentence names markets;
* a rank belongs to a market of its sentence; dates, times and weekdays are those of the report.

Doesn't live here: reading a text (``tokens``), writing a fact (``wording``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone

from alerts.report import lexicon as lex
from alerts.report.facts import KST, Fact, FactSet
from alerts.report.tokens import Mention, Reading, Token, read
from alerts.report.wording import rounded

_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+|\s[|•]\s")
_CLAUSE_END = re.compile(
    r"(?<=[.!?。])\s+|[,;:()\n|·•—]|\s-\s|\b(?:and|but|while|whereas|as|then|before|after|versus|vs)\b|"
    r"(?<=[가-힣])(?:고|며|면서|지만|으나|는데|은데)(?=\s)|\s(?:및|반면|그리고|가운데|중)(?=[\s,])|(?<=\x00)(?:와|과)\s"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A token that nothing proves."""

    token: str
    position: int
    reason: str

    def __str__(self) -> str:
        return f"{self.token!r}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says of one text; ``proven`` counts the tokens that stood."""

    refusals: tuple[Refusal, ...]
    proven: int

    @property
    def passed(self) -> bool:
        """Whether everything stated is proven."""
        return not self.refusals

    def __str__(self) -> str:
        return "; ".join(map(str, self.refusals)) or f"{self.proven} numbers proven"


def check(text: str, facts: FactSet) -> Verdict:
    """Hold every number, date, time and market name in ``text`` against ``facts``."""
    reading = read(text, facts.markets)
    judge = _Judge(reading, facts)
    reasons = [(token, judge.objection(token)) for token in reading.tokens]
    refused = [Refusal(token.text, token.start, reason) for token, reason in reasons if reason]
    return Verdict((*refused, *judge.directions()), len(reasons) - len(refused))


class _Judge:
    """Judges the tokens of one reading."""

    def __init__(self, reading: Reading, facts: FactSet) -> None:
        self.reading = reading
        self.facts = facts
        self.sentences = _spans(_SENTENCE_END, reading.text)
        self.clauses = _spans(_CLAUSE_END, reading.rest, reading.text)

    def objection(self, token: Token) -> str:
        """Why ``token`` is not proven; empty when it is."""
        if token.kind == "unreadable":
            return token.reason
        if token.kind != "number":
            return self._calendar(token)
        if token.unit == "rank":
            return self._rank(token)
        if not token.unit and re.fullmatch(r"\d{4}", token.text) and token.value == self.facts.report_date.year:
            return ""
        found = [fact for fact in self.facts.facts if _same_kind(token, fact)]
        if not found:
            return f"no fact is a number of this kind ({token.unit or 'no unit'})"
        reasons = [self._against(token, fact) for fact in found]
        return _nearest(token, found, reasons) if all(reasons) else ""

    def directions(self) -> Iterator[Refusal]:
        """Directions said of a market without a number ("BTC-KRW fell") that its change contradicts."""
        for pattern, direction in ((lex.UP, 1), (lex.DOWN, -1)):
            for match in pattern.finditer(self.reading.rest):
                start, end = next((s, e) for s, e in self.clauses if s <= match.start() <= e)
                if any(start <= t.start < end for t in self.reading.tokens if t.kind == "number"):
                    continue  # judged with its number
                named = [m for m in self.reading.mentions if start <= m.start < match.start()]
                change = self.facts.changes.get(named[-1].market) if named else None
                if change and change.moves != direction:
                    yield Refusal(match[0], match.start(), f"{change.id} goes the other way")

    # --- one number against one fact ------------------------------------------------------------------------

    def _against(self, token: Token, fact: Fact) -> str:
        stated = abs(token.value)
        if rounded(abs(fact.value), token.quantum) != stated:
            return "value"
        if token.bound and (abs(fact.value) - stated) * token.bound < 0:
            return f"{fact.id} is on the other side of that bound"
        owners = self._owners(token)
        if fact.subject in self.facts.markets and owners is not None and fact.subject not in owners:
            return f"{fact.id} is a fact about {fact.subject}, which it doesn't stand with"
        return self._direction(token, fact)

    def _direction(self, token: Token, fact: Fact) -> str:
        word = self._direction_word(token)
        if token.sign and word and token.sign != word:
            return "sign and word contradict each other"
        said = token.sign or word
        if fact.signed:
            wrong = fact.moves != (said or 1) and fact.moves != 0 and (said or token.value != 0)
            return f"{fact.id} goes the other way" if wrong or (fact.moves == 0 and said) else ""
        if token.sign:
            return f"{fact.id} has no sign"
        if not word or fact.unit in ("hours", "minutes", "sigma", "ratio"):
            return ""
        return self._direction_of_unsigned(word, fact)

    def _direction_of_unsigned(self, word: int, fact: Fact) -> str:
        """A direction said of a number that has none itself: a count of the risen, or a price that moved."""
        if fact.unit == "count" and fact.of != "markets":
            return ""
        moved = self.facts.get(f"{fact.id}.change") or self.facts.changes.get(fact.subject)
        if fact.unit in ("krw", "asset") and moved:
            return "" if moved.moves == word else f"{moved.id} goes the other way"
        return "" if fact.moves == word else f"{fact.id} says nothing about that direction"

    def _direction_word(self, token: Token) -> int:
        """1, -1 or 0: the direction word nearest in the token's clause, with no other number in between."""
        start, end = _around(self.clauses, token)
        before = max((t.end for t in self.reading.tokens if start <= t.end <= token.start), default=start)
        after = min((t.start for t in self.reading.tokens if token.end <= t.start < end), default=end)
        best = (10**6, 0)
        for pattern, direction in ((lex.UP, 1), (lex.DOWN, -1)):
            for match in pattern.finditer(self.reading.rest, before, after):
                distance = match.start() - token.end if match.start() >= token.end else token.start - match.end()
                best = min(best, (distance, direction))
        return best[1]

    def _owners(self, token: Token) -> set[str] | None:
        """The markets a number may be about.

        The last named before it in its sentence, and the first after it in its clause; else the last named before.
        None: no market is named, so any fact may prove it.
        """
        mentions = self.reading.mentions
        start, end = _around(self.sentences, token)
        before = [m for m in mentions if start <= m.start < token.start]
        _, clause_end = _around(self.clauses, token)
        after = [m for m in mentions if token.end <= m.start < min(clause_end, end)]
        owners = {m.market for m in (*before[-1:], *after[:1])}
        earlier = [m for m in mentions if m.start < start]
        later = [m for m in mentions if token.end <= m.start < end]
        return owners or _markets(earlier[-1:]) or _markets(later) or None

    # --- other kinds ----------------------------------------------------------------------------------------

    def _rank(self, token: Token) -> str:
        start, end = _around(self.sentences, token)
        named = _markets(m for m in self.reading.mentions if start <= m.start < end)
        ranks = {f.value for f in self.facts.facts if f.unit == "rank" and f.subject in named}
        return "" if token.value in ranks else "no market of this sentence has that rank"

    def _calendar(self, token: Token) -> str:
        if token.kind == "time":
            return self._time(token)
        days = [f.when for f in self.facts.facts if f.unit == "date"]
        if token.kind == "weekday":
            return "" if token.fields[0] in {d.weekday() for d in days} else "the report is of another weekday"
        known = {(d.year, d.month, d.day) for d in days}
        said = token.fields
        fits = any(all(s is None or s == k for s, k in zip(said, day, strict=True)) for day in known)
        return "" if fits else "the report is of another date"

    def _time(self, token: Token) -> str:
        hour, minute, utc = token.fields
        zone = timezone(timedelta(0)) if utc else KST
        moments = [f for f in self.facts.facts if f.unit == "time"]
        owners = self._owners(token)
        for fact in moments:
            when = fact.when.astimezone(zone)
            mine = fact.subject not in self.facts.markets or owners is None or fact.subject in owners
            if mine and (when.hour, when.minute) in {(hour, minute), ((hour or 0) % 24, minute)}:
                return ""
        return "no fact happened at that time"


def _same_kind(token: Token, fact: Fact) -> bool:
    """Whether the units allow that ``fact`` proves ``token``."""
    if token.unit in ("", "counted"):
        return fact.unit == "count" and (not token.of or fact.of in token.of)
    if token.unit == "times":
        return fact.unit == "ratio" or (fact.unit == "count" and fact.of == "anomalies")
    if token.unit == "asset":
        return fact.unit == "asset" and fact.of in token.of
    return token.unit == fact.unit and fact.unit not in ("rank", "time", "date")


def _nearest(token: Token, facts: list[Fact], reasons: list[str]) -> str:
    """The most telling of the reasons: one where the value did fit, else the fact that comes closest."""
    fitting = [reason for reason in reasons if reason != "value"]
    if fitting:
        return fitting[0]
    closest = min(facts, key=lambda fact: abs(abs(fact.value) - abs(token.value)))
    return f"no fact rounds to it; the nearest is {closest.id} = {closest.value:f}"


def _markets(mentions: Iterable[Mention]) -> set[str]:
    return {mention.market for mention in mentions}


def _spans(pattern: re.Pattern[str], text: str, digits: str = "") -> list[tuple[int, int]]:
    """The stretches between matches, except that a comma or dot inside a number ends nothing."""
    cuts = [m for m in pattern.finditer(text) if not _inside_number(digits or text, m.start())]
    starts = [0, *(m.end() for m in cuts)]
    ends = [*(m.start() for m in cuts), len(text)]
    return list(zip(starts, ends, strict=True))


def _inside_number(text: str, position: int) -> bool:
    return (
        text[position] in ",.:"
        and text[position - 1 : position].isdigit()
        and text[position + 1 : position + 2].isdigit()
    )


def _around(spans: list[tuple[int, int]], token: Token) -> tuple[int, int]:
    return next(((s, e) for s, e in spans if s <= token.start <= e), (0, 0))
