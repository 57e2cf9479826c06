"""What the tests of the local stack's parts share.

Contains: a stack of the test's own. Does not contain: servers that run (``tests/servers.py``).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidemark.local import process
from tidemark.local.layout import Layout
from tidemark.settings import LocalSettings, Settings


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A stack with free ports and an empty state directory."""
    for name in [n for n in os.environ if n.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return stack_in(tmp_path / "state")


def stack_in(state: Path) -> Layout:
    """A stack with free ports in this state directory."""
    ports = {n: process.free_port() for n in LocalSettings.model_fields if n.endswith("_port")}
    return Layout(Settings(local=LocalSettings(state_dir=state, **ports)))


def with_local(layout: Layout, **changes: object) -> Layout:
    """The same stack with other settings of its role ``local``."""
    local = layout.settings.local.model_copy(update=changes)
    return Layout(layout.settings.model_copy(update={"local": local}))
