"""Contracts rendered: Arrow schemas, PostgreSQL DDL, dbt sources, JSON Schema and the reference page.

Lives here: pure functions from a contract to text or schema, and ``main``, which writes or checks
``contracts/rendered``, dbt's sources and rules and ``docs/architecture/contracts.md`` (``make contracts``).
Doesn't: declarations (the dataset modules), dbt's macro (``render_rules``), running the DDL (``warehouse``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from tidemark import naming
from tidemark.contracts import CONTRACTS, Contract, Field, Kind
from tidemark.contracts.fields import DECIMAL_PRECISION, DECIMAL_SCALE
from tidemark.contracts.render_rules import broken, contract_rules

_ROOT = Path(__file__).resolve().parents[2]
_DECIMAL = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
_ARROW: dict[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.DECIMAL: _DECIMAL,
    Kind.DECIMALS: pa.list_(_DECIMAL),
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.JSON: pa.string(),
    Kind.BYTES: pa.binary(),
}
_POSTGRES: dict[Kind, str] = {
    Kind.TEXT: "text",
    Kind.DECIMAL: "numeric",
    Kind.DECIMALS: "numeric[]",
    Kind.INTEGER: "bigint",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "timestamptz",
    Kind.JSON: "jsonb",
    Kind.BYTES: "bytea",
}
_DECIMAL_TEXT = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
_JSON: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string"},
    Kind.DECIMAL: _DECIMAL_TEXT,
    Kind.DECIMALS: {"type": "array", "items": _DECIMAL_TEXT},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.TIMESTAMP: {"type": "string", "format": "date-time"},
    Kind.JSON: {"type": ["object", "array"]},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64"},
}


def meaning(field: Field) -> str:
    """The description with unit and choices, as every reader of the column sees it."""
    unit = {
        "quote": "Quote currency.",
        "base": "Base currency.",
        "contracts": "Contracts.",
        "ratio": "Ratio: 0.01 is 1 %.",
        "UTC": "UTC.",
    }
    parts = [field.description, unit.get(field.unit, field.unit)]
    if field.choices:
        parts.append("One of " + ", ".join(field.choices) + ".")
    return " ".join(part for part in parts if part)


def arrow_schema(contract: Contract) -> pa.Schema:
    """The schema of the lake's Parquet files: every column nullable, its meaning in the metadata."""
    return pa.schema(
        [pa.field(f.name, _ARROW[f.kind], metadata={"description": meaning(f)}) for f in contract.columns],
        metadata={"contract": f"{contract.dataset}.v{contract.version}"},
    )


def postgres_ddl(contract: Contract) -> str:
    """``CREATE TABLE`` for the raw table, partitioned by receipt, with every column commented."""
    table = naming.raw_table(contract.dataset)
    width = max(len(_quoted(f.name)) for f in contract.raw_columns)
    columns = [f"    {'load_id':<{width}} bigint NOT NULL"]
    columns += [f"    {_column(f, width)}" for f in contract.raw_columns]
    lines = [
        f"CREATE TABLE IF NOT EXISTS {table} (",
        ",\n".join(columns),
        ") PARTITION BY RANGE (received_at);",
        f"CREATE INDEX IF NOT EXISTS {contract.dataset}_v{contract.version}_load_id ON {table} USING brin (load_id);",
        f"COMMENT ON TABLE {table} IS {_literal(contract.grain + ' As it was received; never changed.')};",
        f"COMMENT ON COLUMN {table}.load_id IS 'The load that brought it (ops.load_ledger).';",
    ]
    lines += [f"COMMENT ON COLUMN {table}.{_quoted(f.name)} IS {_literal(meaning(f))};" for f in contract.raw_columns]
    return "\n".join(lines) + "\n"


