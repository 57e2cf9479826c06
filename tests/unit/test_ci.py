"""CI's own guard: a run without a test fails, and so does a skip that nobody allowed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASE = '<testcase classname="tests.a" name="one">{}</testcase>'
SKIP = '<skipped type="pytest.skip" message="{}"/>'


@pytest.fixture
def skips() -> ModuleType:
    spec = importlib.util.spec_from_file_location("skips", ROOT / "infra" / "ci" / "skips.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(skips: ModuleType, folder: Path, *cases: str) -> int:
    report, allowed = folder / "report.xml", folder / "allowed.txt"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    allowed.write_text("# a comment\ncaptures not here\n")
    return int(skips.main(str(report), str(allowed)))


def test_a_run_of_passed_tests_is_fine(skips: ModuleType, tmp_path: Path) -> None:
    assert judged(skips, tmp_path, CASE.format("")) == 0


def test_a_run_without_a_test_fails(skips: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(skips, tmp_path) == 1
    assert "no test ran" in capsys.readouterr().err


def test_a_run_in_which_all_skip_fails(skips: ModuleType, tmp_path: Path) -> None:
    assert judged(skips, tmp_path, CASE.format(SKIP.format("captures not here"))) == 1


def test_an_allowed_skip_passes_and_another_is_named(
    skips: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed, other = CASE.format(SKIP.format("captures not here")), CASE.format(SKIP.format("it was Friday"))
    assert judged(skips, tmp_path, CASE.format(""), allowed) == 0
    assert judged(skips, tmp_path, CASE.format(""), other) == 1
    assert "it was Friday" in capsys.readouterr().err
