"""What every test shares: the server fixtures, and where the recorded captures are.

Lives here: fixtures that several folders of tests use. Doesn't: servers themselves (``servers``).
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers"]

ROOT = Path(__file__).resolve().parents[1]


_tests = itertools.count()


@pytest.fixture(autouse=True)
def _bans_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ban that one test earns on a local port must not reach a later test whose server gets the same port."""
    own = tmp_path_factory.getbasetemp() / f"bans-{next(_tests)}"
    monkeypatch.setattr("tidemark.bans.directory", lambda state_dir="": Path(state_dir) if state_dir else own)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded exchange data beside the project; the test skips where it isn't."""
    folder = ROOT.parent / "shared" / "captures"
    if not folder.is_dir():
        pytest.skip("captures not here")
    return folder
