"""What is expected of the rows of a dataset, as expectations of Great Expectations.

Lives here: rendering a contract and a few rules of bulk into a suite. Doesn't: running it (``gate``).

A row that breaks its contract is quarantined by silver, alone. What is red here is that many do at once: the exchange
has changed something, or we have. Critical expectations close the gate, warnings are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from tidemark.contracts.fields import Contract, Field

#: The share of rows that may break their contract without anybody being woken.
MOSTLY: Final = 0.99
#: How much more or less than usual may come before it is worth a look.
_DRIFT: Final = 20
_AHEAD: Final = timedelta(minutes=5)
_CHECKS: Final[dict[str, dict[str, Any]]] = {
    "> 0": {"min_value": 0, "strict_min": True},
    ">= 0": {"min_value": 0},
}


@dataclass(frozen=True, slots=True)
class Usual:
    """How many rows a check of this span usually has; None: not known yet."""

    rows: float | None


def expectations(contract: Contract, usual: Usual, now: datetime, stale: timedelta) -> list[Expectation]:
    """The suite for rows of ``contract`` that were loaded since the last check.

    ``now`` (UTC) is the time of the check; rows whose newest receipt is ``stale`` or older make a warning.
    """
    names = ["load_id", *(field.name for field in contract.raw_columns)]
    found: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True, severity=FailureSeverity.CRITICAL)
    ]
    found += [one for field in contract.fields for one in _of(field)]
    found.append(_between("event_at", now, mostly=MOSTLY))
    found.append(
        gxe.ExpectColumnMaxToBeBetween(column="received_at", min_value=now - stale, severity=FailureSeverity.WARNING)
    )
    if usual.rows:
        least, most = int(usual.rows / _DRIFT), int(usual.rows * _DRIFT) + 1
        found.append(
            gxe.ExpectTableRowCountToBeBetween(min_value=least, max_value=most, severity=FailureSeverity.WARNING)
        )
    return found


def _of(field: Field) -> Iterator[Expectation]:
    if field.required:
        yield gxe.ExpectColumnValuesToNotBeNull(column=field.name, mostly=MOSTLY, severity=FailureSeverity.CRITICAL)
    if field.check:
        bounds = _CHECKS[field.check]
        yield gxe.ExpectColumnValuesToBeBetween(
            column=field.name, mostly=MOSTLY, severity=FailureSeverity.CRITICAL, **bounds
        )
    if field.choices:
        severity = FailureSeverity.CRITICAL if field.required else FailureSeverity.WARNING
        yield gxe.ExpectColumnValuesToBeInSet(
            column=field.name, value_set=list(field.choices), mostly=MOSTLY, severity=severity
        )


def _between(column: str, now: datetime, mostly: float) -> Expectation:
    """No event lies in the future by more than clocks may differ."""
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, max_value=now + _AHEAD, mostly=mostly, severity=FailureSeverity.CRITICAL
    )
