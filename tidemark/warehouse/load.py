"""Landing objects into raw: each object with its ledger row in one transaction, once.

Lives here: which objects are new (those that the ledger doesn't hold: no timestamp decides), checking an object
against its footer, copying it, and its entries in the books. Doesn't: the encoding (``copy_binary``), what follows
from the books (``completeness``), what dbt takes (its marks).

Two loads at once share the work: each object belongs to whoever gets its advisory lock, and the ledger's unique path
is the last word. One load takes as many objects at once as it has connections; for each, memory holds the object as it
lies in the lake (the sink cuts them at 64 MiB) and two batches of rows.
"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from tidemark import naming
from tidemark.contracts import CONTRACTS, Contract, plausible_arrow
from tidemark.lake import parquet
from tidemark.lake.parquet import CorruptObjectError, Footer
from tidemark.lake.store import Listed, ObjectMissingError, ObjectStore, StoreError, StoreUnavailableError, crc32c
from tidemark.warehouse import copy_binary
from tidemark.warehouse.connection import Connection, WarehouseError

log = logging.getLogger(__name__)

_BATCH_ROWS: Final = 10_000
_HOUR_US: Final = 3_600_000_000
_LOCK_SEED: Final = 4_130_001
#: What can be wrong with one object, so that the others still load.
_OBJECT_ERRORS: Final = (
    StoreError,
    copy_binary.EncodingError,
    pa.ArrowException,
    OSError,  # Arrow's word for a file whose pages are broken
    psycopg.DataError,
    psycopg.IntegrityError,
)

_LEDGER: Final = """
INSERT INTO ops.load_ledger (
    path, kind, exchange, dataset, topic, cluster, epoch, partition, start_offset, end_offset, rows, parsed, dead,
    ignored, dead_reasons, fingerprint, received_min, received_max, hour_at, byte_size, checksum, version
) VALUES (
    %(path)s, %(kind)s, %(exchange)s, %(dataset)s, %(topic)s, %(cluster)s, %(epoch)s, %(partition)s, %(start)s,
    %(end)s, %(rows)s, %(parsed)s, %(dead)s, %(ignored)s, %(dead_reasons)s, %(fingerprint)s, %(received_min)s,
    %(received_max)s, %(hour_at)s, %(byte_size)s, %(checksum)s, %(version)s
) RETURNING load_id
"""
_FRAMES: Final = """
INSERT INTO ops.frame_ledger (load_id, connection_id, hour_at, frame_count, frame_min, frame_max, frame_sum)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""


_REVIVED: Final = """
INSERT INTO ops.revived (topic, cluster, epoch, partition, kafka_offset, outcome, reason, load_id)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_STILL_DEAD: Final = """
SELECT l.dead - (
    SELECT count(*) FROM ops.revived AS r
    WHERE (r.topic, r.cluster, r.epoch, r.partition) = (l.topic, l.cluster, l.epoch, l.partition)
        AND r.kafka_offset BETWEEN l.start_offset AND l.end_offset
)
FROM ops.load_ledger AS l
WHERE l.kind = 'data' AND l.topic = %(topic)s AND l.cluster = %(cluster)s AND l.epoch = %(epoch)s
    AND l.partition = %(partition)s AND l.start_offset = %(start)s AND l.end_offset = %(end)s
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that could not be loaded, and why."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class LoadSummary:
    """What one load did. ``objects`` and ``rows`` are what it loaded itself (in a dry run: would have)."""

    exchange: str
    dataset: str
    listed: int
    objects: int
    rows: int
    left: int
    failures: tuple[Failure, ...] = ()
    dry_run: bool = False

    def __str__(self) -> str:
        """One line for a person."""
        verb = "would load" if self.dry_run else "loaded"
        more = f", {len(self.failures)} FAILED" if self.failures else ""
        rest = f", {self.left} left for later" if self.left else ""
        done = f"{verb} {self.objects} of {self.listed} objects, {self.rows} rows"
        return f"{self.exchange} {self.dataset}: {done}{rest}{more}"


@dataclass(frozen=True, slots=True)
class _Object:
    """A landing object in memory, checked against its footer."""

    listed: Listed
    contract: Contract
    footer: Footer
    data: bytes
    received: tuple[datetime, datetime] | None
    event_hours: Counter[datetime]


