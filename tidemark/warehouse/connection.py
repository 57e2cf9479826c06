"""Connections to the warehouse, and an error that says what to do when there is none.

Lives here: :func:`connect`, and the same place spelled for dbt's profile. Doesn't: pools (jobs are short), SQL.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import conninfo
from pydantic import SecretStr

from tidemark.settings import WarehouseSettings

Connection = psycopg.Connection[tuple[Any, ...]]
_TIMEOUT_S = 10


class WarehouseError(Exception):
    """The warehouse can't do what was asked; the message says what to do and holds no password."""


def connect(url: SecretStr | str, application: str, *, database: str | None = None) -> Connection:
    """An open connection in autocommit mode; ``application`` shows in ``pg_stat_activity``.

    Times come back in UTC. ``database`` replaces the one in ``url``. Use ``with connection.transaction():`` for what
    belongs together.

    Raises:
        WarehouseError: nobody answers there, or the role or the database is refused.
    """
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    overrides: dict[str, Any] = {"application_name": f"tidemark {application}", "options": "-c timezone=UTC"}
    if database is not None:
        overrides["dbname"] = database
    try:
        return psycopg.connect(text, autocommit=True, connect_timeout=_TIMEOUT_S, **overrides)
    except psycopg.ProgrammingError:
        raise WarehouseError(
            "TIDEMARK_WAREHOUSE__URL is not a PostgreSQL URL (postgresql://user@host:port/db)"
        ) from None
    except psycopg.OperationalError as error:
        raise WarehouseError(f"{_place(text, database)}: {_reason(error)}; {_advice(error)}") from error


def connect_as_dbt(settings: WarehouseSettings, application: str) -> Connection:
    """The same for the role that owns silver and gold.

    Raises:
        WarehouseError: nobody answers there, or the role is refused.
    """
    own = {"user": settings.dbt_user, "password": settings.dbt_password.get_secret_value() or None}
    return connect(conninfo.make_conninfo(settings.url.get_secret_value(), **own), application)


def database_name(url: SecretStr | str) -> str:
    """The database that ``url`` names.

    Raises:
        WarehouseError: it names none.
    """
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    name = conninfo.conninfo_to_dict(text).get("dbname")
    if not name:
        raise WarehouseError("TIDEMARK_WAREHOUSE__ADMIN_URL must name a database, such as …:5433/tidemark")
    return str(name)


def dbt_environment(settings: WarehouseSettings) -> dict[str, str]:
    """The variables that ``dbt/profiles.yml`` reads, from the one URL that everybody else uses."""
    place = conninfo.conninfo_to_dict(settings.url.get_secret_value())
    return {
        "TIDEMARK_DBT_HOST": str(place.get("host", "127.0.0.1")),
        "TIDEMARK_DBT_PORT": str(place.get("port", 5432)),
        "TIDEMARK_DBT_DBNAME": str(place.get("dbname", "tidemark")),
        "TIDEMARK_DBT_USER": settings.dbt_user,
        "TIDEMARK_DBT_PASSWORD": settings.dbt_password.get_secret_value(),
        "TIDEMARK_DBT_THREADS": str(settings.dbt_threads),
    }


def _place(url: str, database: str | None) -> str:
    parts = conninfo.conninfo_to_dict(url)
    name = database or parts.get("dbname", "")
    return f"no connection to the warehouse {name!r} at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def _reason(error: psycopg.OperationalError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _advice(error: psycopg.OperationalError) -> str:
    text = str(error)
    if "does not exist" in text:
        return "run `tidemark migrate`, which creates the database and its roles"
    if "password" in text or "authentication" in text or "pg_hba" in text:
        return "check user and password in TIDEMARK_WAREHOUSE__URL"
    return "is PostgreSQL running, and is TIDEMARK_WAREHOUSE__URL right?"
