"""The warehouse brought up to date: the database, numbered SQL files, and the raw tables that the contracts declare.

Lives here: applying what is missing, in order, each file in a transaction of its own, one migrator at a time, and
refusing what was changed afterwards. A definition changes under a lock that is asked for briefly and often, so that
open transactions of readers don't make other readers wait. Doesn't: the SQL (``migrations``, ``contracts``), topics
(``jobs.migrate``).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import conninfo, sql

from tidemark import naming
from tidemark.contracts import CONTRACTS, Contract
from tidemark.contracts.render import postgres_ddl
from tidemark.settings import WarehouseSettings
from tidemark.warehouse.connection import Connection, WarehouseError, connect, database_name
from tidemark.warehouse.definition_change import DefinitionHeldError, change_definition
from tidemark.warehouse.reference import put_asset_overrides

log = logging.getLogger(__name__)

_FOLDER: Final = Path(__file__).parent / "migrations"
_MAINTENANCE: Final = "postgres"
#: Any number, the same in every release: only one migrator runs on a server at a time (roles belong to the server).
_LOCK: Final = 7_143_620_260_413
_BOOKS: Final = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS ops.migration (
    name       text PRIMARY KEY,
    version    bigint NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.migration IS 'Migrations and contracts that this database has, with the SHA-256 of their SQL.';
"""
#: How often a change asks for its lock before it gives up: three minutes in all.
_ATTEMPTS: Final = 60
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""


class MigrationError(WarehouseError):
    """The warehouse can't be brought up to date; the message names the migration and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A numbered SQL file. Applied once, and never changed afterwards."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL."""
        return _checksum(self.sql)


@dataclass(frozen=True, slots=True)
class WarehouseMigration:
    """What a run did: names of applied migrations and contracts, and how many stood already."""

    database: str
    created: bool
    applied: tuple[str, ...]
    unchanged: int


def migrate(settings: WarehouseSettings) -> WarehouseMigration:
    """Create the database if there is none, and apply what it lacks. A second run, or one beside it, changes nothing.

    Raises:
        MigrationError: an applied file was changed, the database is newer than this release, or SQL failed.
        WarehouseError: no connection.
    """
    url = settings.admin_url if settings.admin_url.get_secret_value() else settings.url
    name = database_name(url)
    with connect(url, "migrate", database=_MAINTENANCE) as server, _locked(server):
        created = _create_database(server, name)
        with connect(url, "migrate") as connection:
            connection.execute("SET client_min_messages TO warning")  # "already exists, skipping" is no news
            known = _known(connection)
            numbered = migrations()
            _refuse_strangers(known, numbered)
            applied = [m.name for m in numbered if _apply(connection, m, known)]
            applied += [c.dataset for c in CONTRACTS.values() if _apply_contract(connection, c, known)]
            put_asset_overrides(connection)
            if settings.admin_url.get_secret_value():
                _set_passwords(connection, settings)
    return WarehouseMigration(name, created, tuple(applied), len(numbered) + len(CONTRACTS) - len(applied))


def _set_passwords(connection: Connection, settings: WarehouseSettings) -> None:
    """Give the roles the passwords that the settings hold. A role without one keeps what it has."""
    loader = conninfo.conninfo_to_dict(settings.url.get_secret_value())
    passwords = {
        naming.ROLE_LOADER: str(loader.get("password") or "") if loader.get("user") == naming.ROLE_LOADER else "",
        naming.ROLE_DBT: settings.dbt_password.get_secret_value(),
        naming.ROLE_GOLD_READER: settings.gold_reader_password.get_secret_value(),
        naming.ROLE_OPS_READER: settings.ops_reader_password.get_secret_value(),
    }
    for role, password in passwords.items():
        if password:
            change = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            connection.execute(change)


def migrations(folder: Path = _FOLDER) -> tuple[Migration, ...]:
    """The numbered files of ``folder`` in order.

    Raises:
        MigrationError: two files have the same number, or one has none.
    """
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    if len({m.version for m in found}) != len(found):
        raise MigrationError(f"two migrations in {folder.name}/ have the same number: give the newer one the next")
    return tuple(found)


