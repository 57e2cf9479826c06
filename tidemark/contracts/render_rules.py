"""Contracts rendered for dbt: the macro file from which silver knows columns and rules.

Lives here: the text of ``dbt/macros/contract_rules.sql``. Doesn't: the other renderings (``render``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidemark.contracts.fields import ENVELOPE, ROW_KEY, Contract

_HEAD = "{#- Rendered from tidemark/contracts by `make contracts`. Do not edit. -#}"


def contract_rules(contracts: Iterable[Contract]) -> str:
    """The macros ``contract_fields``, ``contract_envelope``, ``contract_row_key`` and ``contract_violation``."""
    judged = [contract for contract in contracts if contract.dataset != "system"]
    envelope = ["load_id", *(f.name for f in ENVELOPE if not f.lake_only)]
    parts = [
        _HEAD,
        _fields(judged),
        _names("Where a raw row came from: the columns that every dataset has.", "contract_envelope", envelope),
        _names("The identity of a raw row.", "contract_row_key", ROW_KEY),
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


def _violation(contracts: list[Contract]) -> str:
    lines = [
        "{#- The first rule of the contract that a row breaks (such as missing_price, bad_price), or null. -#}",
        "{% macro contract_violation(dataset) -%}",
    ]
    for number, contract in enumerate(contracts):
        lines.append(f"    {{%- {'elif' if number else 'if'} dataset == '{contract.dataset}' -%}}")
        lines += ["    case", *(f"        {rule}" for rule in rules(contract)), "    end"]
    return "\n".join([*lines, "    {%- endif -%}", "{%- endmacro %}"])


def rules(contract: Contract) -> Iterator[str]:
    """The branches of a SQL CASE over a row's columns: the rule that it breaks, the first one first."""
    for field in contract.fields:
        if not field.required:
            continue
        yield f"when {field.name} is null then 'missing_{field.name}'"
        if field.check:
            yield f"when not {field.name} {field.check} then 'bad_{field.name}'"
        if field.choices:
            choices = ", ".join(f"'{choice}'" for choice in field.choices)
            yield f"when {field.name} not in ({choices}) then 'bad_{field.name}'"
