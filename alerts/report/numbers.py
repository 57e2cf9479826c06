"""The number gate: every number in a text is proven by a fact, or the text is refused.

Lives here: the judgement. A number is proven by a fact when

* rounding the fact to the last digit stated gives the number (halves away from zero; nothing looser), and where the
  text says "over" or "under", the fact itself is;
* the units agree: percent, won, an asset's amount, a count (of the noun beside it), a ratio, hours, minutes, sigma;
* the direction agrees: a sign, or a word such as *rose* or *하락* in the same clause, against the fact's sign; a
  change that is negative must be said to be so; a market said to rise or fall without a number did so;
* it is a fact of the market it stands with; where none is named, of no market;
* it is the figure that the words beside it say (share, close, high, range, turnover); nothing is an opening price;
* "no gaps" means none known, repaired or not; coverage is called whole only where it is;
* a rank belongs to a market of its sentence; dates, times and weekdays are those of the report.

Doesn't live here: reading a text (``tokens``), writing a fact (``wording``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import Final

from alerts.report import lexicon as lex
from alerts.report.facts import KST, Fact, FactSet
from alerts.report.tokens import Mention, Reading, Token, read
from alerts.report.wording import rounded

_SENTENCE_END = re.compile(r"(?<=[.!?。])\s+|\n+|\s[|•]\s")
_CLAUSE_END = re.compile(
    r"(?<=[.!?。])\s+|[,;:()\n|·•—]|\s-\s|\b(?:and|but|while|whereas|as|then|before|after|versus|vs)\b|"
    r"(?<=[가-힣])(?:고|며|면서|지만|으나|는데|은데)(?=\s)|\s(?:및|반면|그리고|가운데|중)(?=[\s,])|(?<=\x00)(?:와|과)\s"
)


#: Which figures a number may be, by the measure that is said beside it and whether it is a percentage.
_SAYS: Final = {
    ("", "percent"): frozenset({"change"}),
    ("", "amount"): frozenset({"close"}),
    ("share", "percent"): frozenset({"share"}),
    ("turnover", "percent"): frozenset({"share", "turnover.change"}),
    ("turnover", "amount"): frozenset({"turnover"}),
    ("close", "percent"): frozenset({"change"}),
    ("close", "amount"): frozenset({"close"}),
    ("high", "amount"): frozenset({"high"}),
    ("low", "amount"): frozenset({"low"}),
    ("range", "percent"): frozenset({"range"}),
    ("change", "percent"): frozenset({"change"}),
    ("coverage", "percent"): frozenset({"coverage"}),
}


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
    return Verdict((*refused, *judge.directions(), *judge.wholeness()), len(reasons) - len(refused))


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
        """Directions said without a number ("BTC-KRW fell", "turnover rose") that no change proves."""
        for pattern, direction in ((lex.UP, 1), (lex.DOWN, -1)):
            for match in pattern.finditer(self.reading.rest):
                clause = _around(self.clauses, match.start())
                if lex.NO_CLAIM.match(self.reading.rest, match.start()) or self._judged_with_number(clause):
                    continue
                change = self._change(match.start(), clause)
                if change is None:
                    yield Refusal(match[0], match.start(), "no fact is the change that this says")
                elif change.moves != direction:
                    yield Refusal(match[0], match.start(), f"{change.id} goes the other way")

    def wholeness(self) -> Iterator[Refusal]:
        """Coverage called whole without its number, on a day that isn't wholly covered."""
        if self.facts.value("coverage.share") == 100:
            return
        for match in lex.WHOLE.finditer(self.reading.rest):
            start, end = _around(self.sentences, match.start())
            stated = any(t.unit in ("hours", "percent") for t in self.reading.tokens if start <= t.start < end)
            label = self.reading.rest.strip(" .") == match[0]  # a word by itself claims nothing
            if not stated and not label:
                yield Refusal(match[0], match.start(), "coverage.share is below 100")

    def _judged_with_number(self, clause: tuple[int, int]) -> bool:
        """Whether a number of the clause carries the direction: a change, a price, a count of markets."""
        inside = [t for t in self.reading.tokens if clause[0] <= t.start < clause[1] and t.kind == "number"]
        counts = [t for t in inside if t.unit in ("", "counted") and (not t.of or "markets" in t.of)]
        return bool(counts) or any(t.unit in ("percent", "krw", "asset") for t in inside)

    def _change(self, position: int, clause: tuple[int, int]) -> Fact | None:
        """The change that a direction at ``position`` is about."""
        start, end = clause
        sentence = _around(self.sentences, position)
        mentions = self.reading.mentions
        near = [m for m in mentions if start <= m.start < position][-1:] or [
            m for m in mentions if position <= m.start < end
        ][:1]
        measure = self._measure_in(start, position) or self._measure_in(position, end)
        if not measure and not near:
            measure = self._measure_in(sentence[0], position)
        far = [m for m in mentions if sentence[0] <= m.start < position][-1:] or [
            m for m in mentions if position <= m.start < sentence[1]
        ][:1]
        named = near or far
        if named:
            return self.facts.changes.get(named[0].market) if measure in ("", "close", "change") else None
        return self.facts.get("krw.turnover.change") if measure == "turnover" else None

    # --- one number against one fact ------------------------------------------------------------------------

    def _against(self, token: Token, fact: Fact) -> str:
        stated = abs(token.value)
        if rounded(abs(fact.value), token.quantum) != stated:
            return "value"
        if token.bound and (abs(fact.value) - stated) * token.bound < 0:
            return f"{fact.id} is on the other side of that bound"
        return self._ownership(token, fact) or self._figure(token, fact) or self._direction(token, fact)

    def _ownership(self, token: Token, fact: Fact) -> str:
        owners = self._owners(token)
        if fact.subject in self.facts.markets:
            return "" if fact.subject in owners else f"{fact.id} is a fact about {fact.subject}, not named beside it"
        if owners and fact.id != "window.hours":
            return f"{fact.id} is no fact about {', '.join(sorted(owners))}"
        start, end = _around(self.clauses, token.start)
        if not owners and lex.PRONOUN.search(self.reading.rest, start, end):
            return "it stands with a pronoun, whose market isn't named in the sentence"
        return ""

    def _figure(self, token: Token, fact: Fact) -> str:
        """Whether the words beside a number say the figure that ``fact`` is."""
        if fact.unit == "count":
            return self._counted(token, fact)
        if fact.unit == "hours":
            return self._hours(token, fact)
        if fact.unit not in ("percent", "krw", "asset"):
            return ""
        said, own = self._measure(token), _measure_of(fact)
        rest = self.reading.rest
        if fact.unit != "percent" and (
            lex.FROM_BEFORE.search(rest[: token.start]) or lex.FROM_AFTER.match(rest, token.end)
        ):
            return f"{fact.id} is no price that anything began from"
        if said == "bare":
            return ""
        if own == "move" and self._at_a_minute(token, _around(self.sentences, token.start)):
            return "" if said in ("", "move", "change", "close") else f"{fact.id} is no {said}"
        if own in ("change", "close") and self._at_a_minute(token, _around(self.clauses, token.start)):
            return f"{fact.id} is of the whole day"
        allowed = _SAYS.get((said, "percent" if fact.unit == "percent" else "amount"), frozenset())
        return "" if own in allowed else f"{fact.id} is no {said or 'change or close'}"

    def _hours(self, token: Token, fact: Fact) -> str:
        """Whether the words beside a number of hours say what became of them."""
        sentence, clause = (
            self.reading.rest[s:e] for s, e in (_around(x, token.start) for x in (self.sentences, self.clauses))
        )
        state = fact.id.rpartition(".")[2]
        if fact.id == "window.hours" and lex.HOUR_STATES["green"].search(sentence):
            before, after = self.reading.rest[: token.start], token.end
            whole = lex.OUT_OF_BEFORE.search(before) or lex.OUT_OF_AFTER.match(self.reading.rest, after)
            return "" if whole else "window.hours says nothing about coverage"
        if not fact.id.startswith("coverage.hours."):
            return ""
        other = any(p.search(clause) for name, p in lex.HOUR_STATES.items() if name not in (state, "green"))
        said = lex.HOUR_STATES[state].search(sentence)
        return "" if said and not other else f"{fact.id} is no count of such hours"

    def _at_a_minute(self, token: Token, span: tuple[int, int]) -> bool:
        start, end = span
        timed = any(t.kind == "time" and start <= t.start < end for t in self.reading.tokens)
        return timed or "move" in {m for _, m in self._measures(start, end)}

    def _counted(self, token: Token, fact: Fact) -> str:
        """Whether the words beside a count say what this one counts."""
        start, end = _around(self.clauses, token.start)
        clause = self.reading.text[start:end]
        repair = bool(lex.NOT_REPAIRED.search(clause))
        words = {"unchanged": lex.UNCHANGED, "from_open": lex.FROM_OPEN, "left_out": lex.LEFT_OUT}
        needed = words.get(fact.id.rpartition(".")[2])
        if needed and not needed.search(clause):
            return f"{fact.id} is no count of that"
        if fact.id.startswith("aside."):
            sentence = slice(*_around(self.sentences, token.start))
            said = lex.ASIDE[fact.id.rpartition(".")[2]].search(self.reading.text[sentence])
            return "" if said else f"{fact.id} is no count of that"
        if fact.id in ("gap.open", "gap.count") and repair != (fact.id == "gap.open"):
            return f"{fact.id} is no count of that: gaps known and gaps not repaired are two things"
        if fact.id in ("anomaly.price.count", "anomaly.volume.count"):
            kind = self._anomaly_kind(token, end)
            none = token.value == 0 and not self.facts.value("anomaly.price.count")
            whole = none and not self.facts.value("anomaly.volume.count")
            return "" if kind in fact.id.split(".") or (not kind and whole) else f"{fact.id} counts others"
        return ""

    def _anomaly_kind(self, token: Token, end: int) -> str:
        start, _ = _around(self.sentences, token.start)
        after = lex.ANOMALY_KINDS.search(self.reading.text, token.start, end)
        before = list(lex.ANOMALY_KINDS.finditer(self.reading.text, start, token.start))
        clause, _ = _around(self.clauses, token.start)
        found = before[-1] if before and (before[-1].start() >= clause or not after) else after
        return (found.lastgroup or "").removeprefix("ko_") if found else ""

    def _measure(self, token: Token) -> str:
        """The figure that the words around a number say; empty when they say none, ``bare`` without any words.

        The last such word before it in its clause since the number before, else the first after, else the last
        before it in its sentence.
        """
        start, end = _around(self.clauses, token.start)
        numbers = [t for t in self.reading.tokens if t.kind == "number"]
        since = max((t.end for t in numbers if start <= t.end <= token.start), default=start)
        until = min((t.start for t in numbers if token.end <= t.start < end), default=end)
        sentence, _ = _around(self.sentences, token.start)
        found = (
            self._measure_in(since, token.start)
            or next((m for _, m in self._measures(token.end, until)), "")
            or self._measure_in(sentence, token.start)
        )
        around = self.reading.rest[sentence : token.start] + self.reading.rest[token.end : end]
        return found or ("" if re.search(r"[A-Za-z가-힣]", around) else "bare")

    def _measure_in(self, start: int, end: int) -> str:
        """The last measure said in a stretch; empty for none."""
        return next((m for _, m in reversed(self._measures(start, end))), "")

    def _measures(self, start: int, end: int) -> list[tuple[int, str]]:
        found: list[tuple[int, int, str]] = []
        for pattern, measure in lex.MEASURES:
            for match in pattern.finditer(self.reading.rest, start, end):
                if not any(s < match.end() and match.start() < e for s, e, _ in found):
                    found.append((match.start(), match.end(), measure))
        return [(s, measure) for s, _, measure in sorted(found)]

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
        if fact.direction and not word:
            return f"{fact.id} counts those of one direction, which isn't said"
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
        start, end = _around(self.clauses, token.start)
        before = max((t.end for t in self.reading.tokens if start <= t.end <= token.start), default=start)
        after = min((t.start for t in self.reading.tokens if token.end <= t.start < end), default=end)
        best = (10**6, 0)
        for pattern, direction in ((lex.UP, 1), (lex.DOWN, -1)):
            for match in pattern.finditer(self.reading.rest, before, after):
                distance = match.start() - token.end if match.start() >= token.end else token.start - match.end()
                best = min(best, (distance, direction))
        return best[1]

    def _owners(self, token: Token) -> set[str]:
        """The market a number is about; empty when none is named.

        The last named before it in its clause, else the first after it there, else the last before it in its sentence.
        """
        mentions = self.reading.mentions
        start, end = _around(self.clauses, token.start)
        sentence, _ = _around(self.sentences, token.start)
        return (
            _markets([m for m in mentions if start <= m.start < token.start][-1:])
            or _markets([m for m in mentions if token.end <= m.start < end][:1])
            or _markets([m for m in mentions if sentence <= m.start < token.start][-1:])
        )

    # --- other kinds ----------------------------------------------------------------------------------------

    def _rank(self, token: Token) -> str:
        start, end = _around(self.sentences, token.start)
        named = _markets(m for m in self.reading.mentions if start <= m.start < end)
        ranked = (f for f in self.facts.facts if f.unit == "rank" and not f.id.startswith("anomaly."))
        ranks = {f.value for f in ranked if f.subject in named}
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
        said = {(hour, minute), ((hour or 0) % 24, minute)}
        for fact in moments:
            when = fact.when.astimezone(zone)
            if (when.hour, when.minute) in said and not self._ownership(token, fact):
                return ""
        return "no fact happened at that time"


def _measure_of(fact: Fact) -> str:
    """The figure a fact is: the last word of its id, but a minute's move is no day's change."""
    special = {"coverage.share": "coverage", "krw.turnover.change": "turnover.change"}
    if fact.id.startswith("anomaly."):
        return "move"
    return special.get(fact.id) or fact.id.rpartition(".")[2]


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


def _around(spans: list[tuple[int, int]], position: int) -> tuple[int, int]:
    return next(((s, e) for s, e in spans if s <= position <= e), (0, 0))
