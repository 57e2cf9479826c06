"""Reading the numbers out of a text, English or Korean, however they are spelled.

Lives here: from text to tokens: every number with its value, the place of its last stated digit, its unit, sign and
bound; every date, time and weekday; every mention of a market; and everything that looks like a number and can't be
read, as a token that nothing proves. Doesn't: whether a token is true (``numbers``), word lists (``lexicon``).

The reader goes from the certain to the doubtful (names, dates, digits, words) and blanks what it has read, so
nothing is read twice. In doubt something is a number: a text wrongly refused costs a plainer report, a number
wrongly passed costs a false one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from alerts.report import lexicon as lex
from alerts.report.facts import pair_of

Kind = Literal["number", "date", "time", "weekday", "unreadable"]
BLANK: Final = "\x00"
_RUN = re.compile(r"\d(?:[\d.,]*\d)?")
_DIGITS = re.compile(lex.DIGITS)
_UNKNOWN_MARKET = re.compile(
    r"(?<![A-Za-z0-9])(?:[A-Z0-9]{2,20}[-/](?:KRW|BTC|ETH|USDT|USDC|USD)|(?:KRW|USDT)[-/][A-Z0-9]{2,20})(?![A-Za-z0-9])"
)
_ASSET = re.compile(r"\s([A-Z][A-Z0-9]{1,19})(?![A-Za-z0-9])(?!\s+(?:markets?|pairs?)\b|\s?(?:마켓|시장|종목))")
_NOT_ASSETS: Final = frozenset({"KST", "UTC", "GMT", "KRW", "AM", "PM", "AI", "OHLCV"})
_REST = re.compile(rf"(?:{lex.DIGITS}|[일이삼사오육칠팔구십백천]+)(?:[십백천만억조]|\s?[원건개])")


@dataclass(frozen=True, slots=True)
class Token:
    """One claim found in a text, at ``start:end`` of the folded text.

    ``quantum`` is the place value of the last digit stated; ``unit`` is a fact's unit, ``times`` or ``counted`` for
    counters, empty for a bare number; ``of`` the nouns found beside it, or the asset; ``bound`` 1 for "over", -1 for
    "under". Dates carry (year, month, day), times (hour, minute, 1 for UTC) in ``fields``, None where not said.
    """

    text: str
    start: int
    end: int
    kind: Kind
    value: Decimal = Decimal(0)
    quantum: Decimal = Decimal(1)
    unit: str = ""
    of: frozenset[str] = frozenset()
    sign: int = 0
    bound: int = 0
    fields: tuple[int | None, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """A market named in the text."""

    start: int
    end: int
    market: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as read: folded, with what was found blanked in ``rest``."""

    text: str
    rest: str
    tokens: tuple[Token, ...]
    mentions: tuple[Mention, ...]


def read(text: str, markets: Collection[str] = ()) -> Reading:
    """Read ``text``. ``markets`` are the canonical names that may stand in it (their digits are no numbers)."""
    return _Reader(text, markets).reading()


def fold(text: str) -> str:
    """One spelling of each character, one for one: full-width forms, digits of other scripts, minus signs, spaces."""
    return "".join(_fold(char) for char in unicodedata.normalize("NFC", text))


def _fold(char: str) -> str:
    if char in "−–‒﹣－":
        return "-"
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if char.isascii() or category in ("No", "Nl", "Lo"):
        return char
    if char in "‘’":
        return "'"
    folded = unicodedata.normalize("NFKC", char)
    return folded if len(folded) == 1 else char


