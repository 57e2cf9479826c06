"""The report's text without a language model: the same facts, in sentences from the catalogue.

Lives here: which sentences a day needs. Doesn't: their words (``catalogue``), formatting (``wording``).
"""

from __future__ import annotations

from alerts.report.catalogue import CATALOGUES
from alerts.report.facts import FactSet
from alerts.report.wording import Language, fill


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


def _name(text: str, facts: FactSet, language: Language, number: int, **names: str) -> str:
    if "{basis}" in text:
        move = facts.by_id[f"anomaly.price.{number}.move"]
        names["basis"] = CATALOGUES[language][f"basis_{move.of}"]
    for key, value in names.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def _market(facts: FactSet) -> list[tuple[str, str]]:
    found = [("breadth", ""), ("turnover", "")] if facts.get("krw.markets") else []
    if facts.get("krw.turnover.change"):
        found.append(("turnover_change", ""))
    if leader := facts.get("krw.volume.1.turnover"):
        found.append(("leader", leader.subject))
    return found


def _movers(facts: FactSet) -> list[tuple[str, str]]:
    found = []
    for key, fact_id in (
        ("gainer", "krw.gainer.1.change"),
        ("loser", "krw.loser.1.change"),
        ("volatile", "krw.volatility.1.range"),
    ):
        if fact := facts.get(fact_id):
            found.append((key, fact.subject))
    if facts.get("other.markets"):
        found.append(("other", ""))
    if facts.get("krw.from_open"):
        found.append(("from_open", ""))
    return found


def _anomalies(facts: FactSet) -> list[tuple[str, str]]:
    found = []
    for key, fact_id in (("anomaly_price", "anomaly.price.1.move"), ("anomaly_volume", "anomaly.volume.1.ratio")):
        if fact := facts.get(fact_id):
            found.append((key, fact.subject))
    none = not facts.value("anomaly.price.count") and not facts.value("anomaly.volume.count")
    return [("anomaly_none", "")] if none else found
