"""Data that people keep in files and SQL needs: written into ``ops`` by every migration.

Contains: reading ``asset_override.csv``, and replacing the two tables. Does not contain: the sizes of contracts (each
exchange has its own file), what is made of the data (dbt).

The files are the truth: a row that a file no longer has is deleted. Marts follow a change from then on; to apply it to
the past, drop the mart and build it again.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from psycopg import sql

from tidemark.warehouse.connection import Connection

_FILE: Final = Path(__file__).with_name("asset_override.csv")
_ASSETS: Final = (
    "exchange", "base", "valid_from", "valid_to", "asset", "multiplier", "kind", "reason",
)  # fmt: skip
_SIZES: Final = ("exchange", "code", "valid_from", "size", "is_inverse")


def put_asset_overrides(connection: Connection) -> None:
    """Make ``ops.asset_override`` what ``asset_override.csv`` says. An empty time is no bound."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = [
            [
                row["exchange"], row["base"], row["valid_from"] or "-infinity", row["valid_to"] or "infinity",
                row["asset"], Decimal(row["multiplier"]), row["kind"], row["reason"],
            ]
            for row in csv.DictReader(file)
        ]  # fmt: skip
    _replace(connection, "asset_override", _ASSETS, rows)


def put_size_overrides(connection: Connection, overrides: Iterable[tuple[str, str, datetime, Decimal, bool]]) -> None:
    """Make ``ops.contract_size_override`` these rows: exchange, code, since when (UTC), size, whether it is inverse."""
    _replace(connection, "contract_size_override", _SIZES, [list(row) for row in overrides])


def _replace(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    name = sql.Identifier("ops", table)
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        name,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    with connection.transaction():
        connection.execute(sql.SQL("DELETE FROM {}").format(name))
        with connection.cursor() as cursor:
            cursor.executemany(insert, rows)
