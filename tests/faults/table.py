"""The page of all fault cases: ``python -m tests.faults.table`` writes it, a unit test holds it to the tests.

Lives here: what each test says of itself (its docstring: what happens → what holds), and its variants. Doesn't:
results; a case is in the page because it passes.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture" / "faults.md"
HEAD = """# What can go wrong, and what holds then

`make faults` brings about each of these faults on a stage of real parts: a scripted exchange or the simulator, the
producer and the sink as processes of their own, Apache Kafka, a lake in a directory or on a double of Google Cloud
Storage that keeps its preconditions, PostgreSQL. `make test` runs the quick ones among them (marked *).

After every fault one assertion holds (`tests/faults/proof.py`): the objects tile every partition up to the broker's
last record; each frame that the exchange sent lies in the lake once, byte for byte; or it doesn't, and then a red
identity names its number or a gap names its time, and no other identity is red. A gap is then refilled from the
exchange, where it serves the past.

This page is written by `python -m tests.faults.table` from the tests themselves.
"""
TITLES = {
    "test_sink_kills": "The sink is killed",
    "test_producer_kills": "The producer is killed",
    "test_exchange": "The exchange misbehaves",
    "test_frames": "Frames that must not be",
    "test_broker": "The broker",
    "test_lake": "The lake",
    "test_warehouse": "PostgreSQL, Airflow, memory, the end",
    "test_repair": "Repaired",
    "test_protocol_model": "The lake protocol as a model",
}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, title in TITLES.items():
        module = importlib.import_module(f"tests.faults.{name}")
        rows = [_row(case, function) for case, function in _cases(module)]
        parts.append(f"## {title}\n\n{_table(('fault', 'what holds', 'variants'), rows)}")
    parts.append(_elsewhere())
    return "\n".join(parts)


def modules() -> set[str]:
    """Every module of cases in this folder."""
    return {path.stem for path in Path(__file__).parent.glob("test_*.py")}


def _cases(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") == module.__name__ and re.match("test_|Test", name):
            yield name, value


def _row(name: str, case: Callable[..., object]) -> tuple[str, str, str]:
    said = " ".join((case.__doc__ or "").split("\n\n")[0].split()).rstrip(".").replace("``", "`")
    fault, arrow, holds = said.partition(" → ")
    if not arrow:
        raise ValueError(f"{name}: its docstring must say what happens → what holds")
    marks = getattr(case, "pytestmark", [])
    quick = " *" if any(mark.name == "quick_fault" for mark in marks) else ""
    variants = [id_ for mark in marks if mark.name == "parametrize" for id_ in _ids(mark)]
    return fault + quick, holds, ", ".join(variants)


def _ids(mark: Any) -> list[str]:
    ids = mark.kwargs.get("ids") or mark.args[1]
    return [str(one).replace("_", " ") for one in ids]


def _elsewhere() -> str:
    """Cases that stand beside the part they are about; `make faults` runs them too."""
    stages = (ROOT / "infra" / "ci" / "stages").read_text("utf-8")
    body = stages.split("faults() {", 1)[1].split("}", 1)[0]
    paths = [ROOT / path for path in re.findall(r"tests/[\w/.]+", body) if path != "tests/faults"]
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.glob("test_*.py")))
    rows = [(f"`{file.relative_to(ROOT)}`", _words(file)) for file in files]
    head = (
        "## Beside their parts\n\nThese stand with the part that they are about, and `make faults` runs them too.\n\n"
    )
    return head + _table(("file", "cases"), rows)


def _words(file: Path) -> str:
    names = re.findall(r"^def test_(\w+)", file.read_text("utf-8"), re.MULTILINE)
    return "; ".join(name.replace("_", " ") for name in names) or "the model of the lake protocol, a short run"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