def json_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema of one row as JSON: decimals are text, times RFC 3339."""
    properties = {f.name: _json_field(f) for f in contract.raw_columns}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{contract.dataset}.v{contract.version}",
        "description": contract.grain,
        "type": "object",
        "properties": properties,
        "required": [f.name for f in contract.raw_columns if f.required and not f.derived_from],
        "additionalProperties": False,
    }


def dbt_sources() -> str:
    """The dbt source ``raw`` with every table and column described."""
    head = [
        "# Rendered from tidemark/contracts by `make contracts`. Do not edit.",
        "version: 2",
        "sources:",
        "  - name: raw",
        "    schema: raw",
        "    description: What was received, row by row, before anything was judged. Loaded by the raw DAGs.",
        "    loaded_at_field: received_at",
        "    tables:",
    ]
    return "\n".join(head + [line for c in CONTRACTS.values() for line in _dbt_table(c)]) + "\n"


def reference_page() -> str:
    """The contracts as a page for people."""
    lines = [
        "# Contracts",
        "",
        "Rendered from `tidemark/contracts` by `make contracts`; edit there. Every dataset carries the envelope too.",
        "",
    ]
    for contract in CONTRACTS.values():
        lines += [f"## {contract.dataset} v{contract.version}", "", contract.grain, ""]
        lines += [f"Natural key: {', '.join(f'`{k}`' for k in contract.natural_key)}.", ""]
        lines += [*_table(contract.fields), ""]
        if contract.dataset != "system":
            lines += ["Silver quarantines a row by the first of these rules that it breaks:", "", *_rules(contract), ""]
    envelope = next(iter(CONTRACTS.values())).columns[len(next(iter(CONTRACTS.values())).fields) :]
    lines += ["## The envelope", "", "Where a row came from; the same in every dataset.", "", *_table(envelope)]
    return "\n".join(lines) + "\n"


def rendered_files() -> dict[Path, str]:
    """Every rendered file: path from the project's root, and its text."""
    base = Path("tidemark/contracts/rendered")
    files: dict[Path, str] = {
        Path("dbt/models/sources.yml"): dbt_sources(),
        Path("dbt/macros/contract_rules.sql"): contract_rules(CONTRACTS.values()),
        Path("docs/architecture/contracts.md"): reference_page(),
    }
    for contract in CONTRACTS.values():
        stem = f"{contract.dataset}.v{contract.version}"
        files[base / f"{stem}.sql"] = postgres_ddl(contract)
        files[base / f"{stem}.schema.json"] = json.dumps(json_schema(contract), indent=2) + "\n"
        files[base / f"{stem}.arrow.txt"] = _arrow_text(contract)
    return files


def main(argv: list[str] | None = None) -> int:
    """Write the rendered files, or with ``--check`` name those that differ. Exit code 1 when any does."""
    check = "--check" in (sys.argv[1:] if argv is None else argv)
    stale = [path for path, text in rendered_files().items() if _text(_ROOT / path) != text]
    if check:
        for path in stale:
            print(f"{path} differs from its contract: run `make contracts` and commit the result")
        return 1 if stale else 0
    for path in stale:
        (_ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (_ROOT / path).write_text(rendered_files()[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _quoted(name: str) -> str:
    return f'"{name}"' if name in {"interval", "open", "close", "level"} else name


def _column(field: Field, width: int) -> str:
    required = {"source", "received_at", "kafka_cluster", "kafka_epoch", "kafka_topic", "kafka_partition"}
    null = " NOT NULL" if field.name in required | {"kafka_offset", "item"} else ""
    return f"{_quoted(field.name):<{width}} {_POSTGRES[field.kind]}{null}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json_field(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {**_JSON[field.kind], "description": meaning(field)}
    is_required = field.required and not field.derived_from
    if field.choices:
        schema["enum"] = list(field.choices) if is_required else [*field.choices, None]
    if not is_required and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    return schema


def _dbt_table(contract: Contract) -> list[str]:
    lines = [
        f"      - name: {contract.dataset}_v{contract.version}",
        f"        description: {json.dumps(contract.grain, ensure_ascii=False)}",
        "        columns:",
        "          - name: load_id",
        "            description: The load that brought it (ops.load_ledger).",
    ]
    for field in contract.raw_columns:
        lines += [
            f"          - name: {field.name}",
            f"            description: {json.dumps(meaning(field), ensure_ascii=False)}",
        ]
    return lines


def _table(fields: tuple[Field, ...]) -> list[str]:
    rows = [["column", "type", "required", "meaning"]]
    rows += [[f"`{f.name}`", _POSTGRES[f.kind], "yes" if f.required else "", meaning(f)] for f in fields]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def _rules(contract: Contract) -> list[str]:
    """The rules as a list; that a required value is there follows from the table of columns."""
    rules = [(reason, condition) for reason, condition in broken(contract) if not reason.startswith("missing_")]
    return [
        "* `missing_<column>`: a required value is null",
        *(f"* `{reason}`: `{condition}`" for reason, condition in rules),
    ]


def _arrow_text(contract: Contract) -> str:
    return "".join(f"{f.name}: {f.type}\n" for f in arrow_schema(contract))


if __name__ == "__main__":
    raise SystemExit(main())
