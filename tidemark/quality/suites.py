"""What is expected of the rows of a dataset, as expectations of Great Expectations.

Contains: rendering a contract and a few rules of bulk into a suite. Does not contain: running it (``gate``).

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
from great_expectations.expectations.row_conditions import Column

from tidemark.contracts.fields import Contract, Field
from tidemark.contracts.render_rules import BOUNDS, beyond_columns

#: The share of rows that may break a rule of their contract without anybody being woken, and the number of rows that
#: may in any case: of few rows, one alone is a large share.
_SHARE: Final = 0.01
_FEW: Final = 9
#: How much more or less than usual may come before it is worth a look.
_DRIFT: Final = 20
_CHECKS: Final[dict[str, dict[str, Any]]] = {
    "> 0": {"min_value": 0, "strict_min": True},
    ">= 0": {"min_value": 0},
}


@dataclass(frozen=True, slots=True)
class Usual:
    """How many rows a check of this span usually has; None: not known yet."""

    rows: float | None


def derived(contract: Contract) -> dict[str, str]:
    """Columns that the checked rows need beside their own: for each rule that looks at several values, its breach.

    By name, which is the reason that silver gives, as SQL conditions.
    """
    return dict(beyond_columns(contract))


def mostly(rows: int) -> float:
    """The share of ``rows`` that must keep a rule."""
    return max(0.0, 1 - max(_SHARE, _FEW / max(rows, 1)))


def expectations(contract: Contract, rows: int, usual: Usual, now: datetime, stale: timedelta) -> list[Expectation]:
    """The suite for the ``rows`` of ``contract`` that were loaded since the last check.

    ``now`` (UTC) is the time of the check; rows whose newest receipt is ``stale`` or older make a warning.
    """
    breaches = list(derived(contract))
    names = ["load_id", *(field.name for field in contract.raw_columns), *breaches]
    share = mostly(rows)
    found: list[Expectation] = [
        gxe.ExpectTableColumnsToMatchSet(column_set=names, exact_match=True, severity=FailureSeverity.CRITICAL)
    ]
    found += [one for field in contract.fields for one in _of(field, share)]
    found += [
        gxe.ExpectColumnValuesToBeInSet(column=name, value_set=[False], mostly=share, severity=FailureSeverity.CRITICAL)
        for name in breaches
    ]
    found.append(
        gxe.ExpectColumnMaxToBeBetween(column="received_at", min_value=now - stale, severity=FailureSeverity.WARNING)
    )
    if usual.rows:
        least, most = int(usual.rows / _DRIFT), int(usual.rows * _DRIFT) + 1
        found.append(
            gxe.ExpectTableRowCountToBeBetween(min_value=least, max_value=most, severity=FailureSeverity.WARNING)
        )
    return found


def _of(field: Field, share: float) -> Iterator[Expectation]:
    if field.required:
        condition = Column(field.derived_from).is_null() if field.derived_from else None
        yield gxe.ExpectColumnValuesToNotBeNull(
            column=field.name, mostly=share, severity=FailureSeverity.CRITICAL, row_condition=condition
        )
    if field.check in BOUNDS:
        bounds = _CHECKS[field.check]
        yield gxe.ExpectColumnValuesToBeBetween(
            column=field.name, mostly=share, severity=FailureSeverity.CRITICAL, **bounds
        )
    if field.choices:
        severity = FailureSeverity.CRITICAL if field.required else FailureSeverity.WARNING
        yield gxe.ExpectColumnValuesToBeInSet(
            column=field.name, value_set=list(field.choices), mostly=share, severity=severity
        )