def load(
    connections: Sequence[Connection],
    store: ObjectStore,
    dataset: str,
    exchange: str,
    *,
    dry_run: bool = False,
    limit: int | None = None,
) -> LoadSummary:
    """Load every landing object of one dataset that the ledger doesn't hold, at most ``limit`` of them.

    As many objects are loaded at once as there are ``connections``, each in a transaction of its own.
    An object that can't be loaded is named in the summary and leaves nothing behind; the others are loaded.

    Raises:
        StoreUnavailableError: the lake doesn't answer.
        WarehouseError: the connection was lost.
    """
    topic = naming.raw_topic(exchange, dataset)
    listed = list(store.list(naming.landing_prefix(topic)))
    new = _new(connections[0], topic, listed)
    taken = new if limit is None else new[:limit]
    left = len(new) - len(taken)
    loads: list[int] = []
    failures: list[Failure] = []
    for outcome in _look_at_each(store, taken) if dry_run else _load_each(connections, store, taken):
        if isinstance(outcome, Failure):
            log.error("%s can't be loaded: %s", outcome.path, outcome.problem)
            failures.append(outcome)
        else:
            loads.append(outcome)
    return LoadSummary(exchange, dataset, len(listed), len(loads), sum(loads), left, tuple(failures), dry_run)


def load_object(connection: Connection, store: ObjectStore, listed: Listed, *, wait: bool = True) -> int | None:
    """Load one object: its rows, its ledger row and its other entries in one transaction.

    Returns:
        How many rows it brought; None when it is loaded already or (``wait=False``) has to wait: somebody else is at
        it, or it tells no hour of its own and follows the others.

    Raises:
        StoreError: it vanished, or is not what its name and its footer say.
        EncodingError: it holds a value that the warehouse can't.
        psycopg.Error: the warehouse refused it.
    """
    found = _open(store, listed)
    if not wait and found.received is None and not found.footer.frames:
        return None  # its hour is that of the object before it, which must be loaded first
    for day in _days(found.received):
        ensure_partition(connection, found.contract.dataset, day)
    with connection.transaction():
        if not _mine(connection, listed.path, wait=wait):
            return None
        load_id = _enter(connection, found)
        copied = _copy(connection, found, load_id)
        if copied != found.footer.rows:
            raise CorruptObjectError(
                f"{listed.path}: {copied} rows were copied, its footer counts {found.footer.rows}; nothing was loaded"
            )
    return copied


def load_path(connection: Connection, store: ObjectStore, path: str) -> int | None:
    """Load the object at ``path`` (see :func:`load_object`).

    Raises:
        ObjectMissingError: there is none.
    """
    for listed in store.list(path):
        if listed.path == path:
            return load_object(connection, store, listed)
    raise ObjectMissingError(f"{path} is not in the lake")


def ensure_partition(connection: Connection, dataset: str, day: date) -> bool:
    """Make raw's partition of one UTC day unless it exists; True when this call made it.

    It commits by itself, before the load's transaction: a lock on the table must not be held while rows are copied.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    parent = naming.raw_table(dataset).partition(".")[2]
    child = naming.raw_partition(dataset, midnight).partition(".")[2]
    row = connection.execute("SELECT ops.ensure_raw_partition(%s, %s, %s)", [parent, child, day]).fetchone()
    return bool(row and row[0])


# --- which objects ------------------------------------------------------------------------------------------


def _new(connection: Connection, topic: str, listed: Sequence[Listed]) -> list[Listed]:
    known = {row[0] for row in connection.execute("SELECT path FROM ops.load_ledger WHERE topic = %s", [topic])}
    return [one for one in listed if one.path not in known]


def _look_at_each(store: ObjectStore, objects: Sequence[Listed]) -> Iterator[int | Failure]:
    for listed in objects:
        try:
            yield parquet.read_footer(store, listed.path).rows
        except StoreUnavailableError:
            raise
        except StoreError as error:
            yield Failure(listed.path, str(error))


def _load_each(
    connections: Sequence[Connection], store: ObjectStore, objects: Sequence[Listed]
) -> Iterator[int | Failure]:
    """Rows of each object loaded here, or why it can't be. What has to wait is loaded at the end, in order."""
    free: SimpleQueue[Connection] = SimpleQueue()
    for connection in connections:
        free.put(connection)

    def attempt(listed: Listed) -> int | Failure | None:
        connection = free.get()
        try:
            return _attempt(connection, store, listed, wait=False)
        finally:
            free.put(connection)

    busy = []
    with ThreadPoolExecutor(len(connections), "load") as threads:
        for listed, outcome in zip(objects, threads.map(attempt, objects), strict=True):
            if outcome is None:
                busy.append(listed)
            else:
                yield outcome
    for listed in busy:
        # Their holder may have failed: only the ledger says that an object is in.
        outcome = _attempt(connections[0], store, listed, wait=True)
        if outcome is not None:
            yield outcome


