"""The producers' own records about connections: written, read, and refused when they are something else."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tidemark.contracts import CONTRACTS
from tidemark.exchanges import connection, registry
from tidemark.exchanges.base import Parsed, Unparsable
from tidemark.exchanges.connection import ConnectionRecord

OPENED = datetime(2026, 4, 13, 1, 2, 3, 456789, tzinfo=UTC)
CLOSED = datetime(2026, 4, 13, 1, 5, tzinfo=UTC)


def record(**more: object) -> ConnectionRecord:
    fields = {"exchange": "upbit", "connection": "c-1", "worker": "w-1", "opened_at": OPENED, **more}
    return ConnectionRecord(**fields)  # type: ignore[arg-type]


def read(kind: str, value: bytes) -> dict[str, object]:
    parsed = registry.read("upbit", "system", kind, value)
    assert isinstance(parsed, Parsed)
    (row,) = parsed.rows
    assert set(row) == set(CONTRACTS["system"].names())
    return row


def test_an_opened_connection() -> None:
    row = read("open", record(subscription={"datasets": ["trade"], "codes": ["KRW-BTC"]}).encode())
    assert json.loads(str(row.pop("subscription"))) == {"datasets": ["trade"], "codes": ["KRW-BTC"]}
    assert row == {
        "exchange": "upbit",
        "kind": "open",
        "connection": "c-1",
        "worker": "w-1",
        "event_at": OPENED,
        "frames": None,
        "reason": None,
        "extra": None,
    }


def test_a_closed_connection() -> None:
    row = read("close", record(closed_at=CLOSED, last_frame_at=OPENED, frames=0, reason="server closed").encode())
    assert (row["kind"], row["event_at"], row["frames"], row["reason"]) == (
        "close",
        CLOSED,
        0,
        "server closed",
    )
    assert json.loads(str(row["extra"])) == {
        "opened_at": "2026-04-13T01:02:03.456789Z",
        "last_frame_at": "2026-04-13T01:02:03.456789Z",
    }


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"{}",
        b'{"kind":"open"}',
        b'{"kind":"half","exchange":"x","connection":"c","worker":"w"}',
        b"5",
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(Unparsable):
        connection.parse(value)
