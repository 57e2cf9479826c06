"""Which times of an exchange are plausible: one rule, for Python, PostgreSQL and DuckDB.

Contains: the rule itself (bounds) and its spellings, and the time that a row is counted at. Does not contain:
which columns it is for (``Field.plausible``), what becomes of a row that breaks it (``render_rules``, silver), the
same for Arrow (``plausible_arrow``: a DAG file that is parsed must not import Arrow).

A time is plausible from :data:`EARLIEST` to :data:`AHEAD` after the row's receipt, both included. There is no lower
bound near the receipt: the snapshot of an illiquid market, a bar, a row fetched by REST and a recording that is played
again are all rightly old.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

#: No exchange that is carried opened before. A time before it is a unit mistake, or a 0 that means "unknown".
EARLIEST: Final = datetime(2017, 1, 1, tzinfo=UTC)
#: How far the two clocks may differ: nothing is received before it happens, and a host without NTP drifts by minutes.
AHEAD: Final = timedelta(minutes=15)

_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST_US: Final = (EARLIEST - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND


def holds(moment: datetime, received_at: datetime) -> bool:
    """Whether a time is plausible for what was received then."""
    return EARLIEST <= moment <= received_at + AHEAD


def in_postgres(column: str) -> str:
    """A condition of PostgreSQL over a raw row; null where the time or the receipt is missing."""
    return (
        f"{column} between timestamptz '{EARLIEST:%Y-%m-%d %H:%M:%S}+00' "
        f"and received_at + interval '{AHEAD // _SECOND} seconds'"
    )


def in_duckdb(column: str) -> str:
    """The same for DuckDB, by whole microseconds: its own sum of a time and an interval takes far longer."""
    return f"epoch_us({column}) between {_EARLIEST_US} and epoch_us(received_at) + {AHEAD // _MICROSECOND}"


def counted_at(column: str = "event_at") -> str:
    """An SQL expression: the time that a raw row is counted at, its own where it is plausible, else its receipt."""
    return f"case when {in_postgres(column)} then {column} else received_at end"