def _attempt(connection: Connection, store: ObjectStore, listed: Listed, *, wait: bool) -> int | Failure | None:
    try:
        return load_object(connection, store, listed, wait=wait)
    except StoreUnavailableError:
        raise
    except _OBJECT_ERRORS as error:
        return Failure(listed.path, f"{type(error).__name__}: {error}")
    except psycopg.OperationalError as error:
        raise WarehouseError(f"the warehouse went away while {listed.path} was loaded: {error}; run again") from error


def _mine(connection: Connection, path: str, *, wait: bool) -> bool:
    """Take the object's lock for this transaction; False when it is loaded or (``wait=False``) taken."""
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    query = sql.SQL("SELECT {}(hashtextextended(%s, %s))").format(sql.Identifier(function))
    row = connection.execute(query, [path, _LOCK_SEED]).fetchone()
    if row is not None and row[0] is False:
        return False
    return connection.execute("SELECT 1 FROM ops.load_ledger WHERE path = %s", [path]).fetchone() is None


# --- reading and checking an object -------------------------------------------------------------------------


def _open(store: ObjectStore, listed: Listed) -> _Object:
    topic = listed.path.split("/")[1]
    contract = CONTRACTS[naming.parse_raw_topic(topic).dataset]
    data = store.get(listed.path)
    footer = parquet.footer_of(data)
    _check_name(listed.path, topic, footer)
    file = pq.ParquetFile(io.BytesIO(data))
    _check_columns(listed.path, contract, file)
    if file.metadata.num_rows != footer.rows:
        raise CorruptObjectError(f"{listed.path}: {file.metadata.num_rows} rows, its footer counts {footer.rows}")
    if footer.kind == "data" and footer.parsed + footer.dead + footer.ignored != footer.offsets:
        raise CorruptObjectError(
            f"{listed.path}: its footer leaves offsets of {footer.start} to {footer.end} unexplained"
        )
    received, hours = _times(file) if footer.rows else (None, Counter())
    return _Object(listed, contract, footer, data, received, hours)


def _check_name(path: str, topic: str, footer: Footer) -> None:
    chain = naming.parse_chain_object(path)
    if chain is None:
        digest = path.rpartition("/")[2].removesuffix(".parquet")
        rest = footer.kind == "rest" and path == naming.rest_object(topic, digest)
        agrees = footer.topic == topic and (rest or _is_revived(path, footer))
    else:
        named = (chain.topic, chain.cluster, chain.epoch, chain.partition, chain.start)
        told = (footer.topic, footer.cluster, footer.epoch, footer.partition, footer.start)
        agrees = footer.kind in ("data", "gap") and named == told and footer.end >= footer.start
    if not agrees:
        raise CorruptObjectError(f"{path}: name and footer don't agree, so it isn't what the sink wrote; move it away")


def _is_revived(path: str, footer: Footer) -> bool:
    f = footer
    prefix = naming.revived_prefix(f.topic, f.origin, f.cluster, f.epoch, f.partition, f.start)
    return f.kind == "revived" and path.startswith(prefix) and len(f.revived) == f.parsed + f.ignored


def _check_columns(path: str, contract: Contract, file: pq.ParquetFile) -> None:
    unknown = set(file.schema_arrow.names) - {field.name for field in contract.columns}
    if unknown:
        raise CorruptObjectError(
            f"{path}: columns {', '.join(sorted(unknown))} are not in {contract.dataset}.v{contract.version}: it was "
            "written by a newer release; update this one"
        )


def _times(file: pq.ParquetFile) -> tuple[tuple[datetime, datetime], Counter[datetime]]:
    """First and last receipt, and how many rows each event hour has; see ``plausible`` for odd times."""
    has_event = "event_at" in file.schema_arrow.names
    table = file.read(columns=["received_at", "event_at"] if has_event else ["received_at"])
    received = table["received_at"]
    if received.null_count:
        raise CorruptObjectError(f"{received.null_count} rows without received_at")
    spread = pc.min_max(received).as_py()
    event = plausible_arrow.counted_at(table["event_at"], received) if has_event else received
    hours = pc.divide(pc.floor_temporal(event, unit="hour").cast(pa.int64()), _HOUR_US)
    counts = Counter(
        {_hour(int(entry["values"]) * 3600): int(entry["counts"]) for entry in pc.value_counts(hours).to_pylist()}
    )
    return (spread["min"], spread["max"]), counts


def _hour(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds - seconds % 3600)


def _days(received: tuple[datetime, datetime] | None) -> list[date]:
    if received is None:
        return []
    first, last = (moment.astimezone(UTC).date() for moment in received)
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


# --- writing ------------------------------------------------------------------------------------------------


