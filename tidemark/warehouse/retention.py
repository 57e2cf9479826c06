"""What the policy no longer keeps, and what stands in the way of dropping it.

Lives here: reading ``ops.retention``, finding the days that are due, and the reasons why one has to stay: it isn't
proven, it isn't in the lake, or someone has yet to read it. Doesn't: dropping (functions in the database that check the
policy themselves, see migration 0007), when (``jobs.retain``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from psycopg import sql

from tidemark import naming
from tidemark.warehouse.connection import Connection
from tidemark.warehouse.definition_change import change_definition

_DAY: Final = timedelta(days=1)
#: How often dropping a day asks for its lock before the day stays until the next run.
_ATTEMPTS: Final = 10
#: What is rolled up from minutes made anew must still be there when the trades are.
_AT_LEAST_AS_LONG_AS_TRADES: Final = ("gold.ohlcv_5m", "gold.ohlcv_15m", "gold.ohlcv_1h")

_DUE: Final = """
SELECT relation, keep, time, floor_at, date_trunc('day', %(now)s - keep, 'UTC') AS before
FROM ops.retention WHERE keep IS NOT NULL AND to_regclass(relation) IS NOT NULL ORDER BY relation
"""
_SHORT: Final = """
SELECT shorter.relation FROM ops.retention AS shorter, ops.retention AS trades
WHERE trades.relation = 'silver.trade' AND shorter.relation = ANY(%s)
    AND %s - shorter.keep > %s - coalesce(trades.keep, interval '1000 years')
"""
_PARTITIONS: Final = """
SELECT to_date(right(child.relname, 8), 'YYYYMMDD'), child.relname
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass(%s) AND child.relname ~ '_[0-9]{8}$' ORDER BY 1
"""
_LOADS: Final = """
SELECT load_id, topic, path, version FROM ops.load_ledger
WHERE dataset = %s AND rows > 0 AND received_min < %s AND received_max >= %s
"""
#: Identities 0 to 2 are judged by the hour of receipt, 3 by the hour of the event.
_UNSEALED: Final = """
SELECT wanted.exchange, wanted.hour_at, wanted.identity, verdict.status
FROM (
    SELECT DISTINCT ledger.exchange, ledger.hour_at, 2 AS identity
    FROM ops.load_ledger AS ledger WHERE ledger.load_id = ANY(%(loads)s)
    UNION
    SELECT DISTINCT ledger.exchange, bridge.hour_at, 3
    FROM ops.load_ledger AS ledger JOIN ops.load_hour AS bridge USING (load_id)
    WHERE ledger.load_id = ANY(%(loads)s) AND %(is_accounted)s
) AS wanted
LEFT JOIN ops.completeness AS verdict
    ON verdict.exchange = wanted.exchange AND verdict.dataset = %(dataset)s AND verdict.hour_at = wanted.hour_at
        AND verdict.identity = wanted.identity