class _Reader:
    """One pass over one text; ``rest`` is what has not been read yet."""

    def __init__(self, text: str, markets: Collection[str]) -> None:
        self.text = fold(text)
        self.rest = self.text
        self.markets = markets
        self.assets = {part for market in markets for part in pair_of(market)}
        self.tokens: list[Token] = []
        self.mentions: list[Mention] = []

    def reading(self) -> Reading:
        self._alphabet()
        self._names()
        self._calendar()
        self._words_first()
        self._digits()
        self._numerals()
        self._none()
        self._capitals()
        order = sorted(self.tokens, key=lambda token: token.start)
        mentions = sorted(self.mentions, key=lambda mention: mention.start)
        return Reading(self.text, self.rest, tuple(order), tuple(mentions))

    # --- plumbing -------------------------------------------------------------------------------------------

    def _blank(self, start: int, end: int) -> None:
        self.rest = self.rest[:start] + BLANK * (end - start) + self.rest[end:]

    def _matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Matches in what is left, one after the other, seeing what was blanked in between."""
        position = 0
        while match := pattern.search(self.rest, position):
            yield match
            position = max(match.end(), match.start() + 1)

    def _add(self, kind: Kind, start: int, end: int, **fields: object) -> None:
        token = Token(self.text[start:end].strip(), start, end, kind)
        self.tokens.append(replace(token, **fields))  # type: ignore[arg-type]
        self._blank(start, end)

    def _refuse(self, start: int, end: int, reason: str) -> None:
        self._add("unreadable", start, end, reason=reason)

    # --- names ----------------------------------------------------------------------------------------------

    def _alphabet(self) -> None:
        for index, char in enumerate(self.text):
            if not lex.ALPHABET.fullmatch(char):
                self._refuse(index, index + 1, f"the character U+{ord(char):04X} is none that a report is written in")

    def _names(self) -> None:
        for spelled, market in _spellings(self.markets):
            pattern = re.compile(
                rf"(?<![A-Za-z0-9])(?<![A-Za-z0-9][-/])(?<![A-Z0-9]:){re.escape(spelled)}(?![A-Za-z0-9])(?![-/][A-Z0-9])"
            )
            for match in self._matches(pattern):
                self.mentions.append(Mention(match.start(), match.end(), market))
                self._blank(match.start(), match.end())
        for match in self._matches(_UNKNOWN_MARKET):
            self._refuse(match.start(), match.end(), "no fact is about this market")

    # --- dates and times ------------------------------------------------------------------------------------

    def _calendar(self) -> None:
        for pattern in lex.DATES:
            for match in self._matches(pattern):
                self._add("date", match.start(), match.end(), fields=_date_fields(match))
        for pattern in lex.TIMES:
            for match in self._matches(pattern):
                self._add("time", match.start(), match.end(), fields=_time_fields(match))
        for pattern, hour in lex.MOMENTS:
            for match in self._matches(pattern):
                self._add("time", match.start(), match.end(), fields=(hour, 0, 0))
        for match in self._matches(lex.WEEKDAYS):
            day = match["day"]
            index = lex.WEEKDAYS_EN.index(day.lower()) if day else lex.WEEKDAYS_KO.index(match["ko"])
            self._add("weekday", match.start(), match.end(), fields=(index,))

    # --- words that must not be read as plain numerals ------------------------------------------------------

    def _words_first(self) -> None:
        for pattern in (lex.OWN_WORDS, lex.IDIOMS_EN):
            for match in self._matches(pattern):
                self._blank(match.start(), match.end())
        for match in self._matches(lex.COINS):
            self._refuse(match.start(), match.end(), "a market is named by its code, or nothing is proven of it")
        for match in self._matches(lex.VAGUE):
            self._refuse(match.start(), match.end(), "no fact can prove a number that is not given")
        for pattern, value in lex.RATIOS:
            for match in self._matches(pattern):
                self._add("number", match.start(), match.end(), value=value, quantum=Decimal("0.1"), unit="ratio")
        for match in self._matches(lex.ORDINAL_EN):
            word = match[0].lower().removesuffix("ly")
            self._add("number", match.start(), match.end(), value=Decimal(lex.ORDINALS_EN[word]), unit="rank")
        for match in self._matches(lex.ORDINAL_KO):
            rank = 1 if match["first"] else {**lex.NATIVE, **lex.NATIVE_TENS}[match["n"]]
            self._add("number", match.start(), match.end(), value=Decimal(rank), unit="rank")

    # --- digits ---------------------------------------------------------------------------------------------

    def _digits(self) -> None:
        for match in self._matches(_RUN):
            start, end = match.span()
            if not _DIGITS.fullmatch(match[0]) or (start and self.text[start - 1] in ".,"):
                self._refuse(start, end, "this is no well-formed number")
            elif self._in_word(start):
                self._refuse(start, end, "a number inside a word proves nothing")
            else:
                value, quantum, end = _compound(self.rest, start) or (
                    Decimal(match[0].replace(",", "")),
                    _place(match[0]),
                    end,
                )
                self._number(start, end, value, quantum)

    def _in_word(self, start: int) -> bool:
        before = self.text[start - 1 : start]
        return before.isascii() and before.isalpha() and not _prefix(self.rest, start)["currency"]

    def _number(self, start: int, end: int, value: Decimal, quantum: Decimal) -> None:
        prefix = _prefix(self.rest, start)
        money = lex.CURRENCIES.get((prefix["currency"] or "").strip(), "")
        torn = self.rest[end : end + 1].isdigit() or self.rest[end : end + 1] in {*lex.SMALL_KO, *lex.BIG_KO}
        scale, end = self._magnitude(end, bool(money))
        suffix, of, end = self._unit(end)
        sign, first = self._sign(prefix, start)
        if rank := lex.ORDINAL_PREFIX.search(self.rest[:first]):
            suffix, first = suffix or "rank", rank.start()
        if torn or sign is None or (money and suffix not in ("", money)) or self._runs_on(end):
            self._refuse(first, end, "this is no well-formed number")
            return
        unit, bound = money or suffix, self._bound(first, end)
        nouns = of or (self._nouns(first, end) if unit in ("", "counted", "times") else frozenset())
        self._add(
            "number", first, end, value=value * scale, quantum=quantum * scale, unit=unit, of=nouns, sign=sign,
            bound=bound,
        )  # fmt: skip

    def _magnitude(self, end: int, money: bool) -> tuple[int, int]:
        names = {**lex.MAGNITUDES, **(lex.MAGNITUDES_OF_MONEY if money else {})}
        match = re.compile(r"\s?([A-Za-z]+)").match(self.rest, end)
        if match is None or match[1] not in names or (len(match[1]) == 1 and match[0][0].isspace()):
            return 1, end
        return names[match[1]], match.end()

    def _unit(self, end: int) -> tuple[str, frozenset[str], int]:
        for pattern, unit in lex.UNITS:
            if match := pattern.match(self.rest, end):
                return unit, frozenset(), match.end()
        match = _ASSET.match(self.rest, end)
        if match and match[1] not in _NOT_ASSETS:
            return "asset", frozenset({match[1]}), match.end()
        named = next((m for m in self.mentions if end <= m.start <= end + 1), None)
        if named and self.text[named.start : named.end] in self.assets:  # "0.5 BTC": the name was an amount's asset
            self.mentions.remove(named)
            return "asset", frozenset({self.text[named.start : named.end]}), named.end
        return "", frozenset(), end

    def _sign(self, prefix: re.Match[str], start: int) -> tuple[int | None, int]:
        """The sign before a number and where the number begins with it; None for signs that don't say plus or minus.

        A dash after a word or number is a hyphen or a range ("3-5"), and one that opens a line is a bullet.
        """
        first = prefix.start("currency") if prefix["currency"] else start
        outer, inner = (prefix["sign"] or ""), (prefix["inner"] or "")
        if inner and not prefix["currency"]:
            outer, inner = inner, ""
        marks = outer.strip() + inner
        at = prefix.start("sign") if prefix["sign"] else first - len(outer)
        before = self.text[:at]
        hyphen = before[-1:].isalnum() or before[-1:] in ("%", ")")
        bullet = outer.endswith(" ") and (not before or before.endswith("\n"))
        if not marks or (outer.strip() in ("-", "+") and not inner and (hyphen or bullet)):
            return 0, first
        return {"+": 1, "▲": 1, "-": -1, "▼": -1}.get(marks), at

    def _runs_on(self, end: int) -> bool:
        after = self.rest[end : end + 1]
        return (after.isascii() and after.isalpha()) or after in ("²", "³", "°")

    def _bound(self, start: int, end: int) -> int:
        before = self.rest[:start]
        if lex.AT_LEAST_BEFORE.search(before) or lex.AT_LEAST_AFTER.match(self.rest, end):
            return 1
        return -1 if lex.AT_MOST_BEFORE.search(before) or lex.AT_MOST_AFTER.match(self.rest, end) else 0

    def _nouns(self, start: int, end: int) -> frozenset[str]:
        """What is counted: the noun within three words after, or (Korean) right before or after."""
        found = set()
        ahead = re.split(r"[\n,.;:()\x00]|\d", self.rest[end : end + 60])[0]
        behind = re.split(r"[\n,.;:()\x00]|\d", self.rest[max(0, start - 20) : start])[-1]
        words = re.findall(r"[A-Za-z-]+", ahead)[:4] if re.match(r"\s", ahead) or ahead.startswith("-") else []
        for pattern, noun in lex.NOUNS:
            if any(pattern.fullmatch(word) for word in words):
                found.add(noun)
            korean = re.findall(r"[가-힣]+", " ".join(ahead.split(" ")[:3])) + re.findall(r"[가-힣]+", behind)[-2:]
            if any(pattern.search(word) for word in korean):
                found.add(noun)
        return frozenset(found)

    # --- numerals in words ----------------------------------------------------------------------------------

    def _numerals(self) -> None:
        for match in self._matches(lex.NUMERAL_EN):
            english = _english(match[0])
            if english is None:
                self._refuse(match.start(), match.end(), "this is no well-formed number")
            else:
                self._number(match.start(), match.end(), *english)
        for match in self._matches(lex.SINO_RUN):
            self._sino(match)
        for pattern in (lex.NATIVE_KO, lex.STANDALONE_KO):
            for match in self._matches(pattern):
                value = lex.NATIVE_TENS.get(match["ten"] or "", 0) + lex.NATIVE.get(match["one"] or "", 0)
                if value:
                    self._number(match.start(), match.end(), Decimal(value), Decimal(1))

    def _sino(self, match: re.Match[str]) -> None:
        start, end = match.span()
        unit, _, _ = self._unit(end)
        false = lex.FALSE_SINO.match(self.rest, start)
        if false and (false.end() > end or (false.end() == end and not unit)):
            return
        run = match[0]
        demonstrative = run == "이" and self.rest[end : end + 1].isspace()
        if unit and demonstrative and unit not in ("percent", "krw", "ratio"):
            return
        placed = len(run) > 1 and any(c in lex.SMALL_KO or c in lex.BIG_KO for c in run)
        if not unit and not (placed and lex.PARTICLES.match(self.rest, end)):
            return
        parsed = _compound(self.rest, start)
        if parsed is None or parsed[2] != end:
            self._refuse(start, end, "this is no well-formed number")
        else:
            self._number(start, end, parsed[0], parsed[1])

    def _none(self) -> None:
        for pattern in (lex.NONE_EN, lex.NONE_KO):
            for match in self._matches(pattern):
                nouns = [name for word in match["noun"].split() for p, name in lex.NOUNS if p.fullmatch(word)]
                if nouns:
                    self._add("number", match.start(), match.start() + 1, unit="counted", of=frozenset(nouns[:1]))

    def _capitals(self) -> None:
        quotes = {pair_of(market)[1] for market in self.markets}
        for match in self._matches(lex.CAPITALS):
            if match[0] not in lex.CAPITALS_KNOWN | quotes:
                self._refuse(match.start(), match.end(), "no fact is about this name")


def _prefix(text: str, start: int) -> re.Match[str]:
    match = lex.PREFIX.search(text, 0, start)
    if match is None:
        raise AssertionError("the pattern of prefixes matches the empty string")
    return match


def _spellings(markets: Collection[str]) -> list[tuple[str, str]]:
    """Every way a market is named, longest first; a bare symbol only where it can't be read as a number.

    One that is named with its exchange is spelled in full: by its pair alone it would pass for another exchange's.
    """
    names: dict[str, str] = {}
    for market in sorted(markets):
        base, quote = pair_of(market)
        names[market] = market
        if ":" in market:
            continue
        names |= {f"{quote}-{base}": market, f"{base}/{quote}": market}
        if len(base) > 1 and not read_alone(base) and (base not in names or quote == "KRW"):
            names[base] = market
    return sorted(names.items(), key=lambda item: (-len(item[0]), item[0]))


def read_alone(symbol: str) -> bool:
    """Whether a symbol by itself reads as a number (``5``, ``3M``, ``ONE``), so that it can't pass as a name."""
    return any(token.kind != "unreadable" for token in read(symbol).tokens)


