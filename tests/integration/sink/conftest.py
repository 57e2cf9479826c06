"""A plant for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sink.plant import Plant


@pytest.fixture
def plant(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Plant]:
    """Topics, lake and group of this test's own on the run's Kafka."""
    plant = Plant(kafka_bootstrap, tmp_path)
    yield plant
    plant.close()
