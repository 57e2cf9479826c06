"""The witness must know nothing of what it judges."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "tidemark" / "local" / "simulator"
OWN = "tidemark.local.simulator"


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def test_it_imports_nothing_of_the_rest() -> None:
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 15
    for path in files:
        foreign = [name for name in imported(path) if name.split(".")[0] in ("tidemark", "streaming", "alerts")]
        assert all(name == OWN or name.startswith(OWN + ".") for name in foreign), (path, foreign)


def test_the_oracle_knows_nothing_of_the_market() -> None:
    assert not {name for name in imported(PACKAGE / "ledger.py") if name.startswith("tidemark")}


def test_the_market_knows_no_exchange() -> None:
    for path in (PACKAGE / "market").glob("*.py"):
        names = [name for name in imported(path) if name.startswith(f"{OWN}.")]
        assert not [name for name in names if not name.startswith(f"{OWN}.market")], path


def test_what_swaps_share_knows_no_exchange() -> None:
    exchanges = ("upbit", "okx", "binance")
    for path in (PACKAGE / "swap").glob("*.py"):
        assert not [name for name in imported(path) if set(name.split(".")) & set(exchanges)], path
    for exchange in exchanges:
        for path in (PACKAGE / exchange).glob("*.py"):
            others = [f"{OWN}.{other}" for other in exchanges if other != exchange]
            assert not [name for name in imported(path) if name.startswith(tuple(others))], path
