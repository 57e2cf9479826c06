"""The report's text without a language model: the same facts, in sentences from the catalogue.

Contains: which sentences a day needs. Does not contain: their words (``catalogue``), formatting (``wording``).

A market is called the leader, the best or the largest only when it is so among all markets of its group: its rank is 1
(markets that are not named have ranks too), and no other has the same figure. Else the first that can be named is shown
without such a word.
"""

from __future__ import annotations

from alerts.report.catalogue import CATALOGUES
from alerts.report.facts import FactSet
from alerts.report.wording import Language, fill

#: An entry of the catalogue and the market it names.
_Sentence = tuple[str, str]


def narrate(facts: FactSet, language: Language) -> str:
    """The narrative: paragraphs separated by blank lines. Passes the number gate by construction."""
    if not facts.value("day.markets"):
        return phrase(facts, language, "empty")
    paragraphs = (_market(facts), _movers(facts), _anomalies(facts))
    return "\n\n".join(
        " ".join(phrase(facts, language, key, market=market) for key, market in paragraph)
        for paragraph in paragraphs
        if paragraph
    )


def phrase(facts: FactSet, language: Language, key: str, *, number: int = 0, market: str = "", **names: str) -> str:
    """One entry of the catalogue, filled. ``number`` replaces ``N`` in the ids of its slots."""
    text = CATALOGUES[language][key].replace(".N.", f".{number or 1}.")
    return fill(_name(text, facts, language, number or 1, market=market, **names), facts, language)


def coverage_line(facts: FactSet, language: Language) -> str:
    """What the report rests on, in one line: hours proven complete, trades set aside, and known gaps."""
    keys = ["covered"]
    keys += [f"covered_{s}" for s in ("red", "unchecked", "provisional") if facts.get(f"coverage.hours.{s}")]
    keys += [f"aside_{s}" for s in ("dead", "quarantined") if facts.value(f"aside.{s}")]
    keys.append("gaps" if facts.value("gap.count") else "gaps_none")
    return " ".join(phrase(facts, language, key) for key in keys)


def gap_lines(facts: FactSet, language: Language) -> list[str]:
    """Each named gap: exchange, stream, from, to, cause."""
    lines = []
    for number, entry in enumerate(facts.ranked("gap"), 1):
        gap = entry["minutes"]
        names = {"exchange": gap.exchange, "stream": gap.subject, "cause": gap.of}
        lines.append(phrase(facts, language, "gap", number=number, **names))
    return lines


def left_out_line(facts: FactSet, language: Language) -> str:
    """How many markets rankings do not name; empty for none."""
    groups = [group for group in ("krw", "other") if facts.get(f"{group}.left_out")]
    return " ".join(phrase(facts, language, f"left_out_{group}") for group in groups)


def _name(text: str, facts: FactSet, language: Language, number: int, **names: str) -> str:
    if "{basis}" in text:
        move = facts.by_id[f"anomaly.price.{number}.move"]
        names["basis"] = CATALOGUES[language][f"basis_{move.of}"]
    for key, value in names.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def _market(facts: FactSet) -> list[_Sentence]:
    found = [("breadth", ""), ("turnover", "")] if facts.get("krw.markets") else []
    if facts.get("krw.turnover.change"):
        found.append(("turnover_change", ""))
    return [*found, *_first(facts, "leader", "krw.volume", "turnover")]


def _movers(facts: FactSet) -> list[_Sentence]:
    found = [
        *_first(facts, "gainer", "krw.gainer", "change"),
        *_first(facts, "loser", "krw.loser", "change"),
        *_first(facts, "volatile", "krw.volatility", "range"),
    ]
    if facts.get("other.markets"):
        found.append(("other", ""))
    if facts.get("krw.from_open"):
        found.append(("from_open", ""))
    return found


def _anomalies(facts: FactSet) -> list[_Sentence]:
    found = [
        *_first(facts, "anomaly_price", "anomaly.price", "move"),
        *_first(facts, "anomaly_volume", "anomaly.volume", "ratio"),
    ]
    none = not facts.value("anomaly.price.count") and not facts.value("anomaly.volume.count")
    return [("anomaly_none", "")] if none else found


def _first(facts: FactSet, key: str, prefix: str, word: str) -> list[_Sentence]:
    """The sentence about the first named market of a ranking by ``word``: ``key`` when it is before all others."""
    entries = facts.ranked(prefix)
    if not entries:
        return []
    figures = [abs(entry[word].value) for entry in entries[:2]]
    rank = entries[0].get("rank")
    alone = (rank is None or rank.value == 1) and figures[1:] != figures[:1]
    return [(key if alone else f"{key}_shown", entries[0][word].subject)]
