"""Contracts rendered for dbt: the macro file from which silver knows columns and rules.

Contains: the text of ``dbt/macros/contract_rules.sql``, and each rule as an SQL condition. Does not contain: the other
renderings (``render``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tidemark.contracts import plausible
from tidemark.contracts.fields import ENVELOPE, ROW_KEY, BookRows, Contract

#: Checks that look at the value alone: it is positive, or not negative.
BOUNDS: Final = ("> 0", ">= 0")
#: Why a row is refused whose required column could not be computed from the one it is derived from.
UNDERIVED = "unknown_contract"
_HEAD = "{#- Rendered from tidemark/contracts by `make contracts`. Do not edit. -#}"


def contract_rules(contracts: Iterable[Contract]) -> str:
    """The macro file: ``contract_fields``, ``_envelope``, ``_row_key``, ``_counted_at`` and ``_violation``."""
    judged = [contract for contract in contracts if contract.dataset != "system"]
    envelope = ["load_id", *(f.name for f in ENVELOPE if not f.lake_only)]
    parts = [
        _HEAD,
        _fields(judged),
        _names("Where a raw row came from: the columns that every dataset has.", "contract_envelope", envelope),
        _names("The identity of a raw row.", "contract_row_key", ROW_KEY),
        _counted_at(),
        _violation(judged),
    ]
    return "\n\n\n".join(parts) + "\n"


def _fields(contracts: list[Contract]) -> str:
    lines = ["{#- A dataset's own columns in order: name to kind. -#}", "{% macro contract_fields(dataset) %}"]
    lines.append("    {%- set fields = {")
    for contract in contracts:
        lines.append(f"        '{contract.dataset}': {{")
        lines += [f"            '{field.name}': '{field.kind}'," for field in contract.fields]
        lines.append("        },")
    return "\n".join([*lines, "    } -%}", "    {{- return(fields[dataset]) -}}", "{% endmacro %}"])


def _names(comment: str, macro: str, names: Iterable[str]) -> str:
    lines = [f"{{#- {comment} -#}}", f"{{% macro {macro}() %}}", "    {{- return(["]
    lines += [f"        '{name}'," for name in names]
    return "\n".join([*lines, "    ]) -}}", "{% endmacro %}"])


def _counted_at() -> str:
    return "\n".join(
        [
            "{#- The time that a raw row is counted at: its own where that is plausible, else its receipt. -#}",
            "{% macro contract_counted_at() -%}",
            f"    {plausible.counted_at()}",
            "{%- endmacro %}",
        ]
    )


def _violation(contracts: list[Contract]) -> str:
    lines = [
        "{#- The first rule of the contract that a row breaks (such as missing_price, bad_price), or null. -#}",
        "{% macro contract_violation(dataset) -%}",
    ]
    for number, contract in enumerate(contracts):
        lines.append(f"    {{%- {'elif' if number else 'if'} dataset == '{contract.dataset}' -%}}")
        lines += ["    case", *(f"        {rule}" for rule in rules(contract)), "    end"]
    return "\n".join([*lines, "    {%- endif -%}", "{%- endmacro %}"])


def rules(contract: Contract, is_plausible: Callable[[str], str] = plausible.in_postgres) -> Iterator[str]:
    """The branches of a SQL CASE over a row's columns: the rule that it breaks, the first one first.

    ``is_plausible`` spells the condition on a time for another engine than PostgreSQL.
    """
    for reason, condition in broken(contract, is_plausible):
        yield f"when {condition} then '{reason}'"


def broken(contract: Contract, is_plausible: Callable[[str], str] = plausible.in_postgres) -> Iterator[tuple[str, str]]:
    """Every rule of a contract as the reason that silver gives, and the SQL condition of a row that breaks it."""
    for field in contract.fields:
        if field.required:
            instead = f" and {field.derived_from} is null" if field.derived_from else ""
            yield f"missing_{field.name}", f"{field.name} is null{instead}"
        if field.derived_from:
            yield UNDERIVED, f"{field.name} is null"
        if field.plausible:
            yield f"implausible_{field.name}", f"not coalesce({is_plausible(field.name)}, false)"
        if field.check:
            yield f"bad_{field.name}", f"not {field.name} {field.check}"
        if field.required and field.choices:
            choices = ", ".join(f"'{choice}'" for choice in field.choices)
            yield f"bad_{field.name}", f"{field.name} not in ({choices})"
    if contract.book_rows:
        yield from _levels(contract.book_rows)


def beyond_columns(contract: Contract) -> Iterator[tuple[str, str]]:
    """The rules that look at more than one value: of times against the receipt, of ids and of levels.

    A row that waits for its contract's size is sound, and breaks none of them.
    """
    columns = {UNDERIVED} | {f"missing_{f.name}" for f in contract.fields}
    columns |= {f"bad_{f.name}" for f in contract.fields if f.check in BOUNDS or (f.choices and not f.check)}
    return ((reason, condition) for reason, condition in broken(contract) if reason not in columns)


def _levels(rows: BookRows) -> Iterator[tuple[str, str]]:
    """The rules of level columns; a side without levels breaks none of them."""
    least = "0 <" if rows is BookRows.WHOLE else "0 <="
    for side in ("ask", "bid"):
        yield f"bad_{side}_prices", f"(0 < all({side}_prices)) is not true"
        yield f"bad_{side}_sizes", f"({least} all({side}_sizes)) is not true"
    yield (
        "uneven_book",
        " or ".join(f"cardinality({side}_prices) <> cardinality({side}_sizes)" for side in ("ask", "bid")),
    )
    if rows is BookRows.WHOLE:
        yield (
            "unsorted_book",
            " or ".join(
                f"exists (select from generate_subscripts({side}, 1) as n where {side}[n] {wrong} {side}[n + 1])"
                for side, wrong in (("ask_prices", ">="), ("bid_prices", "<="))
            ),
        )
        yield "crossed_book", "bid_prices[1] >= ask_prices[1]"
