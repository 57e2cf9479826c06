"""The queries of docs/cookbook.md, as they stand there: tests run them, the benchmarks time them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "cookbook.md"


def queries() -> list[tuple[str, str]]:
    """Title and SQL of each."""
    found = []
    for part in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        found.append((title.strip(), text.split("```sql")[1].split("```")[0].strip()))
    return found
