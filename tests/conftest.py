"""What every test shares: the server fixtures, and where the recorded captures are.

Lives here: fixtures that several folders of tests use. Doesn't: servers themselves (``servers``).
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.servers"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded exchange data beside the project; the test skips where it isn't."""
    folder = ROOT.parent / "shared" / "captures"
    if not folder.is_dir():
        pytest.skip("captures not here")
    return folder
