"""A copy of the dbt project whose files a test may change, run against the test's warehouse.

Lives here: editing and running it. Doesn't: the warehouse (``conftest``), whose environment it uses.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dbt.cli.main import dbtRunner, dbtRunnerResult

from tests.transform.conftest import PROJECT, failures


class ProjectCopy:
    """The project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Copy it."""
        self._root = folder / "dbt"
        self._target = folder / "target"
        shutil.copytree(PROJECT, self._root, ignore=shutil.ignore_patterns("target", "logs"))

    def read(self, model: str) -> str:
        """A file below ``models``."""
        return (self._root / "models" / model).read_text("utf-8")

    def write(self, model: str, text: str) -> None:
        """Replace a file below ``models``."""
        (self._root / "models" / model).write_text(text, "utf-8")

    def edit(self, model: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text, which must be there."""
        text = self.read(model)
        assert old in text
        self.write(model, text.replace(old, new, 1))

    def append(self, model: str, text: str) -> None:
        """Add to the end of a file."""
        self.write(model, self.read(model).rstrip("\n") + text if text.startswith("\n") else self.read(model) + text)

    def run(self, model: str, *more: str) -> None:
        """``dbt run`` of models, which must succeed."""
        result = self._invoke(model, *more)
        assert result.success, failures(result)

    def fails(self, model: str, *more: str) -> str:
        """``dbt run`` of models, which must fail; returns what it said."""
        result = self._invoke(model, *more)
        assert not result.success, "dbt succeeded, and should not have"
        return failures(result)

    def _invoke(self, model: str, *more: str) -> dbtRunnerResult:
        place = ["--project-dir", str(self._root), "--profiles-dir", str(self._root)]
        files = ["--target-path", str(self._target), "--log-path", str(self._target), "--no-write-json", "--quiet"]
        return dbtRunner().invoke(["run", "--select", *model.split(), *more, *place, *files])
