"""Changes of definitions beside open transactions: of readers, of loads, of builds.

Lives here: asking for a table's lock briefly and often, so that nobody queues behind the change for long, and who holds
it when that fails. Doesn't: the changes (``migrate``, ``retention``), those of dbt (its macro ``change_definition``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg

from tidemark.warehouse.connection import Connection, WarehouseError

log = logging.getLogger(__name__)
T = TypeVar("T")

#: A change waits so long for a lock, then lets those pass who queue behind it, and tries again.
LOCK_TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 2.0
_HOLDERS: Final = """
SELECT DISTINCT format('%s (%s, %s)', held.pid, session.usename, session.application_name)
FROM pg_locks AS held JOIN pg_class AS relation ON relation.oid = held.relation
JOIN pg_namespace AS schema ON schema.oid = relation.relnamespace
JOIN pg_stat_activity AS session ON session.pid = held.pid
WHERE held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND schema.nspname IN ('raw', 'silver', 'gold', 'ops') AND held.granted AND held.pid <> pg_backend_pid()
ORDER BY 1
"""


class DefinitionHeldError(WarehouseError):
    """Open transactions hold a table that would have to change; nothing was changed. The message names them."""


def change_definition(connection: Connection, name: str, change: Callable[[], T], *, attempts: int) -> T:
    """Run ``change`` in a transaction of its own, at most ``attempts`` times; ``name`` is for log and message.

    Raises:
        DefinitionHeldError: at each attempt somebody held what the change needs.
    """
    for attempt in range(attempts):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout TO {round(LOCK_TIMEOUT_S * 1000)}".encode())
                return change()
        except psycopg.errors.LockNotAvailable:
            if attempt == 0:
                log.info("%s waits for open transactions: %s", name, _holders(connection))
            time.sleep(PAUSE_S)
    raise DefinitionHeldError(
        f"{name} changed nothing: open transactions hold tables that it changes. Sessions that hold tables, by pid: "
        f"{_holders(connection)}. End them (select pg_terminate_backend(pid)) and run it again"
    )


def _holders(connection: Connection) -> str:
    return ", ".join(session for (session,) in connection.execute(_HOLDERS)) or "none any more"