def _read(path: Path) -> Migration:
    number = path.stem.split("_")[0]
    if not number.isdigit():
        raise MigrationError(f"migration {path.name} must begin with its number, such as 0005_{path.name}")
    return Migration(int(number), path.stem, path.read_text(encoding="utf-8"))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _locked(server: Connection) -> Iterator[None]:
    server.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        yield
    finally:
        server.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _create_database(server: Connection, name: str) -> bool:
    if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        return False
    try:
        server.execute(sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege:
        raise MigrationError(
            f"there is no database {name!r} and this role may not create it: set TIDEMARK_WAREHOUSE__ADMIN_URL"
        ) from None
    return True


def _known(connection: Connection) -> dict[str, str]:
    with connection.transaction():
        try:
            connection.execute(_BOOKS)
        except psycopg.errors.InsufficientPrivilege:
            raise MigrationError(
                "this role may not create schemas: set TIDEMARK_WAREHOUSE__ADMIN_URL to one that may"
            ) from None
    return dict(connection.execute("SELECT name, checksum FROM ops.migration").fetchall())


def _refuse_strangers(known: dict[str, str], numbered: tuple[Migration, ...]) -> None:
    mine = {m.name for m in numbered} | {_contract_name(c) for c in CONTRACTS.values()}
    strangers = sorted(known.keys() - mine)
    if strangers:
        raise MigrationError(
            f"the warehouse has {', '.join(strangers)}, which this release doesn't know: it was migrated by a newer "
            "one; update this installation"
        )


def _apply(connection: Connection, migration: Migration, known: dict[str, str]) -> bool:
    applied = known.get(migration.name)
    if applied == migration.checksum:
        return False
    if applied is not None:
        raise MigrationError(
            f"migration {migration.name} was changed after it had been applied to this warehouse "
            f"(then {applied[:12]}, now {migration.checksum[:12]}): restore it, and put the change into a new file"
        )
    _run(connection, migration.name, migration.version, migration.sql, migration.sql)
    return True


def _contract_name(contract: Contract) -> str:
    return f"contract.{contract.dataset}.v{contract.version}"


def _apply_contract(connection: Connection, contract: Contract, known: dict[str, str]) -> bool:
    """Create the raw table, or add the columns that the contract has gained since."""
    ddl = postgres_ddl(contract)
    name = _contract_name(contract)
    if known.get(name) == _checksum(ddl):
        return False
    grants = f"""
    GRANT SELECT, INSERT ON {naming.raw_table(contract.dataset)} TO {naming.ROLE_LOADER};
    GRANT SELECT ON {naming.raw_table(contract.dataset)} TO {naming.ROLE_DBT}, {naming.ROLE_OPS_READER};
    """
    with connection.transaction():
        added = _added_columns(connection, contract, ddl) if name in known else ""
        _run(connection, name, contract.version, ddl, added + ddl + grants)
    return True


def _added_columns(connection: Connection, contract: Contract, ddl: str) -> str:
    """ALTER TABLE for columns that the table lacks.

    Raises:
        MigrationError: the contract differs in another way, so it would have to be a new version.
    """
    table = naming.raw_table(contract.dataset)
    wanted_table = f"pg_temp.{table.partition('.')[2]}"
    with connection.transaction(force_rollback=True):
        connection.execute(ddl.replace(table, wanted_table).encode())
        wanted = {row[0]: row[1:] for row in connection.execute(_COLUMNS, [wanted_table])}
    have = {row[0]: row[1:] for row in connection.execute(_COLUMNS, [table])}
    new = wanted.keys() - have.keys()
    changed = {n for n in have if wanted.get(n) != have[n]} | {n for n in new if wanted[n][1]}
    if changed:
        raise MigrationError(
            f"contract {contract.dataset}.v{contract.version} differs from {table} in {', '.join(sorted(changed))}: "
            "only new columns that may be null keep the version; anything else is the next version beside it"
        )
    return "".join(f'ALTER TABLE {table} ADD COLUMN "{n}" {wanted[n][0]};\n' for n in wanted if n in new)


def _run(connection: Connection, name: str, version: int, text: str, statements: str) -> None:
    """Run ``statements`` and record ``name`` with the checksum of ``text``, both or neither."""

    def change() -> None:
        connection.execute(statements.encode())
        connection.execute(
            """INSERT INTO ops.migration (name, version, checksum) VALUES (%s, %s, %s)
            ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()""",
            [name, version, _checksum(text)],
        )

    try:
        change_definition(connection, f"migration {name}", change, attempts=_ATTEMPTS)
    except DefinitionHeldError as error:
        raise MigrationError(str(error)) from error
    except psycopg.Error as error:
        raise MigrationError(f"migration {name} failed and was rolled back: {error}") from error
    log.info("applied %s", name)
