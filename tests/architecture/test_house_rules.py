"""The rules of the house, kept by reading the code as text: who imports whom, who reads the environment, how long
a function may be. Nothing of the project is run here."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tidemark", "streaming", "alerts", "serving")

#: Who may import what inside `tidemark`. A part that is not named here may import nothing of the house.
LAYERS: dict[str, set[str]] = {
    "tidemark.bans": set(),
    "tidemark.settings": set(),
    "tidemark.naming": set(),
    "tidemark.logs": set(),
    "tidemark.transport": {"tidemark.bans"},
    "tidemark.post": set(),
    "tidemark.contracts": {"tidemark.naming"},
    "tidemark.exchanges": {"tidemark.contracts", "tidemark.naming", "tidemark.settings"},
    "tidemark.lake": {"tidemark.contracts", "tidemark.naming", "tidemark.settings"},
    "tidemark.warehouse": {"tidemark.contracts", "tidemark.naming", "tidemark.settings", "tidemark.lake"},
    "tidemark.completeness": {"tidemark.contracts", "tidemark.naming", "tidemark.lake", "tidemark.warehouse"},
    "tidemark.quality": {"tidemark.contracts", "tidemark.naming", "tidemark.warehouse"},
    "tidemark.jobs": {
        "tidemark.quality",
        "tidemark.contracts",
        "tidemark.naming",
        "tidemark.settings",
        "tidemark.logs",
        "tidemark.transport",
        "tidemark.bans",
        "tidemark.exchanges",
        "tidemark.lake",
        "tidemark.warehouse",
        "tidemark.completeness",
    },
}
LAYERS["tidemark.completeness"].add("tidemark.settings")


@cache
def modules() -> dict[Path, ast.Module]:
    """Every module of the project that git knows or would know, parsed."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return {Path(p): ast.parse((ROOT / p).read_text("utf-8")) for p in listed if (ROOT / p).exists()}


def house() -> dict[Path, ast.Module]:
    """The modules of the house itself: no tests."""
    return {p: tree for p, tree in modules().items() if p.parts[0] in (*PACKAGES, "airflow")}


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and docstring."""
    first = function.body[0]
    doc = ast.get_docstring(function, clean=False)
    start = first.end_lineno or 0 if doc is not None else function.lineno - 1
    return (function.end_lineno or 0) - start + (1 if doc is not None else 0)


def part_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_there_is_something_to_check() -> None:
    assert len(house()) > 20


def test_tidemark_imports_nothing_that_stands_on_it() -> None:
    bad = [
        (str(path), name)
        for path, tree in house().items()
        if path.parts[0] == "tidemark"
        for name in imports(tree)
        if name.split(".")[0] in {"streaming", "alerts", "serving", "airflow", "cosmos", "dbt"}
    ]
    assert bad == []


def test_streaming_alerts_and_serving_know_neither_each_other_nor_airflow() -> None:
    rooms = {"streaming", "alerts", "serving"}
    bad = [
        (str(path), name)
        for path, tree in house().items()
        if path.parts[0] in rooms
        for name in imports(tree)
        if name.split(".")[0] in (rooms - {path.parts[0]}) | {"airflow", "cosmos", "dbt"}
    ]
    assert bad == []


@pytest.mark.parametrize("part", sorted(LAYERS))
def test_layers_import_downwards_only(part: str) -> None:
    bad = [
        (str(path), name)
        for path, tree in house().items()
        if part_of(dotted(path)) == part
        for name in imports(tree)
        if name.startswith("tidemark.")
        and part_of(name) not in LAYERS[part] | {part}
        and name != "tidemark.__version__"
    ]
    assert bad == []


def test_the_simulator_is_an_independent_witness() -> None:
    bad = [
        (str(path), name)
        for path, tree in house().items()
        if path.is_relative_to("tidemark/local/simulator")
        for name in imports(tree)
        if name.startswith("tidemark") and not name.startswith("tidemark.local.simulator")
    ]
    assert bad == []


def test_only_settings_reads_the_environment() -> None:
    reads = re.compile(r"\bos\.(environ|getenv)\b|\bfrom os import .*\b(environ|getenv)\b")
    bad = [str(p) for p in house() if reads.search((ROOT / p).read_text("utf-8")) and p.name != "settings.py"]
    assert bad == []


def test_exchange_names_stay_in_their_folder() -> None:
    """Exchange names appear in exchanges/<name>, the registry, configuration and the simulator's protocol folders."""
    allowed = re.compile(r"tidemark/(exchanges/|settings\.py|local/|contracts/)")
    bad = []
    for path, tree in house().items():
        if allowed.match(str(path)):
            continue
        docs = {id(n.body[0].value) for n in ast.walk(tree) if _has_docstring(n)}
        bad += [
            (str(path), node.lineno, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and re.fullmatch(r"upbit|okx|binance", node.value)
        ]
    assert bad == []


def _has_docstring(node: ast.AST) -> bool:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None


def test_nothing_hides_airflow_or_dbt() -> None:
    assert [str(p) for p in modules() if p.name == "__init__.py" and p.parts[0] in {"airflow", "dbt"}] == []
    assert [str(p) for p in modules() if p.parts[:2] == ("airflow", "dags") and p.name.startswith("dbt_")] == []


def test_every_module_says_what_lives_in_it() -> None:
    assert [str(p) for p, tree in house().items() if not ast.get_docstring(tree)] == []


def test_public_functions_are_documented() -> None:
    bad = [
        f"{path}:{f.lineno} {f.name}"
        for path, tree in house().items()
        for scope in (tree, *(n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")))
        for f in scope.body
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        and not f.name.startswith("_")
        and not ast.get_docstring(f)
        and not any(getattr(d, "id", "") == "override" for d in f.decorator_list)
    ]
    assert bad == []


def test_functions_are_short() -> None:
    lengths = {f"{p}:{f.lineno} {f.name}": length(f) for p, tree in house().items() for f in functions(tree)}
    too_long = {name: n for name, n in lengths.items() if n > 60}
    assert too_long == {}
    assert statistics.median(lengths.values()) <= 10
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= 35


def test_there_is_no_utils() -> None:
    assert [str(p) for p in modules() if p.stem in {"utils", "util", "helpers", "misc", "common"}] == []


def test_no_file_carries_a_path_or_host_of_some_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    bad = re.compile(
        r"(?<![\w.])/(work|root|home|farm)/[a-z.]|pypi\.org|files\.pythonhosted|registry\.npmjs|repo1?\.maven"
    )
    hits = [
        p
        for p in listed
        if (ROOT / p).is_file() and (ROOT / p).stat().st_size < 1_000_000 and p != str(Path(__file__).relative_to(ROOT))
        if bad.search((ROOT / p).read_text("utf-8", errors="ignore"))
    ]
    assert hits == []


def test_the_repository_stays_small() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [p for p in listed if (ROOT / p).is_file() and (ROOT / p).stat().st_size > 1_000_000] == []
    assert "uv.lock" not in listed