WHERE verdict.sealed_at IS NULL ORDER BY wanted.hour_at, wanted.identity
"""
_UNREAD: Final = """
SELECT count(*) FROM unnest(%s::bigint[]) AS load (load_id)
WHERE NOT EXISTS (SELECT FROM ops.load_mark AS mark WHERE mark.load_id = load.load_id AND mark.consumer = %s)
"""
_UNPROVEN: Final = """
SELECT exchange, hour_at, identity, status FROM ops.completeness
WHERE dataset = %s AND identity >= 3 AND hour_at < %s AND hour_at >= %s AND sealed_at IS NULL ORDER BY hour_at LIMIT 1
"""
#: Marts that take a dataset's builds and have not taken all of them.
_BEHIND: Final = """
SELECT reader.consumer, count(*) FROM (
    SELECT DISTINCT build.dataset, mark.consumer FROM ops.build_mark AS mark JOIN ops.build AS build USING (build_id)
) AS reader
JOIN ops.build AS build ON build.dataset = reader.dataset
WHERE NOT EXISTS (
    SELECT FROM ops.build_mark AS mark WHERE mark.build_id = build.build_id AND mark.consumer = reader.consumer
) GROUP BY 1 ORDER BY 1
"""


class PolicyError(Exception):
    """``ops.retention`` contradicts itself; the message says which row to change."""


@dataclass(frozen=True, slots=True)
class Due:
    """A table with a policy: everything whose ``time`` lies before ``before`` (00:00 UTC) may go."""

    relation: str
    time: str
    floor_at: datetime | None
    before: datetime

    @property
    def layer(self) -> str:
        """raw, silver or gold."""
        return self.relation.partition(".")[0]

    @property
    def dataset(self) -> str:
        """Of a table of raw or silver its dataset."""
        name = self.relation.partition(".")[2]
        return name.removesuffix(f"_v{naming.VERSION}") if self.layer == "raw" else name


def due(connection: Connection, now: datetime) -> list[Due]:
    """The tables that have a policy and exist, by name.

    Raises:
        PolicyError: bars are kept shorter than the trades that may change them.
    """
    short = connection.execute(_SHORT, [list(_AT_LEAST_AS_LONG_AS_TRADES), now, now]).fetchall()
    if short:
        names = ", ".join(name for (name,) in short)
        raise PolicyError(
            f"{names} is kept shorter than silver.trade: a late trade would be rolled up from bars that are gone. "
            "Set a longer `keep` in ops.retention, or a shorter one for silver.trade"
        )
    rows = connection.execute(_DUE, {"now": now}).fetchall()
    return [Due(relation, time, floor_at, before) for relation, _, time, floor_at, before in rows]


def raw_days(connection: Connection, table: Due) -> list[tuple[date, str]]:
    """The days of a table of raw that are due, with the name of their partition, oldest first."""
    found = connection.execute(_PARTITIONS, [table.relation]).fetchall()
    return [(day, name) for day, name in found if _midnight(day) + _DAY <= table.before]


def older_days(connection: Connection, table: Due) -> list[datetime]:
    """Where each day of a table of silver or gold ends that has rows and is due, oldest first."""
    schema, _, name = table.relation.partition(".")
    query = sql.SQL(
        "SELECT DISTINCT date_trunc('day', {time}, 'UTC') + interval '1 day' FROM {table} WHERE {time} < %s ORDER BY 1"
    ).format(time=sql.Identifier(table.time), table=sql.Identifier(schema, name))
    return [end for (end,) in connection.execute(query, [table.before])]


def why_raw_stays(connection: Connection, table: Due, day: date, lake: Mapping[str, str]) -> str:
    """What stands in the way of dropping a day of raw; empty: nothing. ``lake``: version of each object by path."""
    dataset, begin = table.dataset, _midnight(day)
    loads = connection.execute(_LOADS, [dataset, begin + _DAY, begin]).fetchall()
    lost = [path for _, _, path, version in loads if lake.get(path) != version]
    if lost:
        return f"{len(lost)} of its {len(loads)} objects are not in the lake as they were loaded, first {lost[0]}"
    ids = [load_id for load_id, *_ in loads]
    reader = f"silver.{dataset}"
    has_reader = _exists(connection, reader)
    if has_reader:
        (unread,) = connection.execute(_UNREAD, [ids, reader]).fetchone() or (0,)
        if unread:
            return f"{reader} has {unread} of its loads yet to take"
    values = {"loads": ids, "dataset": dataset, "is_accounted": has_reader and dataset in naming.STREAM_DATASETS}
    unsealed = connection.execute(_UNSEALED, values).fetchall()
    if unsealed:
        return f"{len(unsealed)} verdicts are not sealed, first {_verdict(*unsealed[0])}"
    return ""


def why_rows_stay(connection: Connection, table: Due) -> str:
    """What stands in the way of dropping the old rows of a table of silver or gold; empty: nothing."""
    behind = connection.execute(_BEHIND).fetchall()
    if behind:
        consumer, count = behind[0]
        return f"{consumer} has {count} changes of silver yet to follow"
    if table.layer == "silver":
        since = table.floor_at or datetime(1970, 1, 1, tzinfo=UTC)
        unproven = connection.execute(_UNPROVEN, [table.dataset, table.before, since]).fetchone()
        if unproven:
            return f"a verdict is not sealed: {_verdict(*unproven)}"
    return ""


def drop_raw_day(connection: Connection, table: Due, day: date, partition: str) -> bool:
    """Drop one partition of raw; False when it was gone already.

    Raises:
        DefinitionHeldError: open transactions read the table for half a minute.
    """
    parent = table.relation.partition(".")[2]

    def drop() -> bool:
        row = connection.execute("SELECT ops.drop_raw_partition(%s, %s, %s)", [parent, partition, day]).fetchone()
        return bool(row and row[0])

    return change_definition(connection, f"retention of {table.relation} {day}", drop, attempts=_ATTEMPTS)


def prune(connection: Connection, table: Due, before: datetime) -> int:
    """Delete the rows of a table of silver or gold that lie before an instant; how many."""
    row = connection.execute("SELECT ops.prune(%s, %s)", [table.relation, before]).fetchone()
    return int(row[0]) if row else 0


def prune_builds(connection: Connection, before: datetime) -> int:
    """Forget the changes of silver before an instant; how many. Every mart must have followed them."""
    row = connection.execute("SELECT ops.prune_builds(%s)", [before]).fetchone()
    return int(row[0]) if row else 0


def _exists(connection: Connection, relation: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [relation]).fetchone()
    return bool(row and row[0])


def _verdict(exchange: str, hour_at: datetime, identity: int, status: str | None) -> str:
    return f"identity {identity} of {exchange} {hour_at:%Y-%m-%d %H:00} ({status or 'never checked'})"


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