def _place(digits: str) -> Decimal:
    """The place value of the last digit: 0.01 for ``3.20``."""
    return Decimal(1).scaleb(-len(digits.partition(".")[2]))


def _compound(text: str, start: int) -> tuple[Decimal, Decimal, int] | None:
    """A Korean compound from ``start`` (``1억 2,345만``, ``2천3백만``, ``삼십``): value, quantum, end. None: none."""
    total = section = Decimal(0)
    current: Decimal | None = None
    quantum, ceiling, small_ceiling, position, gap = Decimal(1), Decimal(10**20), 10**4, start, start
    while True:
        match = _DIGITS.match(text, position)
        char = text[position : position + 1]
        if current is None and match and (position in (start, gap) or _continues(text, match.end())):
            current, position = Decimal(match[0].replace(",", "")), match.end()
            quantum = _place(match[0])
        elif current is None and char in lex.SINO and char:
            current, quantum, position = Decimal(lex.SINO[char]), Decimal(1), position + 1
        elif char in lex.SMALL_KO and lex.SMALL_KO[char] < small_ceiling:
            small_ceiling = lex.SMALL_KO[char]
            section += (Decimal(1) if current is None else current) * small_ceiling
            quantum, current, position = (
                (quantum if current is not None else Decimal(1)) * small_ceiling,
                None,
                position + 1,
            )
        elif char in lex.BIG_KO and lex.BIG_KO[char] < ceiling:
            ceiling = Decimal(lex.BIG_KO[char])
            quantum = (quantum if current is not None or section else Decimal(1)) * ceiling
            total += (Decimal(1) if current is None and not section else section + (current or 0)) * ceiling
            section, current, small_ceiling, position = Decimal(0), None, 10**4, position + 1
        elif char == " " and total and current is None and not section and _goes_on(text, position + 1):
            position = gap = position + 1
        else:
            break
    end = position
    return (total + section + (current or 0), quantum, end) if end > start else None


