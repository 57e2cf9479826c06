"""The project's DAGs as files: where they are, dbt's manifest that they need, and parsing them in a fresh
process.

Lives here: what the DAG tests and the Airflow integration tests share. Doesn't: fixtures (``conftest``).
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "airflow" / "dags"
PLUGINS = ROOT / "airflow" / "plugins"
DAG_IDS = frozenset(
    {
        "gold__build",
        "gold__daily_report",
        "ops__completeness__check",
        "raw__candle__fetch",
        "raw__candle__load",
        "raw__depth__load",
        "raw__dead_letter__reprocess",
        "raw__history__backfill",
        "raw__history__repair",
        "raw__lake__compact",
        "raw__market__fetch",
        "raw__orderbook__load",
        "raw__system__load",
        "raw__ticker__fetch",
        "raw__ticker__load",
        "raw__trade__fetch",
        "raw__trade__load",
        "silver__build",
    }
)


def manifest() -> Path:
    """dbt's manifest, made anew when something in the dbt project is newer."""
    project = ROOT / "dbt"
    path = project / "target" / "manifest.json"
    path.parent.mkdir(exist_ok=True)
    with (path.parent / "parse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists() or path.stat().st_mtime < _newest(project):
            arguments = ["parse", "--quiet", "--project-dir", str(project), "--profiles-dir", str(project)]
            subprocess.run([Path(sys.executable).with_name("dbt"), *arguments], cwd=ROOT, check=True)
            path.touch()
    return path


def parse(folder: Path, hash_seed: str, root: Path = ROOT) -> dict[str, Any]:
    """What one fresh process finds in a DAG folder of the project at ``root``."""
    env = os.environ | {
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": hash_seed,
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(root / "airflow" / "plugins"),
    }
    program = Path(__file__).with_name("parse.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder)],
        env=env,
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def _newest(folder: Path) -> float:
    made = {"target", "logs", "dbt_packages"}
    files = (p for p in folder.rglob("*") if p.is_file() and not made & set(p.relative_to(folder).parts))
    return max(p.stat().st_mtime for p in files)
