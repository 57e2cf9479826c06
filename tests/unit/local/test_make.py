"""The Makefile's own decisions: the locale of what it starts, and which virtual environment it keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidemark.settings import PROJECT_ROOT


def make(rule: str, target: str, **env: str) -> str:
    """What a rule prints that is read beside the Makefile's own."""
    command = ["make", "--silent", "--eval", rule, target]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "MAKE", "MFLAGS"))}
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env={**inherited, **env}, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("locale", "made"), [("C", "C.UTF-8"), ("POSIX", "C.UTF-8"), ("ko_KR.UTF-8", "ko_KR.UTF-8"), ("", "")]
)
def test_python_starts_from_any_path_in_any_locale(locale: str, made: str) -> None:
    assert make("show:; @echo $${LC_ALL-}", "show", **({"LC_ALL": locale} if locale else {})) == made


@pytest.mark.parametrize("age", ["fits", "too old", "missing", "broken"])
def test_an_environment_of_another_python_is_removed(tmp_path: Path, age: str) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    if age == "broken":
        python.symlink_to("/nonexistent/python3.9")
    elif age != "missing":
        version = sys.version_info if age == "fits" else (3, 9, 2)
        told = f"import sys; sys.version_info = {tuple(version)[:3]}"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$1" "{told}; $2"\n')
        python.chmod(0o755)
    stamp = tmp_path / "stamp"
    assert make(f"{stamp}:; @echo [$(CLEAR)]", str(stamp)) == ("[]" if age == "fits" else "[--clear]")