def _continues(text: str, position: int) -> bool:
    """Whether digits that end at ``position`` are part of a compound: a magnitude or 원 follows."""
    return re.match(r"[십백천만억조]|\s?원", text[position : position + 2]) is not None


def _goes_on(text: str, position: int) -> bool:
    """Whether a compound goes on after a space: with a lower magnitude, or with its last digits and a counter."""
    return _REST.match(text, position) is not None


def _english(text: str) -> tuple[Decimal, Decimal] | None:
    """Value and quantum of an English numeral in words; None when the words don't make one."""
    whole, _, fraction = text.lower().partition(" point ")
    total, current, quantum, least = 0, 0, 1, 1000
    for word in re.findall(r"[a-z]+", whole):
        if word in ("a", "an", "and"):
            continue
        if word in lex.SCALES_EN and word != "hundred":
            total, current, quantum, least = total + max(current, 1) * lex.SCALES_EN[word], 0, lex.SCALES_EN[word], 1000
        elif word in ("hundred", "dozen", "score"):
            factor = 100 if word == "hundred" else lex.WORDS_EN[word]
            current, least, quantum = max(current, 1) * factor, 100, 1
        else:
            value = lex.WORDS_EN[word]
            size = 1 if value < 10 else 10
            if value and size >= least:
                return None  # "three four", "twenty thirty"
            current, least, quantum = current + value, 10 if value >= 20 else 1, 1
    digits = "".join(str(lex.WORDS_EN[word]) for word in fraction.split())
    number = Decimal(f"{total + current}.{digits}") if digits else Decimal(total + current)
    return number, _place(f"0.{digits}") if digits else Decimal(quantum)


def _date_fields(match: re.Match[str]) -> tuple[int | None, ...]:
    groups = match.groupdict()
    month = groups.get("month")
    numeric = groups.get("m")
    number = lex.MONTHS.index(month[:3].lower()) + 1 if month else int(numeric) if numeric else None
    year, day = groups.get("y"), groups.get("d")
    return (int(year) if year else None, number, int(day) if day else None)


def _time_fields(match: re.Match[str]) -> tuple[int | None, ...]:
    groups = match.groupdict()
    hour, half = int(groups["h"]), (groups.get("half") or "").lower()
    if half.startswith("p") or half == "오후":
        hour = hour % 12 + 12
    elif half.startswith("a") or half == "오전":
        hour %= 12
    minute = groups.get("min")
    if groups.get("s") not in (None, "00"):
        return (-1, 0, 0)  # no fact is known to the second
    return (hour, int(minute) if minute else 0, int(bool(groups.get("zone"))))