def _enter(connection: Connection, found: _Object) -> int:
    """Ledger row, frame sums and event hours; returns the new load's id."""
    row = connection.execute(_LEDGER, _ledger_row(connection, found)).fetchone()
    load_id = int(row[0]) if row else 0
    with connection.cursor() as cursor:
        cursor.executemany(
            _FRAMES,
            [(load_id, f.connection, _hour(f.hour), f.count, f.min, f.max, f.sum) for f in found.footer.frames],
        )
        cursor.executemany(
            "INSERT INTO ops.load_hour (load_id, hour_at, rows) VALUES (%s, %s, %s)",
            [(load_id, hour, rows) for hour, rows in sorted(found.event_hours.items())],
        )
    if found.footer.kind == "revived":
        _enter_revived(connection, found, load_id)
    return load_id


def _enter_revived(connection: Connection, found: _Object, load_id: int) -> None:
    """Book each offset once; never more of them than the chain object has dead letters."""
    f = found.footer
    with connection.cursor() as cursor:
        place = (f.origin, f.cluster, f.epoch, f.partition)
        cursor.executemany(_REVIVED, [(*place, r.offset, r.outcome, r.reason, load_id) for r in f.revived])
    values = {"topic": f.origin, "cluster": f.cluster, "epoch": f.epoch, "partition": f.partition}
    row = connection.execute(_STILL_DEAD, {**values, "start": f.start, "end": f.end}).fetchone()
    if row is None or row[0] < 0:
        held = "is not loaded" if row is None else f"has {-row[0]} dead letters fewer"
        raise CorruptObjectError(f"{found.listed.path}: the object of {f.origin} from offset {f.start} {held}")


def _ledger_row(connection: Connection, found: _Object) -> dict[str, Any]:
    footer, name = found.footer, naming.parse_raw_topic(found.footer.topic)
    own = {n: getattr(footer, n) for n in ("kind", "topic", "cluster", "epoch", "partition", "start", "end", "rows")}
    counts = {n: getattr(footer, n) for n in ("parsed", "dead", "ignored", "fingerprint")}
    first, last = found.received or (None, None)
    return {
        **own,
        **counts,
        "path": found.listed.path,
        "exchange": name.exchange,
        "dataset": name.dataset,
        "dead_reasons": json.dumps(dict(footer.dead_reasons)),
        "received_min": first,
        "received_max": last,
        "hour_at": _receive_hour(connection, found),
        "byte_size": len(found.data),
        "checksum": crc32c(found.data),
        "version": found.listed.version,
    }


def _receive_hour(connection: Connection, found: _Object) -> datetime:
    """The receive hour of the object; without rows that of its frames, else that of the object before it."""
    if found.received is not None:
        return _hour(int(found.received[0].timestamp()))
    if found.footer.frames:
        return _hour(min(frame.hour for frame in found.footer.frames))
    footer = found.footer
    first = footer.start if footer.kind == "revived" else footer.start - 1
    row = connection.execute(
        """SELECT hour_at FROM ops.load_ledger
        WHERE topic = %s AND cluster = %s AND epoch = %s AND partition = %s AND start_offset <= %s
        ORDER BY start_offset DESC LIMIT 1""",
        [footer.origin or footer.topic, footer.cluster, footer.epoch, footer.partition, first],
    ).fetchone()
    return row[0] if row else datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _copy(connection: Connection, found: _Object, load_id: int) -> int:
    fields = found.contract.raw_columns
    if not found.footer.rows:
        return 0
    schema, _, table = naming.raw_table(found.contract.dataset).partition(".")
    names = sql.SQL(", ").join(sql.Identifier(name) for name in ("load_id", *(f.name for f in fields)))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(schema, table), names)
    have = set(pq.read_schema(io.BytesIO(found.data)).names)
    columns = [field.name for field in fields if field.name in have]
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy, ThreadPoolExecutor(1, "encode") as ahead:
            copy.write(copy_binary.HEADER)
            batches = pq.ParquetFile(io.BytesIO(found.data)).iter_batches(_BATCH_ROWS, columns=columns)
            for encoded in _one_ahead(ahead, (partial(copy_binary.encode, b, fields, load_id) for b in batches)):
                copy.write(encoded)
            copy.write(copy_binary.TRAILER)
        return cursor.rowcount


def _one_ahead(
    thread: ThreadPoolExecutor, tasks: Iterator[Callable[[], bytes | memoryview]]
) -> Iterator[bytes | memoryview]:
    """The outcome of each task in order; while one is used the next is made in ``thread``."""
    following = None
    for task in tasks:
        made, following = following, thread.submit(task)
        if made is not None:
            yield made.result()
    if following is not None:
        yield following.result()
