"""A migrated warehouse and a lake of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.warehouse.place import Place, close, make_place


@pytest.fixture
def place(fresh_database: Callable[..., str], tmp_path: Path) -> Iterator[Place]:
    made = make_place(fresh_database(), tmp_path)
    yield made
    close(made)
